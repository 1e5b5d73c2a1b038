/** Several targets on one scripted kernel, with real files: what one session drains, all know. */
import assert from "node:assert/strict";
import {
  fstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Gate } from "../../test/contract/changed-link.ts";
import type { SyncError } from "../base/index.ts";
import {
  type BackendName,
  type CaptureBackend,
  type ChangeSink,
  shareCapture,
} from "../capture/index.ts";
import { ProblemLog } from "../model/index.ts";
import { type Link, linkLimits, memoryLinkPair } from "../transport/index.ts";
import { type Files, Open, Stat, statSlots } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import { Mirror } from "./mirror.ts";
import { serveLink } from "./target-service.ts";

const waitMs = 20_000;

class ScriptedBackend implements CaptureBackend {
  readonly name: BackendName = "ebpf";
  readonly tellsExtents = true;
  readonly droppedCount = 0;
  /** What the next drains tell, one entry each. */
  readonly script: ((sink: ChangeSink) => void)[] = [];
  readable: () => void = () => {};

  start(readable: () => void): void {
    this.readable = readable;
  }

  drain(sink: ChangeSink): boolean {
    this.script.shift()?.(sink);
    return false;
  }

  watchDirectory(): number {
    return 0;
  }

  unwatchDirectory(): void {}

  close(): void {}
}

interface Replica {
  path: string;
  gate: Gate;
  mirror: Mirror;
  liveCount: number;
  retries: SyncError[];
  /** The present link, to be cut. */
  link: Link | undefined;
  content(name: string): string;
}

interface Rig {
  backend: ScriptedBackend;
  source: string;
  replicas: Replica[];
  /** Inode and generation of a file of the source. */
  idOf(name: string): [number, number];
  until(what: string, holds: () => boolean): Promise<void>;
}

/** A source with the files `one` and `two`, mirrored live into so many targets. */
async function rig(context: TestContext, count: number, files: Files = native()): Promise<Rig> {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-targets-"));
  const source = join(folder, "source");
  mkdirSync(source);
  for (const name of ["one", "two"]) writeFileSync(join(source, name), "first");
  const open = (path: string): number =>
    files.openPath(Buffer.from(path), Open.read | Open.directory);
  const [rootFd, stateFd] = [open(source), open(folder)];
  const world = nodeWorld({ write: () => {} });
  const backend = new ScriptedBackend();
  const replicas = shareCapture(backend, count).map((view, index): Replica => {
    const path = join(folder, `target${index}`);
    mkdirSync(path);
    const problems = new ProblemLog(() => {});
    const gate = new Gate();
    const mirror = new Mirror({
      world,
      files,
      backend: view,
      rootFd,
      rootPath: Buffer.from(source),
      problems,
      share: "",
      subpath: "",
      device: "test",
      digestUse: { treeMin: 0, directoryMin: 0 },
      connect: () => {
        const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
        replica.link = near;
        void serveLink(gate.through(far), {
          world,
          files,
          spool: { files, dirFd: stateFd },
          privileged: true,
          grant: () => ({ rootFd: open(path), path, problems }),
        });
        return Promise.resolve(near);
      },
      onLive: () => replica.liveCount++,
      onRetry: (error) => replica.retries.push(error),
    });
    const content = (name: string): string => readFileSync(join(path, name), "utf8");
    const link = undefined;
    const replica: Replica = { path, gate, mirror, liveCount: 0, retries: [], link, content };
    return replica;
  });
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    const limit = performance.now() + waitMs;
    for (; !holds(); await sleep(2)) assert.ok(performance.now() < limit, `never: ${what}`);
  };
  // Timers of the engine do not keep the process alive.
  const keepAlive = setInterval(() => {}, 1000);
  const ended = replicas.map(({ mirror }) => mirror.run());
  context.after(async () => {
    for (const { mirror, gate } of replicas) {
      gate.open();
      mirror.stop();
    }
    await Promise.allSettled(ended);
    clearInterval(keepAlive);
    files.close(rootFd);
    files.close(stateFd);
    rmSync(folder, { recursive: true });
  });
  const idOf = (name: string): [number, number] => {
    const stat = new Float64Array(statSlots);
    files.statAt(rootFd, Buffer.from(name), stat);
    return [stat[Stat.ino]!, stat[Stat.gen]!];
  };
  await until("all are live", () => replicas.every(({ liveCount }) => liveCount === 1));
  return { backend, source, replicas, idOf, until };
}

/** Changes the first bytes of a file and gives what tells it. */
function change(rig: Rig, name: string, content: string): (sink: ChangeSink) => void {
  writeFileSync(join(rig.source, name), content);
  const [ino, gen] = rig.idOf(name);
  return (sink) => sink.written(ino, gen, 0, content.length, 1, false, false);
}

test("a change that the kernel tells once reaches every target", async (t) => {
  const all = await rig(t, 3);
  all.backend.script.push(change(all, "one", "again"));
  all.backend.readable();
  const isThere = ({ content }: Replica): boolean => content("one") === "again";
  await all.until("all have it", () => all.replicas.every(isThere));
});

test("a target that takes nothing does not hold up the others", async (t) => {
  const all = await rig(t, 3);
  const [first, stuck, last] = all.replicas as [Replica, Replica, Replica];
  stuck.gate.isShut = true;
  for (let i = 0; i < 50; i++) {
    const content = `turn ${i}`;
    all.backend.script.push(change(all, "one", content), change(all, "two", content));
    all.backend.readable();
    const isThere = ({ content: of }: Replica): boolean =>
      of("one") + of("two") === content + content;
    await all.until(content, () => isThere(first) && isThere(last));
    assert.equal(stuck.content("one"), "first");
  }
  stuck.gate.open();
  await all.until("the third has it", () => stuck.content("two") === "turn 49");
  assert.equal(stuck.content("one"), "turn 49");
  assert.deepEqual(
    all.replicas.map(({ retries, liveCount }) => [retries.length, liveCount]),
    [
      [0, 1],
      [0, 1],
      [0, 1],
    ],
  );
});

test("what the last one's validation drains reaches those whose turn is over", async (t) => {
  const all = await rig(t, 2);
  const [first, second] = all.replicas as [Replica, Replica];
  const nothing = (): void => {};
  let first5 = "";
  all.backend.script.push(
    change(all, "one", "torn!"),
    nothing,
    // The second one's turn; the first has sent what it read, and its cut was valid.
    nothing,
    (sink) => {
      first5 = first.content("one").slice(0, 5);
      change(all, "one", "whole")(sink);
    },
  );
  all.backend.readable();
  const isThere = ({ content }: Replica): boolean => content("one") === "whole";
  await all.until("both have it", () => isThere(first) && isThere(second));
  assert.equal(first5, "torn!");
});

test("a target that lost its link hears nothing, and compares when it is back", async (t) => {
  const all = await rig(t, 2);
  const [first, second] = all.replicas as [Replica, Replica];
  second.link?.destroy();
  await all.until("the loss is noticed", () => second.retries.length > 0);
  all.backend.script.push(change(all, "one", "while it was away"));
  all.backend.readable();
  await all.until("the first has it", () => first.content("one") === "while it was away");
  await all.until("it is back", () => second.liveCount === 2);
  assert.equal(second.content("one"), "while it was away");
  all.backend.script.push(change(all, "two", "and later"));
  all.backend.readable();
  await all.until("both", () =>
    all.replicas.every(({ content }) => content("two") === "and later"),
  );
  assert.deepEqual([first.retries.length, first.liveCount], [0, 1]);
});

test("a page that was dirty when its file was mapped is read for every target", async (t) => {
  // As the kernel does: a page is dirty until it is cleaned, whoever cleans it.
  let isDirty = false;
  const cleanPages = (): number => {
    isDirty = false;
    return 0;
  };
  const dirtyPages = (_: number, position: number): number => (isDirty && position === 0 ? 1 : 0);
  const real = native();
  const files = new Proxy(real, {
    get: (_, name) => {
      if (name === "cleanPages") return cleanPages;
      if (name === "dirtyPages") return dirtyPages;
      const value: unknown = Reflect.get(real, name);
      return typeof value === "function" ? (value as () => unknown).bind(real) : value;
    },
  });
  const all = await rig(t, 3, files);
  // The store itself is told by nobody.
  writeFileSync(join(all.source, "one"), "store");
  const [ino, gen] = all.idOf("one");
  isDirty = true;
  all.backend.script.push((sink) => sink.mapped(ino, gen));
  all.backend.readable();
  const isThere = ({ content }: Replica): boolean => content("one") === "store";
  await all.until("all have it", () => all.replicas.every(isThere));
});

test("what changes while the manifest is taken is sent, though it looked equal", async (t) => {
  let surveyed = (): void => {};
  let rootIno = 0;
  const files = new Proxy(native(), {
    get(of, name) {
      const value: unknown = Reflect.get(of, name);
      if (typeof value !== "function") return value;
      if (name !== "scanDirectory") return (value as () => unknown).bind(of);
      return (fd: number, bytes: Uint8Array, brief: 0 | 1): number => {
        const used = of.scanDirectory(fd, bytes, brief);
        if (used === 0 && fstatSync(fd).ino === rootIno) surveyed();
        return used;
      };
    },
  });
  const all = await rig(t, 1, files);
  rootIno = statSync(all.source).ino;
  const [replica] = all.replicas as [Replica];
  const path = join(all.source, "one");
  utimesSync(path, 1, 1);
  all.backend.script.push((sink) => sink.attributes(...all.idOf("one")));
  all.backend.readable();
  const isEven = (): boolean => statSync(join(replica.path, "one")).mtimeMs === 1000;
  await all.until("the time is there", isEven);

  let changes = 0;
  surveyed = (): void => {
    if (changes++ > 0) return;
    const told = change(all, "one", "newer");
    utimesSync(path, 1, 1);
    all.backend.script.push(told);
    all.backend.readable();
  };
  replica.link!.close();
  await all.until("it is live again", () => replica.liveCount === 2);
  await all.until("it has the change", () => replica.content("one") === "newer");
  // Nothing was scanned but by the survey.
  assert.equal(changes, 1);
});
