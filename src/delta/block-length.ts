/**
 * How long a block of a basis is, and what its signature costs.
 *
 * A signature costs some bytes a block, a change costs the block that it is in: near the square
 * root of the file's size both grow alike (rsync chooses so too). Between 704 bytes, below which
 * the sums cost more than they save, and 256 KiB, so that a step needs little memory.
 * Why these numbers: docs/adr/0021-delta.md.
 */
import { assert } from "../base/index.ts";
import { deltaStrongBytes } from "../world/index.ts";

export const blockBytesMin = 704;
export const blockBytesMax: number = 256 * 1024;
/** Bytes of the largest basis; of a larger one, take the signature of its first so many bytes. */
export const basisBytesMax: number = 1024 * 1024 * 1024 * 1024;

/** Bytes of a block's strong sum: salted SHA-256, cut. */
export const strongBytes: number = deltaStrongBytes;
/** Bytes of a block in a signature: weak sum, strong sum. */
export const blockSumBytes: number = 4 + strongBytes;
/** Bytes of a signature before its blocks. */
export const signatureHeaderBytes = 32;

/** A block length for a basis of so many bytes: near the square root, a multiple of 64. */
export function blockBytesOf(fileBytes: number): number {
  assert(fileBytes >= 0, "a file has a size");
  const near = Math.ceil(Math.sqrt(fileBytes) / 64) * 64;
  return Math.min(blockBytesMax, Math.max(blockBytesMin, near));
}

/** Blocks of a basis, a short last one included. */
export function blockCountOf(fileBytes: number, blockBytes: number): number {
  return Math.ceil(fileBytes / blockBytes);
}

/** Bytes of the whole signature of a basis of so many bytes: all its pieces together. */
export function signatureBytesOf(fileBytes: number): number {
  const blockCount = blockCountOf(fileBytes, blockBytesOf(fileBytes));
  return signatureHeaderBytes + blockCount * blockSumBytes;
}
