/** Reads a directory's entries with their stat records through one native call a batch. */
import { type Files, scanEntryFixedBytes, statSlots } from "../world/index.ts";

/** Bytes of entries read at once. */
const batchBytes = 262144;

/** A reusable buffer for scans; not re-entrant. */
export class DirectoryEntries {
  readonly #files: Files;
  readonly #brief: 0 | 1;
  readonly #bytes: Uint8Array;
  readonly #slots: Float64Array;

  /**
   * `bytes` of entries are read at once: a multiple of 8, and room for one entry at least. `brief`:
   * generation and attributes are not asked for.
   */
  constructor(files: Files, bytes: number = batchBytes, brief: 0 | 1 = 0) {
    this.#brief = brief;
    this.#files = files;
    this.#bytes = new Uint8Array(bytes);
    this.#slots = new Float64Array(this.#bytes.buffer);
  }

  /**
   * Calls `visit` for the entries of the next batch: `stat` a view of 16 slots and `name` a view of
   * the bytes, both valid only during the call. Returns 0 at the end, else a positive count of
   * bytes or a negative errno. The descriptor's own position says where the next batch starts.
   */
  next(dirFd: number, visit: (name: Uint8Array, stat: Float64Array) => void): number {
    const used = this.#files.scanDirectory(dirFd, this.#bytes, this.#brief);
    for (let at = 0; at < used;) {
      const slot = at >>> 3;
      const length = this.#bytes[at + statSlots * 8]! + this.#bytes[at + statSlots * 8 + 1]! * 256;
      const start = at + scanEntryFixedBytes;
      visit(
        this.#bytes.subarray(start, start + length),
        this.#slots.subarray(slot, slot + statSlots),
      );
      at += (scanEntryFixedBytes + length + 7) & ~7;
    }
    return used;
  }
}
