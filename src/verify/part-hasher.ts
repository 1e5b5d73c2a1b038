/**
 * `PartHasher`: the content of an open file as hashes of its parts, so that two machines can
 * compare a file without sending it.
 *
 * A part is `partBytes` long, the last one as long as there is content, and begins at a multiple of
 * that. Parts that are all zeros have no hash, whether they are holes or written; a hole is passed
 * over without being read, however long it is. Constant memory, which all files share.
 */
import { assert } from "../base/index.ts";
import type { Files } from "../world/index.ts";
import { DataCursor } from "./content.ts";

/** SHA-256 of the parts, one after the other. */
export type Sha256 = (...parts: readonly Uint8Array[]) => Uint8Array;

export const partBytesMax = 262_144;
export const partBytesMin = 4096;

const zeros: Uint8Array = Buffer.alloc(partBytesMax);

export class PartHasher {
  readonly #files: Files;
  readonly #sha256: Sha256;
  readonly #salt: Uint8Array;
  readonly #bytes: Buffer = Buffer.alloc(partBytesMax);
  #fd = -1;
  #size = 0;
  #partBytes = partBytesMax;
  #data: DataCursor | undefined;

  /** Where what the last step looked at ends. */
  end = 0;
  /** Of the part of the last step; undefined when all up to `end` is zeros. */
  hash: Uint8Array | undefined;
  /** What the last step read. */
  readBytes = 0;

  constructor(files: Files, sha256: Sha256, salt: Uint8Array) {
    this.#files = files;
    this.#sha256 = sha256;
    this.#salt = salt;
  }

  /** The descriptor stays the caller's. */
  start(fd: number, size: number, partBytes: number): void {
    this.#fd = fd;
    this.#size = size;
    this.#partBytes = partBytes;
    this.#data = new DataCursor(this.#files, fd, size);
  }

  /** Looks at what begins at `position`, which only grows. A negative errno, or 0. */
  step(position: number): number {
    const data = this.#data;
    assert(data !== undefined && position < this.#size, "a step within the file");
    assert(position % this.#partBytes === 0, "parts begin at multiples");
    this.hash = undefined;
    this.readBytes = 0;
    data.seek(position);
    const dataPart = data.start - (data.start % this.#partBytes);
    this.end = data.start >= this.#size ? this.#size : dataPart;
    if (this.end > position) return 0;
    this.end = Math.min(position + this.#partBytes, this.#size);
    const length = this.end - position;
    const count = this.#files.pread(this.#fd, this.#bytes, 0, length, position);
    if (count < 0) return count;
    this.readBytes = count;
    const part = this.#bytes.subarray(0, count);
    // A file that has become shorter meanwhile has no zeros there, and is looked at again anyway.
    const isZero = count === length && Buffer.compare(part, zeros.subarray(0, count)) === 0;
    if (!isZero) this.hash = this.#sha256(this.#salt, part);
    return 0;
  }
}
