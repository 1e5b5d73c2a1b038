import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Errno, type Files, scanEntryFixedBytes, Stat, statSlots } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { CutRig, Script } from "./cutter.fuzz.ts";

/** A pair that is equal and live, of which the target remembers what it is told. */
function live(
  context: TestContext,
  make: (script: Script) => void,
): { rig: CutRig; script: Script } {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  make(script);
  rig.takesOrigins = true;
  rig.start();
  rig.settle();
  return { rig, script };
}

/** What a stat says of a file of the source now. */
function originOf(script: Script, path: string) {
  const { ino, ctimeNs } = fs.lstatSync(script.at(path), { bigint: true });
  return { ino: Number(ino), ctimeNs };
}

/** The origin that the target has been told of the file at this path. */
function toldOf(rig: CutRig, path: string) {
  const node = rig.nodeAt(path);
  const { ino, ctimeSec, ctimeNsec } = rig.targetOrigins.get(node);
  return { ino, ctimeNs: BigInt(ctimeSec) * 1_000_000_000n + BigInt(ctimeNsec) };
}

test("a write tells the ctime in its TIMES, without a further frame", (context) => {
  const { rig, script } = live(context, (s) => s.create("a", "content"));
  assert.deepEqual(toldOf(rig, "a"), originOf(script, "a"));
  script.write("a", 2, Buffer.from("XY"));
  const [epoch] = rig.settle();
  assert.deepEqual(epoch!.frames, { write: 1, times: 1 });
  assert.deepEqual(toldOf(rig, "a"), originOf(script, "a"));
});

test("a change of names or permissions tells the ctime that it has made", (context) => {
  const { rig, script } = live(context, (s) => s.create("a", "content"));
  script.chmod("a", 0o600);
  rig.settle();
  assert.deepEqual(toldOf(rig, "a"), originOf(script, "a"));
  script.rename("a", "b");
  script.link("b", "c");
  rig.settle();
  assert.deepEqual(toldOf(rig, "b"), originOf(script, "b"));
  script.unlink("b");
  rig.settle();
  assert.deepEqual(toldOf(rig, "c"), originOf(script, "c"));
});

test("folders, links and pipes have an origin without a ctime", (context) => {
  const { rig, script } = live(context, (s) => {
    s.mkdir("d");
    s.symlink("x", "l");
    execFileSync("mkfifo", [s.at("p")]);
  });
  for (const path of ["d", "l", "p"]) {
    assert.deepEqual(toldOf(rig, path), { ino: originOf(script, path).ino, ctimeNs: 0n }, path);
  }
});

test("a file that changes while its epoch is cut is in doubt until it is read", (context) => {
  const { rig, script } = live(context, (s) => s.create("a", new Uint8Array(10_000)));
  script.write("a", 0, Buffer.from("first"));
  let drains = 0;
  // Another part of the file: what was read is still true, but is not all that is in it.
  rig.onDrain = () => {
    if (++drains === 2) script.write("a", 9000, Buffer.from("second"));
  };
  const seen: bigint[] = [];
  rig.onCommit = () => void seen.push(toldOf(rig, "a").ctimeNs);
  const epochs = rig.settle();
  assert.deepEqual(epochs[0]!.frames, { write: 1, times: 1, origin: 1 });
  assert.deepEqual(seen, [0n, originOf(script, "a").ctimeNs]);
});

test("content that could not be read leaves doubt, which a look does not end", (context) => {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  script.create("a", new Uint8Array(5000));
  rig.takesOrigins = true;
  let isRefused = false;
  const { pread } = native();
  rig.start(
    Object.create(native(), {
      pread: {
        value: (...args: Parameters<typeof pread>) => (isRefused ? -Errno.EIO : pread(...args)),
      },
    }) as Files,
  );
  rig.settle();
  isRefused = true;
  script.write("a", 0, Buffer.from("x"));
  rig.settle();
  assert.deepEqual(
    rig.problems.map(({ operation, errno }) => [operation, errno]),
    [["read", "EIO"]],
  );
  isRefused = false;
  script.chmod("a", 0o600);
  rig.settle();
  assert.equal(toldOf(rig, "a").ctimeNs, 0n);
  script.write("a", 100, Buffer.from("y"));
  rig.settle();
  assert.equal(toldOf(rig, "a").ctimeNs, 0n, "only a part was read");
  const [ino, gen] = rig.identity(script.at("a"));
  rig.tell((sink) => sink.unknownContent(ino, gen));
  rig.settle();
  assert.deepEqual(toldOf(rig, "a"), originOf(script, "a"));
});

test("a file that rests after a store through a mapping is in doubt", (context) => {
  const { rig, script } = live(context, (s) => s.create("a", new Uint8Array(5000)));
  const [ino, gen] = rig.identity(script.at("a"));
  rig.tell((sink) => sink.written(ino, gen, 0, 100, 1, false, true));
  rig.settle();
  assert.equal(toldOf(rig, "a").ctimeNs, 0n);
  rig.cutter.settleStores(Infinity);
  rig.settle();
  assert.deepEqual(toldOf(rig, "a"), originOf(script, "a"));
});

test("a peer that does not remember is told of no origin", (context) => {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  script.create("a", "content");
  rig.start();
  rig.settle();
  script.write("a", 0, Buffer.from("x"));
  script.chmod("a", 0o600);
  rig.settle();
  for (const { frames } of rig.epochs) assert.equal(frames["origin"], undefined);
  assert.equal(toldOf(rig, "a").ino, 0);
});

/** A clock for files that stands still: whatever is done has the same times. */
function withoutTime(files: Files): Files {
  const stop = (result: number, out: Float64Array): number => {
    out[Stat.mtimeSec] = out[Stat.ctimeSec] = 1000;
    out[Stat.mtimeNsec] = out[Stat.ctimeNsec] = 0;
    return result;
  };
  return {
    ...files,
    fstat: (fd, out) => stop(files.fstat(fd, out), out),
    statAt: (fd, name, out) => stop(files.statAt(fd, name, out), out),
    identifyAt: (fd, name, out) => stop(files.identifyAt(fd, name, out), out),
    scanDirectory(fd, out, brief) {
      const result = files.scanDirectory(fd, out, brief);
      const view = new DataView(out.buffer, out.byteOffset);
      for (let at = 0; at < result;) {
        const stat = new Float64Array(out.buffer, out.byteOffset + at, statSlots);
        stop(0, stat);
        at += (scanEntryFixedBytes + view.getUint16(at + statSlots * 8, true) + 7) & ~7;
      }
      return result;
    },
  };
}

test("a write in the tick of the last reading is not missed by an overflow", (context) => {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  script.create("a", "first");
  script.create("b", "other");
  rig.takesOrigins = true;
  rig.start(withoutTime(native()));
  rig.settle();
  fs.writeFileSync(script.at("a"), "secnd");
  rig.tell((sink) => sink.overflow());
  const epochs = rig.settle();
  assert.equal(fs.readFileSync(join(rig.target, "a"), "utf8"), "secnd");
  assert.equal(epochs.length, 1);
  rig.tell((sink) => sink.unknownContent(0, 0));
  assert.equal(rig.settle().length, 0, "doubt ends with the epoch");
});
