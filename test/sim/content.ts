/**
 * The content of a simulated file: pages that are there, holes between them, and what of it would
 * outlive a power cut.
 *
 * Invariants: a page is 4096 bytes; bytes of a page beyond the size are zeros; a page that is
 * absent reads as zeros and is a hole. `reserved` pages (fallocate) are holes that take space.
 * `unsynced` remembers, for each page written since the last fsync, what was there then.
 */
import { hashOf } from "./chance.ts";

export const pageBytes = 4096;

/** Contents of pages are never changed in place: a page is replaced by another. */
type Page = Uint8Array;

export class Content {
  size = 0;
  readonly #pages: Map<number, Page> = new Map();
  readonly #reserved: Set<number> = new Set();
  readonly #unsynced: Map<number, Page | undefined> = new Map();
  /** Dirty pages: the kernel tells of a store through a mapping only when it makes a page so. */
  readonly dirty: Set<number> = new Set();
  /** Pages that a mapping may store to without the kernel noticing at all. */
  readonly enabled: Set<number> = new Set();
  #hash: number | undefined;

  get pageCount(): number {
    return this.#pages.size + this.#reserved.size;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    const end = Math.min(this.size, position + length);
    if (end <= position) return 0;
    for (let at = position; at < end;) {
      const index = Math.floor(at / pageBytes);
      const from = at - index * pageBytes;
      const count = Math.min(pageBytes - from, end - at);
      const page = this.#pages.get(index);
      const to = offset + at - position;
      if (page === undefined) into.fill(0, to, to + count);
      else into.set(page.subarray(from, from + count), to);
      at += count;
    }
    return end - position;
  }

  write(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length;) {
      const at = position + done;
      const index = Math.floor(at / pageBytes);
      const from = at - index * pageBytes;
      const count = Math.min(pageBytes - from, bytes.length - done);
      const page = this.#pages.get(index)?.slice() ?? new Uint8Array(pageBytes);
      page.set(bytes.subarray(done, done + count), from);
      this.#put(index, page);
      done += count;
    }
    this.size = Math.max(this.size, position + bytes.length);
    this.#hash = undefined;
  }

  /** Pages that writing there would have to find space for. */
  missingPages(position: number, length: number): number {
    let count = 0;
    if (length <= 0) return 0;
    const last = Math.floor((position + length - 1) / pageBytes);
    for (let index = Math.floor(position / pageBytes); index <= last; index++) {
      if (!this.#pages.has(index) && !this.#reserved.has(index)) count++;
    }
    return count;
  }

  truncate(size: number): void {
    if (size < this.size) {
      const kept = Math.ceil(size / pageBytes);
      for (const index of [...this.#pages.keys()]) if (index >= kept) this.#drop(index);
      for (const index of [...this.#reserved]) if (index >= kept) this.#reserved.delete(index);
      this.#zero(size, Math.min(this.size, kept * pageBytes));
    }
    this.size = size;
    this.#hash = undefined;
  }

  reserve(position: number, length: number): void {
    const last = Math.floor((position + length - 1) / pageBytes);
    for (let index = Math.floor(position / pageBytes); index <= last; index++) {
      if (!this.#pages.has(index)) this.#reserved.add(index);
    }
  }

  /** Whole pages become holes; the rest of the range becomes zeros. */
  punch(position: number, length: number): void {
    const end = position + length;
    const first = Math.ceil(position / pageBytes);
    const last = Math.floor(end / pageBytes);
    for (let index = first; index < last; index++) {
      this.#drop(index);
      this.#reserved.delete(index);
    }
    if (first > last) this.#zero(position, end);
    else {
      this.#zero(position, first * pageBytes);
      this.#zero(last * pageBytes, end);
    }
    this.#hash = undefined;
  }

  #zero(from: number, to: number): void {
    for (let at = from; at < to;) {
      const index = Math.floor(at / pageBytes);
      const start = at - index * pageBytes;
      const count = Math.min(pageBytes - start, to - at);
      const page = this.#pages.get(index);
      if (page !== undefined) this.#put(index, page.slice().fill(0, start, start + count));
      at += count;
    }
  }

  #put(index: number, page: Page): void {
    if (!this.#unsynced.has(index)) this.#unsynced.set(index, this.#pages.get(index));
    this.#pages.set(index, page);
    this.#reserved.delete(index);
    this.dirty.add(index);
    this.#hash = undefined;
  }

  /** Written out and write-protected again. */
  clean(index: number): void {
    this.dirty.delete(index);
    this.enabled.delete(index);
  }

  #drop(index: number): void {
    if (!this.#pages.has(index)) return;
    this.#unsynced.delete(index);
    this.clean(index);
    this.#pages.delete(index);
    this.#hash = undefined;
  }

  /** Pairs [start, end) of data. */
  extents(from: number, to: number, out: Float64Array): number {
    let pairs = 0;
    const limit = Math.min(to, this.size);
    const room = Math.floor(out.length / 2);
    for (let at = from; at < limit && pairs < room;) {
      let index = Math.floor(at / pageBytes);
      if (!this.#pages.has(index)) {
        at = (index + 1) * pageBytes;
        continue;
      }
      while (this.#pages.has(index)) index++;
      const end = Math.min(limit, index * pageBytes);
      out[2 * pairs] = at;
      out[2 * pairs + 1] = end;
      pairs++;
      at = end;
    }
    return pairs;
  }

  get dirtyPages(): ReadonlyMap<number, Page | undefined> {
    return this.#unsynced;
  }

  synced(): void {
    this.#unsynced.clear();
    this.dirty.clear();
    this.enabled.clear();
  }

  /** The power has failed: of each page that was not synced, `keeps` says how much has arrived. */
  crash(keeps: (index: number) => "all" | "none" | number): void {
    for (const [index, before] of this.#unsynced) {
      const kept = keeps(index);
      if (kept === "all") continue;
      const now = this.#pages.get(index);
      if (now === undefined) continue;
      const torn = before?.slice() ?? new Uint8Array(pageBytes);
      if (kept !== "none") torn.set(now.subarray(0, kept), 0);
      this.#pages.set(index, torn);
    }
    this.#unsynced.clear();
    this.dirty.clear();
    this.enabled.clear();
    // What lies beyond the size reads as zeros when the file grows again.
    const tail = this.size % pageBytes;
    const page = this.#pages.get(Math.floor(this.size / pageBytes));
    if (page !== undefined) {
      const cut = page.slice().fill(0, tail);
      this.#pages.set(Math.floor(this.size / pageBytes), cut);
    }
    this.#hash = undefined;
  }

  /** Of the bytes as they read: a hole equals zeros. */
  get hash(): number {
    if (this.#hash !== undefined) return this.#hash;
    let hash = this.size;
    for (const [index, page] of this.#pages) {
      if (index * pageBytes >= this.size) continue;
      const own = pageHash(page);
      if (own !== 0) hash = (hash + Math.imul(own, (2 * index + 1) | 1)) | 0;
    }
    this.#hash = hash;
    return hash;
  }

  copy(): Uint8Array {
    const out = new Uint8Array(this.size);
    this.read(out, 0, this.size, 0);
    return out;
  }

  /** For undoing. */
  save(): () => void {
    const { size } = this;
    const pages = new Map(this.#pages);
    const reserved = new Set(this.#reserved);
    return () => {
      this.size = size;
      this.#pages.clear();
      for (const [index, page] of pages) this.#pages.set(index, page);
      this.#reserved.clear();
      for (const index of reserved) this.#reserved.add(index);
      this.#unsynced.clear();
      this.#hash = undefined;
    };
  }
}

const pageHashes = new WeakMap<Page, number>();

/** 0 for zeros alone. */
function pageHash(page: Page): number {
  let hash = pageHashes.get(page);
  if (hash === undefined) {
    hash = page.every((byte) => byte === 0) ? 0 : hashOf(page) | 1;
    pageHashes.set(page, hash);
  }
  return hash;
}
