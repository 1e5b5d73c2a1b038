/** The journal's file: which header counts, which records do, and what a broken disk does. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Errno, type Files, Open } from "../world/index.ts";
import { native, nodeWorld, stderrLog } from "../world/node/index.ts";
import { encodeHeader, headerBytes, headerSlotBytes } from "./journal-format.ts";
import { recordHeadBytes, recordTailBytes } from "./journal-format.ts";
import { JournalFile, type JournalPlace } from "./journal-file.ts";
import { knownTargets } from "./known-targets.ts";

const { hashes } = nodeWorld(stderrLog("error"));
const cut = { epoch: 7, wallMs: 1234, isFuzzy: false };

/** A state directory with a journal, whose bytes can be changed behind its back. */
class Rig {
  readonly folder: string = fs.mkdtempSync(join(tmpdir(), "lockstep-journal-"));
  readonly files: Files;
  readonly place: JournalPlace;
  readonly path: string = join(this.folder, "journal-x");
  readonly opened: JournalFile[] = [];

  constructor(context: TestContext, faults: Partial<Files> = {}) {
    this.files = Object.assign(Object.create(native()) as Files, faults);
    const dirFd = native().openPath(Buffer.from(this.folder), Open.read | Open.directory);
    const own = { name: "journal-x", path: "/target", hashes, bootId: "boot" };
    this.place = { files: this.files, dirFd, ...own };
    context.after(() => {
      for (const file of this.opened) file.close();
      native().close(dirFd);
      fs.rmSync(this.folder, { recursive: true });
    });
  }

  open(place: Partial<JournalPlace> = {}): JournalFile {
    const file = JournalFile.open({ ...this.place, ...place });
    this.opened.push(file);
    return file;
  }

  /** Changes its bytes. */
  change(edit: (bytes: Buffer) => Buffer | void): void {
    const bytes = fs.readFileSync(this.path);
    fs.writeFileSync(this.path, edit(bytes) ?? bytes);
  }
}

/** A frame of a type that means nothing here. */
function frame(payload: Uint8Array, type = 99): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32LE(payload.length + 1);
  head[4] = type;
  return Buffer.concat([head, payload]);
}

function append(file: JournalFile, frames: readonly Uint8Array[], isHashed = false): void {
  const bytes = frames.reduce((sum, { length }) => sum + length, 0);
  file.append(bytes, isHashed, (put) => {
    for (const one of frames) put(one, 0, one.length);
  });
}

function appendText(file: JournalFile, text: string, isHashed = false): void {
  append(file, [frame(Buffer.from(text))], isHashed);
}

function framesOf(file: JournalFile): Buffer[] {
  const found: Buffer[] = [];
  file.each((type, bytes, start, end) => {
    found.push(frame(bytes.subarray(start, end), type));
    return true;
  });
  return found;
}

function textsOf(file: JournalFile): string[] {
  return framesOf(file).map((one) => one.toString("latin1", 5));
}

/** Bytes that do not repeat where a chunk ends. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 2654435761) >>> 13;
  return bytes;
}

test("what was put down last counts, also for who opens it anew", (t) => {
  const rig = new Rig(t);
  const file = rig.open();
  assert.equal(file.header.cut, undefined);
  for (let turn = 1; turn <= 5; turn++) {
    file.writeHeader({ cut: { ...cut, epoch: turn }, promotedMs: turn, durability: "power" }, true);
    appendText(file, `after ${turn}`);
    const again = rig.open();
    assert.deepEqual(again.header, file.header);
    assert.equal(again.header.cut?.epoch, turn);
    assert.equal(again.header.promotedMs, turn);
    assert.equal(again.header.bootId, "boot");
    assert.deepEqual(textsOf(again), [`after ${turn}`]);
    assert.deepEqual([again.at, again.number], [file.at, file.number]);
  }
  // The same generation: its records still count.
  file.writeHeader({ isSynced: true });
  assert.deepEqual(textsOf(rig.open()), ["after 5"]);
  assert.equal(JournalFile.openExisting({ ...rig.place, name: "journal-y" }), undefined);
});

test("what is stored into the mapping is there at once, as if it were written", (t) => {
  let storedCount = 0;
  const own = native();
  const counting: Partial<Files> = {
    storeMapped: (...args) => {
      const isStored = own.storeMapped(...args);
      if (isStored) storedCount++;
      return isStored;
    },
  };
  const texts = ["a", "b".repeat(200), "c".repeat(300_000)];
  const contents = [counting, { mapFile: () => undefined }].map((faults) => {
    const rig = new Rig(t, faults);
    const file = rig.open();
    file.writeHeader({ cut }, true);
    file.allocate();
    for (const text of texts) {
      appendText(file, text);
      assert.deepEqual(textsOf(rig.open()).at(-1), text);
    }
    // The next generation, and what does not fit into what is mapped.
    file.writeHeader({ cut: { ...cut, epoch: 8 } }, true);
    for (const text of [...texts, "d".repeat(900_000), "e"]) appendText(file, text);
    assert.deepEqual(
      textsOf(rig.open()).map(({ length }) => length),
      [1, 200, 3e5, 9e5, 1],
    );
    return fs.readFileSync(rig.path);
  });
  assert.ok(contents[0]!.equals(contents[1]!));
  assert.ok(storedCount > 10, `${storedCount} stores`);
});

test("what cannot be stored is written, and the error of that is told", (t) => {
  let isFull = false;
  const rig = new Rig(t, {
    storeMapped: () => false,
    pwrite: (...args) => (isFull ? -Errno.ENOSPC : native().pwrite(...args)),
  });
  const file = rig.open();
  file.writeHeader({ cut }, true);
  file.allocate();
  assert.notEqual(file.map, undefined);
  appendText(file, "one");
  assert.equal(file.map, undefined, "part of a page that is no longer there could be stored into");
  assert.deepEqual(textsOf(rig.open()), ["one"]);
  isFull = true;
  assert.throws(() => appendText(file, "two"), { code: "TARGET_FULL" });
  assert.deepEqual(textsOf(rig.open()), ["one"]);
});

test("with one slot torn the other counts, with both it is as new", (t) => {
  const rig = new Rig(t);
  const file = rig.open();
  for (let epoch = 1; epoch <= 2; epoch++) file.writeHeader({ cut: { ...cut, epoch } }, true);
  const whole = fs.readFileSync(rig.path);
  const length = (slot: number): number => whole.readUInt32LE(slot * headerSlotBytes) + 12;
  // Serial 1 is in the second slot, 2 in the first.
  for (const [slot, other] of [
    [0, 1],
    [1, 2],
  ] as const) {
    for (const at of [0, 1, 3, 4, 11, 12, length(slot) - 1]) {
      rig.change((bytes) => void (bytes[slot * headerSlotBytes + at]! ^= 255));
      assert.equal(rig.open().header.cut?.epoch, other, `byte ${at} of slot ${slot}`);
      fs.writeFileSync(rig.path, whole);
    }
    rig.change((bytes) => void bytes.fill(0, slot * headerSlotBytes + 700, (slot + 1) * 8192));
    assert.equal(rig.open().header.cut?.epoch, 2, "what is behind the text is nothing");
    fs.writeFileSync(rig.path, whole);
  }
  rig.change((bytes) => bytes.subarray(0, headerSlotBytes));
  assert.equal(rig.open().header.cut?.epoch, 2);
  fs.writeFileSync(rig.path, whole);
  rig.change((bytes) => void (bytes[20]! ^= 1));
  // Written over the torn one, whichever that is.
  const next = rig.open();
  assert.equal(next.header.cut?.epoch, 1);
  next.writeHeader({ cut: { ...cut, epoch: 3 } }, true);
  assert.equal(rig.open().header.cut?.epoch, 3);
});

test("a file of which both headers are torn has no records, nor will they come back", (t) => {
  const rig = new Rig(t);
  const file = rig.open();
  file.writeHeader({ cut }, true);
  appendText(file, "of long ago");
  assert.equal(file.generation, 2);
  rig.change((bytes) => void bytes.fill(255, 0, headerBytes));
  const anew = rig.open();
  assert.equal(anew.header.cut, undefined);
  assert.deepEqual([anew.number, textsOf(anew)], [0, []]);
  anew.writeHeader({ cut }, true);
  assert.deepEqual(textsOf(rig.open()), []);
});

test("generations go round", (t) => {
  const rig = new Rig(t);
  const first = rig.open();
  first.writeHeader({ cut }, true);
  const last = { ...first.header, generation: 2 ** 32 - 1 };
  rig.change((bytes) => {
    bytes.set(encodeHeader(last, 9, hashes), headerSlotBytes);
  });
  const file = rig.open();
  appendText(file, "last");
  assert.deepEqual(textsOf(rig.open()), ["last"]);
  file.writeHeader({ cut }, true);
  assert.deepEqual(textsOf(rig.open()), []);
  appendText(file, "first");
  assert.deepEqual(textsOf(rig.open()), ["first"]);
});

test("records count up to the first that is not whole or not of this generation", (t) => {
  for (const isHashed of [false, true]) {
    const rig = new Rig(t);
    const file = rig.open();
    file.writeHeader({ cut }, true);
    const starts: number[] = [];
    for (const text of ["one", "two", "three"]) {
      starts.push(file.at);
      appendText(file, text, isHashed);
    }
    const end = file.at;
    const whole = fs.readFileSync(rig.path);
    const count = (what: string, wanted: number, edit: (bytes: Buffer) => Buffer | void): void => {
      rig.change(edit);
      const opened = rig.open();
      assert.deepEqual(textsOf(opened), ["one", "two", "three"].slice(0, wanted), what);
      assert.equal(opened.at, [...starts, end][wanted], what);
      assert.equal(opened.number, wanted, what);
      fs.writeFileSync(rig.path, whole);
    };
    count("whole", 3, () => {});
    for (let cutAt = starts[2]!; cutAt < end; cutAt++) {
      count(`cut off at ${cutAt}`, 2, (bytes) => bytes.subarray(0, cutAt));
    }
    const [first, second] = starts as [number, number];
    const tail = second - recordTailBytes;
    for (const at of [0, 16, 20]) count(`head ${at}`, 1, (b) => void (b[second + at]! ^= 1));
    for (const at of [0, 4, 8]) count(`tail ${at}`, 0, (b) => void (b[tail + at]! ^= 1));
    for (const length of [-1, NaN, 2 ** 60, Infinity]) {
      count(`${length} bytes`, 0, (bytes) => void bytes.writeDoubleLE(length, first + 8));
    }
    count("garbage", 3, (bytes) => Buffer.concat([bytes, noise(100_000)]));
    // A record that comes twice has the number of one that is over.
    const twice = (bytes: Buffer): Buffer => Buffer.concat([bytes, bytes.subarray(starts[2], end)]);
    count("twice", 3, twice);
    // What follows where a shorter one has been overwritten.
    const next = rig.open();
    next.writeHeader({ cut }, true);
    appendText(next, "uno", isHashed);
    const of = rig.open();
    assert.deepEqual(textsOf(of), ["uno"]);
    assert.equal(of.at, second);
  }
});

test("a hashed record with a byte changed anywhere does not count", (t) => {
  const rig = new Rig(t);
  const file = rig.open();
  file.writeHeader({ cut, durability: "power" }, true);
  appendText(file, "first", true);
  const start = file.at;
  append(file, [frame(noise(70_000)), frame(noise(90))], true);
  const whole = fs.readFileSync(rig.path);
  const payload = start + recordHeadBytes;
  const places: number[] = [];
  for (let at = start; at < payload + 20; at++) places.push(at);
  for (let at = payload + 20; at < file.at; at += 997) places.push(at);
  for (let at = start + 65_530; at < start + 65_545; at++) places.push(at);
  for (let at = file.at - recordTailBytes; at < file.at; at++) places.push(at);
  for (const at of places) {
    // The word that says that there is a hash is none of what is hashed.
    const isHashWord = at >= file.at - recordTailBytes + 12 && at < file.at - recordTailBytes + 16;
    if (isHashWord) continue;
    rig.change((bytes) => void (bytes[at]! ^= 64));
    const opened = rig.open();
    assert.deepEqual([opened.number, opened.at], [1, start], `byte ${at - start}`);
    fs.writeFileSync(rig.path, whole);
  }
  assert.equal(rig.open().number, 2);
});

test("records of every size come back as they were", (t) => {
  const rig = new Rig(t);
  for (const isHashed of [false, true]) {
    const file = rig.open();
    file.writeHeader({ cut }, true);
    const wanted: Buffer[] = [];
    const sizes = [0, 1, 65_536 - 37, 65_536 - 36, 65_536, 65_537, 131_072, 131_072 - 37, 300_001];
    for (const size of sizes) {
      const one = frame(noise(size));
      wanted.push(one);
      append(file, [one], isHashed);
    }
    const many = Array.from({ length: 30 }, (_, i) => frame(noise(100_000 + i), 90 + i));
    append(file, many, isHashed);
    const opened = rig.open();
    assert.deepEqual([opened.at, opened.number], [file.at, sizes.length + 1]);
    const found = framesOf(opened);
    assert.equal(found.length, wanted.length + many.length);
    for (const [i, one] of [...wanted, ...many].entries()) {
      assert.ok(found[i]!.equals(one), `frame ${i}`);
    }
    // A visit that has seen enough gets no more, and the end is where it was.
    let seen = 0;
    opened.each(() => ++seen < 3);
    assert.deepEqual([seen, opened.at, opened.number], [3, file.at, sizes.length + 1]);
    // What large records have taken is given back.
    file.writeHeader({ cut }, true);
    assert.ok(fs.statSync(rig.path).size <= headerBytes + 1_048_576);
    file.trim();
    assert.deepEqual(textsOf(rig.open()), []);
  }
});

test("the longest path of Linux has its place, of whatever characters", (t) => {
  const rig = new Rig(t);
  for (const one of ["a", '"', "\n", "\u0001", "é"]) {
    const path = `/${one.repeat(4095 / Buffer.byteLength(one))}`;
    rig.open({ path }).writeHeader({ cut }, true);
    const { header } = rig.open({ path: "" });
    assert.equal(header.path, path, JSON.stringify(one));
    assert.deepEqual(header.cut, cut);
  }
});

/** Fails with this errno from when it is set. */
class Broken {
  errno = 0;
  readonly open = new Set<number>();
  readonly files: Partial<Files>;

  constructor(...methods: ("pwrite" | "pread" | "fsync" | "openBeneath")[]) {
    const files = native();
    const failing = (method: "pwrite" | "pread" | "fsync"): Partial<Files> => {
      const call: (...args: never[]) => number = files[method];
      return { [method]: (...args: never[]) => (this.errno > 0 ? -this.errno : call(...args)) };
    };
    const openBeneath: Files["openBeneath"] = (...args) => {
      if (this.errno > 0 && methods.includes("openBeneath")) return -this.errno;
      const fd = files.openBeneath(...args);
      this.open.add(fd);
      return fd;
    };
    const close: Files["close"] = (fd) => {
      this.open.delete(fd);
      return files.close(fd);
    };
    const own = methods.filter((method) => method !== "openBeneath");
    this.files = Object.assign({ openBeneath, close }, ...own.map(failing)) as Partial<Files>;
  }
}

test("no space is TARGET_FULL, all else JOURNAL_FAILED, and what was there stays", (t) => {
  const errors = [
    [Errno.ENOSPC, "TARGET_FULL"],
    [Errno.EDQUOT, "TARGET_FULL"],
    [Errno.EIO, "JOURNAL_FAILED"],
    [Errno.EROFS, "JOURNAL_FAILED"],
  ] as const;
  for (const [errno, code] of errors) {
    const broken = new Broken("pwrite", "fsync");
    const rig = new Rig(t, broken.files);
    const file = rig.open();
    file.writeHeader({ cut }, true);
    appendText(file, "before");
    broken.errno = errno;
    const { at, number, generation } = file;
    for (const size of [10, 200_000]) {
      assert.throws(() => append(file, [frame(noise(size))]), { code });
    }
    assert.throws(() => file.writeHeader({ cut: undefined }, true), { code });
    assert.throws(() => file.sync(), { code });
    assert.deepEqual([file.at, file.number, file.generation], [at, number, generation]);
    assert.deepEqual(file.header.cut, cut);
    broken.errno = 0;
    assert.deepEqual(textsOf(rig.open()), ["before"]);
    appendText(file, "after");
    assert.deepEqual(textsOf(rig.open()), ["before", "after"]);
  }
});

test("a journal that cannot be read or opened is an error and leaves nothing open", (t) => {
  const broken = new Broken("pread");
  const rig = new Rig(t, broken.files);
  const file = rig.open();
  file.writeHeader({ cut }, true);
  appendText(file, "before");
  const before = broken.open.size;
  broken.errno = Errno.EIO;
  assert.throws(() => rig.open(), { code: "JOURNAL_FAILED" });
  assert.throws(() => JournalFile.openExisting(rig.place), { code: "JOURNAL_FAILED" });
  assert.throws(() => file.each(() => true), { code: "JOURNAL_FAILED" });
  assert.equal(broken.open.size, before, "a descriptor was left open");
  const shut = new Broken("openBeneath");
  shut.errno = Errno.EACCES;
  const other = new Rig(t, shut.files);
  assert.throws(() => other.open(), { code: "JOURNAL_FAILED" });
  assert.throws(() => JournalFile.openExisting(other.place), { code: "JOURNAL_FAILED" });
});

test("a header that is believed after a power cut is not left there when things change", (t) => {
  let synced = fs.readFileSync("/dev/null");
  const rig: Rig = new Rig(t, {
    fsync: () => {
      synced = fs.readFileSync(rig.path);
      return 0;
    },
  });
  // A state, what follows it, and whether the machine may lose that.
  const power = { durability: "power", isSynced: false } as const;
  const quick = { durability: "process", isSynced: false } as const;
  const ended = { durability: "process", isSynced: true } as const;
  for (const first of [power, ended]) {
    for (const next of [power, quick, ended]) {
      const file = rig.open();
      file.writeHeader({ cut, ...first }, true);
      file.sync();
      file.writeHeader({ cut: undefined, ...next }, true);
      fs.writeFileSync(rig.path, synced);
      assert.equal(rig.open().header.cut, undefined, JSON.stringify([first, next]));
    }
  }
});

test("the targets that are known are those whose journals can be read", (t) => {
  const rig = new Rig(t);
  for (const name of ["journal-a", "journal-b", "journal-c", "other-d"]) {
    const file = rig.open({ name, path: `/of/${name}` });
    if (name !== "journal-c") file.writeHeader({ cut }, true);
  }
  fs.mkdirSync(join(rig.folder, "journal-e"));
  const found = knownTargets(rig.files, rig.place.dirFd, hashes);
  assert.deepEqual(found.sort(), ["/of/journal-a", "/of/journal-b"]);
});
