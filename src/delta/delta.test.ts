import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { SyncError } from "../base/index.ts";
import { Errno, type Files } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import {
  blockBytesMin,
  blockBytesOf,
  DeltaSearch,
  type Runs,
  type Signature,
  signatureBytesOf,
  signaturePieceBytesMax,
  SignatureReader,
  SignatureWriter,
  strongBytes,
} from "./index.ts";
import { Runs as RunList } from "./runs.ts";

const files = native();
const folder = mkdtempSync(join(tmpdir(), "lockstep-delta-"));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, "file");
const salt = Uint8Array.from({ length: 16 }, (_, i) => i * 17 + 3);

function withFile<T>(bytes: Uint8Array, use: (fd: number) => T): T {
  writeFileSync(path, bytes);
  const fd = openSync(path, "r");
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function piecesOf(basis: Uint8Array, blockBytes = blockBytesOf(basis.length)): Uint8Array[] {
  return withFile(basis, (fd) => {
    const writer = new SignatureWriter(files, fd, { blockBytes, fileBytes: basis.length, salt });
    const pieces: Uint8Array[] = [];
    for (;;) {
      const piece = writer.step();
      assert.ok(typeof piece !== "number");
      if (piece === undefined) break;
      assert.ok(piece.length <= signaturePieceBytesMax);
      pieces.push(piece);
    }
    assert.equal(writer.missingBytes, 0);
    return pieces;
  });
}

function signatureOf(basis: Uint8Array, blockBytes = blockBytesOf(basis.length)): Signature {
  const reader = new SignatureReader();
  for (const piece of piecesOf(basis, blockBytes)) {
    assert.ok(!reader.done);
    reader.push(piece);
    // The reader may keep nothing of a piece.
    piece.fill(0xee);
  }
  assert.ok(reader.done);
  return reader.take();
}

interface Found {
  readonly runs: Runs;
  readonly stepCount: number;
  readonly isCutShort: boolean;
}

function search(signature: Signature, file: Uint8Array): Found {
  return withFile(file, (fd) => {
    const found = new DeltaSearch(files, fd, file.length, signature);
    let stepCount = 1;
    for (let done = found.step(); done !== true; done = found.step()) {
      assert.equal(done, false);
      stepCount += 1;
      assert.ok(stepCount < 1000, "the search does not end");
    }
    return { runs: found.runs, stepCount, isCutShort: found.isCutShort };
  });
}

type Run = [at: number, length: number, basis: number];

function listOf(runs: Runs): Run[] {
  return Array.from({ length: runs.count }, (_, i) => [runs.at(i), runs.length(i), runs.basis(i)]);
}

/** The new file, from the basis and the literal bytes of the new file. */
function patch(runs: Runs, basis: Uint8Array, file: Uint8Array): Buffer {
  const parts: Uint8Array[] = [];
  let end = 0;
  let literalBytes = 0;
  for (const [at, length, from] of listOf(runs)) {
    assert.equal(at, end, "runs leave no gap");
    assert.ok(length > 0 && from >= -1);
    if (from >= 0) assert.ok(from + length <= basis.length);
    else literalBytes += length;
    const [bytes, start] = from < 0 ? [file, at] : [basis, from];
    parts.push(bytes.subarray(start, start + length));
    end = at + length;
  }
  assert.equal(runs.literalBytes, literalBytes);
  return Buffer.concat(parts);
}

/**
 * What the search has to find, by comparing bytes: no sums, no table, no steps. At each position
 * the block of the same offset, the one that the last match leads to, the first equal one.
 */
function reference(basis: Buffer, file: Buffer, blockBytes: number): Run[] {
  const whole = Math.floor(basis.length / blockBytes);
  const tail = basis.length - whole * blockBytes;
  const runs = new RunList(1e9);
  let at = 0;
  let shift = 0;
  const take = (position: number, length: number, from: number): void => {
    runs.match(position, length, from);
    shift = from - position;
    at = position + length;
  };
  const equal = (position: number, from: number, length: number): boolean =>
    position >= at &&
    position + length <= file.length &&
    file[position] === basis[from] &&
    file.compare(basis, from, from + length, position, position + length) === 0;
  const find = (): boolean => {
    for (const from of [at, at + shift]) {
      if (from % blockBytes !== 0 || from >= basis.length) continue;
      const length = from === whole * blockBytes ? tail : blockBytes;
      if (!equal(at, from, length)) continue;
      take(at, length, from);
      return true;
    }
    for (let block = 0; block < whole; block++) {
      if (!equal(at, block * blockBytes, blockBytes)) continue;
      take(at, blockBytes, block * blockBytes);
      return true;
    }
    return false;
  };
  while (at + blockBytes <= file.length) if (!find()) at += 1;
  const start = whole * blockBytes;
  const last = [start, start - shift, file.length - tail];
  if (tail > 0) {
    for (const position of last) {
      if (!equal(position, start, tail)) continue;
      take(position, tail, start);
      break;
    }
  }
  runs.finish(file.length);
  return listOf(runs);
}

/** Bytes that look random, the same for the same seed. */
function noise(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** Lengths around those of blocks. */
const length = fc
  .tuple(fc.integer({ min: 0, max: 4 }), fc.constantFrom(-64, -1, 0, 0, 0, 1, 333))
  .map(([blocks, more]) => Math.max(0, blocks * blockBytesMin + more));

const segment = fc.oneof(
  fc.tuple(fc.integer({ min: 0, max: 5 }), length).map(([seed, n]) => noise(seed, n)),
  fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 7 }), length)
    .map(([pattern, n]) => Buffer.alloc(n, pattern)),
);

const content = fc.array(segment, { maxLength: 6 }).map((segments) => Buffer.concat(segments));

const edit = fc.record({
  kind: fc.constantFrom("insert", "delete", "move", "repeat", "overwrite", "scatter"),
  from: fc.double({ min: 0, max: 1, noNaN: true }),
  to: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.oneof(length, fc.integer({ min: 1, max: 9 })),
  isAligned: fc.boolean(),
});
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;

function edited(basis: Buffer, edits: readonly Edit[]): Buffer {
  let file: Buffer = Buffer.from(basis);
  for (const { kind, from, to, length: bytes, isAligned } of edits) {
    const place = (share: number): number => {
      const at = Math.floor(share * file.length);
      return isAligned ? at - (at % blockBytesMin) : at;
    };
    const [start, other] = [place(from), place(to)];
    const piece = Buffer.from(file.subarray(start, start + bytes));
    const without = Buffer.concat([file.subarray(0, start), file.subarray(start + piece.length)]);
    const put = (into: Buffer, at: number, what: Buffer): Buffer =>
      Buffer.concat([into.subarray(0, at), what, into.subarray(at)]);
    if (kind === "insert") file = put(file, start, noise(bytes + 99, bytes));
    else if (kind === "delete") file = without;
    else if (kind === "move") file = put(without, Math.min(other, without.length), piece);
    else if (kind === "repeat") file = put(file, other, piece);
    else if (kind === "overwrite") noise(bytes + 7, piece.length).copy(file, start);
    else for (let at = start; at < file.length; at += 1999) file[at]! ^= 1;
  }
  return file;
}

test("basis and runs make the new file, and the runs are those of a search by bytes", () => {
  fc.assert(
    fc.property(
      content,
      fc.oneof(fc.array(edit, { maxLength: 4 }), content),
      fc.constantFrom(blockBytesMin, blockBytesMin + 64),
      (basis, change, blockBytes) => {
        const file = Buffer.isBuffer(change) ? change : edited(basis, change);
        const { runs, isCutShort } = search(signatureOf(basis, blockBytes), file);
        assert.ok(patch(runs, basis, file).equals(file));
        if (!isCutShort) assert.deepEqual(listOf(runs), reference(basis, file, blockBytes));
      },
    ),
    { numRuns: 250 },
  );
});

test("files of many steps are patched together, and moved parts are found", () => {
  const basis = noise(1, 5_000_000);
  const parts = [3_100_000, 5_000_000, 0, 1_000_001, 1_000_001, 3_100_000];
  const file = Buffer.concat([
    noise(2, 1_234_567),
    ...[0, 2, 4].map((i) => basis.subarray(parts[i], parts[i + 1])),
  ]);
  const { runs, stepCount } = search(signatureOf(basis), file);
  assert.ok(patch(runs, basis, file).equals(file));
  assert.ok(runs.literalBytes < 1_234_567 + 6 * blockBytesOf(basis.length));
  assert.ok(stepCount >= 6, `${stepCount} steps`);
});

test("small files and sizes around a block are patched together", () => {
  const block = blockBytesMin;
  for (const n of [0, 1, 2, block - 1, block, block + 1, 2 * block, 2 * block + 1]) {
    const basis = noise(3, n);
    const { runs } = search(signatureOf(basis), basis);
    assert.deepEqual(listOf(runs), n === 0 ? [] : [[0, n, 0]], `the same file of ${n} bytes`);
    for (const m of [0, 1, block, 2 * block + 5]) {
      const file = noise(4, m);
      assert.deepEqual(listOf(search(signatureOf(basis), file).runs), m ? [[0, m, -1]] : []);
    }
  }
});

test("bytes appended behind a short last block are the only ones that are sent", () => {
  const basis = noise(5, 10 * blockBytesMin + 100);
  const file = Buffer.concat([basis, noise(6, 50_000)]);
  const { runs } = search(signatureOf(basis), file);
  assert.deepEqual(listOf(runs), [
    [0, basis.length, 0],
    [basis.length, 50_000, -1],
  ]);
});

test("among equal blocks that of the same offset is taken, or else the next one", () => {
  const block = blockBytesMin;
  const basis = Buffer.alloc(20 * block, "abc");
  assert.deepEqual(listOf(search(signatureOf(basis), basis).runs), [[0, basis.length, 0]]);
  // "abc" does not divide 704, so each block is of its own phase; zeros are all alike.
  const zeros = Buffer.concat([noise(7, block), Buffer.alloc(20 * block)]);
  assert.deepEqual(listOf(search(signatureOf(zeros), zeros).runs), [[0, zeros.length, 0]]);
  const moved = Buffer.concat([noise(8, 9), zeros]);
  assert.deepEqual(listOf(search(signatureOf(zeros), moved).runs), [
    [0, 9, -1],
    [9, zeros.length, 0],
  ]);
});

test("the sums of a block are those that the description says", () => {
  const basis = noise(9, 3 * blockBytesMin + 77);
  const { weak, strong, blockBytes, fileBytes } = signatureOf(basis);
  assert.deepEqual([weak.length, blockBytes, fileBytes], [4, blockBytesMin, basis.length]);
  for (let i = 0; i < weak.length; i++) {
    const bytes = basis.subarray(i * blockBytes, (i + 1) * blockBytes);
    let [a, b] = [0, 0];
    for (const byte of bytes) {
      a = (a + byte) & 0xffff;
      b = (b + a) & 0xffff;
    }
    assert.equal(weak[i], (a | (b << 16)) >>> 0);
    const digest = createHash("sha256").update(salt).update(bytes).digest();
    const sum = strong.subarray(i * strongBytes, (i + 1) * strongBytes);
    assert.deepEqual(Buffer.from(sum), digest.subarray(0, strongBytes));
  }
});

test("blocks are near the square root, within bounds, and signatures have the size told", () => {
  const sizes = [0, 1, 500_000, 1 << 20, 1 << 26, 2 ** 36, 2 ** 40];
  const blocks = [704, 704, 768, 1024, 8192, 262_144, 262_144];
  assert.deepEqual(sizes.map(blockBytesOf), blocks);
  for (const n of [0, 1, 704, 705, 3_000_000]) {
    const bytes = piecesOf(noise(1, n)).reduce((sum, piece) => sum + piece.length, 0);
    assert.equal(bytes, signatureBytesOf(n));
  }
});

/**
 * Bytes whose windows have one weak sum nearly everywhere: +1, -2, +1 on three neighbours changes
 * neither of its halves.
 */
function colliding(seed: number, bytes: number): Buffer {
  const content_ = Buffer.alloc(bytes, 100);
  const places = noise(seed, bytes);
  for (let at = 0; at + 3 <= bytes; at += 3 + (places[at]! & 63)) {
    content_[at]! += 1;
    content_[at + 1]! -= 2;
    content_[at + 2]! += 1;
  }
  return content_;
}

test("content whose weak sums collide costs a few times its hash, and keeps equal places", () => {
  const crafted = 2_000_000;
  const tail = noise(13, 400_000);
  const basis = Buffer.concat([colliding(11, crafted), tail]);
  const signature = signatureOf(basis);
  const file = Buffer.concat([colliding(12, crafted), tail]);
  const counts = new Map<number, number>();
  for (const sum of signature.weak) counts.set(sum, (counts.get(sum) ?? 0) + 1);
  assert.ok(Math.max(...counts.values()) > signature.weak.length / 4, "the sums do not collide");
  const { runs, stepCount, isCutShort } = search(signature, file);
  assert.ok(isCutShort, "the search has found crafted content");
  // Three to read it, and more because a step hashes 4 MiB and a block. Without a bound on hits it
  // were the file's size times the block's length: some 600 steps.
  assert.ok(stepCount >= 5 && stepCount <= 8, `${stepCount} steps`);
  assert.ok(patch(runs, basis, file).equals(file));
  assert.ok(runs.literalBytes < crafted + 2 * signature.blockBytes, "the tail is found");
});

const isMalformed = (error: unknown): boolean =>
  error instanceof SyncError && error.code === "PEER_MALFORMED";

test("a signature that was cut or changed is malformed or another one, and never does harm", () => {
  const basis = noise(20, 12 * blockBytesMin + 5);
  const pieces = piecesOf(basis);
  assert.equal(pieces.length, 2);
  const change = fc.record({
    piece: fc.integer({ min: 0, max: 1 }),
    kind: fc.constantFrom("cut", "flip", "set", "grow", "drop", "twice"),
    at: fc.nat(200),
    value: fc.integer({ min: 0, max: 255 }),
  });
  let refusedCount = 0;
  let takenCount = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const stream = pieces.map((piece) => Buffer.from(piece));
      for (const { piece, kind, at, value } of changes) {
        const bytes = stream[piece]!;
        const place = at % Math.max(1, bytes.length);
        if (kind === "cut") stream[piece] = bytes.subarray(0, place);
        else if (kind === "grow") stream[piece] = Buffer.concat([bytes, Buffer.alloc(at, value)]);
        else if (kind === "drop") stream[piece] = Buffer.alloc(0);
        else if (kind === "twice") stream.push(bytes);
        else if (bytes.length > 0) bytes[place] = kind === "set" ? value : bytes[place]! ^ 1;
      }
      const reader = new SignatureReader();
      try {
        for (const piece of stream) reader.push(piece);
      } catch (error) {
        assert.ok(isMalformed(error), String(error));
        refusedCount += 1;
        return;
      }
      if (!reader.done) return;
      takenCount += 1;
      const signature = reader.take();
      // Whatever a peer says, the search ends and stays within the basis that it was told of.
      const { runs } = search(signature, basis);
      let end = 0;
      for (const [at, length_, from] of listOf(runs)) {
        assert.equal(at, end);
        if (from >= 0) assert.ok(from + length_ <= signature.fileBytes);
        end = at + length_;
      }
      assert.equal(end, basis.length);
    }),
    { numRuns: 1500 },
  );
  assert.ok(refusedCount > 100 && takenCount > 100, `${refusedCount} refused, ${takenCount} taken`);
});

test("a header of a form, length, size or block that no writer makes is malformed", () => {
  const header = piecesOf(noise(21, 5000))[0]!;
  const changed = (change: (view: DataView) => void): Uint8Array => {
    const bytes = Uint8Array.from(header);
    change(new DataView(bytes.buffer));
    return bytes;
  };
  const wrong = [
    new Uint8Array(0),
    header.subarray(1),
    changed((view) => view.setUint8(0, 2)),
    changed((view) => view.setUint8(1, 16)),
    changed((view) => view.setUint16(2, 1, true)),
    ...[0, 640, 705, 262_208, 0xffffffff].map((n) => changed((view) => view.setUint32(4, n, true))),
    // The last is a size that is allowed, in more blocks than are.
    ...[-1, -0, 1.5, Number.NaN, Infinity, 2 ** 40 + 1, 2 ** 40].map((n) =>
      changed((view) => view.setFloat64(8, n, true)),
    ),
  ];
  for (const piece of wrong) assert.throws(() => new SignatureReader().push(piece), isMalformed);
  new SignatureReader().push(header);
});

test("a header that promises the largest basis takes no memory for it", () => {
  const reader = new SignatureReader();
  const header = Uint8Array.from(piecesOf(noise(22, 1))[0]!);
  const view = new DataView(header.buffer);
  view.setUint32(4, 262_144, true);
  view.setFloat64(8, 2 ** 40, true);
  const before = process.memoryUsage().arrayBuffers;
  reader.push(header);
  assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20);
  assert.ok(!reader.done);
});

test("pieces of the writer are not read with more than a step's bytes", () => {
  const basis = noise(23, 2_500_000);
  const ranges: number[] = [];
  const counting: Files = {
    ...files,
    deltaSums: (...call) => {
      ranges.push(call[2] - call[1]);
      return files.deltaSums(...call);
    },
  };
  withFile(basis, (fd) => {
    const blockBytes = blockBytesOf(basis.length);
    const options = { blockBytes, fileBytes: basis.length, salt };
    const writer = new SignatureWriter(counting, fd, options);
    while (writer.step() !== undefined);
  });
  assert.equal(
    ranges.reduce((sum, range) => sum + range, 0),
    basis.length,
  );
  assert.ok(Math.max(...ranges) <= 1 << 20 && ranges.length === 3);
});

test("a basis that shrank has zeros and says so; a file that shrank ends at its end", () => {
  const basis = noise(24, 3_000_000);
  withFile(basis, (fd) => {
    const blockBytes = blockBytesOf(basis.length);
    const options = { blockBytes, fileBytes: basis.length, salt };
    const writer = new SignatureWriter(files, fd, options);
    const reader = new SignatureReader();
    truncateSync(path, 1_000_000);
    for (let piece = writer.step(); piece !== undefined; piece = writer.step()) {
      assert.ok(typeof piece !== "number");
      reader.push(piece);
    }
    assert.equal(writer.missingBytes, 2_000_000);
    const padded = Buffer.concat([basis.subarray(0, 1_000_000), Buffer.alloc(2_000_000)]);
    const { salt: _, ...sums } = reader.take();
    const { salt: __, ...wanted } = signatureOf(padded);
    assert.deepEqual(sums, wanted);
  });
  const signature = signatureOf(basis);
  withFile(basis, (fd) => {
    const found = new DeltaSearch(files, fd, basis.length, signature);
    assert.equal(found.step(), false);
    truncateSync(path, 2_000_000);
    assert.equal(found.step(), true);
    const { runs } = found;
    const last = runs.count - 1;
    assert.equal(runs.at(last) + runs.length(last), 2_000_000);
    assert.equal(runs.basis(0), 0);
    assert.ok(runs.literalBytes < blockBytesOf(basis.length));
  });
});

test("a descriptor that cannot be read is an errno of the step", () => {
  const signature = signatureOf(noise(25, 10_000));
  const search_ = new DeltaSearch(files, -1, 10_000, signature);
  assert.equal(search_.step(), -Errno.EBADF);
  const options = { blockBytes: 704, fileBytes: 10_000, salt };
  const writer = new SignatureWriter(files, -1, options);
  assert.ok(writer.step() instanceof Uint8Array);
  assert.equal(writer.step(), -Errno.EBADF);
});

test("when the list of runs is full the rest of the file is literal", () => {
  const runs = new RunList(6);
  for (let i = 0; i < 10; i++) runs.match(i * 100 + 50, 50, 1000);
  runs.finish(1000);
  assert.deepEqual(listOf(runs), [
    [0, 50, -1],
    [50, 50, 1000],
    [100, 50, -1],
    [150, 50, 1000],
    [200, 800, -1],
  ]);
  assert.equal(runs.literalBytes, 900);
});
