/**
 * Decodes operation frames and hands each to an `Operations` receiver.
 *
 * Everything is checked before it is used: payload lengths, names (1 to 255 bytes, no `/`, no NUL,
 * not `.` or `..`), positions and sizes (whole, not negative, below 2^53), kinds of nodes.
 * Errors: PEER_MALFORMED. Views passed on are valid only during the call.
 */
import { SyncError } from "../base/index.ts";
import { isKeepKey } from "./hold-prefix.ts";
import { f64, u32 } from "./little-endian.ts";
import { ctimeBytes, decodeOrigin, type Origin, originBytes, timesBytes } from "./origin.ts";
import {
  attributesBytesMax,
  cloneBytesMax,
  FrameType,
  nameBytesMax,
  RenameFlag,
  symlinkBytesMax,
  writeBytesMax,
} from "./protocol.ts";

export interface Operations {
  create(node: number, mode: number, rdev: number, symlinkTarget: Uint8Array): void;
  write(node: number, position: number, bytes: Uint8Array, start: number, end: number): void;
  zero(node: number, position: number, length: number): void;
  truncate(node: number, size: number): void;
  clone(
    node: number,
    position: number,
    from: { node: number; position: number },
    length: number,
  ): void;
  place(node: number, parent: number, name: Uint8Array): void;
  rename(
    fromParent: number,
    fromName: Uint8Array,
    toParent: number,
    toName: Uint8Array,
    exchange: boolean,
  ): void;
  link(node: number, parent: number, name: Uint8Array): void;
  unlink(parent: number, name: Uint8Array): void;
  keep(node: number, key: Uint8Array): void;
  remove(node: number): void;
  detach(node: number): void;
  meta(node: number, mode: number, uid: number, gid: number): void;
  /** `ctime…`: of the source's inode, both 0 when it was not told. */
  times(
    node: number,
    mtimeSec: number,
    mtimeNsec: number,
    ctimeSec: number,
    ctimeNsec: number,
  ): void;
  attributes(node: number, attributes: Uint8Array): void;
  /** Changes only what is remembered of the node. */
  origin(node: number, origin: Origin): void;
}

export interface Commit {
  epoch: number;
  operationCount: number;
  checksum: number;
  flags: number;
  wallMs: number;
}

/** Decodes one operation frame (any type from `create` on but COMMIT). */
export function decodeOperation(
  type: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  to: Operations,
): void {
  const length = end - start;
  switch (type) {
    case FrameType.write:
      atLeast(length, 13);
      if (length - 12 > writeBytesMax) malformed("a write is too long");
      return to.write(u32(bytes, start), whole(bytes, start + 4), bytes, start + 12, end);
    case FrameType.times:
      return decodeTimes(bytes, start, end, to);
    case FrameType.create:
      return decodeCreate(bytes, start, end, to);
    case FrameType.zero:
      exactly(length, 20);
      return to.zero(u32(bytes, start), whole(bytes, start + 4), whole(bytes, start + 12));
    case FrameType.truncate:
      exactly(length, 12);
      return to.truncate(u32(bytes, start), whole(bytes, start + 4));
    case FrameType.clone:
      return decodeClone(bytes, start, end, to);
    case FrameType.place:
      return to.place(...named(bytes, start, end));
    case FrameType.link:
      return to.link(...named(bytes, start, end));
    case FrameType.unlink: {
      const [, parent, name] = named(bytes, start, end);
      return to.unlink(parent, name);
    }
    case FrameType.rename:
      return decodeRename(bytes, start, end, to);
    case FrameType.keep: {
      atLeast(length, 5);
      const key = bytes.subarray(start + 4, end);
      if (!isKeepKey(key)) malformed("a kept file has no such key");
      return to.keep(u32(bytes, start), key);
    }
    case FrameType.remove:
      exactly(length, 4);
      return to.remove(u32(bytes, start));
    case FrameType.detach:
      exactly(length, 4);
      return to.detach(u32(bytes, start));
    case FrameType.meta:
      exactly(length, 16);
      return to.meta(
        u32(bytes, start),
        u32(bytes, start + 4),
        u32(bytes, start + 8),
        u32(bytes, start + 12),
      );
    case FrameType.attributes:
      atLeast(length, 4);
      if (length - 4 > attributesBytesMax) malformed("attributes are too long");
      return to.attributes(u32(bytes, start), bytes.subarray(start + 4, end));
    case FrameType.origin:
      exactly(length, 4 + originBytes);
      return to.origin(u32(bytes, start), decodeOrigin(bytes, start + 4));
    default:
      malformed(`operation type ${type} is unknown`);
  }
}

export function decodeCommit(bytes: Uint8Array, start: number, end: number): Commit {
  exactly(end - start, 25);
  return {
    epoch: whole(bytes, start),
    operationCount: u32(bytes, start + 8),
    checksum: u32(bytes, start + 12),
    flags: bytes[start + 16]!,
    wallMs: f64(bytes, start + 17),
  };
}

function decodeTimes(bytes: Uint8Array, start: number, end: number, to: Operations): void {
  const tail = end - start > timesBytes;
  exactly(end - start, tail ? timesBytes + ctimeBytes : timesBytes);
  const node = u32(bytes, start);
  const sec = seconds(bytes, start + 4);
  const nsec = nanoseconds(bytes, start + 12);
  if (!tail) return to.times(node, sec, nsec, 0, 0);
  to.times(node, sec, nsec, seconds(bytes, start + 16), nanoseconds(bytes, start + 24));
}

function decodeCreate(bytes: Uint8Array, start: number, end: number, to: Operations): void {
  atLeast(end - start, 16);
  const mode = u32(bytes, start + 4);
  const target = bytes.subarray(start + 16, end);
  if (!kinds.has(mode & 0o170000)) malformed(`mode ${mode.toString(8)} is of no known kind`);
  if (target.length > symlinkBytesMax || target.includes(0)) malformed("bad symlink target");
  if (((mode & 0o170000) === 0o120000) !== target.length > 0) malformed("bad symlink target");
  to.create(u32(bytes, start), mode, whole(bytes, start + 8), target);
}

const kinds: ReadonlySet<number> = new Set([
  0o100000, 0o040000, 0o120000, 0o020000, 0o060000, 0o010000, 0o140000,
]);

function decodeClone(bytes: Uint8Array, start: number, end: number, to: Operations): void {
  exactly(end - start, 32);
  const position = whole(bytes, start + 8);
  const from = { node: u32(bytes, start + 4), position: whole(bytes, start + 16) };
  const length = whole(bytes, start + 24);
  if (length === 0 || length > cloneBytesMax) malformed(`a clone of ${length} bytes`);
  to.clone(u32(bytes, start), position, from, length);
}

function decodeRename(bytes: Uint8Array, start: number, end: number, to: Operations): void {
  atLeast(end - start, 12);
  const flags = bytes[start + 8]!;
  const middle = start + 10 + bytes[start + 9]!;
  if (middle >= end) malformed("a rename lacks its second name");
  if ((flags & ~RenameFlag.exchange) !== 0) malformed("unknown rename flags");
  to.rename(
    u32(bytes, start),
    checkedName(bytes, start + 10, middle),
    u32(bytes, start + 4),
    checkedName(bytes, middle, end),
    flags === RenameFlag.exchange,
  );
}

export type Place = readonly [parent: number, name: Uint8Array];

/** Where PLACE, LINK, UNLINK and RENAME act; the frame need not have been checked yet. */
export function placesIn(
  type: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): readonly Place[] {
  if (type !== FrameType.rename) return [[u32(bytes, start + 4), bytes.subarray(start + 8, end)]];
  const middle = start + 10 + bytes[start + 9]!;
  return [
    [u32(bytes, start), bytes.subarray(start + 10, middle)],
    [u32(bytes, start + 4), bytes.subarray(middle, end)],
  ];
}

function named(bytes: Uint8Array, start: number, end: number): [number, number, Uint8Array] {
  atLeast(end - start, 9);
  return [u32(bytes, start), u32(bytes, start + 4), checkedName(bytes, start + 8, end)];
}

/** A name that cannot lead anywhere but to an entry of its directory. */
export function checkedName(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const length = end - start;
  if (length < 1 || length > nameBytesMax) malformed("a name must have 1 to 255 bytes");
  for (let at = start; at < end; at++) {
    if (bytes[at] === 0 || bytes[at] === 47) malformed("a name holds `/` or NUL");
  }
  if (bytes[start] === 46 && (length === 1 || (length === 2 && bytes[start + 1] === 46))) {
    malformed("a name must not be `.` or `..`");
  }
  return bytes.subarray(start, end);
}

function whole(bytes: Uint8Array, at: number): number {
  const value = f64(bytes, at);
  if (!Number.isSafeInteger(value) || value < 0)
    malformed("a position or size is not a whole number");
  return value;
}

function seconds(bytes: Uint8Array, at: number): number {
  const value = f64(bytes, at);
  if (!Number.isSafeInteger(value)) malformed("a time is not a whole number of seconds");
  return value;
}

function nanoseconds(bytes: Uint8Array, at: number): number {
  const value = u32(bytes, at);
  if (value >= 1_000_000_000) malformed("a time has too many nanoseconds");
  return value;
}

function exactly(length: number, wanted: number): void {
  if (length !== wanted) malformed(`a payload of ${length} bytes should have ${wanted}`);
}

function atLeast(length: number, wanted: number): void {
  if (length < wanted) malformed(`a payload of ${length} bytes should have at least ${wanted}`);
}

function malformed(message: string): never {
  throw new SyncError("PEER_MALFORMED", message);
}
