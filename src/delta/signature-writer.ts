/**
 * Target side of a delta: reads a basis in steps and makes its signature, piece by piece.
 *
 * In: a descriptor, which stays the caller's. Out: pieces for a SignatureReader. Memory does not
 * grow with the file; a step reads at most `stepBytesMax` and makes one piece.
 * A basis that shrank meanwhile counts as having zeros there (`missingBytes` says how many), so a
 * signature always has the blocks that its header promises: whoever uses a match must find out by
 * the read that comes short, as for any change after the signature.
 */
import { assert } from "../base/index.ts";
import type { Files } from "../world/index.ts";
import {
  basisBytesMax,
  blockBytesMax,
  blockBytesMin,
  blockCountOf,
  blockSumBytes,
} from "./block-length.ts";
import { encodeSignatureHeader, pieceBlockCount, saltBytes } from "./signature.ts";

/** Bytes of a basis or file that one step reads, at most. */
export const stepBytesMax: number = 1024 * 1024;

export interface SignatureWriterOptions {
  readonly blockBytes: number;
  /** Bytes of the basis, at most `basisBytesMax`. */
  readonly fileBytes: number;
  /** 16 random bytes, new for each signature. */
  readonly salt: Uint8Array;
}

/** Used within one step only; each thread has its own module and so its own. */
let scratch: Uint8Array = new Uint8Array(0);

export class SignatureWriter {
  readonly #files: Files;
  readonly #fd: number;
  readonly #options: SignatureWriterOptions;
  readonly #stepBytes: number;
  /** -1: the header comes next. */
  #at = -1;
  #missingBytes = 0;

  constructor(files: Files, fd: number, options: SignatureWriterOptions) {
    const { blockBytes, fileBytes, salt } = options;
    assert(blockBytes >= blockBytesMin && blockBytes <= blockBytesMax, "a block has bounds");
    assert(blockBytes % 64 === 0 && salt.length === saltBytes, "a block has a form, a salt too");
    assert(fileBytes >= 0 && fileBytes <= basisBytesMax, "a basis has a largest size");
    this.#files = files;
    this.#fd = fd;
    this.#options = options;
    const blockCount = Math.min(Math.floor(stepBytesMax / blockBytes), pieceBlockCount);
    this.#stepBytes = blockCount * blockBytes;
  }

  /** Bytes that the basis should have had and had not. */
  get missingBytes(): number {
    return this.#missingBytes;
  }

  /** The next piece; undefined after the last; a negative errno when reading fails. */
  step(): Uint8Array | undefined | number {
    const { blockBytes, fileBytes, salt } = this.#options;
    if (this.#at < 0) {
      this.#at = 0;
      return encodeSignatureHeader(this.#options);
    }
    if (this.#at >= fileBytes) return undefined;
    const end = Math.min(fileBytes, this.#at + this.#stepBytes);
    if (scratch.length < this.#stepBytes) scratch = new Uint8Array(stepBytesMax);
    const piece = new Uint8Array(blockCountOf(end - this.#at, blockBytes) * blockSumBytes);
    const missing = this.#files.deltaSums(
      this.#fd,
      this.#at,
      end,
      blockBytes,
      salt,
      scratch,
      piece,
    );
    if (missing < 0) return missing;
    this.#missingBytes += missing;
    this.#at = end;
    return piece;
  }
}
