/** Holds alone, and in a session on real files: a target that is held stays as it is. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import type { SyncError } from "../base/index.ts";
import { openBackend } from "../capture/index.ts";
import { ProblemLog } from "../model/index.ts";
import { type Link, linkLimits, memoryLinkPair } from "../transport/index.ts";
import { FakeClock, Open, type World } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import { epochCountMax, lowEpochCountMax, silenceMsMax } from "./limits.ts";
import { Mirror } from "./mirror.ts";
import { cleanWaitMsMax, type HeldCut, TargetHold } from "./target-hold.ts";
import { serveLink } from "./target-service.ts";
import type { TargetSession } from "./target-session.ts";

const waitMs = 20_000;

function fakeClock(): FakeClock {
  return new FakeClock({ startUs: 0, wallStartMs: 0, eventsMax: 10 });
}

function applied(epoch: number, isFuzzy: boolean): Parameters<TargetHold["stops"]>[0] {
  return { epoch, cutWallMs: epoch * 10, isFuzzy };
}

function held(hold: TargetHold): { cuts: HeldCut[]; lostCount: number; letGo: () => void } {
  const told = { cuts: [] as HeldCut[], lostCount: 0, letGo: () => {} };
  const letGo = hold.begin({ held: (cut) => told.cuts.push(cut), lost: () => told.lostCount++ });
  assert.ok(letGo !== undefined);
  told.letGo = letGo;
  return told;
}

test("a hold begins after a clean epoch, and stops all further ones until it is let go", () => {
  const hold = new TargetHold(fakeClock(), () => {});
  assert.equal(hold.stops(applied(1, false)), false);
  const told = held(hold);
  assert.equal(hold.begin({ held: () => {}, lost: () => {} }), undefined, "one at a time");
  assert.equal(hold.stops(applied(1, true)), false, "a fuzzy epoch is no moment");
  assert.equal(hold.stops(applied(2, false)), true);
  assert.equal(hold.stops(applied(2, false)), true);
  assert.deepEqual(told.cuts, [{ epoch: 2, wallMs: 20, isFuzzy: false }]);
  told.letGo();
  told.letGo();
  assert.equal(hold.stops(applied(2, false)), false);
  assert.equal(told.lostCount, 0);
});

test("when no epoch is clean for long it holds where it stands, and says so", () => {
  const clock = fakeClock();
  let wakeCount = 0;
  const hold = new TargetHold(clock, () => wakeCount++);
  const told = held(hold);
  assert.equal(hold.stops(applied(1, true)), false);
  clock.advance(cleanWaitMsMax);
  assert.equal(wakeCount, 2);
  assert.equal(hold.stops(applied(3, true)), true);
  assert.deepEqual(told.cuts, [{ epoch: 3, wallMs: 30, isFuzzy: true }]);
});

test("a session that ends tells whoever holds, once", () => {
  const hold = new TargetHold(fakeClock(), () => {});
  const told = held(hold);
  hold.lost();
  hold.lost();
  told.letGo();
  assert.equal(told.lostCount, 1);
  assert.equal(hold.isOn, false);
});

/** Everything that waits for a time waits this many times shorter. */
const hurry = 100;

interface Rig {
  source: string;
  target: string;
  mirror: Mirror;
  session: () => TargetSession;
  link: () => Link;
  retries: SyncError[];
}

async function rig(t: TestContext): Promise<Rig> {
  const folder = fs.mkdtempSync(join(tmpdir(), "lockstep-hold-"));
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  for (const path of [source, target]) fs.mkdirSync(path);
  fs.writeFileSync(join(source, "file"), "0");
  const files = native();
  const open = (path: string): number =>
    files.openPath(Buffer.from(path), Open.read | Open.directory);
  const [rootFd, stateFd] = [open(source), open(folder)];
  const { backend } = openBackend(files, "inotify", rootFd);
  const real = nodeWorld({ write: () => {} });
  const clock: World["clock"] = {
    ...real.clock,
    monotonicUs: () => real.clock.monotonicUs() * hurry,
    // Never early: a millisecond is long here.
    after: (delayMs, fire) => real.clock.after(delayMs / hurry + 1, fire),
  };
  const world: World = { ...real, clock };
  const problems = new ProblemLog(() => {});
  const retries: SyncError[] = [];
  let session: TargetSession | undefined;
  let link: Link | undefined;
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
      link = near;
      void serveLink(far, {
        world,
        files,
        spool: { files, dirFd: stateFd },
        privileged: true,
        grant: () => ({
          rootFd: open(target),
          path: target,
          problems,
          onSession: (opened) => (session = opened),
        }),
      });
      return Promise.resolve(near);
    },
    onLive: () => live(),
    onRetry: (error) => retries.push(error),
  });
  const keepAlive = setInterval(() => {}, 1000);
  const ended = mirror.run();
  t.after(async () => {
    mirror.stop();
    await ended.catch(() => {});
    clearInterval(keepAlive);
    backend.close();
    files.close(rootFd);
    files.close(stateFd);
    fs.rmSync(folder, { recursive: true });
  });
  await isLive;
  return { source, target, mirror, session: () => session!, link: () => link!, retries };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const limit = performance.now() + waitMs;
  for (; !holds(); await setImmediate()) assert.ok(performance.now() < limit, `never: ${what}`);
}

test("a target that is held stays as it is, longer than silence may last", async (t) => {
  const { source, target, mirror, session, retries } = await rig(t);
  let cut: HeldCut | undefined;
  const letGo = session().hold({ held: (told) => (cut = told), lost: () => assert.fail() });
  await until("it is held", () => cut !== undefined);
  assert.equal(cut!.epoch, session().status.epoch);
  const content = fs.readFileSync(join(target, "file"), "utf8");
  // More than may wait: the link is not read any more, so no ping is answered.
  let writes = 0;
  const sent = mirror.status()!.sentEpoch;
  const wanted = sent + epochCountMax + lowEpochCountMax + 20;
  await until("more was sent than is taken", () => {
    fs.writeFileSync(join(source, "file"), `${++writes}`);
    return mirror.status()!.sentEpoch > wanted;
  });
  const startedMs = performance.now();
  while (performance.now() - startedMs < (3 * silenceMsMax) / hurry) {
    fs.writeFileSync(join(source, "file"), `${++writes}`);
    await sleep(5);
    assert.equal(fs.readFileSync(join(target, "file"), "utf8"), content);
  }
  assert.equal(session().status.epoch, cut!.epoch);
  assert.deepEqual(retries, []);
  letGo!();
  await until("it is equal", () => fs.readFileSync(join(target, "file"), "utf8") === `${writes}`);
  assert.deepEqual(retries, []);
});

test("a link that is lost ends the hold, and what had arrived whole is applied", async (t) => {
  const { source, target, session, link, mirror } = await rig(t);
  let [isHeld, lostCount] = [false, 0];
  const letGo = session().hold({ held: () => (isHeld = true), lost: () => lostCount++ });
  await until("it is held", () => isHeld);
  assert.equal(session().hold({ held: () => {}, lost: () => {} }), undefined, "one at a time");
  const sent = mirror.status()!.sentEpoch;
  fs.writeFileSync(join(source, "file"), "last");
  await until("it is sent", () => mirror.status()!.sentEpoch > sent);
  const former = session();
  link().destroy();
  await until("whoever holds is told", () => lostCount === 1);
  assert.equal(former.hold({ held: () => {}, lost: () => {} }), undefined, "it has ended");
  await until("it is equal", () => fs.readFileSync(join(target, "file"), "utf8") === "last");
  letGo!();
  assert.equal(lostCount, 1);
});
