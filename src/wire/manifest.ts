/**
 * The manifest: the target's tree as it stands when a link comes up, one entry a name, parents
 * before children. A node with several names has several entries with the same id.
 * Layout of an entry: docs/protocol.md. Decoding checks all lengths and throws PEER_MALFORMED.
 *
 * An entry has a second form (`manifestOrigin`), which begins with the node's origin.
 */
import { SyncError } from "../base/index.ts";
import { checkedName } from "./op-decoder.ts";
import { decodeOrigin, noOrigin, type Origin, originBytes, putOrigin } from "./origin.ts";
import type { OpWriter } from "./op-writer.ts";
import { attributesBytesMax, FrameType, symlinkBytesMax } from "./protocol.ts";

const fixedBytes = 55;

export interface ManifestEntry {
  node: number;
  parent: number;
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  size: number;
  mtimeSec: number;
  mtimeNsec: number;
  /** Empty for the root alone. */
  name: Uint8Array;
  symlinkTarget: Uint8Array;
  attributes: Uint8Array;
  /** What the node was at the source; `noOrigin` when the target does not know. */
  origin: Origin;
}

export function encodeManifestEntry(entry: ManifestEntry): Uint8Array {
  return encode(entry, 0);
}

/** The form of `manifestOrigin`. */
export function encodeManifestOrigin(entry: ManifestEntry): Uint8Array {
  const bytes = encode(entry, originBytes);
  putOrigin(new DataView(bytes.buffer), 0, entry.origin);
  return bytes;
}

function encode(entry: ManifestEntry, at: number): Uint8Array {
  const { name, symlinkTarget, attributes } = entry;
  const nameAt = at + fixedBytes;
  const bytes = new Uint8Array(nameAt + name.length + symlinkTarget.length + attributes.length);
  const view = new DataView(bytes.buffer, at);
  view.setUint32(0, entry.node, true);
  view.setUint32(4, entry.parent, true);
  view.setUint32(8, entry.mode, true);
  view.setUint32(12, entry.uid, true);
  view.setUint32(16, entry.gid, true);
  view.setFloat64(20, entry.rdev, true);
  view.setFloat64(28, entry.size, true);
  view.setFloat64(36, entry.mtimeSec, true);
  view.setUint32(44, entry.mtimeNsec, true);
  view.setUint8(48, name.length);
  view.setUint16(49, symlinkTarget.length, true);
  view.setUint32(51, attributes.length, true);
  bytes.set(name, nameAt);
  bytes.set(symlinkTarget, nameAt + name.length);
  bytes.set(attributes, nameAt + name.length + symlinkTarget.length);
  return bytes;
}

/**
 * In the form with an origin if that is known, which it must not be for a peer without the feature.
 * It leaves with the next flush.
 */
export function tellEntry(writer: OpWriter, entry: ManifestEntry): void {
  if (entry.origin.ino !== 0) {
    writer.controlLater(FrameType.manifestOrigin, encodeManifestOrigin(entry));
  } else {
    writer.controlLater(FrameType.manifestEntry, encodeManifestEntry(entry));
  }
}

/** The arrays of the result are copies. */
export function decodeManifestEntry(bytes: Uint8Array, start: number, end: number): ManifestEntry {
  return decode(bytes, start, end, noOrigin);
}

/** The form of `manifestOrigin`. */
export function decodeManifestOrigin(bytes: Uint8Array, start: number, end: number): ManifestEntry {
  if (end - start < originBytes) malformed();
  return decode(bytes, start + originBytes, end, decodeOrigin(bytes, start));
}

function decode(bytes: Uint8Array, start: number, end: number, origin: Origin): ManifestEntry {
  if (end - start < fixedBytes) malformed();
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start);
  const nameEnd = start + fixedBytes + view.getUint8(48);
  const targetBytes = view.getUint16(49, true);
  const attributeBytes = view.getUint32(51, true);
  const targetEnd = nameEnd + targetBytes;
  if (targetBytes > symlinkBytesMax || attributeBytes > attributesBytesMax) malformed();
  if (targetEnd + attributeBytes !== end) malformed();
  const isRoot = nameEnd === start + fixedBytes;
  const numbers = [view.getFloat64(20, true), view.getFloat64(28, true), view.getFloat64(36, true)];
  if (!numbers.every(Number.isSafeInteger)) malformed();
  if (view.getUint32(44, true) >= 1_000_000_000) malformed();
  return {
    node: view.getUint32(0, true),
    parent: view.getUint32(4, true),
    mode: view.getUint32(8, true),
    uid: view.getUint32(12, true),
    gid: view.getUint32(16, true),
    rdev: numbers[0]!,
    size: numbers[1]!,
    mtimeSec: numbers[2]!,
    mtimeNsec: view.getUint32(44, true),
    name: isRoot
      ? new Uint8Array(0)
      : new Uint8Array(checkedName(bytes, start + fixedBytes, nameEnd)),
    // Not slice(): that of a Buffer, which is what a socket gives, is a view.
    symlinkTarget: new Uint8Array(bytes.subarray(nameEnd, targetEnd)),
    attributes: new Uint8Array(bytes.subarray(targetEnd, end)),
    origin,
  };
}

function malformed(): never {
  throw new SyncError("PEER_MALFORMED", "a manifest entry does not have its form");
}
