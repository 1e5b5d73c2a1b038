/**
 * The manifest by digests: instead of what is below a directory the target tells one hash of it
 * (`subtree`), and tells the entries of those directories that the source asks for (`expand`), each
 * answer closed by `expanded`. Layout: docs/protocol.md. Decoding checks all lengths and throws
 * PEER_MALFORMED.
 */
import { SyncError } from "../base/index.ts";
import { u32 } from "./little-endian.ts";

/** Bytes of a directory's digest. */
export const subtreeDigestBytes = 32;
/** Directories in one `expand`, at most. */
export const expandCountMax = 16384;

const fixedBytes = 12;

export interface Subtree {
  directory: number;
  /** The ids of what is below it: `count` of them from `first` on. */
  first: number;
  count: number;
  /** A view, valid only during the call; empty when there is none. */
  digest: Uint8Array;
}

export interface Expand {
  /** With everything below, and no digests. */
  isDeep: boolean;
  directories: readonly number[];
}

export function encodeSubtree({ directory, first, count, digest }: Subtree): Uint8Array {
  const bytes = new Uint8Array(fixedBytes + digest.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, directory, true);
  view.setUint32(4, first, true);
  view.setUint32(8, count, true);
  bytes.set(digest, fixedBytes);
  return bytes;
}

export function decodeSubtree(bytes: Uint8Array, start: number, end: number): Subtree {
  const length = end - start;
  if (length !== fixedBytes && length !== fixedBytes + subtreeDigestBytes) malformed();
  return {
    directory: u32(bytes, start),
    first: u32(bytes, start + 4),
    count: u32(bytes, start + 8),
    digest: bytes.subarray(start + fixedBytes, end),
  };
}

export function encodeExpand({ isDeep, directories }: Expand): Uint8Array {
  const bytes = new Uint8Array(1 + 4 * directories.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, isDeep ? 1 : 0);
  for (const [i, directory] of directories.entries()) view.setUint32(1 + 4 * i, directory, true);
  return bytes;
}

export function decodeExpand(bytes: Uint8Array, start: number, end: number): Expand {
  const count = (end - start - 1) / 4;
  const isWhole = Number.isInteger(count) && count >= 1 && count <= expandCountMax;
  if (!isWhole || bytes[start]! > 1) malformed();
  const directories: number[] = [];
  for (let at = start + 1; at < end; at += 4) directories.push(u32(bytes, at));
  return { isDeep: bytes[start] === 1, directories };
}

export function encodeExpanded(directory: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, directory, true);
  return bytes;
}

export function decodeExpanded(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 4) malformed();
  return u32(bytes, start);
}

function malformed(): never {
  throw new SyncError("PEER_MALFORMED", "a part of the manifest does not have its form");
}
