/**
 * Questions of a verifier about a target, and the answers: entries with their metadata, and hashes
 * in place of content. Each question has one answer; answers come in the order of the questions.
 * Layout: docs/protocol.md. Decoding checks all lengths, names and numbers and throws
 * PEER_MALFORMED; everything decoded is a copy.
 */
import { SyncError } from "../base/index.ts";
import { nameBytesMax, symlinkBytesMax } from "./protocol.ts";

export const VerifyKind = {
  /** Entries of a directory, a page of them. */
  list: 1,
  /** One entry. */
  look: 2,
  /** Hashes of parts of a file. */
  parts: 3,
} as const;

/** Questions that are out at once; a verifier that has more out is refused. */
export const verifyAskCountMax = 64;
/** Bytes of a path. */
export const verifyPathBytesMax = 262144;
/** Bytes of a hash. */
const hashBytes = 32;
/** Attributes of one entry, each value as a hash: Linux lists names of 64 KiB at most. */
const verifyAttributesBytesMax = 524288;
/** Entries of a page, and runs of parts, in one answer. */
const verifyItemCountMax = 4096;

export interface ListAsk {
  kind: typeof VerifyKind.list;
  id: number;
  path: Uint8Array;
  /** Only names after this one, in the order of their bytes; empty for all. */
  after: Uint8Array;
}

export interface LookAsk {
  kind: typeof VerifyKind.look;
  id: number;
  path: Uint8Array;
}

export interface PartsAsk {
  kind: typeof VerifyKind.parts;
  id: number;
  path: Uint8Array;
  from: number;
  partBytes: number;
}

export type VerifyAsk = ListAsk | LookAsk | PartsAsk;

/** An errno is positive; 0 is none. */
export interface VerifyEntry {
  /** Empty in the answer to a look. */
  name: Uint8Array;
  /** Then all else but the name is blank. */
  errno: number;
  /** On another mount or filesystem than the target's root. */
  isForeign: boolean;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
  size: number;
  /** Units of 512 bytes. */
  blocks: number;
  mtimeSec: number;
  mtimeNsec: number;
  ctimeSec: number;
  ctimeNsec: number;
  ino: number;
  dev: number;
  linkErrno: number;
  link: Uint8Array;
  attributesErrno: number;
  /** A list of attributes with a hash for each value. */
  attributes: Uint8Array;
}

export interface VerifyParts {
  ino: number;
  dev: number;
  ctimeSec: number;
  ctimeNsec: number;
  size: number;
  /** The file was the same before and after. */
  isUnchanged: boolean;
  /** In order: up to `end` all is zeros, or it is one part with this hash. */
  runs: readonly { readonly end: number; readonly hash: Uint8Array | undefined }[];
}

export type VerifyAnswer =
  | { kind: "failed"; id: number; errno: number }
  | { kind: "list"; id: number; wallMs: number; hasMore: boolean; entries: VerifyEntry[] }
  | { kind: "look"; id: number; wallMs: number; entry: VerifyEntry }
  | { kind: "parts"; id: number; parts: VerifyParts };

const answerKinds = ["failed", "list", "look", "parts"] as const;

export function encodeVerifyAsk(ask: VerifyAsk): Uint8Array {
  const out = new Packer();
  out.u32(ask.id);
  out.u8(ask.kind);
  out.u32(ask.path.length);
  out.bytes(ask.path);
  if (ask.kind === VerifyKind.list) out.bytes(ask.after);
  if (ask.kind === VerifyKind.parts) {
    out.f64(ask.from);
    out.u32(ask.partBytes);
  }
  return out.done();
}

export function decodeVerifyAsk(bytes: Uint8Array, start: number, end: number): VerifyAsk {
  const from = new Unpacker(bytes, start, end);
  const id = from.u32();
  const kind = from.u8();
  const path = from.bytes(from.u32(verifyPathBytesMax));
  const isPath = path.length === 0 || splitPath(path).every(isName);
  if (!isPath) malformed();
  if (kind === VerifyKind.list) {
    const after = from.bytes(from.leftBytes);
    if (after.length > 0 && !isName(after)) malformed();
    return { kind, id, path, after };
  }
  if (kind === VerifyKind.look) {
    from.finish();
    return { kind, id, path };
  }
  if (kind !== VerifyKind.parts) malformed();
  const position = from.whole();
  const partBytes = from.u32();
  from.finish();
  return { kind, id, path, from: position, partBytes };
}

export function encodeVerifyAnswer(answer: VerifyAnswer): Uint8Array {
  const out = new Packer();
  out.u32(answer.id);
  out.u8(answerKinds.indexOf(answer.kind));
  if (answer.kind === "failed") {
    out.u32(answer.errno);
  } else if (answer.kind === "parts") {
    packParts(out, answer.parts);
  } else {
    out.f64(answer.wallMs);
    if (answer.kind === "list") out.u8(answer.hasMore ? 1 : 0);
    const entries = answer.kind === "list" ? answer.entries : [answer.entry];
    for (const entry of entries) packEntry(out, entry);
  }
  return out.done();
}

export function decodeVerifyAnswer(bytes: Uint8Array, start: number, end: number): VerifyAnswer {
  const from = new Unpacker(bytes, start, end);
  const id = from.u32();
  const kind = answerKinds[from.u8()];
  if (kind === undefined) malformed();
  if (kind === "failed") {
    const errno = from.u32(4095);
    from.finish();
    if (errno === 0) malformed();
    return { kind, id, errno };
  }
  if (kind === "parts") return { kind, id, parts: unpackParts(from) };
  const wallMs = from.number();
  if (kind === "look") {
    const entry = unpackEntry(from);
    from.finish();
    if (entry.name.length > 0) malformed();
    return { kind, id, wallMs, entry };
  }
  const hasMore = from.u8() !== 0;
  const entries: VerifyEntry[] = [];
  while (from.leftBytes > 0) {
    const entry = unpackEntry(from);
    if (entries.length >= verifyItemCountMax || !isName(entry.name)) malformed();
    entries.push(entry);
  }
  return { kind, id, wallMs, hasMore, entries };
}

function packEntry(out: Packer, entry: VerifyEntry): void {
  out.u8(entry.isForeign ? 1 : 0);
  out.u32(entry.mode);
  out.u32(entry.nlink);
  out.u32(entry.uid);
  out.u32(entry.gid);
  for (const value of [entry.rdev, entry.size, entry.blocks, entry.mtimeSec]) out.f64(value);
  out.u32(entry.mtimeNsec);
  out.f64(entry.ctimeSec);
  out.u32(entry.ctimeNsec);
  out.f64(entry.ino);
  out.f64(entry.dev);
  for (const errno of [entry.errno, entry.linkErrno, entry.attributesErrno]) out.u16(errno);
  out.u8(entry.name.length);
  out.u16(entry.link.length);
  out.u32(entry.attributes.length);
  for (const part of [entry.name, entry.link, entry.attributes]) out.bytes(part);
}

function unpackEntry(from: Unpacker): VerifyEntry {
  const isForeign = from.u8() !== 0;
  const [mode, nlink, uid, gid] = [from.u32(), from.u32(), from.u32(), from.u32()];
  const [rdev, size, blocks] = [from.whole(), from.whole(), from.whole()];
  const mtimeSec = from.seconds();
  const mtimeNsec = from.u32(999_999_999);
  const ctimeSec = from.seconds();
  const ctimeNsec = from.u32(999_999_999);
  const [ino, dev] = [from.number(), from.number()];
  const [errno, linkErrno, attributesErrno] = [from.u16(4095), from.u16(4095), from.u16(4095)];
  const nameLength = from.u8();
  const linkLength = from.u16(symlinkBytesMax);
  const attributesLength = from.u32(verifyAttributesBytesMax);
  const name = from.bytes(nameLength);
  const link = from.bytes(linkLength);
  const attributes = from.bytes(attributesLength);
  checkAttributes(attributes);
  const whose = { mode, nlink, uid, gid, rdev, size, blocks, ino, dev };
  const times = { mtimeSec, mtimeNsec, ctimeSec, ctimeNsec };
  const read = { errno, linkErrno, link, attributesErrno, attributes };
  return { name, isForeign, ...whose, ...times, ...read };
}

/** Names of attributes have 1 to 255 bytes, and each has a hash. */
function checkAttributes(list: Uint8Array): void {
  const from = new Unpacker(list, 0, list.length);
  while (from.leftBytes > 0) {
    const nameLength = from.u16(nameBytesMax);
    from.bytes(nameLength);
    if (nameLength === 0 || from.u32() !== hashBytes) malformed();
    from.bytes(hashBytes);
  }
}

function packParts(out: Packer, parts: VerifyParts): void {
  for (const value of [parts.ino, parts.dev, parts.ctimeSec]) out.f64(value);
  out.u32(parts.ctimeNsec);
  out.f64(parts.size);
  out.u8(parts.isUnchanged ? 1 : 0);
  for (const { end, hash } of parts.runs) {
    out.f64(end);
    out.u8(hash === undefined ? 0 : 1);
    if (hash !== undefined) out.bytes(hash);
  }
}

function unpackParts(from: Unpacker): VerifyParts {
  const [ino, dev, ctimeSec] = [from.number(), from.number(), from.seconds()];
  const ctimeNsec = from.u32(999_999_999);
  const size = from.whole();
  const isUnchanged = from.u8() !== 0;
  const runs: { end: number; hash: Uint8Array | undefined }[] = [];
  while (from.leftBytes > 0) {
    if (runs.length >= verifyItemCountMax) malformed();
    const end = from.whole();
    const hasHash = from.u8() !== 0;
    runs.push({ end, hash: hasHash ? from.bytes(hashBytes) : undefined });
  }
  return { ino, dev, ctimeSec, ctimeNsec, size, isUnchanged, runs };
}

function splitPath(path: Uint8Array): Uint8Array[] {
  const names: Uint8Array[] = [];
  let start = 0;
  for (let at = 0; at <= path.length; at++) {
    if (at < path.length && path[at] !== 0x2f) continue;
    names.push(path.subarray(start, at));
    start = at + 1;
  }
  return names;
}

function isName(name: Uint8Array): boolean {
  const isDots = name.every((byte) => byte === 0x2e) && name.length <= 2;
  if (name.length === 0 || name.length > nameBytesMax || isDots) return false;
  return !name.includes(0) && !name.includes(0x2f);
}

/** Values one after the other, little-endian, in a buffer that grows. */
class Packer {
  #bytes: Uint8Array = new Uint8Array(256);
  #view: DataView = new DataView(this.#bytes.buffer);
  #at = 0;

  u8(value: number): void {
    const at = this.#room(1);
    this.#view.setUint8(at, value);
  }

  u16(value: number): void {
    const at = this.#room(2);
    this.#view.setUint16(at, value, true);
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value, true);
  }

  f64(value: number): void {
    const at = this.#room(8);
    this.#view.setFloat64(at, value, true);
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  #room(count: number): number {
    const at = this.#at;
    this.#at += count;
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#at);
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

/** The same back; what is not there, or out of bounds, is malformed. */
class Unpacker {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes.subarray(start, end);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start);
  }

  get leftBytes(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(most: number): number {
    return bounded(this.#view.getUint16(this.#take(2), true), most);
  }

  u32(most = 0xffffffff): number {
    return bounded(this.#view.getUint32(this.#take(4), true), most);
  }

  /** Any finite number. */
  number(): number {
    const value = this.#view.getFloat64(this.#take(8), true);
    if (!Number.isFinite(value)) malformed();
    return value;
  }

  seconds(): number {
    const value = this.number();
    if (!Number.isSafeInteger(value)) malformed();
    return value;
  }

  whole(): number {
    const value = this.seconds();
    if (value < 0) malformed();
    return value;
  }

  /** A copy. */
  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.slice(at, at + count);
  }

  finish(): void {
    if (this.leftBytes > 0) malformed();
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.leftBytes) malformed();
    this.#at += count;
    return at;
  }
}

function bounded(value: number, most: number): number {
  if (value > most) malformed();
  return value;
}

function malformed(): never {
  throw new SyncError("PEER_MALFORMED", "a question or answer of a verify does not have its form");
}
