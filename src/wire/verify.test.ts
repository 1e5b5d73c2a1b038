import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SyncError } from "../base/index.ts";
import {
  decodeVerifyAnswer,
  decodeVerifyAsk,
  encodeVerifyAnswer,
  encodeVerifyAsk,
  type VerifyAnswer,
  type VerifyAsk,
  type VerifyEntry,
  VerifyKind,
} from "./verify.ts";

const bytes = (least: number, most: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: least, maxLength: most });
const name = bytes(1, 255).map((some) => {
  const made = some.map((byte) => (byte === 0 || byte === 0x2f ? 0xff : byte));
  return made.every((byte) => byte === 0x2e) ? Uint8Array.from([0x2e, 1]) : made;
});
const path = fc.array(name, { maxLength: 5 }).map((names) => {
  const joined = Buffer.concat(names.flatMap((one) => [Buffer.from("/"), Buffer.from(one)]));
  return new Uint8Array(joined.subarray(1));
});
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const whole = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const seconds = fc.integer({ min: -(2 ** 40), max: 2 ** 40 });
const nanoseconds = fc.integer({ min: 0, max: 999_999_999 });
const errno = fc.integer({ min: 0, max: 4095 });
const hash = bytes(32, 32);

const ask: fc.Arbitrary<VerifyAsk> = fc.oneof(
  fc.record({
    kind: fc.constant(VerifyKind.list),
    id: u32,
    path,
    after: fc.oneof(fc.constant(new Uint8Array(0)), name),
  }),
  fc.record({ kind: fc.constant(VerifyKind.look), id: u32, path }),
  fc.record({ kind: fc.constant(VerifyKind.parts), id: u32, path, from: whole, partBytes: u32 }),
);

const attributes = fc.array(fc.tuple(bytes(1, 255), hash), { maxLength: 4 }).map((list) =>
  Buffer.concat(
    list.flatMap(([key, value]) => {
      const head = Buffer.alloc(6 + key.length);
      head.writeUInt16LE(key.length, 0);
      head.set(key, 2);
      head.writeUInt32LE(value.length, 2 + key.length);
      return [head, value];
    }),
  ),
);

function entry(named: fc.Arbitrary<Uint8Array>): fc.Arbitrary<VerifyEntry> {
  return fc.record({
    name: named,
    errno,
    isForeign: fc.boolean(),
    mode: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    rdev: whole,
    size: whole,
    blocks: whole,
    mtimeSec: seconds,
    mtimeNsec: nanoseconds,
    ctimeSec: seconds,
    ctimeNsec: nanoseconds,
    ino: whole,
    dev: whole,
    linkErrno: errno,
    link: bytes(0, 4096),
    attributesErrno: errno,
    attributes: attributes.map((list) => new Uint8Array(list)),
  });
}

const answer: fc.Arbitrary<VerifyAnswer> = fc.oneof(
  fc.record({ kind: fc.constant("failed" as const), id: u32, errno: errno.filter((e) => e > 0) }),
  fc.record({
    kind: fc.constant("list" as const),
    id: u32,
    wallMs: whole,
    hasMore: fc.boolean(),
    entries: fc.array(entry(name), { maxLength: 5 }),
  }),
  fc.record({
    kind: fc.constant("look" as const),
    id: u32,
    wallMs: whole,
    entry: entry(fc.constant(new Uint8Array(0))),
  }),
  fc.record({
    kind: fc.constant("parts" as const),
    id: u32,
    parts: fc.record({
      ino: whole,
      dev: whole,
      ctimeSec: seconds,
      ctimeNsec: nanoseconds,
      size: whole,
      isUnchanged: fc.boolean(),
      runs: fc.array(fc.record({ end: whole, hash: fc.option(hash, { nil: undefined }) })),
    }),
  }),
);

test("what is encoded is what is decoded, wherever it stands", () => {
  fc.assert(
    fc.property(ask, answer, fc.nat(9), (wanted, told, before) => {
      const shifted = (encoded: Uint8Array): [Uint8Array, number, number] => {
        const whole = new Uint8Array(before + encoded.length + 3).fill(0xee);
        whole.set(encoded, before);
        return [whole, before, before + encoded.length];
      };
      // fast-check's records have no prototype.
      const plain = (value: unknown): unknown => structuredClone(value);
      assert.deepEqual(decodeVerifyAsk(...shifted(encodeVerifyAsk(wanted))), plain(wanted));
      assert.deepEqual(decodeVerifyAnswer(...shifted(encodeVerifyAnswer(told))), plain(told));
    }),
  );
});

const isMalformed = (error: unknown): boolean =>
  error instanceof SyncError && error.code === "PEER_MALFORMED";

test("what is cut short is refused, or is a shorter list", () => {
  fc.assert(
    fc.property(ask, answer, fc.double({ min: 0, max: 0.999, noNaN: true }), (a, b, part) => {
      const [asked, told] = [encodeVerifyAsk(a), encodeVerifyAnswer(b)];
      for (const [encoded, decode] of [
        [asked, decodeVerifyAsk],
        [told, decodeVerifyAnswer],
      ] as const) {
        try {
          decode(encoded, 0, Math.floor(encoded.length * part));
        } catch (error) {
          assert.ok(isMalformed(error), String(error));
        }
      }
    }),
  );
});

test("a path that leads elsewhere is refused", () => {
  for (const text of [
    "/",
    "a/",
    "/a",
    "a//b",
    "..",
    "a/../b",
    ".",
    "a/./b",
    "a\0b",
    "a".repeat(256),
  ]) {
    const encoded = encodeVerifyAsk({ kind: VerifyKind.look, id: 1, path: Buffer.from(text) });
    assert.throws(() => decodeVerifyAsk(encoded, 0, encoded.length), isMalformed, text);
    if (text.includes("/")) continue;
    const after = Buffer.from(text);
    const list = encodeVerifyAsk({ kind: VerifyKind.list, id: 1, path: new Uint8Array(0), after });
    assert.throws(() => decodeVerifyAsk(list, 0, list.length), isMalformed, text);
  }
});
