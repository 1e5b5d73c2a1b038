/** The source's session on real files, with a scripted kernel: what the cut must ask of capture. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setImmediate, setTimeout } from "node:timers/promises";
import { linkDelivering } from "../../test/contract/changed-link.ts";
import type { SyncError } from "../base/index.ts";
import { type CaptureBackend, type ChangeSink, NameChange } from "../capture/index.ts";
import { ProblemLog } from "../model/index.ts";
import { type Link, linkLimits, memoryLinkPair } from "../transport/index.ts";
import type { Hello } from "../wire/index.ts";
import { type Files, Open, Stat, statSlots, type Timer, type World } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import { failedCountMax, Mirror } from "./mirror.ts";
import type { TargetPromises } from "./target-options.ts";
import { serveLink } from "./target-service.ts";

class ScriptedBackend implements CaptureBackend {
  readonly name = "ebpf";
  readonly tellsExtents = true;
  readonly droppedCount = 0;
  drainCount = 0;
  /** Drains, from the next on, that have more to tell than they could. */
  unfinishedCount = 0;
  readable: () => void = () => {};
  /** What the next drains tell, one entry each. */
  readonly script: ((sink: ChangeSink) => void)[] = [];

  start(readable: () => void): void {
    this.readable = readable;
  }

  drain(sink: ChangeSink): boolean {
    this.drainCount++;
    this.script.shift()?.(sink);
    return this.unfinishedCount-- > 0;
  }

  watchDirectory(): number {
    return 0;
  }

  unwatchDirectory(): void {}

  close(): void {}
}

interface Pair {
  backend: ScriptedBackend;
  mirror: Mirror;
  /** Resolves or rejects when the mirror has ended. */
  ended: Promise<void>;
  source: string;
  target: string;
  retries: SyncError[];
  logged: string[];
  /** Tells a write of 5 bytes at the beginning of the file. */
  write: (sink: ChangeSink) => void;
  /** Tells a new name in the root. */
  created: (sink: ChangeSink, name: string) => void;
}

interface PairOptions {
  /** What the target works with. */
  targetFiles?: (files: Files) => Files;
  /** Bytes that the target is given at once, at most. */
  pieceBytesMax?: number;
  /** What the target is held to. */
  promises?: TargetPromises;
  onHello?: (hello: Hello) => void;
}

/** A source with one file and an empty target, joined by a memory link. Timers run fast. */
async function pair(context: TestContext, options: PairOptions = {}): Promise<Pair> {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-session-"));
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  mkdirSync(source);
  mkdirSync(target);
  writeFileSync(join(source, "file"), "first");
  const files = native();
  const open = (path: string): number =>
    files.openPath(Buffer.from(path), Open.read | Open.directory);
  const [rootFd, stateFd] = [open(source), open(folder)];
  const logged: string[] = [];
  const real = nodeWorld({ write: (_, message) => logged.push(message) });
  const after = (delayMs: number, fire: () => void): Timer => real.clock.after(delayMs / 50, fire);
  const world: World = { ...real, clock: { ...real.clock, after } };
  const backend = new ScriptedBackend();
  const problems = new ProblemLog(() => {});
  const retries: SyncError[] = [];
  let live: () => void = () => {};
  const isLive = new Promise<void>((resolve) => (live = resolve));
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
    ...(options.promises === undefined ? {} : { promises: options.promises }),
    connect: () => {
      const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
      void serveLink(inPieces(far, options.pieceBytesMax ?? Infinity), {
        world,
        files: options.targetFiles?.(files) ?? files,
        // They would go past the calls that a test replaces.
        ...(options.targetFiles === undefined ? { lanes: native() } : {}),
        spool: { files, dirFd: stateFd },
        privileged: true,
        grant: (hello) => {
          options.onHello?.(hello);
          return { rootFd: open(target), path: target, problems };
        },
      });
      return Promise.resolve(near);
    },
    onLive: () => live(),
    onRetry: (error) => retries.push(error),
  });
  const keepAlive = setInterval(() => {}, 1000);
  const ended = mirror.run();
  context.after(async () => {
    mirror.stop();
    await ended.catch(() => {});
    clearInterval(keepAlive);
    files.close(rootFd);
    files.close(stateFd);
    rmSync(folder, { recursive: true });
  });
  await Promise.race([isLive, ended.catch(() => {})]);
  const stat = new Float64Array(statSlots);
  files.statAt(rootFd, Buffer.from("file"), stat);
  const write = (sink: ChangeSink): void =>
    sink.written(stat[Stat.ino]!, stat[Stat.gen]!, 0, 5, 1, false, false);
  const root = new Float64Array(statSlots);
  files.statAt(rootFd, new Uint8Array(0), root);
  const created = (sink: ChangeSink, name: string): void =>
    sink.name(root[Stat.ino]!, root[Stat.gen]!, Buffer.from(name), 0, 0, NameChange.created);
  return { backend, mirror, ended, source, target, retries, logged, write, created };
}

/** The link, but what comes is handed over in pieces. */
function inPieces(link: Link, pieceBytesMax: number): Link {
  return linkDelivering(link, (bytes, onData) => {
    for (let at = 0; at < bytes.length; at += pieceBytesMax) {
      onData(bytes.subarray(at, at + pieceBytesMax));
    }
  });
}

test("a change told while a cut is validated costs a round, which is validated too", async (t) => {
  const { backend, mirror, write } = await pair(t);
  const before = mirror.status()!;
  const drained = backend.drainCount;
  // Told when the kernel calls; told again by the drain that validates; then nothing more.
  backend.script.push(write, write);
  backend.readable();
  const after = mirror.status()!;
  assert.equal(after.epochs, before.epochs + 1);
  assert.equal(after.fuzzyEpochs, before.fuzzyEpochs);
  assert.equal(after.rounds, before.rounds + 2, "the conflict costs one more round");
  assert.equal(backend.drainCount, drained + 3, "the second round was validated as well");
});

test("the target is told in the hello what it is held to", async (t) => {
  const promises = { durability: "power", consistency: "strict" } as const;
  const heard: Hello[] = [];
  await pair(t, { promises, onHello: (hello) => heard.push(hello) });
  await pair(t, { onHello: (hello) => heard.push(hello) });
  const told = heard.map(({ durability, consistency }) => [durability, consistency]);
  assert.deepEqual(told, [
    ["power", "strict"],
    [undefined, undefined],
  ]);
});

test("a drain that could not tell all is no validation", async (t) => {
  const { backend, mirror, write, source, target } = await pair(t);
  const before = mirror.status()!;
  backend.script.push(write, () => {
    // 64 full drains and the events of one more: the kernel is faster than one step.
    backend.unfinishedCount = 65;
  });
  writeFileSync(join(source, "file"), "other");
  backend.readable();
  while (mirror.status()!.ackedEpoch === before.ackedEpoch) await setImmediate();
  const after = mirror.status()!;
  assert.equal(after.epochs, before.epochs + 1);
  assert.ok(after.rounds >= before.rounds + 2, "what it read was read again");
  assert.equal(after.fuzzyEpochs, before.fuzzyEpochs);
  assert.equal(readFileSync(join(target, "file"), "utf8"), "other");
});

test("a change of a name told while a small write is validated is in the same epoch", async (t) => {
  const { backend, mirror, write, created, source, target } = await pair(t);
  const before = mirror.status()!;
  writeFileSync(join(source, "file"), "again");
  backend.script.push(write, (sink) => {
    writeFileSync(join(source, "file"), "third");
    writeFileSync(join(source, "new"), "new");
    write(sink);
    created(sink, "new");
  });
  backend.readable();
  const after = mirror.status()!;
  assert.equal(after.fuzzyEpochs, before.fuzzyEpochs);
  assert.equal(after.epochs, before.epochs + 1);
  assert.equal(readFileSync(join(target, "file"), "utf8"), "third");
  assert.equal(readFileSync(join(target, "new"), "utf8"), "new");
});

for (const pieceBytesMax of [1, 7, 40, Infinity]) {
  test(`small writes arrive, handed over ${pieceBytesMax} bytes at once`, async (t) => {
    const { backend, mirror, write, source, target } = await pair(t, { pieceBytesMax });
    const before = mirror.status()!;
    for (const content of ["1st..", "2nd..", "3rd.."]) {
      writeFileSync(join(source, "file"), content);
      backend.script.push(write);
      backend.readable();
      assert.equal(
        readFileSync(join(target, "file"), "utf8"),
        content,
        "applied in this very call",
      );
    }
    assert.equal(mirror.status()!.sentEpoch, before.sentEpoch + 3);
    while (mirror.status()!.ackedEpoch < before.sentEpoch + 3) await setImmediate();
    const { bytesInFlight, fuzzyEpochs } = mirror.status()!;
    assert.equal(bytesInFlight, 0, "every byte has been acknowledged");
    assert.equal(fuzzyEpochs, before.fuzzyEpochs);
  });
}

test("a bug of the target is told to the source, tried again, and ends the sync", async (t) => {
  const targetFiles = (files: Files): Files => ({
    ...files,
    pwrite: () => {
      throw new TypeError("broken");
    },
  });
  const { ended, retries, logged } = await pair(t, { targetFiles });
  await assert.rejects(ended, { code: "SESSION_FAILED", message: /a bug in the target: broken/ });
  assert.deepEqual(
    retries.map((error) => error.code),
    new Array(failedCountMax).fill("SESSION_FAILED"),
  );
  const bugs = logged.filter((line) => line === "a bug has ended the session of the target");
  assert.equal(bugs.length, failedCountMax + 1);
});

test("a bug of the target in the shortcut is one as well", async (t) => {
  let isBroken = false;
  const targetFiles = (files: Files): Files => ({
    ...files,
    pwrite: (...args) => {
      if (isBroken) throw new TypeError("broken");
      return files.pwrite(...args);
    },
  });
  const { backend, write, retries, source, target, mirror } = await pair(t, { targetFiles });
  // The shortcut is for actors at rest: they may have left something of the first turn.
  await setTimeout(20);
  isBroken = true;
  writeFileSync(join(source, "file"), "other");
  backend.script.push(write);
  backend.readable();
  isBroken = false;
  while (retries.length === 0 || mirror.status()?.live !== true) await setTimeout(5);
  assert.deepEqual(
    retries.map((error) => error.code),
    ["SESSION_FAILED"],
  );
  assert.equal(readFileSync(join(target, "file"), "utf8"), "other");
});

test("a bug of the source ends the sync and is told to the target", async (t) => {
  const { backend, ended, logged, target } = await pair(t);
  backend.script.push(() => {
    throw new TypeError("broken");
  });
  backend.readable();
  await assert.rejects(ended, { name: "TypeError", message: "broken" });
  assert.ok(logged.includes("a bug has ended the session of the source"));
  assert.equal(readFileSync(join(target, "file"), "utf8"), "first");
});
