/** A target that another link still has: a peer's may be dead without the target's knowing. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silentBackend } from "../../test/contract/silent-backend.ts";
import { linkWith } from "../../test/contract/changed-link.ts";
import type { SyncError } from "../base/index.ts";
import { ProblemLog } from "../model/index.ts";
import { linkLimits, memoryLinkPair } from "../transport/index.ts";
import { Open, type Timer, type World } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import { busyMsMax, Mirror } from "./mirror.ts";
import { serveLink } from "./target-service.ts";

interface Pair {
  mirror: Mirror;
  target: string;
  /** Holds the target; to be closed. */
  lockFd: number;
  retries: string[];
}

/** A source with one file, and a target that is locked. Time runs `speed` times as fast. */
function pair(context: TestContext, peerId: string | undefined, speed: number): Pair {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-busy-"));
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  for (const root of [source, target]) mkdirSync(root);
  writeFileSync(join(source, "file"), "content");
  const files = native();
  const open = (path: string): number =>
    files.openPath(Buffer.from(path), Open.read | Open.directory);
  const [rootFd, stateFd, lockFd] = [open(source), open(folder), open(target)];
  assert.equal(files.lockFile(lockFd), 0);
  const real = nodeWorld({ write: () => {} });
  const after = (delayMs: number, fire: () => void): Timer =>
    real.clock.after(delayMs / speed, fire);
  const monotonicUs = (): number => real.clock.monotonicUs() * speed;
  const world: World = { ...real, clock: { ...real.clock, after, monotonicUs } };
  const problems = new ProblemLog(() => {});
  const retries: string[] = [];
  const mirror = new Mirror({
    world,
    files,
    backend: silentBackend,
    rootFd,
    rootPath: Buffer.from(source),
    problems,
    share: "",
    subpath: "",
    device: "test",
    connect: () => {
      const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
      void serveLink(linkWith(far, { peerId }), {
        world,
        files,
        spool: { files, dirFd: stateFd },
        privileged: true,
        grant: () => ({ rootFd: open(target), path: target, problems }),
      });
      return Promise.resolve(near);
    },
    onLive: () => mirror.stop(),
    onRetry: (error: SyncError) => {
      retries.push(error.code);
      if (retries.length === 3 && speed < 1000) files.close(lockFd);
    },
  });
  const keepAlive = setInterval(() => {}, 1000);
  context.after(() => {
    clearInterval(keepAlive);
    for (const fd of [rootFd, stateFd]) files.close(fd);
    rmSync(folder, { recursive: true });
  });
  return { mirror, target, lockFd, retries };
}

test("a target that a dead link still has is tried again until it is free", async (context) => {
  const { mirror, target, retries } = pair(context, "peer", 50);
  await mirror.run();
  assert.deepEqual(retries, ["TARGET_BUSY", "TARGET_BUSY", "TARGET_BUSY"]);
  assert.equal(readFileSync(join(target, "file"), "utf8"), "content");
});

test("a target that stays another's ends the sync", async (context) => {
  const { mirror, lockFd, retries } = pair(context, "peer", busyMsMax);
  await assert.rejects(mirror.run(), { code: "TARGET_BUSY" });
  assert.ok(retries.length > 0);
  native().close(lockFd);
});

test("a target that this machine mirrors into already is refused at once", async (context) => {
  const { mirror, lockFd, retries } = pair(context, undefined, 50);
  await assert.rejects(mirror.run(), { code: "PEER_REFUSED" });
  assert.deepEqual(retries, []);
  native().close(lockFd);
});
