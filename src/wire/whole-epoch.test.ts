import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FrameReader } from "./frame-reader.ts";
import { decodeOperation, type Operations } from "./op-decoder.ts";
import { OpWriter } from "./op-writer.ts";
import { commitFrameBytes, FrameType } from "./protocol.ts";
import { decodeEpoch, wholeEpoch } from "./whole-epoch.ts";

/** Writes what `make` says and returns the bytes. */
function written(make: (writer: OpWriter) => void): Uint8Array {
  const pieces: Uint8Array[] = [];
  const writer = new OpWriter((piece) => pieces.push(piece));
  make(writer);
  writer.flush();
  return new Uint8Array(Buffer.concat(pieces));
}

function write(writer: OpWriter, node: number, position: number, data: Uint8Array): void {
  const space = writer.beginWrite(node, position, data.length);
  space.bytes.set(data, space.offset);
  writer.endWrite(data.length);
}

/** Every call by name with its arguments, views copied. */
function recorder(calls: unknown[]): Operations {
  return new Proxy({} as Operations, {
    get:
      (_, name) =>
      (...args: unknown[]) => {
        if (name === "write") {
          const [node, position, bytes, start, end] = args as [
            number,
            number,
            Uint8Array,
            number,
            number,
          ];
          calls.push([name, node, position, [...bytes.subarray(start, end)]]);
        } else {
          calls.push([name, ...args.map((arg) => (arg instanceof Uint8Array ? [...arg] : arg))]);
        }
      },
  });
}

const anEpoch = (writer: OpWriter): void => {
  write(writer, 7, 4096, Uint8Array.of(1, 2, 3));
  writer.times(7, 1_700_000_000, 5);
  writer.rename(1, Uint8Array.of(97), 1, Uint8Array.of(98), 0);
  writer.commit(12, 0, 1234.5);
};

test("an epoch that came whole is found with what its COMMIT says", () => {
  const commit = wholeEpoch(written(anEpoch));
  assert.equal(commit?.epoch, 12);
  assert.equal(commit.operationCount, 3);
  assert.equal(commit.wallMs, 1234.5);
  assert.equal(wholeEpoch(written((writer) => writer.commit(1, 2, 0)))?.flags, 2);
});

test("operations of a whole epoch are decoded as they are frame by frame", () => {
  const operation = fc.oneof(
    fc.record({ node: fc.nat(), position: fc.nat(), data: fc.uint8Array({ minLength: 1 }) }),
    fc.record({ node: fc.nat(), size: fc.maxSafeNat() }),
    fc.record({ node: fc.nat(), seconds: fc.maxSafeInteger(), nanoseconds: fc.nat(999_999_999) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 12 }), (operations) => {
      const bytes = written((writer) => {
        for (const each of operations) {
          if ("data" in each) write(writer, each.node, each.position, each.data);
          else if ("size" in each) writer.truncate(each.node, each.size);
          else writer.times(each.node, each.seconds, each.nanoseconds);
        }
        writer.commit(1, 0, 0);
      });
      assert.equal(wholeEpoch(bytes)?.operationCount, operations.length);
      const [whole, single]: unknown[][] = [[], []];
      decodeEpoch(bytes, recorder(whole!));
      const to = recorder(single!);
      const reader = new FrameReader((type, frame, start, end) => {
        if (type !== FrameType.commit) decodeOperation(type, frame, start, end, to);
      });
      reader.push(bytes);
      assert.deepEqual(whole, single);
    }),
  );
});

test("bytes that are more, less or other than one epoch are left to the frame reader", () => {
  const bytes = written(anEpoch);
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(wholeEpoch(bytes.subarray(0, length)), undefined, `the first ${length} bytes`);
    assert.equal(wholeEpoch(bytes.subarray(length + 1)), undefined, `without ${length + 1} bytes`);
  }
  assert.equal(wholeEpoch(Buffer.concat([bytes, bytes])), undefined, "two epochs");
  assert.equal(wholeEpoch(Buffer.concat([bytes, Uint8Array.of(0)])), undefined, "a byte more");
  const ping = written((writer) => writer.control(FrameType.ping, new Uint8Array(8)));
  assert.equal(wholeEpoch(Buffer.concat([ping, bytes])), undefined, "a ping before it");
});

test("an epoch of which something was lost, doubled or changed is not whole", () => {
  const bytes = written(anEpoch);
  const first = 4 + bytes[0]!;
  const frame = bytes.subarray(0, first);
  assert.equal(wholeEpoch(bytes.subarray(first)), undefined, "its first operation is missing");
  assert.equal(wholeEpoch(Buffer.concat([frame, bytes])), undefined, "an operation came twice");
  // Every frame is so short that the checksum covers all of it; of COMMIT, what it says of them.
  const commit = bytes.length - commitFrameBytes;
  for (let at = 0; at < bytes.length; at++) {
    const isEpoch = at >= commit + 5 && at < commit + 13;
    const isFlagOrTime = at >= commit + 21;
    if (isEpoch || isFlagOrTime) continue;
    const changed = bytes.slice();
    changed[at]! ^= 0x41;
    assert.equal(wholeEpoch(changed), undefined, `byte ${at} changed`);
  }
});
