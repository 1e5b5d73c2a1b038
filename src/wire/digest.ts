/**
 * What the target really has of one node, as it answers an ask of kind `digest`: metadata as its
 * filesystem says, and hashes of what is too long to tell. Both sides hash by the functions here.
 * Layout: docs/protocol.md. Decoding checks all lengths and throws PEER_MALFORMED.
 */
import { SyncError } from "../base/index.ts";

export const DigestFlag = {
  /** The content's hash is that of the range (file), the names (directory) or the target (link). */
  content: 1,
  /** The attributes' hash is that of what is there. */
  attributes: 2,
} as const;

export const digestHashBytes = 32;
const fixedBytes = 49;
const digestBytes: number = fixedBytes + 2 * digestHashBytes;

/** SHA-256 of the parts, one after the other. */
export type Sha256 = (...parts: readonly Uint8Array[]) => Uint8Array;

export interface Digest {
  flags: number;
  /** 0 when there is nothing at the node's name. */
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  size: number;
  mtimeSec: number;
  mtimeNsec: number;
  /** Bytes that were hashed, or names. */
  count: number;
  content: Uint8Array;
  attributes: Uint8Array;
}

/** Of a node of which nothing is there. */
export function blankDigest(): Digest {
  return {
    flags: 0,
    mode: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    size: 0,
    mtimeSec: 0,
    mtimeNsec: 0,
    count: 0,
    content: new Uint8Array(digestHashBytes),
    attributes: new Uint8Array(digestHashBytes),
  };
}

export function encodeDigest(digest: Digest): Uint8Array {
  const bytes = new Uint8Array(digestBytes);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, digest.flags);
  view.setUint32(1, digest.mode, true);
  view.setUint32(5, digest.uid, true);
  view.setUint32(9, digest.gid, true);
  view.setFloat64(13, digest.rdev, true);
  view.setFloat64(21, digest.size, true);
  view.setFloat64(29, digest.mtimeSec, true);
  view.setUint32(37, digest.mtimeNsec, true);
  view.setFloat64(41, digest.count, true);
  bytes.set(digest.content, fixedBytes);
  bytes.set(digest.attributes, fixedBytes + digestHashBytes);
  return bytes;
}

/** The hashes are copies. */
export function decodeDigest(bytes: Uint8Array): Digest {
  if (bytes.length !== digestBytes) malformed();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const digest = {
    flags: view.getUint8(0),
    mode: view.getUint32(1, true),
    uid: view.getUint32(5, true),
    gid: view.getUint32(9, true),
    rdev: view.getFloat64(13, true),
    size: view.getFloat64(21, true),
    mtimeSec: view.getFloat64(29, true),
    mtimeNsec: view.getUint32(37, true),
    count: view.getFloat64(41, true),
    content: new Uint8Array(bytes.subarray(fixedBytes, fixedBytes + digestHashBytes)),
    attributes: new Uint8Array(bytes.subarray(fixedBytes + digestHashBytes)),
  };
  const isWhole = Number.isSafeInteger(digest.mtimeSec) && digest.mtimeNsec < 1_000_000_000;
  const sizes = [digest.rdev, digest.size, digest.count];
  if (!isWhole || !sizes.every((value) => Number.isSafeInteger(value) && value >= 0)) malformed();
  return digest;
}

/**
 * The hash of a set of names, whatever their order: the sum of their hashes, modulo 2^256. So
 * neither side has to sort them, and each may take them a few at a time.
 */
export class NamesHash {
  readonly #sha256: Sha256;
  readonly #salt: Uint8Array;
  readonly #sum: Uint32Array = new Uint32Array(digestHashBytes / 4);
  count = 0;

  constructor(sha256: Sha256, salt: Uint8Array) {
    this.#sha256 = sha256;
    this.#salt = salt;
  }

  add(name: Uint8Array): void {
    const hash = this.#sha256(this.#salt, name);
    const view = new DataView(hash.buffer, hash.byteOffset, hash.length);
    let carry = 0;
    for (let word = 0; word < this.#sum.length; word++) {
      const sum = this.#sum[word]! + view.getUint32(word * 4, true) + carry;
      this.#sum[word] = sum >>> 0;
      carry = sum > 0xffffffff ? 1 : 0;
    }
    this.count++;
  }

  value(): Uint8Array {
    return new Uint8Array(this.#sum.buffer.slice(0));
  }
}

const ownerPrefixes: readonly Uint8Array[] = ["user.", "system.posix_acl_"].map((prefix) =>
  new TextEncoder().encode(prefix),
);

/**
 * Of a list of attributes (Files.getAttributes' form) those that a target may have: all of them
 * when it is privileged, else those that the owner of a file may set.
 */
export function comparableAttributes(list: Uint8Array, privileged: boolean): Uint8Array {
  if (privileged || list.length === 0) return list;
  const view = new DataView(list.buffer, list.byteOffset, list.length);
  const kept: Uint8Array[] = [];
  for (let at = 0; at + 2 <= list.length;) {
    const nameEnd = at + 2 + view.getUint16(at, true);
    if (nameEnd + 4 > list.length) break;
    const end = nameEnd + 4 + view.getUint32(nameEnd, true);
    const name = list.subarray(at + 2, nameEnd);
    if (ownerPrefixes.some((prefix) => startsWith(name, prefix))) kept.push(list.subarray(at, end));
    at = end;
  }
  const all = new Uint8Array(kept.reduce((sum, { length }) => sum + length, 0));
  let used = 0;
  for (const each of kept) {
    all.set(each, used);
    used += each.length;
  }
  return all;
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return prefix.every((byte, at) => bytes[at] === byte);
}

function malformed(): never {
  throw new SyncError("PEER_MALFORMED", "a digest does not have its form");
}
