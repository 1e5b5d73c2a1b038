/**
 * Barriers on real files and real backends: what another process has written before the call is at
 * the target when the barrier is reached, also when the target was held up, the link cut, or
 * somebody else never stops writing.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { Gate } from "../../test/contract/changed-link.ts";
import { SyncError } from "../base/index.ts";
import {
  type BackendName,
  type CaptureBackend,
  openBackend,
  shareCapture,
} from "../capture/index.ts";
import { ProblemLog } from "../model/index.ts";
import { type Link, linkLimits, memoryLinkPair } from "../transport/index.ts";
import { Open } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import type { ReachedCut } from "./barriers.ts";
import { Mirror } from "./mirror.ts";
import { serveLink } from "./target-service.ts";

const waitMs = 20_000;

/** Does what a line says, and says `done`: this process' own changes are not captured. */
const writerProgram = `
const fs = require("node:fs");
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  for (const { how, path, text } of JSON.parse(line)) {
    if (how === "replace") {
      fs.writeFileSync(path + ".tmp", text);
      fs.renameSync(path + ".tmp", path);
    } else if (how === "place") {
      const fd = fs.openSync(path, fs.existsSync(path) ? "r+" : "w");
      fs.writeSync(fd, text, 0);
      fs.ftruncateSync(fd, text.length);
      fs.closeSync(fd);
    } else if (how === "mkdir") {
      fs.mkdirSync(path);
    } else if (how === "move") {
      fs.renameSync(path, text);
    } else if (how === "hammer") {
      let count = 0;
      const fd = fs.openSync(path, "w");
      const turn = () => {
        for (let i = 0; i < 20; i++) fs.writeSync(fd, String(count++).padEnd(4096), 0);
        setImmediate(turn);
      };
      turn();
    }
  }
  process.stdout.write("done\\n");
});`;

interface Change {
  how: "replace" | "place" | "mkdir" | "move" | "hammer";
  path: string;
  text?: string;
}

class Writer {
  readonly #child: ChildProcess;
  #done: () => void = () => {};

  constructor(t: TestContext) {
    this.#child = spawn(process.execPath, ["-e", writerProgram]);
    createInterface({ input: this.#child.stdout! }).on("line", () => this.#done());
    t.after(() => this.#child.kill("SIGKILL"));
  }

  /** Resolves in the turn in which it says that it is done: nothing was drained since. */
  write(changes: readonly Change[]): Promise<void> {
    return new Promise((resolve) => {
      this.#done = resolve;
      this.#child.stdin?.write(`${JSON.stringify(changes)}\n`);
    });
  }
}

interface Replica {
  path: string;
  gate: Gate;
  mirror: Mirror;
  /** The present link, to be cut. */
  link: Link | undefined;
}

interface Rig {
  source: string;
  backend: CaptureBackend;
  replicas: Replica[];
  writer: Writer;
  /** Resolves when the replica has everything that was written before. */
  flush(replica: Replica, mappedInodes?: readonly number[]): Promise<ReachedCut>;
}

/** Undefined when there is no such backend here. */
async function rig(t: TestContext, name: BackendName, count = 1): Promise<Rig | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-barriers-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const source = join(folder, "source");
  mkdirSync(source);
  const files = native();
  const open = (path: string): number =>
    files.openPath(Buffer.from(path), Open.read | Open.directory);
  const [rootFd, stateFd] = [open(source), open(folder)];
  const opened = openHere(t, name, rootFd);
  if (opened === undefined) return undefined;
  const world = nodeWorld({ write: () => {} });
  const replicas = shareCapture(opened, count).map((backend, index): Replica => {
    const path = join(folder, `target${index}`);
    mkdirSync(path);
    const gate = new Gate();
    const problems = new ProblemLog(() => {});
    const mirror = new Mirror({
      world,
      files,
      backend,
      rootFd,
      rootPath: Buffer.from(source),
      problems,
      share: "",
      subpath: "",
      device: "test",
      ignore: { first: [], last: [], readsFiles: true },
      connect: () => {
        const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
        replica.link = near;
        void serveLink(gate.through(far), {
          world,
          files,
          spool: { files, dirFd: stateFd },
          privileged: process.getuid?.() === 0,
          grant: () => ({ rootFd: open(path), path, problems }),
        });
        return Promise.resolve(near);
      },
      onLive: () => {},
      onRetry: () => {},
    });
    const replica: Replica = { path, gate, mirror, link: undefined };
    return replica;
  });
  const keepAlive = setInterval(() => {}, 1000);
  const ended = replicas.map(({ mirror }) => mirror.run());
  t.after(async () => {
    for (const { mirror, gate } of replicas) {
      gate.open();
      mirror.stop();
    }
    await Promise.allSettled(ended);
    clearInterval(keepAlive);
    opened.close();
    files.close(rootFd);
    files.close(stateFd);
  });
  const flush = (replica: Replica, mappedInodes: readonly number[] = []): Promise<ReachedCut> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("never reached")), waitMs);
      const reached = (cut: ReachedCut): void => {
        clearTimeout(timer);
        resolve(cut);
      };
      replica.mirror.barrier({ mappedInodes, reached });
    });
  return { source, backend: opened, replicas, writer: new Writer(t), flush };
}

function openHere(t: TestContext, name: BackendName, rootFd: number): CaptureBackend | undefined {
  try {
    return openBackend(native(), name, rootFd, false).backend;
  } catch (error) {
    if (!(error instanceof SyncError)) throw error;
    t.skip(`no backend ${name} here: ${error.message}`);
    return undefined;
  }
}

/** Numbers of which the same seed gives the same. */
function sequence(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Random changes, and what each file has after them. */
class Changes {
  readonly #source: string;
  readonly #pick: (below: number) => number;
  /** Text by path below the source. */
  readonly texts: Map<string, string> = new Map();
  readonly #folders: string[] = ["."];
  #count = 0;

  constructor(source: string, pick: (below: number) => number) {
    this.#source = source;
    this.#pick = pick;
  }

  next(): Change {
    const at = (path: string): string => join(this.#source, path);
    const pick = this.#pick;
    const paths = [...this.texts.keys()];
    const known = paths[pick(paths.length)];
    const folder = this.#folders[pick(this.#folders.length)] ?? ".";
    const fresh = join(folder, `n${this.#count++}`);
    const kind = pick(8);
    if (kind === 0 && this.#folders.length < 12) {
      this.#folders.push(fresh);
      return { how: "mkdir", path: at(fresh) };
    }
    if (kind === 1 && known !== undefined) {
      this.texts.set(fresh, this.texts.get(known)!);
      this.texts.delete(known);
      return { how: "move", path: at(known), text: at(fresh) };
    }
    const path = known === undefined || kind === 2 ? fresh : known;
    const text = `${this.#count}`.padEnd([10, 5000, 300_000][pick(3)]!, "x");
    this.texts.set(path, text);
    return { how: kind < 5 ? "replace" : "place", path: at(path), text };
  }

  check(target: string): void {
    for (const [path, text] of this.texts) {
      const there = existsSync(join(target, path)) ? readFileSync(join(target, path), "utf8") : "";
      assert.ok(there === text, `${path}: ${there.slice(0, 9)}… instead of ${text.slice(0, 9)}…`);
    }
  }
}

for (const backend of ["inotify", "ebpf"] as const) {
  for (const isHammered of [false, true]) {
    const beside = isHammered ? ", while another file never rests" : "";
    test(`${backend}: what was written before is there when it is reached${beside}`, async (t) => {
      const made = await rig(t, backend);
      if (made === undefined) return;
      const { source, replicas, writer, flush } = made;
      const [replica] = replicas as [Replica];
      const pick = sequence(isHammered ? 7 : 3);
      const changes = new Changes(source, pick);
      if (isHammered) {
        await new Writer(t).write([{ how: "hammer", path: join(source, "hammered") }]);
      }
      // The first is called before the target is live.
      for (let round = 0; round < 40; round++) {
        replica.gate.isShut = pick(3) === 0;
        const batch = Array.from({ length: 1 + pick(6) }, () => changes.next());
        await writer.write(batch);
        let isReached = false;
        const reached = flush(replica).then(() => (isReached = true));
        // Somebody else waits, too.
        const other = pick(3) === 0 ? flush(replica) : undefined;
        if (replica.gate.isShut) {
          for (let i = pick(30); i > 0; i--) await setImmediate();
          if (pick(8) === 0) replica.link?.destroy();
          assert.equal(isReached, false, "nothing has been applied");
          replica.gate.open();
        }
        await reached;
        changes.check(replica.path);
        await other;
      }
      if (!isHammered) assert.equal(replica.mirror.status()!.fuzzyEpochs, 0);
    });
  }
}

for (const backend of ["inotify", "ebpf"] as const) {
  test(`${backend}: what the kernel knows and nobody has asked for is there`, async (t) => {
    const made = await rig(t, backend);
    if (made === undefined) return;
    const { replicas, flush, source } = made;
    const [replica] = replicas as [Replica];
    await flush(replica);
    for (let turn = 0; turn < 20; turn++) {
      // The event loop has no turn between the write and the call.
      const args = ["-c", 'printf %s "$1" > "$2"', "sh", `${turn}`, join(source, `n${turn % 7}`)];
      execFileSync("sh", args);
      await flush(replica);
      assert.equal(readFileSync(join(replica.path, `n${turn % 7}`), "utf8"), `${turn}`);
    }
  });
}

test("an idle mirror is flushed by one drain, at once, and nothing is sent", async (t) => {
  const { replicas, flush, writer, source } = (await rig(t, "inotify"))!;
  const [replica] = replicas as [Replica];
  await writer.write([{ how: "place", path: join(source, "a"), text: "a" }]);
  const first = await flush(replica);
  const { bytesSent } = replica.mirror.status()!;
  let cut: ReachedCut | undefined;
  replica.mirror.barrier({ mappedInodes: [], reached: (reached) => (cut = reached) });
  for (let turns = 0; cut === undefined; turns++) {
    assert.ok(turns < 100, "nothing is waited for");
    await setImmediate();
  }
  assert.deepEqual(cut, first);
  assert.equal(replica.mirror.status()!.bytesSent, bytesSent);
});

test("one that is no longer waited for is not told", async (t) => {
  const { replicas, flush, writer, source } = (await rig(t, "inotify"))!;
  const [replica] = replicas as [Replica];
  await flush(replica);
  replica.gate.isShut = true;
  await writer.write([{ how: "place", path: join(source, "a"), text: "a" }]);
  let toldCount = 0;
  const leave = replica.mirror.barrier({ mappedInodes: [], reached: () => toldCount++ });
  await setImmediate();
  leave();
  replica.gate.open();
  await flush(replica);
  assert.equal(toldCount, 0);
});

test("a target that is held up holds up no flush of another", async (t) => {
  const { replicas, flush, writer, source } = (await rig(t, "inotify", 2))!;
  const [slow, other] = replicas as [Replica, Replica];
  await Promise.all(replicas.map((replica) => flush(replica)));
  slow.gate.isShut = true;
  for (let turn = 0; turn < 10; turn++) {
    await writer.write([{ how: "place", path: join(source, "a"), text: `${turn}` }]);
    let isReached = false;
    const late = flush(slow).then(() => (isReached = true));
    await flush(other);
    assert.equal(readFileSync(join(other.path, "a"), "utf8"), `${turn}`);
    assert.equal(isReached, false);
    if (turn < 9) continue;
    slow.gate.open();
    await late;
    assert.equal(readFileSync(join(slow.path, "a"), "utf8"), `${turn}`);
  }
});

test("what a changed rule file uncovers is there as well", async (t) => {
  const { replicas, flush, source, writer } = (await rig(t, "inotify"))!;
  const [replica] = replicas as [Replica];
  const rules = join(source, ".lockstepignore");
  const hidden = join(source, "hidden");
  await writer.write([
    { how: "replace", path: rules, text: "hidden\n" },
    { how: "place", path: hidden, text: "h" },
  ]);
  await flush(replica);
  assert.ok(existsSync(join(replica.path, ".lockstepignore")));
  assert.equal(existsSync(join(replica.path, "hidden")), false);
  await writer.write([{ how: "replace", path: rules, text: "other\n" }]);
  await flush(replica);
  assert.equal(readFileSync(join(replica.path, "hidden"), "utf8"), "h");
});

/** Stores through a mapping for each line of input. */
const storing = `
import mmap, sys
file = open(sys.argv[1], "r+b")
view = mmap.mmap(file.fileno(), 0)
file.close()
for turn, line in enumerate(sys.stdin):
    view[0:4] = b"%04d" % turn
    print("stored", flush=True)
`;

for (const backend of ["inotify", "ebpf"] as const) {
  test(`${backend}: what was stored through a mapping is there`, async (t) => {
    const made = await rig(t, backend);
    if (made === undefined) return;
    const { replicas, flush, source } = made;
    const [replica] = replicas as [Replica];
    const path = join(source, "mapped");
    writeFileSync(path, Buffer.alloc(8192));
    await flush(replica);
    const child = spawn("python3", ["-c", storing, path]);
    t.after(() => child.kill("SIGKILL"));
    let isMissing = false;
    child.on("error", () => (isMissing = true));
    let stored: () => void = () => {};
    createInterface({ input: child.stdout }).on("line", () => stored());
    const { ino } = statSync(path);
    for (let turn = 0; turn < 12; turn++) {
      const done = new Promise<void>((resolve) => (stored = resolve));
      child.stdin.write("\n");
      await Promise.race([done, sleep(waitMs)]);
      if (isMissing) return t.skip("needs python3");
      await flush(replica, backend === "inotify" ? [ino] : []);
      const there = readFileSync(join(replica.path, "mapped")).subarray(0, 4).toString();
      assert.equal(there, String(turn).padStart(4, "0"));
    }
  });
}
