/**
 * `OriginFile`: the target's index on disk. For each node: which file of the target that is (inode,
 * generation and ctime, which change with whatever happens to it), and its origin.
 *
 * A file of slots of one size, each with a checksum over its content and its number: there is no
 * structure that could be damaged, only slots, and a slot that is damaged, torn or of another
 * version or source is an empty one. Slots are written in place and never synced: what a crash
 * loses is unknown, and what it leaves is compared with the target's file before it is believed
 * (docs/adr/0025-index.md). All of it is read once, when a link begins.
 *
 * Limits: `indexBytesMax`. As large as the most nodes that there were at a time.
 */
import { dropOldIndexes } from "./old-indexes.ts";
import { errnoName, type Files, Open, Stat, statSlots } from "../world/index.ts";
import type { OriginFields } from "../tree/index.ts";

/** Bytes of the file; a larger one is begun anew. */
export const indexBytesMax = 1073741824;
/** Bytes of one record. */
export const slotBytes = 64;
/** Slots in a row that one call writes. */
const pendingCountMax = 64;
/** Bytes of what names the source's tree. */
export const tagBytes = 8;
const version = 1;
const wordCount = slotBytes / 4;

/** Where the bytes of a slot are; the first word is the checksum. */
const Field = {
  version: 4,
  ino: 8,
  gen: 16,
  ctimeNsec: 20,
  ctimeSec: 24,
  originIno: 32,
  originGen: 40,
  originCtimeNsec: 44,
  originCtimeSec: 48,
  tag: 56,
} as const;

export interface OriginPlace {
  files: Files;
  /** Descriptor of the state directory. */
  dirFd: number;
  /** Of the file in it. */
  name: string;
  /** Names the source's tree: records of another one are none. */
  tag: Uint8Array;
}

/** The file could not be used; `said` is a sentence for the log. */
export type Complaint = (said: string) => void;

export class OriginFile {
  readonly #of: OriginPlace;
  readonly #complain: Complaint;
  readonly #fd: number;
  /** What was read, until `scanned`. */
  #loaded: LoadedSlots | undefined;
  /** Slots that hold nothing that is of use. */
  readonly #free: number[] = [];
  #slotCount = 0;
  /** Slots in a row that are still to be written, from `#pendingFirst` on. */
  readonly #pending: Uint8Array = new Uint8Array(pendingCountMax * slotBytes);
  readonly #view: DataView = new DataView(this.#pending.buffer);
  #pendingFirst = 0;
  #pendingCount = 0;

  private constructor(place: OriginPlace, fd: number, complain: Complaint) {
    this.#of = place;
    this.#fd = fd;
    this.#complain = complain;
  }

  /** Opens and reads it. Undefined, after a complaint, when it cannot be had at all. */
  static open(place: OriginPlace, complain: Complaint): OriginFile | undefined {
    const flags = Open.readWrite | Open.create | Open.noFollow | Open.nonBlock;
    const name = Buffer.from(place.name);
    const fd = place.files.openBeneath(place.dirFd, name, flags, 0o600);
    if (fd < 0) {
      complain(`cannot be opened (${errnoName(fd)}), and is done without`);
      return undefined;
    }
    const file = new OriginFile(place, fd, complain);
    file.#load();
    return file;
  }

  #load(): void {
    const { files, tag } = this.#of;
    const stat = new Float64Array(statSlots);
    const found = files.fstat(this.#fd, stat);
    const size = found < 0 ? 0 : stat[Stat.size]!;
    if (size > indexBytesMax) {
      this.#beginAnew("is larger than it can be");
      return;
    }
    if (size === 0) dropOldIndexes(files, this.#of.dirFd, this.#of.name);
    const bytes = new Uint8Array(size - (size % slotBytes));
    const read = files.pread(this.#fd, bytes, 0, bytes.length, 0);
    if (found < 0 || read < 0) {
      this.#beginAnew(`cannot be read (${errnoName(found < 0 ? found : read)})`);
      return;
    }
    this.#slotCount = bytes.length / slotBytes;
    this.#loaded = new LoadedSlots(bytes, tag);
    const { damagedCount } = this.#loaded;
    if (damagedCount > 0) {
      this.#complain(`has ${damagedCount} damaged records of ${this.#slotCount}; they are dropped`);
    }
  }

  #beginAnew(why: string): void {
    this.#complain(`${why}, and is begun anew`);
    this.#of.files.ftruncate(this.#fd, 0);
  }

  /** The slot of the file of the target that has this stat record just so, or -1. */
  find(stat: Float64Array): number {
    return this.#loaded?.find(stat) ?? -1;
  }

  /** What is in a slot that `find` gave. */
  originAt(slot: number): OriginFields {
    return this.#loaded!.originAt(slot);
  }

  /** All files have been asked for: the other slots are free, and those at the end are cut off. */
  scanned(): void {
    const loaded = this.#loaded;
    this.#loaded = undefined;
    if (loaded === undefined) return;
    const end = loaded.usedEnd;
    for (let slot = end - 1; slot >= 0; slot--) if (!loaded.isUsed(slot)) this.#free.push(slot);
    if (end < this.#slotCount) this.#of.files.ftruncate(this.#fd, end * slotBytes);
    this.#slotCount = end;
  }

  /**
   * Records it in the slot; in a new one if that is negative. The slot, or a negative errno.
   * It is written by the next `flush` at the latest.
   */
  put(slot: number, stat: Float64Array, origin: OriginFields): number {
    const number = slot >= 0 ? slot : (this.#free.pop() ?? this.#slotCount);
    const at = this.#place(number);
    if (at < 0) return at;
    const view = this.#view;
    view.setUint32(at + Field.version, version, true);
    view.setFloat64(at + Field.ino, stat[Stat.ino]!, true);
    view.setUint32(at + Field.gen, stat[Stat.gen]!, true);
    view.setUint32(at + Field.ctimeNsec, stat[Stat.ctimeNsec]!, true);
    view.setFloat64(at + Field.ctimeSec, stat[Stat.ctimeSec]!, true);
    view.setFloat64(at + Field.originIno, origin.ino, true);
    view.setUint32(at + Field.originGen, origin.gen, true);
    view.setUint32(at + Field.originCtimeNsec, origin.ctimeNsec, true);
    view.setFloat64(at + Field.originCtimeSec, origin.ctimeSec, true);
    this.#pending.set(this.#of.tag, at + Field.tag);
    view.setUint32(at, checksum(view, at, number), true);
    return number;
  }

  /** Nothing is known of the node that had the slot. The slot, or a negative errno. */
  clear(slot: number): number {
    const at = this.#place(slot);
    if (at < 0) return at;
    this.#pending.fill(0, at, at + slotBytes);
    return slot;
  }

  /** Where in `#pending` the bytes of the slot go, or a negative errno. */
  #place(slot: number): number {
    if ((slot + 1) * slotBytes > indexBytesMax) return -fullErrno;
    const isNext =
      slot === this.#pendingFirst + this.#pendingCount && this.#pendingCount < pendingCountMax;
    if (!isNext) {
      const result = this.flush();
      if (result < 0) return result;
      this.#pendingFirst = slot;
    }
    if (slot === this.#slotCount) this.#slotCount++;
    return this.#pendingCount++ * slotBytes;
  }

  /** Writes what was put. 0 or more, or a negative errno: what was put is not known then. */
  flush(): number {
    const [bytes, at] = [this.#pendingCount * slotBytes, this.#pendingFirst * slotBytes];
    this.#pendingCount = 0;
    return bytes === 0 ? 0 : this.#of.files.pwrite(this.#fd, this.#pending, 0, bytes, at);
  }

  close(): void {
    this.#of.files.close(this.#fd);
  }
}

const fullErrno = 28;

/** The records of a file as it was read, to be found by what the target's file is. */
class LoadedSlots {
  readonly #view: DataView;
  /** Open addressing: slot + 1, 0 for none. At most half of it is used. */
  readonly #table: Uint32Array;
  readonly #mask: number;
  readonly #used: Uint8Array;
  damagedCount = 0;
  usedEnd = 0;

  constructor(bytes: Uint8Array, tag: Uint8Array) {
    this.#view = new DataView(bytes.buffer);
    const count = bytes.length / slotBytes;
    this.#used = new Uint8Array(count);
    const size = 2 ** Math.ceil(Math.log2(Math.max(2, count * 2)));
    this.#mask = size - 1;
    this.#table = new Uint32Array(size);
    const wanted = new DataView(tag.buffer, tag.byteOffset, tagBytes);
    for (let slot = 0; slot < count; slot++) this.#enter(slot, wanted);
  }

  #enter(slot: number, tag: DataView): void {
    const view = this.#view;
    const at = slot * slotBytes;
    if (view.getUint32(at + Field.version, true) !== version) {
      if (!this.#isBlank(at)) this.damagedCount++;
      return;
    }
    if (view.getUint32(at, true) !== checksum(view, at, slot)) {
      this.damagedCount++;
      return;
    }
    const isOfSource =
      view.getUint32(at + Field.tag, true) === tag.getUint32(0, true) &&
      view.getUint32(at + Field.tag + 4, true) === tag.getUint32(4, true);
    if (!isOfSource) return;
    let place = this.#placeOf(view.getFloat64(at + Field.ino, true));
    while (this.#table[place] !== 0) place = (place + 1) & this.#mask;
    this.#table[place] = slot + 1;
  }

  #isBlank(at: number): boolean {
    for (let word = 0; word < wordCount; word++) {
      if (this.#view.getUint32(at + word * 4, true) !== 0) return false;
    }
    return true;
  }

  #placeOf(ino: number): number {
    const h = Math.imul((ino % 2 ** 32) ^ (ino / 2 ** 32), 0x9e3779b1);
    return (h ^ (h >>> 15)) & this.#mask;
  }

  find(stat: Float64Array): number {
    const view = this.#view;
    let place = this.#placeOf(stat[Stat.ino]!);
    for (; this.#table[place] !== 0; place = (place + 1) & this.#mask) {
      const slot = this.#table[place]! - 1;
      const at = slot * slotBytes;
      const isSame =
        view.getFloat64(at + Field.ino, true) === stat[Stat.ino] &&
        view.getUint32(at + Field.gen, true) === stat[Stat.gen] &&
        view.getUint32(at + Field.ctimeNsec, true) === stat[Stat.ctimeNsec] &&
        view.getFloat64(at + Field.ctimeSec, true) === stat[Stat.ctimeSec];
      if (!isSame) continue;
      this.#used[slot] = 1;
      if (slot >= this.usedEnd) this.usedEnd = slot + 1;
      return slot;
    }
    return -1;
  }

  isUsed(slot: number): boolean {
    return this.#used[slot] === 1;
  }

  originAt(slot: number): OriginFields {
    const [view, at] = [this.#view, slot * slotBytes];
    return {
      ino: view.getFloat64(at + Field.originIno, true),
      gen: view.getUint32(at + Field.originGen, true),
      ctimeSec: view.getFloat64(at + Field.originCtimeSec, true),
      ctimeNsec: view.getUint32(at + Field.originCtimeNsec, true),
    };
  }
}

/** Of all words of a slot but the first, and of its number: a record is none in another's place. */
function checksum(view: DataView, at: number, slot: number): number {
  let h = Math.imul(slot ^ 0x811c9dc5, 0x9e3779b1);
  for (let word = 1; word < wordCount; word++) {
    h = Math.imul(h ^ view.getUint32(at + word * 4, true), 0x85ebca6b);
    h = (h << 13) | (h >>> 19);
  }
  h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
  return (h ^ (h >>> 15)) >>> 0;
}
