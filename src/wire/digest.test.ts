import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { SyncError } from "../base/index.ts";
import { AskKind, decodeAsk, digestRangeBytesMax, encodeAsk } from "./ask.ts";
import {
  comparableAttributes,
  decodeDigest,
  digestHashBytes,
  encodeDigest,
  NamesHash,
  type Sha256,
} from "./digest.ts";

const sha256: Sha256 = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const salt = new Uint8Array(16);
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const whole = fc.maxSafeNat();
const hash = fc.uint8Array({ minLength: digestHashBytes, maxLength: digestHashBytes });
const digests = fc.record({
  flags: fc.integer({ min: 0, max: 255 }),
  mode: u32,
  uid: u32,
  gid: u32,
  rdev: whole,
  size: whole,
  mtimeSec: fc.maxSafeInteger(),
  mtimeNsec: fc.integer({ min: 0, max: 999_999_999 }),
  count: whole,
  content: hash,
  attributes: hash,
});

function isMalformed(error: unknown): boolean {
  return error instanceof SyncError && error.code === "PEER_MALFORMED";
}

test("a digest comes back as it was sent, and not with a byte more or less", () => {
  fc.assert(
    fc.property(digests, (digest) => {
      const bytes = encodeDigest(digest);
      assert.deepEqual(decodeDigest(bytes), { ...digest });
      assert.throws(() => decodeDigest(bytes.subarray(1)), isMalformed);
      assert.throws(() => decodeDigest(Buffer.concat([bytes, Buffer.alloc(1)])), isMalformed);
    }),
  );
});

test("any bytes are a digest or malformed", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 113, maxLength: 113 }), (bytes) => {
      try {
        const { size, count, rdev, mtimeNsec } = decodeDigest(bytes);
        for (const value of [size, count, rdev]) assert.ok(Number.isSafeInteger(value));
        assert.ok(mtimeNsec < 1e9);
      } catch (error) {
        assert.ok(isMalformed(error));
      }
    }),
  );
});

test("an ask for a digest comes back; a range that is too long or too far is malformed", () => {
  const ask = { kind: AskKind.digest, id: 7, node: 9, length: 4096, from: 2 ** 40, salt };
  const decoded = (changes: Partial<typeof ask>): unknown => {
    const bytes = encodeAsk({ ...ask, ...changes });
    return decodeAsk(bytes, 0, bytes.length);
  };
  assert.deepEqual(decoded({}), ask);
  for (const changes of [
    { length: digestRangeBytesMax + 1 },
    { from: -1 },
    { from: 0.5 },
    { from: NaN },
    { from: Number.MAX_SAFE_INTEGER, length: 1 },
  ]) {
    assert.throws(() => decoded(changes), isMalformed, JSON.stringify(changes));
  }
});

test("names have one hash in any order, and another when one differs", () => {
  const hashOf = (names: readonly Uint8Array[]): string => {
    const all = new NamesHash(sha256, salt);
    for (const name of names) all.add(name);
    return Buffer.from(all.value()).toString("hex");
  };
  const name = fc.uint8Array({ minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 30 }), (names) => {
      const whole = hashOf(names);
      assert.equal(hashOf(names.toReversed()), whole);
      assert.notEqual(hashOf(names.slice(1)), whole);
      assert.notEqual(
        hashOf([...names.slice(1), Buffer.from("no name as long as this one")]),
        whole,
      );
    }),
  );
});

test("without privilege the owner's attributes are compared, and no others", () => {
  const entry = (name: string, value: string): Buffer => {
    const head = Buffer.alloc(2);
    head.writeUInt16LE(name.length);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(value.length);
    return Buffer.concat([head, Buffer.from(name), length, Buffer.from(value)]);
  };
  const acl = entry("system.posix_acl_access", "acl");
  const own = entry("user.note", "hi");
  const list = Buffer.concat([
    entry("security.capability", "cap"),
    acl,
    entry("trusted.x", ""),
    own,
  ]);
  assert.equal(comparableAttributes(list, true), list);
  assert.deepEqual(Buffer.from(comparableAttributes(list, false)), Buffer.concat([acl, own]));
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void comparableAttributes(bytes, false)));
});
