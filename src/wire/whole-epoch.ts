/**
 * Bytes that are one whole epoch and nothing else: as most small epochs arrive. They can be applied
 * from where they are, without being held.
 *
 * Every frame's length is checked before it is looked at, the COMMIT's count and checksum before
 * anything is applied. Whatever does not fit is left to `FrameReader` and its errors.
 */
import { type Commit, decodeCommit, decodeOperation, type Operations } from "./op-decoder.ts";
import { u32 } from "./little-endian.ts";
import { commitFrameBytes, firstOperationType, FrameType, mixChecksum } from "./protocol.ts";

/** The COMMIT that ends `bytes`, if they are operations and their COMMIT, all as it says. */
export function wholeEpoch(bytes: Uint8Array): Commit | undefined {
  const commitAt = bytes.length - commitFrameBytes;
  if (commitAt < 0 || bytes[commitAt + 4] !== FrameType.commit) return undefined;
  let count = 0;
  let checksum = 0;
  let at = 0;
  while (at < commitAt) {
    const end = at + 4 + u32(bytes, at);
    const type = bytes[at + 4]!;
    const isOperation = type >= firstOperationType && type !== FrameType.commit;
    if (end <= at + 4 || end > commitAt || !isOperation) return undefined;
    checksum = mixChecksum(checksum, bytes, at + 4, end);
    count++;
    at = end;
  }
  if (u32(bytes, at) !== commitFrameBytes - 4) return undefined;
  const commit = decodeCommit(bytes, at + 5, bytes.length);
  return commit.operationCount === count && commit.checksum === checksum ? commit : undefined;
}

/** The frame of a COMMIT, as it came: `commitFrameBytes`. */
export function encodeCommit(commit: Commit, into: Uint8Array): void {
  const view = new DataView(into.buffer, into.byteOffset);
  view.setUint32(0, commitFrameBytes - 4, true);
  into[4] = FrameType.commit;
  view.setFloat64(5, commit.epoch, true);
  view.setUint32(13, commit.operationCount, true);
  view.setUint32(17, commit.checksum, true);
  into[21] = commit.flags;
  view.setFloat64(22, commit.wallMs, true);
}

/** Decodes the operations of bytes that `wholeEpoch` has found whole. Throws as decodeOperation. */
export function decodeEpoch(bytes: Uint8Array, to: Operations): void {
  const commitAt = bytes.length - commitFrameBytes;
  for (let at = 0; at < commitAt;) {
    const end = at + 4 + u32(bytes, at);
    decodeOperation(bytes[at + 4]!, bytes, at + 5, end, to);
    at = end;
  }
}
