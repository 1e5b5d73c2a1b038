/**
 * `HotReading`: what a cut still needs of a few files that others write to without rest, read
 * until, for a moment, nothing was touched after it was read (docs/adr/0034-hot-extents.md).
 *
 * In: files, by descriptor and identity, and extents of them. Out: the same extents and those that
 * were touched meanwhile, with their bytes, and a stat of each file. It is `closed` when the last
 * look at what the kernel tells found no write to a listed file after the reading. Whether more was
 * told is for the dirty set to say, which hears all of it.
 *
 * The addon does it in one call (native/addon/capture_hot.c, which has the same slots and limits);
 * `readBy` is the same for worlds without an addon.
 * Limits: files, extents and bytes of one reading. What does not fit is `unfit`, and read as ever.
 */
import { type Files, Stat, statSlots } from "../world/index.ts";
import type { ChangeSink } from "./backend.ts";

/** Files of one reading. */
export const hotFileCountMax = 64;
/** Extents of one reading. */
export const hotExtentCountMax = 2048;
/** Bytes of one reading. */
export const hotBytesMax = 16777216;

/** Slots of a reading, the same in native/addon/capture_hot.c. */
const Head = { files: 0, extents: 1, passes: 2, outcome: 3, bytes: 4 } as const;
const headSlots = 8;
const FileSlot = { fd: 0, key: 1, gen: 2, mode: 3, stat: 4 } as const;
const fileSlots = 24;
const ExtentSlot = { file: 0, from: 1, length: 2, dataAt: 3 } as const;
const extentSlots = 4;
const extentsAt = headSlots + hotFileCountMax * fileSlots;

/** `busy`: touched again and again; `unfit`: a file is not what it was, or all is too much. */
export const HotOutcome = { busy: 0, closed: 1, unfit: 2 } as const;

const blockBytes = 512;
const dataBytesMin = 1048576;
const noData: Uint8Array = new Uint8Array(0);

export class HotReading {
  readonly slots: Float64Array = new Float64Array(extentsAt + hotExtentCountMax * extentSlots);
  #data: Uint8Array = noData;

  /** Nothing is listed any more. */
  clear(): void {
    this.slots.fill(0, 0, headSlots);
  }

  get data(): Uint8Array {
    return this.#data;
  }

  /** Makes room for what is listed, and for as much again that may be touched, if there may be. */
  prepare(): void {
    let room = Math.max(dataBytesMin, this.#data.length);
    while (room < Math.min(hotBytesMax, 2 * this.slots[Head.bytes]!)) room *= 2;
    if (room > this.#data.length) this.#data = new Uint8Array(room);
  }

  /** Lets go of the memory. */
  release(): void {
    this.#data = noData;
  }

  get fileCount(): number {
    return this.slots[Head.files]!;
  }

  get extentCount(): number {
    return this.slots[Head.extents]!;
  }

  get outcome(): number {
    return this.slots[Head.outcome]!;
  }

  /** Times that something was read: once, if nothing was touched meanwhile. */
  get passCount(): number {
    return this.slots[Head.passes]!;
  }

  /** Lists a file that has this mode; -1 when there are too many. */
  addFile(fd: number, ino: number, gen: number, mode: number): number {
    const index = this.fileCount;
    if (index === hotFileCountMax) return -1;
    const at = headSlots + index * fileSlots;
    this.slots[at + FileSlot.fd] = fd;
    this.slots[at + FileSlot.key] = ino;
    this.slots[at + FileSlot.gen] = gen;
    this.slots[at + FileSlot.mode] = mode;
    this.slots[Head.files] = index + 1;
    return index;
  }

  /** Lists an extent that no other one of the file meets. False when it is too much. */
  addExtent(file: number, from: number, to: number): boolean {
    const { slots } = this;
    const [index, used] = [this.extentCount, slots[Head.bytes]!];
    if (index === hotExtentCountMax || used + (to - from) > hotBytesMax) return false;
    const at = extentsAt + index * extentSlots;
    slots[at + ExtentSlot.file] = file;
    slots[at + ExtentSlot.from] = from;
    slots[at + ExtentSlot.length] = to - from;
    slots[at + ExtentSlot.dataAt] = used;
    slots[Head.bytes] = used + (to - from);
    slots[Head.extents] = index + 1;
    return true;
  }

  fileOf(extent: number): number {
    return this.#extent(extent, ExtentSlot.file);
  }

  from(extent: number): number {
    return this.#extent(extent, ExtentSlot.from);
  }

  to(extent: number): number {
    return this.from(extent) + this.#extent(extent, ExtentSlot.length);
  }

  /** Where its bytes begin in `data`. */
  dataAt(extent: number): number {
    return this.#extent(extent, ExtentSlot.dataAt);
  }

  #extent(extent: number, slot: number): number {
    return this.slots[extentsAt + extent * extentSlots + slot]!;
  }

  /** The file's stat record, without generation and attributes. */
  stat(file: number): Float64Array {
    const at = headSlots + file * fileSlots + FileSlot.stat;
    return this.slots.subarray(at, at + statSlots);
  }

  #file(file: number, slot: number): number {
    return this.slots[headSlots + file * fileSlots + slot]!;
  }

  /** As the addon's call, with what `drain` tells; true when more waits than it told. */
  readBy(
    files: Pick<Files, "fstat" | "pread">,
    drain: (sink: ChangeSink) => boolean,
    sink: ChangeSink,
    passCountMax: number,
  ): boolean {
    let wanted = Array.from({ length: this.extentCount }, (_, i) => [i, this.from(i), this.to(i)]);
    for (let pass = 1; ; pass++) {
      this.slots[Head.passes] = pass;
      let outcome: number = HotOutcome.busy;
      if (!wanted.every(([i, from, to]) => this.#read(files, i!, from!, to!))) {
        outcome = HotOutcome.unfit;
      }
      wanted = [];
      const more = drain(
        this.#listenTo(sink, (file, from, to) => this.#touch(wanted, file, from, to)),
      );
      if (wanted.some(([i]) => i! < 0)) outcome = HotOutcome.unfit;
      else if (outcome === HotOutcome.busy && wanted.length === 0 && !more) {
        outcome = HotOutcome.closed;
      }
      this.slots[Head.outcome] = outcome;
      if (outcome !== HotOutcome.busy || more || pass >= passCountMax) return more;
    }
  }

  #read(files: Pick<Files, "fstat" | "pread">, extent: number, from: number, to: number): boolean {
    const file = this.fileOf(extent);
    const [fd, stat, length] = [this.#file(file, FileSlot.fd), this.stat(file), to - from];
    if (files.fstat(fd, stat) < 0 || stat[Stat.mode] !== this.#file(file, FileSlot.mode)) {
      return false;
    }
    if (to > stat[Stat.size]! || stat[Stat.blocks]! * blockBytes < stat[Stat.size]!) return false;
    const at = this.dataAt(extent) + from - this.from(extent);
    return files.pread(fd, this.#data, at, length, from) === length;
  }

  /** A written range: the parts of it that are listed, and new extents for the others. */
  #touch(wanted: number[][], file: number, from: number, to: number): void {
    for (let at = from; at < to;) {
      let end = to;
      let found = -1;
      for (let i = 0; i < this.extentCount && found < 0; i++) {
        if (this.fileOf(i) !== file || this.to(i) <= at || this.from(i) >= end) continue;
        if (this.from(i) <= at) found = i;
        end = found < 0 ? this.from(i) : Math.min(this.to(i), to);
      }
      const fits = this.slots[Head.bytes]! + (end - at) <= this.#data.length;
      if (found < 0 && fits && this.addExtent(file, at, end)) found = this.extentCount - 1;
      wanted.push([found, at, end]);
      at = end;
    }
  }

  /** `sink`, with an ear on plain writes to listed files. */
  #listenTo(
    sink: ChangeSink,
    touched: (file: number, from: number, to: number) => void,
  ): ChangeSink {
    const written: ChangeSink["written"] = (ino, gen, from, to, timeUs, shared, mapped) => {
      for (let file = 0; file < this.fileCount && !shared && !mapped; file++) {
        const isSame = this.#file(file, FileSlot.key) === ino;
        if (isSame && this.#file(file, FileSlot.gen) === gen) touched(file, from, to);
      }
      sink.written(ino, gen, from, to, timeUs, shared, mapped);
    };
    return {
      written,
      appended: (...event) => sink.appended(...event),
      truncated: (...event) => sink.truncated(...event),
      unknownContent: (...event) => sink.unknownContent(...event),
      stored: (...event) => sink.stored(...event),
      mapped: (...event) => sink.mapped(...event),
      attributes: (...event) => sink.attributes(...event),
      closed: (...event) => sink.closed(...event),
      name: (...event) => sink.name(...event),
      path: (...event) => sink.path(...event),
      lost: (...event) => sink.lost(...event),
      overflow: () => sink.overflow(),
    };
  }
}
