/**
 * A large epoch, recorded and applied in slices, by a real target with a source made by hand: what
 * others see of it in its middle, and what becomes of it when it is cut short there.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setImmediate } from "node:timers/promises";
import { JournalFile, recover, type Recovery } from "../journal/index.ts";
import { ProblemLog } from "../model/index.ts";
import { type Link, linkLimits, memoryLinkPair } from "../transport/index.ts";
import { Open, type World } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import {
  CommitFlag,
  encodeControl,
  FrameReader,
  FrameType,
  OpWriter,
  protocolVersion,
} from "../wire/index.ts";
import { journalPlace } from "./journal-place.ts";
import { drainMsMax, largeDrainMsMax } from "./limits.ts";
import { serveLink } from "./target-service.ts";
import type { HeldCut } from "./target-hold.ts";
import type { TargetSession } from "./target-session.ts";

const fileCount = 200;
const slices = { fromBytes: 2000, lookBytes: 4000, us: 0 };
const bootId = "boot";

interface Rig {
  target: string;
  near: Link;
  session: () => TargetSession;
  writer: OpWriter;
  served: Promise<unknown>;
  pongs: () => number;
  /** Nothing that waits for a later turn happens any more. */
  freeze: () => void;
  /** As whoever comes next. */
  recover: () => Recovery;
  /** Files that the target has. */
  count: () => number;
  until: (isSo: () => boolean, what: string) => Promise<void>;
}

/** A live target. `hastyMs`: what waits as long waits for nothing. */
async function rig(context: TestContext, hastyMs?: number): Promise<Rig> {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-slices-"));
  const target = join(folder, "target");
  mkdirSync(target);
  const files = native();
  const open = (path: string): number =>
    files.openPath(Buffer.from(path), Open.read | Open.directory);
  const stateFd = open(folder);
  const real = nodeWorld({ write: () => {} });
  let isFrozen = false;
  const clock: World["clock"] = {
    ...real.clock,
    defer: (fire) => real.clock.defer(() => void (isFrozen || fire())),
    after: (delayMs, fire) => real.clock.after(delayMs === hastyMs ? 0 : delayMs, fire),
  };
  const world: World = { ...real, clock };
  const [near, far] = memoryLinkPair({ clock: real.clock, limits: linkLimits });
  let session: TargetSession | undefined;
  const served = serveLink(far, {
    world,
    files,
    spool: { files, dirFd: stateFd },
    privileged: true,
    bootId,
    slices,
    grant: () => ({
      rootFd: open(target),
      path: target,
      problems: new ProblemLog(() => {}),
      onSession: (own) => (session = own),
    }),
  });
  let [pongCount, isTold] = [0, false];
  const reader = new FrameReader((type) => {
    if (type === FrameType.pong) pongCount++;
    if (type === FrameType.manifestEnd) isTold = true;
  });
  near.start({ onData: (bytes) => reader.push(bytes), onDrain: () => {}, onClose: () => {} });
  context.after(async () => {
    near.destroy();
    if (!isFrozen) await served;
    files.close(stateFd);
    rmSync(folder, { recursive: true });
  });
  const writer = new OpWriter((piece) => near.send(piece.slice()));
  const hello = { protocol: protocolVersion, version: "0", features: [] };
  const asked = { intent: "send" as const, share: "", subpath: "", device: "test" };
  writer.control(FrameType.hello, encodeControl({ ...hello, ...asked }));
  const until: Rig["until"] = async (isSo, what) => {
    for (let i = 0; !isSo(); i++) {
      assert.ok(i < 200_000, `never: ${what}`);
      await setImmediate();
    }
  };
  await until(() => isTold, "the manifest");
  writer.commit(1, CommitFlag.live, 1);
  await until(() => session?.status.live === true, "live");
  return {
    target,
    near,
    session: () => session!,
    writer,
    served,
    until,
    pongs: () => pongCount,
    freeze: () => void (isFrozen = true),
    count: () => readdirSync(target).filter((name) => name.startsWith("f")).length,
    recover: () => {
      const rootFd = open(target);
      const file = JournalFile.openExisting(
        journalPlace(target, { files, dirFd: stateFd }, real, bootId),
      )!;
      try {
        return recover({ files, rootFd, file, problems: new ProblemLog(() => {}), bootId });
      } finally {
        file.close();
        files.close(rootFd);
      }
    },
  };
}

/** Epoch 2: many small files, and one copy within the target. */
function sendLarge(writer: OpWriter): void {
  for (let i = 0; i < fileCount; i++) {
    const node = i + 2;
    writer.create(node, 0o100644, 0, new Uint8Array(0));
    const content = Buffer.from(`content ${i}`);
    const space = writer.beginWrite(node, 0, content.length);
    space.bytes.set(content, space.offset);
    writer.endWrite(content.length);
    writer.place(node, 1, Buffer.from(`f${i}`));
  }
  writer.clone(3, 9, { node: 2, position: 0 }, 9);
  writer.commit(2, 0, 2);
}

function checkWhole({ target, count }: Rig): void {
  assert.equal(count(), fileCount);
  assert.equal(readFileSync(join(target, "f1"), "utf8"), "content 1content 0");
  for (const i of [0, 2, fileCount - 1]) {
    assert.equal(readFileSync(join(target, `f${i}`), "utf8"), `content ${i}`);
  }
  const left = readdirSync(target).filter((name) => name.startsWith("."));
  assert.deepEqual(left, []);
}

const isAmid = ({ count }: Rig): boolean => count() > 0 && count() < fileCount;

test("others are served in the middle of a large epoch, not shown as applied", async (t) => {
  const own = await rig(t);
  sendLarge(own.writer);
  let amidCount = 0;
  for (let i = 0; own.session().status.epoch < 2; i++) {
    assert.ok(i < 100_000);
    const before = own.pongs();
    own.writer.control(FrameType.ping, new Uint8Array(8));
    await own.until(() => own.pongs() > before, "a pong");
    if (!isAmid(own)) continue;
    amidCount++;
    assert.equal(own.session().status.epoch, 1);
  }
  assert.ok(amidCount > 5, `answered ${amidCount} times`);
  checkWhole(own);
});

test("a hold that is asked for in the middle begins at the end", async (t) => {
  const own = await rig(t);
  sendLarge(own.writer);
  await own.until(() => isAmid(own), "some of it applied");
  const cuts: HeldCut[] = [];
  const letGo = own.session().hold({
    held: (at) => {
      cuts.push(at);
      assert.equal(own.count(), fileCount);
    },
    lost: () => assert.fail("lost"),
  });
  assert.equal(cuts.length, 0);
  own.writer.unlink(1, Buffer.from("f0"));
  own.writer.commit(3, 0, 3);
  await own.until(() => cuts.length > 0, "held");
  assert.equal(cuts[0]?.epoch, 2);
  await setImmediate();
  assert.equal(own.count(), fileCount, "nothing is applied while it is held");
  letGo!();
  await own.until(() => own.session().status.epoch === 3, "the next epoch");
  assert.equal(own.count(), fileCount - 1);
});

test("a link that is lost in the middle leaves the target at the end of the epoch", async (t) => {
  const own = await rig(t);
  sendLarge(own.writer);
  await own.until(() => isAmid(own), "some of it applied");
  own.near.destroy();
  await own.served;
  checkWhole(own);
  assert.deepEqual(own.recover(), {
    cut: { epoch: 2, wallMs: 2, isFuzzy: false },
    redone: 0,
    lost: "",
  });
});

test("what a process leaves when it dies between two slices is finished", async (t) => {
  for (const share of [0, 0.1, 0.5, 0.95]) {
    const own = await rig(t);
    sendLarge(own.writer);
    const isFar = (): boolean => own.count() > 0 && own.count() >= share * fileCount;
    await own.until(isFar, "so much of it applied");
    own.freeze();
    assert.ok(isAmid(own), `${own.count()} at ${share}`);
    assert.equal(own.recover().cut?.epoch, 2);
    checkWhole(own);
  }
});

test("what has not been recorded whole was never there", async (t) => {
  const own = await rig(t);
  let turns = 0;
  sendLarge(own.writer);
  // It has arrived, and is being put down.
  await own.until(() => own.session().status.nodes >= 0 && ++turns > 6, "some turns");
  own.freeze();
  assert.equal(own.count(), 0);
  assert.equal(own.recover().cut?.epoch, 1);
  assert.deepEqual(readdirSync(own.target), []);
});

test("a target that has to end in the middle leaves the rest to the journal", async (t) => {
  for (const [isAsked, hastyMs] of [
    [true, drainMsMax],
    [false, largeDrainMsMax],
  ] as const) {
    const own = await rig(t, hastyMs);
    sendLarge(own.writer);
    await own.until(() => isAmid(own), "some of it applied");
    if (isAsked) own.session().stop(true);
    else own.near.destroy();
    await own.served;
    assert.ok(isAmid(own), "it ended in time");
    const found = own.recover();
    assert.equal(found.cut?.epoch, 2);
    assert.ok(found.redone > 0);
    checkWhole(own);
  }
});
