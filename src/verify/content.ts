/**
 * Compares the bytes of two open files of equal size in constant memory, and judges their holes.
 *
 * In: two descriptors. Out: the first position that differs; the bytes of data that a file has.
 * What is a hole on both sides is not read. Everything else is compared as bytes, so a hole equals
 * written zeros. The extents are only a hint what to skip: a filesystem that knows no holes says
 * that all is data.
 *
 * Rule for `holes`: the source is sparse when it has at least `toleranceBytes` less allocated than
 * its size, and at least as many bytes in holes by SEEK_HOLE. The target has then lost the holes
 * when it has more allocated than the source has (or has as data, whichever is more) plus
 * `toleranceBytes` plus an eighth. The tolerance covers blocks of different size, extent tree
 * blocks, and allocation ahead of the end of a file. Compression of the source is no sparseness,
 * as SEEK_HOLE does not see it; space reserved by fallocate is allocated, as `blocks` counts it.
 * Source: man 2 lseek (SEEK_DATA, SEEK_HOLE), man 2 statx (stx_blocks).
 */
import { assert } from "../base/index.ts";
import { Stat } from "../world/index.ts";
import type { Files } from "../world/index.ts";

const partBytes = 256 * 1024;
const extentBatchCount = 256;
const toleranceBytes = 64 * 1024;

/** Lets other work run; true when the comparison is to be given up. */
export type Pause = (comparedBytes: number) => Promise<boolean>;

export type ContentResult =
  | { readonly outcome: "equal" | "cancelled" }
  | { readonly outcome: "different"; readonly position: number }
  | { readonly outcome: "failed"; readonly side: "source" | "target"; readonly errno: number };

export class ContentComparer {
  readonly #files: Files;
  readonly #sourceBytes: Buffer = Buffer.alloc(partBytes);
  readonly #targetBytes: Buffer = Buffer.alloc(partBytes);
  readonly #extents = new Float64Array(2 * extentBatchCount);

  constructor(files: Files) {
    this.#files = files;
  }

  /** Compares the first `size` bytes. Descriptors stay the caller's. Reads only data extents. */
  async compare(
    sourceFd: number,
    targetFd: number,
    size: number,
    pause: Pause,
  ): Promise<ContentResult> {
    const source = new DataCursor(this.#files, sourceFd, size);
    const target = new DataCursor(this.#files, targetFd, size);
    let position = 0;
    while (position < size) {
      source.seek(position);
      target.seek(position);
      const start = Math.max(position, Math.min(source.start, target.start));
      if (start >= size) break;
      // Up to the end of what is data on one side; on the other side a hole reads as zeros.
      const dataEnd = source.start <= start ? source.end : target.end;
      const end = Math.min(dataEnd, start + partBytes);
      assert(end > start, "each step of a comparison goes forward");
      const result = this.#comparePart(sourceFd, targetFd, start, end - start);
      if (result !== undefined) return result;
      position = end;
      if (await pause(end - start)) return { outcome: "cancelled" };
    }
    return { outcome: "equal" };
  }

  #comparePart(
    sourceFd: number,
    targetFd: number,
    start: number,
    length: number,
  ): ContentResult | undefined {
    const fromSource = this.#files.pread(sourceFd, this.#sourceBytes, 0, length, start);
    if (fromSource < 0) return { outcome: "failed", side: "source", errno: fromSource };
    const fromTarget = this.#files.pread(targetFd, this.#targetBytes, 0, length, start);
    if (fromTarget < 0) return { outcome: "failed", side: "target", errno: fromTarget };
    const source = this.#sourceBytes.subarray(0, fromSource);
    const target = this.#targetBytes.subarray(0, fromTarget);
    if (source.equals(target)) return undefined;
    let offset = 0;
    while (offset < fromSource && source[offset] === target[offset]) offset += 1;
    return { outcome: "different", position: start + offset };
  }

  /**
   * Whether a target has lost the holes of its source, by the rule in the header.
   * `source` and `target` are stat records; `sourceFd` is the source, open for reading.
   */
  async lostHoles(
    source: Float64Array,
    target: Float64Array,
    sourceFd: number,
    pause: Pause,
  ): Promise<boolean> {
    if (!mayHaveLostHoles(source, target)) return false;
    const size = source[Stat.size] ?? 0;
    const dataBytes = await this.#dataBytes(sourceFd, size, pause);
    if (dataBytes === undefined || size - dataBytes < toleranceBytes) return false;
    return allocatedBytes(target) > limitFor(Math.max(allocatedBytes(source), dataBytes));
  }

  async #dataBytes(fd: number, size: number, pause: Pause): Promise<number | undefined> {
    let total = 0;
    let position = 0;
    while (position < size) {
      const count = this.#files.dataExtents(fd, position, size, this.#extents);
      if (count < 0) return undefined;
      if (count === 0) break;
      for (let index = 0; index < count; index++) {
        total += (this.#extents[2 * index + 1] ?? 0) - (this.#extents[2 * index] ?? 0);
      }
      const end = this.#extents[2 * count - 1] ?? size;
      assert(end > position, "extents go forward");
      position = end;
      if (await pause(0)) return undefined;
    }
    return total;
  }
}

/** Whether the stat records alone leave `holes` possible; spares opening most files. */
export function mayHaveLostHoles(source: Float64Array, target: Float64Array): boolean {
  const allocated = allocatedBytes(source);
  if ((source[Stat.size] ?? 0) - allocated < toleranceBytes) return false;
  return allocatedBytes(target) > limitFor(allocated);
}

function limitFor(bytes: number): number {
  return bytes + toleranceBytes + bytes / 8;
}

export function allocatedBytes(stat: Float64Array): number {
  // man 2 statx: stx_blocks counts units of 512 bytes on every filesystem.
  return (stat[Stat.blocks] ?? 0) * 512;
}

/** The data extent at or after a position; `start` is the size of the file when there is none. */
export class DataCursor {
  readonly #files: Files;
  readonly #fd: number;
  readonly #size: number;
  readonly #extents = new Float64Array(2 * 16);
  #index = 0;
  #count = 0;
  start = 0;
  end = 0;

  constructor(files: Files, fd: number, size: number) {
    this.#files = files;
    this.#fd = fd;
    this.#size = size;
  }

  /** Moves to the extent that ends after `position`. Positions only grow. */
  seek(position: number): void {
    while (this.end <= position && this.start < this.#size) {
      if (this.#index >= this.#count) this.#fetch(position);
      else this.#take();
    }
  }

  #take(): void {
    this.start = this.#extents[2 * this.#index] ?? this.#size;
    this.end = this.#extents[2 * this.#index + 1] ?? this.#size;
    this.#index += 1;
  }

  #fetch(position: number): void {
    const count = this.#files.dataExtents(this.#fd, position, this.#size, this.#extents);
    this.#index = 0;
    this.#count = Math.max(count, 0);
    if (count > 0) this.#take();
    else if (count === 0) [this.start, this.end] = [this.#size, this.#size];
    // Extents are refused: then all of it is data.
    else [this.start, this.end] = [position, this.#size];
  }
}
