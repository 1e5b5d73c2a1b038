/** The source's session on real files, with a scripted kernel: what the cut must ask of capture. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { CaptureBackend, ChangeSink } from "../capture/index.ts";
import { ProblemLog } from "../model/index.ts";
import { linkLimits, memoryLinkPair } from "../transport/index.ts";
import { Open, Stat, statSlots } from "../world/index.ts";
import { native, nodeWorld, stderrLog } from "../world/node/index.ts";
import { Mirror } from "./mirror.ts";
import { serveLink } from "./target-service.ts";

class ScriptedBackend implements CaptureBackend {
  readonly name = "ebpf";
  readonly tellsExtents = true;
  readonly droppedCount = 0;
  drainCount = 0;
  readable: () => void = () => {};
  /** What the next drains tell, one entry each. */
  readonly script: ((sink: ChangeSink) => void)[] = [];

  start(readable: () => void): void {
    this.readable = readable;
  }

  drain(sink: ChangeSink): boolean {
    this.drainCount++;
    this.script.shift()?.(sink);
    return false;
  }

  watchDirectory(): number {
    return 0;
  }

  unwatchDirectory(): void {}

  close(): void {}
}

test("a change told while a cut is validated costs a round, which is validated too", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-session-"));
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  mkdirSync(source);
  mkdirSync(target);
  writeFileSync(join(source, "file"), "first");
  const files = native();
  const open = (path: string): number =>
    files.openPath(Buffer.from(path), Open.read | Open.directory);
  const [rootFd, stateFd] = [open(source), open(folder)];
  const world = nodeWorld(stderrLog("error"));
  const backend = new ScriptedBackend();
  const problems = new ProblemLog(() => {});
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
    connect: () => {
      const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
      void serveLink(far, {
        world,
        files,
        spool: { files, dirFd: stateFd },
        privileged: true,
        grant: () => ({ rootFd: open(target), path: target, problems }),
      });
      return Promise.resolve(near);
    },
    onLive: () => live(),
    onRetry: () => {},
  });
  const keepAlive = setInterval(() => {}, 1000);
  const ended = mirror.run();
  await isLive;

  const stat = new Float64Array(statSlots);
  files.statAt(rootFd, Buffer.from("file"), stat);
  const write = (sink: ChangeSink): void =>
    sink.written(stat[Stat.ino]!, stat[Stat.gen]!, 0, 5, 1, false, false);
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

  mirror.stop();
  await ended;
  clearInterval(keepAlive);
  assert.equal(statSync(join(target, "file")).size, 5);
  files.close(rootFd);
  files.close(stateFd);
  rmSync(folder, { recursive: true });
});
