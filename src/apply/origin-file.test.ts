import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import type { OriginFields } from "../tree/index.ts";
import { Errno, type Files, Open, Stat, statSlots } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { indexCountMax } from "./old-indexes.ts";
import { indexBytesMax, OriginFile, type OriginPlace, slotBytes } from "./origin-file.ts";

/** A state folder with an index in it. */
class IndexRig {
  readonly folder: string = fs.mkdtempSync(join(tmpdir(), "lockstep-index-"));
  readonly path: string = join(this.folder, "index");
  readonly said: string[] = [];
  readonly #dirFd: number = native().openPath(Buffer.from(this.folder), Open.read | Open.directory);

  constructor(context: TestContext) {
    context.after(() => this.end());
  }

  place(tag = 1, files: Files = native()): OriginPlace {
    return { files, dirFd: this.#dirFd, name: "index", tag: new Uint8Array(8).fill(tag) };
  }

  open(place: OriginPlace = this.place()): OriginFile | undefined {
    return OriginFile.open(place, (said) => this.said.push(said));
  }

  /** Writes these records into a new index. */
  fill(records: readonly Known[]): void {
    fs.rmSync(this.path, { force: true });
    const file = this.open()!;
    file.scanned();
    for (const { stat, origin } of records) assert.ok(file.put(-1, stat, origin) >= 0);
    assert.ok(file.flush() >= 0);
    file.close();
  }

  end(): void {
    native().close(this.#dirFd);
    fs.rmSync(this.folder, { recursive: true });
  }
}

interface Known {
  stat: Float64Array;
  origin: OriginFields;
}

function statOf(ino: number, gen: number, ctimeSec: number, ctimeNsec: number): Float64Array {
  const stat = new Float64Array(statSlots);
  stat[Stat.ino] = ino;
  stat[Stat.gen] = gen;
  stat[Stat.ctimeSec] = ctimeSec;
  stat[Stat.ctimeNsec] = ctimeNsec;
  return stat;
}

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const ino = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 2 ** 53 - 1 }));
const nsec = fc.nat(999_999_999);
const known: fc.Arbitrary<Known> = fc.record({
  stat: fc.tuple(ino, u32, fc.maxSafeInteger(), nsec).map((parts) => statOf(...parts)),
  origin: fc.record(
    { ino, gen: u32, ctimeSec: fc.maxSafeInteger(), ctimeNsec: nsec },
    { noNullPrototype: true },
  ),
});
const records = fc.uniqueArray(known, {
  maxLength: 40,
  selector: ({ stat }) => [...stat.subarray(0, 2)].join("."),
});

const one = (at: number): Known => ({
  stat: statOf(100 + at, 7, 1000 + at, 5),
  origin: { ino: 200 + at, gen: 9, ctimeSec: 3000 + at, ctimeNsec: 6 },
});

test("what was recorded is found again, of files that are just as they were", (context) => {
  const rig = new IndexRig(context);
  fc.assert(
    fc.property(records, (all) => {
      rig.fill(all);
      const file = rig.open()!;
      for (const { stat, origin } of all) {
        assert.deepEqual(file.originAt(file.find(stat)), origin);
        for (const slot of [Stat.ino, Stat.gen, Stat.ctimeSec, Stat.ctimeNsec]) {
          const other = stat.slice();
          other[slot] = other[slot] === 1 ? 2 : 1;
          const found = file.find(other);
          // Another of the records may be just that.
          const isOther = all.some((known) => known.stat.every((value, at) => value === other[at]));
          if (!isOther) assert.equal(found, -1);
        }
      }
      file.close();
      assert.deepEqual(rig.said, []);
    }),
    { numRuns: 60 },
  );
});

test("no damage makes a record say something else", (context) => {
  const rig = new IndexRig(context);
  const all = Array.from({ length: 12 }, (_, at) => one(at));
  const damage = fc.array(fc.tuple(fc.nat(12 * slotBytes - 1), fc.integer({ min: 1, max: 255 })), {
    minLength: 1,
    maxLength: 30,
  });
  fc.assert(
    fc.property(damage, fc.nat(12 * slotBytes), (bytes, cut) => {
      rig.fill(all);
      const content = fs.readFileSync(rig.path);
      const before = Buffer.from(content);
      for (const [at, bits] of bytes) content[at]! ^= bits;
      fs.writeFileSync(rig.path, content.subarray(0, content.length - cut));
      const file = rig.open()!;
      for (const [at, { stat, origin }] of all.entries()) {
        const slot = [at * slotBytes, (at + 1) * slotBytes] as const;
        const isWhole =
          slot[1] <= content.length - cut &&
          before.subarray(...slot).equals(content.subarray(...slot));
        const found = file.find(stat);
        assert.equal(found >= 0, isWhole, `slot ${at}`);
        if (found >= 0) assert.deepEqual(file.originAt(found), origin);
      }
      file.close();
    }),
    { numRuns: 150 },
  );
  assert.match(rig.said[0]!, /^has \d+ damaged records of \d+; they are dropped$/);
});

test("a record in another one's place is none", (context) => {
  const rig = new IndexRig(context);
  rig.fill([one(0), one(1)]);
  const content = fs.readFileSync(rig.path);
  content.copyWithin(0, slotBytes);
  fs.writeFileSync(rig.path, content);
  const file = rig.open()!;
  assert.equal(file.find(one(0).stat), -1);
  assert.equal(file.find(one(1).stat), 1);
  file.close();
});

test("what was recorded for another source is nothing, and makes room", (context) => {
  const rig = new IndexRig(context);
  rig.fill([one(0), one(1), one(2)]);
  const file = rig.open(rig.place(2))!;
  for (let at = 0; at < 3; at++) assert.equal(file.find(one(at).stat), -1);
  file.scanned();
  assert.equal(fs.statSync(rig.path).size, 0);
  file.close();
  assert.deepEqual(rig.said, []);
});

test("slots that nobody has asked for are used again, and those at the end go", (context) => {
  const rig = new IndexRig(context);
  rig.fill([one(0), one(1), one(2), one(3)]);
  const file = rig.open()!;
  assert.equal(file.find(one(2).stat), 2);
  file.scanned();
  assert.equal(fs.statSync(rig.path).size, 3 * slotBytes);
  const slots = [4, 5, 6].map((at) => file.put(-1, one(at).stat, one(at).origin));
  assert.deepEqual(slots, [0, 1, 3]);
  assert.equal(file.put(2, one(7).stat, one(7).origin), 2);
  assert.equal(file.clear(1), 1);
  assert.ok(file.flush() >= 0);
  file.close();
  const again = rig.open()!;
  const found = [2, 4, 5, 6, 7].map((at) => again.find(one(at).stat));
  assert.deepEqual(found, [-1, 0, -1, 3, 2]);
  again.close();
  assert.deepEqual(rig.said, []);
});

test("an index that is too large or cannot be read is begun anew, or done without", (context) => {
  const rig = new IndexRig(context);
  fs.writeFileSync(rig.path, "");
  fs.truncateSync(rig.path, indexBytesMax + 1);
  rig.open()!.close();
  assert.equal(fs.statSync(rig.path).size, 0);
  rig.fill([one(0)]);
  const failing = Object.create(native(), {
    pread: { value: () => -Errno.EIO },
  }) as Files;
  const unread = rig.open(rig.place(1, failing))!;
  assert.equal(unread.find(one(0).stat), -1);
  assert.equal(unread.put(-1, one(1).stat, one(1).origin), 0);
  unread.flush();
  unread.close();
  const file = rig.open()!;
  assert.deepEqual([file.find(one(0).stat), file.find(one(1).stat)], [-1, 0]);
  file.close();
  fs.rmSync(rig.path);
  fs.mkdirSync(rig.path);
  assert.equal(rig.open(), undefined);
  assert.deepEqual(rig.said, [
    "is larger than it can be, and is begun anew",
    "cannot be read (EIO), and is begun anew",
    "cannot be opened (EISDIR), and is done without",
  ]);
});

test("the index does not follow a symbolic link", (context) => {
  const rig = new IndexRig(context);
  const other = join(rig.folder, "other");
  fs.writeFileSync(other, "content");
  fs.symlinkSync(other, rig.path);
  assert.equal(rig.open(), undefined);
  assert.equal(fs.readFileSync(other, "utf8"), "content");
});

test("a full index refuses what is new and keeps what it has", (context) => {
  const rig = new IndexRig(context);
  const file = rig.open()!;
  file.scanned();
  const last = indexBytesMax / slotBytes - 1;
  assert.equal(file.put(last, one(0).stat, one(0).origin), last);
  assert.equal(file.put(last + 1, one(0).stat, one(0).origin), -Errno.ENOSPC);
  file.close();
});

test("of the indexes in a state directory those used last are kept", (context) => {
  const rig = new IndexRig(context);
  const at = (number: number): string => join(rig.folder, `index-${number}`);
  for (let number = 0; number < indexCountMax + 3; number++) {
    fs.writeFileSync(at(number), "");
    fs.utimesSync(at(number), 0, 1000 + number);
  }
  fs.writeFileSync(join(rig.folder, "something else"), "");
  rig.open({ ...rig.place(), name: "index-new" })!.close();
  const left = fs.readdirSync(rig.folder);
  assert.equal(left.length, indexCountMax + 1);
  assert.ok(left.includes("something else") && left.includes("index-new"));
  assert.deepEqual(
    [3, 4, 5].map((number) => fs.existsSync(at(number))),
    [false, true, true],
  );
});
