/**
 * Reads the entries of an open directory one after the other, whatever their number, in a buffer
 * of fixed size.
 *
 * In: a directory's descriptor, at its start. Out: name (bytes as a Latin-1 string, one character
 * a byte, so that it can be a key) and stat record of each entry.
 * Invariant: `stat` is a view into the buffer: it is valid until the next call of next().
 * Layout of an entry: world/files.ts, `Files.scanDirectory`.
 */
import { scanEntryFixedBytes, statSlots } from "../world/index.ts";
import type { Files } from "../world/index.ts";

const bufferBytes = 256 * 1024;

export class DirectoryReader {
  readonly #files: Files;
  readonly #buffer: Buffer = Buffer.alloc(bufferBytes);
  #fd = -1;
  #at = 0;
  #length = 0;

  /** Name of the present entry. */
  name = "";
  /** Stat record of the present entry. */
  stat: Float64Array = new Float64Array(statSlots);
  /** Negative errno when next() ended because the directory cannot be read; else 0. */
  errno = 0;

  constructor(files: Files) {
    this.#files = files;
  }

  /** Starts with the directory of `fd`, which stays the caller's. */
  start(fd: number): void {
    this.#fd = fd;
    this.#at = 0;
    this.#length = 0;
    this.errno = 0;
  }

  /** Moves to the next entry; false at the end or on an error. */
  next(): boolean {
    if (this.#at >= this.#length) {
      const result = this.#files.scanDirectory(this.#fd, this.#buffer, 0);
      this.errno = Math.min(result, 0);
      this.#at = 0;
      this.#length = Math.max(result, 0);
      if (result <= 0) return false;
    }
    const start = this.#at + scanEntryFixedBytes;
    const nameBytes = this.#buffer.readUInt16LE(start - 2);
    const offset = this.#buffer.byteOffset + this.#at;
    this.stat = new Float64Array(this.#buffer.buffer, offset, statSlots);
    this.name = this.#buffer.toString("latin1", start, start + nameBytes);
    this.#at = (start + nameBytes + 7) & ~7;
    return true;
  }
}

/** The bytes of a name that a DirectoryReader gave. */
export function nameBytes(name: string): Uint8Array {
  return Buffer.from(name, "latin1");
}
