import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { checkoutPath } from "../../test/golden/golden-files.ts";
import { SyncError } from "../base/index.ts";
import { decodeAny, fuzz } from "./decoder.fuzz.ts";
import { FrameReader } from "./frame-reader.ts";
import { frameBytesMax, FrameType } from "./protocol.ts";

test("decoders accept or refuse whatever a peer may send, and do nothing else", () => {
  const counts = fuzz(1, 12_000);
  assert.equal(counts.runs, 12_000);
  // A fuzzer whose mutants are all refused, or all accepted, tries nothing.
  assert.ok(counts.accepted > 2000 && counts.refused > 2000, JSON.stringify(counts));
});

test("seeds that are kept still pass", () => {
  const lines = readFileSync(join(checkoutPath, "src/wire/fuzz-seeds.txt"), "utf8").split("\n");
  const seeds = lines.filter((line) => /^\d+$/.test(line)).map(Number);
  assert.ok(seeds.length > 0, "there are seeds");
  for (const seed of seeds) fuzz(seed, 200);
});

test("canary: the fuzzer finds a decoder that trusts a length", () => {
  const trusting = (type: number, bytes: Uint8Array, start: number, end: number): void => {
    const view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start);
    if (type === FrameType.truncate) view.getFloat64(4, true);
    else decodeAny(type, bytes, start, end);
  };
  assert.throws(() => fuzz(1, 20_000, trusting), /decoder fuzz, seed \d+: RangeError/);
});

test("canary: the fuzzer finds a decoder that lets a slash through", () => {
  const careless = (type: number, bytes: Uint8Array, start: number, end: number): void => {
    if (type === FrameType.unlink && bytes.subarray(start + 8, end).includes(47)) {
      throw new Error("the name was let through");
    }
    decodeAny(type, bytes, start, end);
  };
  assert.throws(() => fuzz(1, 20_000, careless), /decoder fuzz, seed \d+: .*let through/);
});

test("a peer that promises a large frame and sends little costs little", () => {
  const readers: FrameReader[] = [];
  const before = process.memoryUsage().arrayBuffers;
  const promise = new Uint8Array(64);
  new DataView(promise.buffer).setUint32(0, frameBytesMax, true);
  for (let i = 0; i < 200; i++) {
    const reader = new FrameReader(() => assert.fail("no frame"));
    reader.push(promise);
    readers.push(reader);
  }
  const cost = process.memoryUsage().arrayBuffers - before;
  assert.ok(cost < readers.length * 100_000, `${cost} bytes for ${readers.length} readers`);
});

test("a reader keeps no more than one frame, however much is pushed", () => {
  const reader = new FrameReader(() => {});
  const promise = new Uint8Array(4);
  new DataView(promise.buffer).setUint32(0, frameBytesMax, true);
  const before = process.memoryUsage().arrayBuffers;
  const piece = new Uint8Array(100_003);
  for (let frame = 0; frame < 20; frame++) {
    reader.push(promise);
    for (let left = frameBytesMax; left > 0; left -= piece.length) {
      reader.push(piece.subarray(0, Math.min(left, piece.length)));
    }
  }
  const kept = process.memoryUsage().arrayBuffers - before;
  assert.ok(kept < 24 * frameBytesMax, `${kept} bytes`);
  promise.fill(0xff);
  assert.throws(
    () => reader.push(promise),
    (error) => error instanceof SyncError && error.code === "PEER_MALFORMED",
  );
});
