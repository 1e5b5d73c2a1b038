/**
 * `ContentReader`: reads dirty extents of a file straight into WRITE frames.
 *
 * In: a node and its extents. Out: WRITE for data, ZERO for holes, TRUNCATE where the size must be
 * said. Suspends when the writer has no room and goes on from there. Constant memory.
 * Every extent is noted as read before it is read, so that a change during the reading is a
 * conflict.
 */
import { ExtentList, type Tree } from "../tree/index.ts";
import { type Files, Stat, statSlots } from "../world/index.ts";
import { type OpWriter, writeBytesMax } from "../wire/index.ts";
import type { DirtySet } from "./dirty-set.ts";

/** Below this many bytes an extent is not searched for holes: a block is the smallest hole. */
const holeBytesMin = 4096;
/**
 * A file up to this that has as many blocks as bytes is not searched either: what blocks without
 * data there may be, made in advance, cost less to send than to find.
 */
const fullFileBytesMax = 131072;
const blockBytes = 512;

export interface Reading {
  readonly node: number;
  readonly extents: ExtentList;
  index: number;
  position: number;
  /** Data, not a hole, is known up to here: asking anew after every pause would cost much. */
  dataEnd: number;
  /**
   * The file's end when reading began, which is as far as it is read: who writes on is told of, and
   * would else be followed for as long as he is faster.
   */
  endMax: number;
}

export function startReading(node: number, extents: ExtentList): Reading {
  return { node, extents, index: 0, position: -1, dataEnd: -1, endMax: -1 };
}

/** Of a new file: from its beginning to its end, wherever that is. */
export function startReadingAll(node: number): Reading {
  const extents = new ExtentList();
  extents.add(0, Infinity);
  return { ...startReading(node, extents), endMax: Infinity };
}

type ReadOnly = Pick<Files, "fstat" | "pread">;

export class ContentReader {
  readonly #files: Files;
  readonly #tree: Tree;
  readonly #writer: OpWriter;
  readonly #dirty: DirtySet;
  readonly #hasRoom: () => boolean;
  readonly #pair: Float64Array = new Float64Array(2);
  /** Stat of the file last read. */
  readonly stat: Float64Array = new Float64Array(statSlots);

  constructor(files: Files, tree: Tree, writer: OpWriter, dirty: DirtySet, hasRoom: () => boolean) {
    this.#files = files;
    this.#tree = tree;
    this.#writer = writer;
    this.#dirty = dirty;
    this.#hasRoom = hasRoom;
  }

  /**
   * 1 done, 0 suspended for room, or a negative errno. `stat` is fresh in all cases but the last,
   * unless the caller has just asked: `known`.
   */
  read(reading: Reading, fd: number, known?: Float64Array): number {
    const { node, extents } = reading;
    const result = known === undefined ? this.#files.fstat(fd, this.stat) : 0;
    if (result < 0) return result;
    const stat = known ?? this.stat;
    if (reading.endMax < 0) reading.endMax = stat[Stat.size]!;
    const size = Math.min(stat[Stat.size]!, reading.endMax);
    const isFull = size <= fullFileBytesMax && stat[Stat.blocks]! * blockBytes >= size;
    for (; reading.index < extents.count; reading.index++) {
      const from = extents.from(reading.index);
      const to = extents.to(reading.index);
      if (reading.position < from) reading.position = from;
      if (isFull) reading.dataEnd = size;
      const end = Math.min(to, size);
      const done = this.#range(reading, fd, end);
      if (done <= 0) return done;
      // It has been cut since it was written there. That is told later, and is a conflict then.
      if (to !== Infinity && end < to) this.#note(node, Math.max(from, end), to);
      const synced = this.#tree.size[node]!;
      // Of an extent beyond the end nothing is known, nor of what is before it.
      if (to === Infinity ? synced !== size : end > synced && end > from) {
        this.#truncate(node, end);
        // The hole at the end is there only if the file reached so far before, and not because of a
        // write further behind that has not been told yet.
        if (to !== Infinity) this.#dirty.noteRead(node, end, Infinity);
      }
      // The size was asked for in this very call, or just before it: after everything that is
      // known to have happened.
      if (to !== Infinity) continue;
      if (size === stat[Stat.size]) this.#dirty.satisfy(node, end, Infinity);
      // Also of an empty file: its size is what was read.
      this.#dirty.noteRead(node, 0, 0);
    }
    return 1;
  }

  /**
   * Reads one small extent in one piece. False, with nothing written or noted, when that is not all
   * there is to it: `read` finds out what it is then. `stat` is fresh if true. `files`: who reads.
   */
  readSmall(
    node: number,
    from: number,
    to: number,
    fd: number,
    files: ReadOnly = this.#files,
  ): boolean {
    const { stat } = this;
    const tree = this.#tree;
    const length = to - from;
    if (length >= holeBytesMin || files.fstat(fd, stat) < 0) return false;
    if (to > stat[Stat.size]! || stat[Stat.mode] !== tree.mode[node]) return false;
    const space = this.#writer.beginWrite(node, from, length);
    if (files.pread(fd, space.bytes, space.offset, length, from) !== length) return false;
    this.#writer.endWrite(length);
    // No event enters while this runs: noted now is noted before it was read.
    this.#dirty.noteRead(node, from, to);
    if (to > tree.size[node]!) tree.size[node] = to;
    return true;
  }

  /** The target's file ends here, before anything is written to it. */
  cut(node: number, size: number): void {
    if (this.#tree.size[node]! > size) this.#truncate(node, size);
  }

  #truncate(node: number, size: number): void {
    this.#writer.truncate(node, size);
    this.#tree.size[node] = size;
  }

  /**
   * Brings the target's file to the size that this one has now, or to `readTo` if it has grown
   * since: a size is not told before the bytes that belong to it. 0 or a negative errno.
   */
  endAtSize(node: number, fd: number, readTo: number): number {
    const result = this.#files.fstat(fd, this.stat);
    if (result < 0) return result;
    const size = this.stat[Stat.size]!;
    const end = Math.min(size, readTo);
    if (this.#tree.size[node] !== end) this.#truncate(node, end);
    if (size <= readTo) this.#dirty.satisfy(node, size, Infinity);
    else this.#dirty.addChanged(node, readTo, size);
    return 0;
  }

  #range(reading: Reading, fd: number, end: number): number {
    if (end - reading.position < holeBytesMin) return this.#data(reading, fd, end);
    while (reading.position < end) {
      if (reading.position >= reading.dataEnd) {
        const pairs = this.#files.dataExtents(fd, reading.position, end, this.#pair);
        if (pairs === 0) {
          this.#hole(reading, end);
          return 1;
        }
        if (pairs > 0) this.#hole(reading, this.#pair[0]!);
        reading.dataEnd = pairs < 0 ? end : this.#pair[1]!;
      }
      const done = this.#data(reading, fd, Math.min(end, reading.dataEnd));
      if (done <= 0) return done;
    }
    return 1;
  }

  #hole(reading: Reading, end: number): void {
    const { node, position } = reading;
    if (end <= position) return;
    this.#note(node, position, end);
    // Beyond the target's end there is nothing to clear: TRUNCATE makes the hole.
    const inside = Math.min(end, this.#tree.size[node]!);
    if (inside > position) this.#writer.zero(node, position, inside - position);
    reading.position = end;
  }

  /** From here on a change in this range is a conflict; what was told of it before is done with. */
  #note(node: number, from: number, to: number): void {
    this.#dirty.satisfy(node, from, to);
    this.#dirty.noteRead(node, from, to);
  }

  #data(reading: Reading, fd: number, end: number): number {
    const { node } = reading;
    while (reading.position < end) {
      if (!this.#hasRoom()) return 0;
      const length = Math.min(writeBytesMax, end - reading.position);
      this.#note(node, reading.position, reading.position + length);
      const space = this.#writer.beginWrite(node, reading.position, length);
      const n = this.#files.pread(fd, space.bytes, space.offset, length, reading.position);
      if (n < 0) return n;
      this.#writer.endWrite(n);
      if (n === 0) {
        // The file was cut meanwhile: that is an event of its own, and a conflict.
        reading.position = end;
        return 1;
      }
      reading.position += n;
      if (reading.position > this.#tree.size[node]!) this.#tree.size[node] = reading.position;
    }
    return 1;
  }
}
