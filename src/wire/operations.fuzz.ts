/**
 * Arbitrary operations and a receiver that notes them, for the tests of this room: what OpWriter
 * is told and what decodeOperation tells must be the same.
 */
import fc from "fast-check";
import type { Operations } from "./op-decoder.ts";
import type { OpWriter } from "./op-writer.ts";
import type { Origin } from "./origin.ts";
import { cloneBytesMax } from "./protocol.ts";

/** One operation with its arguments, bytes as copies. */
export type Told =
  | { op: "create"; node: number; mode: number; rdev: number; target: Uint8Array }
  | { op: "write"; node: number; position: number; bytes: Uint8Array }
  | { op: "zero"; node: number; position: number; length: number }
  | { op: "truncate"; node: number; size: number }
  | { op: "place" | "link"; node: number; parent: number; name: Uint8Array }
  | {
      op: "rename";
      fromParent: number;
      fromName: Uint8Array;
      toParent: number;
      toName: Uint8Array;
      exchange: boolean;
    }
  | {
      op: "clone";
      node: number;
      position: number;
      from: { node: number; position: number };
      length: number;
    }
  | { op: "unlink"; parent: number; name: Uint8Array }
  | { op: "keep"; node: number; key: Uint8Array }
  | { op: "remove" | "detach"; node: number }
  | { op: "meta"; node: number; mode: number; uid: number; gid: number }
  | { op: "times"; node: number; sec: number; nsec: number; ctime?: [number, number] }
  | { op: "origin"; node: number; origin: Origin }
  | { op: "attributes"; node: number; bytes: Uint8Array };

/** A copy, and no Buffer: a Buffer's own slice is a view. */
function copy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** Notes what it is told. */
export function recorder(into: Told[]): Operations {
  return {
    create: (node, mode, rdev, target) =>
      into.push({ op: "create", node, mode, rdev, target: copy(target) }),
    write: (node, position, bytes, start, end) =>
      into.push({ op: "write", node, position, bytes: copy(bytes.subarray(start, end)) }),
    zero: (node, position, length) => into.push({ op: "zero", node, position, length }),
    truncate: (node, size) => into.push({ op: "truncate", node, size }),
    clone: (node, position, from, length) =>
      into.push({ op: "clone", node, position, from, length }),
    place: (node, parent, name) => into.push({ op: "place", node, parent, name: copy(name) }),
    link: (node, parent, name) => into.push({ op: "link", node, parent, name: copy(name) }),
    rename: (fromParent, fromName, toParent, toName, exchange) =>
      into.push({
        op: "rename",
        fromParent,
        fromName: copy(fromName),
        toParent,
        toName: copy(toName),
        exchange,
      }),
    unlink: (parent, name) => into.push({ op: "unlink", parent, name: copy(name) }),
    keep: (node, key) => into.push({ op: "keep", node, key: copy(key) }),
    remove: (node) => into.push({ op: "remove", node }),
    detach: (node) => into.push({ op: "detach", node }),
    meta: (node, mode, uid, gid) => into.push({ op: "meta", node, mode, uid, gid }),
    times: (node, sec, nsec, ...ctime) =>
      into.push({
        op: "times",
        node,
        sec,
        nsec,
        ...(ctime[0] === 0 && ctime[1] === 0 ? {} : { ctime }),
      }),
    origin: (node, origin) => into.push({ op: "origin", node, origin }),
    attributes: (node, bytes) => into.push({ op: "attributes", node, bytes: copy(bytes) }),
  };
}

/** Encodes one operation. */
export function tell(writer: OpWriter, told: Told): void {
  switch (told.op) {
    case "create":
      return writer.create(told.node, told.mode, told.rdev, told.target);
    case "write": {
      const space = writer.beginWrite(told.node, told.position, told.bytes.length);
      space.bytes.set(told.bytes, space.offset);
      return writer.endWrite(told.bytes.length);
    }
    case "zero":
      return writer.zero(told.node, told.position, told.length);
    case "truncate":
      return writer.truncate(told.node, told.size);
    case "clone":
      return writer.clone(told.node, told.position, told.from, told.length);
    case "place":
      return writer.place(told.node, told.parent, told.name);
    case "link":
      return writer.link(told.node, told.parent, told.name);
    case "rename":
      return writer.rename(
        told.fromParent,
        told.fromName,
        told.toParent,
        told.toName,
        told.exchange ? 1 : 0,
      );
    case "unlink":
      return writer.unlink(told.parent, told.name);
    case "keep":
      return writer.keep(told.node, told.key);
    case "remove":
      return writer.remove(told.node);
    case "detach":
      return writer.detach(told.node);
    case "meta":
      return writer.meta(told.node, told.mode, told.uid, told.gid);
    case "times":
      if (told.ctime === undefined) return writer.times(told.node, told.sec, told.nsec);
      return writer.timesWithOrigin(told.node, told.sec, told.nsec, ...told.ctime);
    case "origin": {
      const { ino, gen, ctimeSec, ctimeNsec } = told.origin;
      return writer.origin(told.node, ino, gen, ctimeSec, ctimeNsec);
    }
    case "attributes":
      return writer.attributes(told.node, told.bytes);
  }
}

/** Records with the prototype of plain objects, as the decoders make them. */
export function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const u32 = fc.oneof(fc.nat(20), fc.integer({ min: 0, max: 0xffffffff }));
const whole = fc.oneof(fc.nat(100), fc.maxSafeNat());
export const nameBytes: fc.Arbitrary<Uint8Array> = fc
  .oneof(
    fc.uint8Array({ minLength: 1, maxLength: 12 }),
    fc.uint8Array({ minLength: 250, maxLength: 255 }),
  )
  .map((bytes) => bytes.map((byte) => (byte === 0 || byte === 47 ? 95 : byte)))
  .filter((bytes) => !(bytes.length <= 2 && bytes.every((byte) => byte === 46)));
const targetBytes = fc
  .uint8Array({ minLength: 1, maxLength: 4096 })
  .map((bytes) => bytes.map((byte) => byte || 1));
const seconds = fc.maxSafeInteger();
const nanoseconds = fc.nat(999_999_999);
export const someOrigin: fc.Arbitrary<Origin> = record({
  ino: fc.maxSafeNat(),
  gen: fc.integer({ min: 0, max: 0xffffffff }),
  ctimeSec: seconds,
  ctimeNsec: nanoseconds,
});
const modeOf = (type: number): fc.Arbitrary<number> =>
  fc.integer({ min: 0, max: 0o7777 }).map((bits) => type | bits);

export const operation: fc.Arbitrary<Told> = fc.oneof(
  record({
    op: fc.constant("create" as const),
    node: u32,
    mode: fc.constantFrom(0o100000, 0o040000, 0o020000, 0o060000, 0o010000, 0o140000).chain(modeOf),
    rdev: whole,
    target: fc.constant(new Uint8Array(0)),
  }),
  record({
    op: fc.constant("create" as const),
    node: u32,
    mode: modeOf(0o120000),
    rdev: fc.constant(0),
    target: targetBytes,
  }),
  record({
    op: fc.constant("write" as const),
    node: u32,
    position: whole,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 3000 }),
  }),
  record({ op: fc.constant("zero" as const), node: u32, position: whole, length: whole }),
  record({ op: fc.constant("truncate" as const), node: u32, size: whole }),
  record({
    op: fc.constant("keep" as const),
    node: u32,
    key: fc.stringMatching(/^[0-9a-z.]{1,64}$/).map((key) => new TextEncoder().encode(key)),
  }),
  record({
    op: fc.constant("clone" as const),
    node: u32,
    position: whole,
    from: record({ node: u32, position: whole }),
    length: fc.integer({ min: 1, max: cloneBytesMax }),
  }),
  record({
    op: fc.constantFrom("place" as const, "link" as const),
    node: u32,
    parent: u32,
    name: nameBytes,
  }),
  record({
    op: fc.constant("rename" as const),
    fromParent: u32,
    fromName: nameBytes,
    toParent: u32,
    toName: nameBytes,
    exchange: fc.boolean(),
  }),
  record({ op: fc.constant("unlink" as const), parent: u32, name: nameBytes }),
  record({ op: fc.constantFrom("remove" as const, "detach" as const), node: u32 }),
  record({ op: fc.constant("meta" as const), node: u32, mode: u32, uid: u32, gid: u32 }),
  record({
    op: fc.constant("times" as const),
    node: u32,
    sec: fc.maxSafeInteger(),
    nsec: fc.nat(999_999_999),
  }),
  record({
    op: fc.constant("times" as const),
    node: u32,
    sec: seconds,
    nsec: nanoseconds,
    ctime: fc.tuple(
      seconds.filter((sec) => sec !== 0),
      nanoseconds,
    ),
  }),
  record({ op: fc.constant("origin" as const), node: u32, origin: someOrigin }),
  record({
    op: fc.constant("attributes" as const),
    node: u32,
    bytes: fc.uint8Array({ maxLength: 2000 }),
  }),
);
