import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SyncError } from "../base/index.ts";
import { decodeBye, decodeHello, decodeProblem, decodeWelcome, encodeControl } from "./control.ts";
import { FrameReader } from "./frame-reader.ts";
import {
  decodeManifestEntry,
  decodeManifestOrigin,
  encodeManifestEntry,
  encodeManifestOrigin,
} from "./manifest.ts";
import { type Commit, decodeCommit, decodeOperation } from "./op-decoder.ts";
import { OpWriter } from "./op-writer.ts";
import {
  nameBytes,
  operation,
  record,
  recorder,
  someOrigin,
  tell,
  type Told,
} from "./operations.fuzz.ts";
import { noOrigin } from "./origin.ts";
import {
  attributesBytesMax,
  frameBytesMax,
  FrameType,
  mixChecksum,
  writeBytesMax,
} from "./protocol.ts";

const isMalformed = (error: unknown): boolean =>
  error instanceof SyncError && error.code === "PEER_MALFORMED";

/** Cuts the stream into pieces of the given sizes, over and over, each in a buffer of its own. */
function* cut(stream: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, i = 0; at < stream.length; i++) {
    const size = sizes[i % sizes.length]!;
    // The reader may keep nothing of a piece: it is overwritten after the push.
    const piece = stream.slice(at, at + size);
    yield piece;
    piece.fill(0xee);
    at += size;
  }
}

const sizes = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 4000 })),
  { minLength: 1, maxLength: 20 },
);

test("what the writer is told is what the decoder tells, however the stream is cut", () => {
  const epochs = fc.array(fc.array(operation, { maxLength: 12 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(epochs, sizes, (wanted, chunks) => {
      const pieces: Uint8Array[] = [];
      const writer = new OpWriter((piece) => pieces.push(piece));
      for (const [index, operations] of wanted.entries()) {
        for (const one of operations) tell(writer, one);
        assert.equal(writer.operationCount, operations.length);
        writer.commit(index + 1, index & 3, 1234.5);
        assert.equal(writer.pendingBytes, 0);
      }
      const got: Told[][] = [];
      let told: Told[] = [];
      let checksum = 0;
      const commits: Commit[] = [];
      const reader = new FrameReader((type, bytes, start, end) => {
        if (type === FrameType.commit) {
          const commit = decodeCommit(bytes, start, end);
          assert.deepEqual(
            [commit.operationCount, commit.checksum],
            [told.length, checksum],
            "COMMIT counts and sums the epoch",
          );
          commits.push(commit);
          got.push(told);
          told = [];
          checksum = 0;
          return;
        }
        checksum = mixChecksum(checksum, bytes, start - 1, end);
        decodeOperation(type, bytes, start, end, recorder(told));
      });
      for (const piece of cut(Buffer.concat(pieces), chunks)) reader.push(piece);
      assert.deepEqual(got, wanted);
      assert.deepEqual(
        commits.map(({ epoch, flags, wallMs }) => [epoch, flags, wallMs]),
        wanted.map((_, index) => [index + 1, index & 3, 1234.5]),
      );
    }),
    { numRuns: 120 },
  );
});

test("the largest frames pass, and none is emitted before its end", () => {
  const pieces: Uint8Array[] = [];
  const writer = new OpWriter((piece) => pieces.push(piece));
  const told: Told[] = [
    { op: "write", node: 7, position: 1, bytes: new Uint8Array(writeBytesMax).fill(3) },
    { op: "attributes", node: 7, bytes: new Uint8Array(attributesBytesMax).fill(4) },
    { op: "write", node: 7, position: 2, bytes: new Uint8Array(writeBytesMax).fill(5) },
    { op: "write", node: 7, position: 3, bytes: new Uint8Array(writeBytesMax).fill(6) },
  ];
  for (const one of told) tell(writer, one);
  writer.flush();
  const got: Told[] = [];
  const reader = new FrameReader((type, bytes, start, end) =>
    decodeOperation(type, bytes, start, end, recorder(got)),
  );
  for (const piece of pieces) reader.push(piece);
  assert.deepEqual(got, told);
  got.length = 0;
  for (const piece of cut(Buffer.concat(pieces), [65536])) reader.push(piece);
  assert.deepEqual(got, told);
});

test("a write that read less is as long as what was read; one of nothing is no operation", () => {
  const pieces: Uint8Array[] = [];
  const writer = new OpWriter((piece) => pieces.push(piece));
  writer.beginWrite(3, 10, 100);
  writer.endWrite(0);
  assert.equal(writer.operationCount, 0);
  assert.equal(writer.pendingBytes, 0);
  const space = writer.beginWrite(3, 10, 100);
  space.bytes.set([1, 2, 3], space.offset);
  writer.endWrite(3);
  writer.truncate(3, 13);
  writer.flush();
  const got: Told[] = [];
  new FrameReader((type, bytes, start, end) =>
    decodeOperation(type, bytes, start, end, recorder(got)),
  ).push(Buffer.concat(pieces));
  assert.deepEqual(got, [
    { op: "write", node: 3, position: 10, bytes: new Uint8Array([1, 2, 3]) },
    { op: "truncate", node: 3, size: 13 },
  ]);
});

test("a piece that is out is never written to; the memory of the others is used again", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3), { maxLength: 400 }), (picks) => {
      const out: { piece: Uint8Array; copy: Uint8Array }[] = [];
      const slabs = new Set<ArrayBufferLike>();
      const writer = new OpWriter((piece) => {
        slabs.add(piece.buffer);
        out.push({ piece, copy: piece.slice() });
      });
      for (const [i, pick] of picks.entries()) {
        const bytes = new Uint8Array(pick === 3 ? 60_000 : 1 + i).fill(i);
        tell(writer, { op: "write", node: i, position: i, bytes });
        if (pick !== 1) writer.flush();
        const releaseCount = pick === 2 ? out.length : Math.max(0, out.length - 6);
        for (const { piece, copy } of out.splice(0, releaseCount)) {
          assert.deepEqual(piece, copy);
          writer.release(piece);
        }
      }
      for (const { piece, copy } of out) assert.deepEqual(piece, copy);
      assert.ok(slabs.size <= 4, `${slabs.size} slabs`);
    }),
  );
});

test("a quiet writer writes to the same place again and again", () => {
  const offsets = new Set<number>();
  const writer: OpWriter = new OpWriter((piece) => {
    offsets.add(piece.byteOffset);
    writer.release(piece);
  });
  for (let i = 0; i < 100; i++) {
    tell(writer, { op: "truncate", node: i, size: i });
    writer.flush();
  }
  assert.deepEqual([...offsets], [0]);
});

test("without a release nothing is written to again", () => {
  const pieces: { piece: Uint8Array; copy: Uint8Array }[] = [];
  const writer = new OpWriter((piece) => pieces.push({ piece, copy: piece.slice() }));
  for (let i = 0; i < 3000; i++) {
    tell(writer, {
      op: "write",
      node: i,
      position: i,
      bytes: new Uint8Array(1 + (i % 700)).fill(i),
    });
    if (i % 3 === 0) writer.flush();
  }
  writer.flush();
  for (const { piece, copy } of pieces) assert.deepEqual(piece, copy);
});

test("a frame that is lost, doubled or moved changes the checksum of its epoch", () => {
  fc.assert(
    fc.property(fc.array(operation, { minLength: 2, maxLength: 6 }), fc.nat(), (told, pick) => {
      const frames: Uint8Array[] = [];
      const writer = new OpWriter((piece) => frames.push(piece.slice()));
      for (const one of told) {
        tell(writer, one);
        writer.flush();
      }
      const sum = (list: readonly Uint8Array[]): number =>
        list.reduce((checksum, frame) => mixChecksum(checksum, frame, 4, frame.length), 0);
      const at = pick % frames.length;
      const whole = sum(frames);
      assert.notEqual(sum(frames.toSpliced(at, 1)), whole);
      assert.notEqual(sum(frames.toSpliced(at, 0, frames[at]!)), whole);
      const other = (at + 1) % frames.length;
      const swapped = [...frames];
      [swapped[at], swapped[other]] = [frames[other]!, frames[at]!];
      if (Buffer.compare(frames[at]!.subarray(0, 28), frames[other]!.subarray(0, 28)) === 0) return;
      assert.notEqual(sum(swapped), whole);
    }),
    { numRuns: 100 },
  );
});

test("a manifest entry comes back as it was", () => {
  const whole = fc.maxSafeInteger();
  const u32 = fc.integer({ min: 0, max: 0xffffffff });
  const entry = record({
    node: u32,
    parent: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    rdev: fc.maxSafeNat(),
    size: fc.maxSafeNat(),
    mtimeSec: whole,
    mtimeNsec: fc.nat(999_999_999),
    name: fc.oneof(fc.constant(new Uint8Array(0)), nameBytes),
    symlinkTarget: fc.uint8Array({ maxLength: 300 }),
    attributes: fc.uint8Array({ maxLength: 300 }),
  });
  fc.assert(
    fc.property(entry, someOrigin, fc.nat(9), fc.nat(9), (told, origin, before, after) => {
      for (const wanted of [
        { ...told, origin: noOrigin },
        { ...told, origin },
      ]) {
        const isKnown = wanted.origin !== noOrigin;
        const encode = isKnown ? encodeManifestOrigin : encodeManifestEntry;
        const decode = isKnown ? decodeManifestOrigin : decodeManifestEntry;
        const bytes = encode(wanted);
        const room = new Uint8Array(before + bytes.length + after).fill(0xaa);
        room.set(bytes, before);
        const got = decode(room, before, before + bytes.length);
        room.fill(0);
        assert.deepEqual(got, wanted);
        assert.throws(() => decode(bytes, 0, bytes.length - 1), isMalformed);
      }
    }),
    { numRuns: 200 },
  );
});

test("a manifest entry keeps nothing of the bytes it came in, not even of a Buffer", () => {
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  const wanted = {
    node: 2,
    parent: 1,
    mode: 0o120777,
    uid: 0,
    gid: 0,
    rdev: 0,
    size: 0,
    mtimeSec: 0,
    mtimeNsec: 0,
    name: text("name"),
    symlinkTarget: text("target"),
    attributes: text("attributes"),
    origin: noOrigin,
  };
  const received = Buffer.from(encodeManifestEntry(wanted));
  const got = decodeManifestEntry(received, 0, received.length);
  received.fill(0);
  for (const field of ["name", "symlinkTarget", "attributes"] as const) {
    assert.equal(Buffer.compare(got[field], wanted[field]), 0, field);
    assert.notEqual(got[field].buffer, received.buffer, `${field} holds on to what was received`);
  }
});

test("control messages come back as they were", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 80 });
  const integer = fc.maxSafeInteger();
  const around = (bytes: Uint8Array): [Uint8Array, number, number] => {
    const room = new Uint8Array(bytes.length + 5).fill(0x7b);
    room.set(bytes, 3);
    return [room, 3, 3 + bytes.length];
  };
  fc.assert(
    fc.property(
      text,
      text,
      text,
      text,
      integer,
      fc.array(text),
      fc.boolean(),
      (a, b, c, d, n, list, bit) => {
        const hello = {
          protocol: n,
          version: a,
          features: list,
          intent: "send" as const,
          share: b,
          subpath: c,
          device: d,
        };
        assert.deepEqual(decodeHello(...around(encodeControl(hello))), hello);
        const named = { ...hello, origin: d };
        assert.deepEqual(decodeHello(...around(encodeControl(named))), named);
        const welcome = { protocol: n, version: a, features: list, privileged: bit };
        assert.deepEqual(decodeWelcome(...around(encodeControl(welcome))), welcome);
        const bye = { code: a, message: b };
        assert.deepEqual(decodeBye(...around(encodeControl(bye))), bye);
        const problem = { path: a, operation: b, errno: c };
        assert.deepEqual(decodeProblem(...around(encodeControl(problem))), problem);
        const many = { ...problem, count: Math.max(1, Math.abs(n)) };
        assert.deepEqual(decodeProblem(...around(encodeControl(many))), many);
      },
    ),
    { numRuns: 100 },
  );
});

test("names that could lead elsewhere, and lengths that do not fit, are refused", () => {
  const frame = (type: number, payload: Uint8Array): void =>
    decodeOperation(type, payload, 0, payload.length, recorder([]));
  for (const name of ["", ".", "..", "a/b", "/", "a\0", "x".repeat(256)]) {
    const payload = Buffer.concat([Buffer.from([1, 0, 0, 0, 1, 0, 0, 0]), Buffer.from(name)]);
    for (const type of [FrameType.place, FrameType.link, FrameType.unlink]) {
      assert.throws(() => frame(type, payload), isMalformed, JSON.stringify(name));
    }
    for (const [from, to] of [
      [name, "ok"],
      ["ok", name],
    ] as const) {
      // A first name of 256 bytes cannot be said: its length has one byte.
      if (from.length > 255) continue;
      const head = Buffer.from([1, 0, 0, 0, 1, 0, 0, 0, 0, from.length]);
      assert.throws(
        () => frame(FrameType.rename, Buffer.concat([head, Buffer.from(from + to)])),
        isMalformed,
      );
    }
  }
  for (let type = 0; type < 256; type++) {
    assert.throws(() => frame(type, new Uint8Array(0)), isMalformed);
    assert.throws(() => frame(type, new Uint8Array(3)), isMalformed);
  }
  for (const name of ["...", ".a", "..a", "é", "\n"]) {
    frame(FrameType.place, Buffer.concat([new Uint8Array(8), Buffer.from(name)]));
  }
});

test("numbers that are not whole, too large, negative or no numbers are refused", () => {
  for (const value of [NaN, Infinity, -Infinity, -1, 0.5, 2 ** 53]) {
    const payload = new Uint8Array(20);
    const view = new DataView(payload.buffer);
    view.setFloat64(4, value, true);
    const told = (type: number, bytes: Uint8Array): void =>
      decodeOperation(type, bytes, 0, bytes.length, recorder([]));
    assert.throws(() => told(FrameType.truncate, payload.subarray(0, 12)), isMalformed);
    assert.throws(() => told(FrameType.zero, payload), isMalformed);
    assert.throws(() => told(FrameType.write, payload), isMalformed);
    if (value !== -1) {
      assert.throws(() => told(FrameType.times, payload.subarray(0, 16)), isMalformed);
    }
  }
  const times = new Uint8Array(16);
  new DataView(times.buffer).setUint32(12, 1_000_000_000, true);
  assert.throws(() => decodeOperation(FrameType.times, times, 0, 16, recorder([])), isMalformed);
});

test("a frame of no bytes or of too many is refused at its length; nothing is kept for it", () => {
  const header = (length: number): Uint8Array => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, length, true);
    return bytes;
  };
  const refused = (length: number): void => {
    for (const chunk of [1, 2, 3, 4]) {
      const reader = new FrameReader(() => assert.fail("no frame"));
      assert.throws(() => {
        for (const piece of cut(header(length), [chunk])) reader.push(piece);
      }, isMalformed);
    }
  };
  refused(0);
  refused(frameBytesMax + 1);
  refused(0xffffffff);
  let frames = 0;
  const reader = new FrameReader((type, _bytes, start, end) => {
    assert.deepEqual([type, end - start], [9, frameBytesMax - 1]);
    frames++;
  });
  const whole = new Uint8Array(4 + frameBytesMax).fill(9);
  whole.set(header(frameBytesMax));
  reader.push(whole);
  for (const piece of cut(whole, [100_000])) reader.push(piece);
  assert.equal(frames, 2);
});
