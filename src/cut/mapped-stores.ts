/**
 * Stores through shared mappings. The kernel tells of the first store to a clean page and then no
 * more, until the page has been written out and thereby write-protected again. So after a store the
 * file rests a moment, its pages are cleaned (sync_file_range), and only then read: a store before
 * the cleaning is in what is read, a store after it is told anew.
 *
 * A mapping made over pages that write(2) had left dirty would go unseen; so when a file is mapped
 * its dirty pages are looked up (cachestat), cleaned and read.
 *
 * Cleaning costs disk writes; a file that is stored to without pause rests longer each time.
 * Source: mm/page-writeback.c (folio_mark_dirty), man 2 sync_file_range.
 */
import { ExtentList } from "../tree/index.ts";
import type { Files } from "../world/index.ts";
import { openAttemptsMax } from "./limits.ts";

/** First rest after a store, and the longest that a busy file is given. */
export const storeRestMsMin = 2;
export const storeRestMsMax = 128;
/** A file quiet for this long starts again with the shortest rest. */
const calmUs = 500_000;
/** Dirty extents told apart when a mapping is made; more are taken as one. */
const dirtyExtentCountMax = 256;
const pageBytes = 4096;

/** Times that pages are tried to be cleaned without waiting for the disk. */
export const cleanTriesMax = 4;

interface Resting {
  extents: ExtentList;
  /** Times that pages of it were left dirty, because they were just being written out. */
  tries: number;
  dueUs: number;
  /** Times that the file could not be opened. */
  attempts: number;
}

interface Pace {
  restMs: number;
  lastUs: number;
}

/** Files whose pace is remembered. */
export const paceCountMax = 4096;

const noop = (): void => {};

export class MappedStores {
  readonly #files: Files;
  readonly #resting: Map<number, Resting> = new Map();
  readonly #paces: Map<number, Pace> = new Map();

  readonly #onCleaned: (node: number, from: number, to: number) => void;

  /** `onCleaned` hears of each extent that was cleaned and must be read. */
  constructor(files: Files, onCleaned: (node: number, from: number, to: number) => void = noop) {
    this.#files = files;
    this.#onCleaned = onCleaned;
  }

  get count(): number {
    return this.#resting.size;
  }

  isResting(node: number): boolean {
    return this.#resting.has(node);
  }

  /** Those that have not been cleaned. */
  get nodes(): Iterable<number> {
    return this.#resting.keys();
  }

  /** Monotonic µs when the next file has rested; Infinity when none rests. */
  get nextDueUs(): number {
    let due = Infinity;
    for (const { dueUs } of this.#resting.values()) due = Math.min(due, dueUs);
    return due;
  }

  /** Bytes [from, to) may be changing. */
  add(node: number, from: number, to: number, nowUs: number): void {
    let resting = this.#resting.get(node);
    if (resting === undefined) {
      const restMs = this.#rest(node, nowUs);
      resting = { extents: new ExtentList(), dueUs: nowUs + restMs * 1000, attempts: 0, tries: 0 };
      this.#resting.set(node, resting);
    }
    resting.extents.add(from, to);
  }

  /** Somebody else has cleaned these pages, and they are read: they need not rest any longer. */
  cleaned(node: number, from: number, to: number): void {
    const extents = this.#resting.get(node)?.extents;
    if (extents === undefined) return;
    // A file that was mapped is looked through as a whole: pieces of it would all be read.
    if (to !== Infinity && extents.to(extents.count - 1) === Infinity) return;
    extents.subtract(from, to);
    if (extents.isEmpty) this.#resting.delete(node);
  }

  /** What rests need not rest any longer. Gives a question: has all of it been cleaned? */
  hasten(nowUs: number): () => boolean {
    const hastened = [...this.#resting];
    for (const [, resting] of hastened) resting.dueUs = Math.min(resting.dueUs, nowUs);
    return () => !hastened.some(([node, resting]) => this.#resting.get(node) === resting);
  }

  forget(node: number): void {
    this.#resting.delete(node);
    this.#paces.delete(node);
  }

  #rest(node: number, nowUs: number): number {
    let pace = this.#paces.get(node);
    if (pace === undefined || nowUs - pace.lastUs > calmUs) {
      pace = { restMs: storeRestMsMin, lastUs: nowUs };
    } else {
      pace.restMs = Math.min(storeRestMsMax, pace.restMs * 2);
      pace.lastUs = nowUs;
    }
    this.#paces.delete(node);
    if (this.#paces.size >= paceCountMax) this.#paces.delete(this.#paces.keys().next().value!);
    this.#paces.set(node, pace);
    return pace.restMs;
  }

  /**
   * Cleans the files that have rested (all of them when `nowUs` is Infinity) and tells what must be
   * read. `open` gives a descriptor, a negative errno, or undefined for a file without a name.
   * One that cannot be opened has just been renamed, mostly: it is tried again a few times.
   */
  settle(
    nowUs: number,
    open: (node: number) => number | undefined,
    dirty: (node: number, from: number, to: number) => void,
  ): void {
    for (const [node, resting] of this.#resting) {
      const { extents, dueUs } = resting;
      if (dueUs > nowUs) continue;
      const fd = open(node);
      if (fd === undefined || (fd < 0 && ++resting.attempts < openAttemptsMax)) {
        if (nowUs !== Infinity) resting.dueUs = nowUs + storeRestMsMax * 1000;
        continue;
      }
      this.#resting.delete(node);
      if (fd < 0) continue;
      const waits = nowUs === Infinity || resting.tries >= cleanTriesMax;
      const left = new ExtentList();
      for (let i = 0; i < extents.count; i++) {
        for (const [from, to] of this.#clean(fd, extents.from(i), extents.to(i), waits, left)) {
          dirty(node, from, to);
          this.#onCleaned(node, from, to);
        }
      }
      if (left.isEmpty) continue;
      resting.extents = left;
      resting.tries++;
      resting.dueUs = nowUs + storeRestMsMin * 2 ** resting.tries * 1000;
      this.#resting.set(node, resting);
    }
  }

  /** Gives what is clean and must be read; what could not be cleaned now is put into `left`. */
  #clean(
    fd: number,
    from: number,
    to: number,
    waits: boolean,
    left: ExtentList,
  ): readonly (readonly [number, number])[] {
    const start = from - (from % pageBytes);
    const found: [number, number][] = [];
    if (to !== Infinity) found.push([from, to]);
    // The whole file, because it was mapped: only what is dirty can have been stored to unseen.
    else if (!this.#findDirty(fd, found)) found.splice(0, found.length, [from, to]);
    this.#files.cleanPages(fd, start, to === Infinity ? 0 : to - start, waits ? 1 : 0);
    if (waits) return found;
    return found.filter(([first, end]) => {
      const isClean = this.#isClean(fd, first, end);
      if (!isClean) left.add(first, end);
      return isClean;
    });
  }

  /** A page that was just being written out is skipped, and would go on changing silently. */
  #isClean(fd: number, from: number, to: number): boolean {
    const start = from - (from % pageBytes);
    const length = to === Infinity ? 0 : to - start;
    const pages = this.#files.dirtyPages(fd, start, length);
    if (pages < 0) this.#files.cleanPages(fd, start, length, 1);
    return pages <= 0;
  }

  /** Bisects the file for dirty pages. False when the kernel cannot tell (before 6.5). */
  #findDirty(fd: number, found: [number, number][]): boolean {
    const end = 2 ** 52;
    const pending: [number, number][] = [[0, end]];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const [from, to] = next;
      const pages = this.#files.dirtyPages(fd, from, to === end ? 0 : to - from);
      if (pages === 0) continue;
      if (pages < 0) return false;
      const small = to - from <= 16 * pageBytes || pages * pageBytes >= to - from;
      if (small || found.length >= dirtyExtentCountMax) {
        found.push([from, to]);
        continue;
      }
      const middle = from + pageBytes * Math.ceil((to - from) / 2 / pageBytes);
      pending.push([middle, to], [from, middle]);
    }
    return true;
  }
}
