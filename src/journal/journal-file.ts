/**
 * `JournalFile`: the journal of one target on disk: who has it, what state the target is in, and
 * the records that have been written since that state was put down.
 *
 * In: the header's fields; records as pieces. Out: the records of the present generation, again.
 * Ownership: one process at a time, which holds the lock of the target's folder.
 * Errors: JOURNAL_FAILED when the file cannot be opened, read or written, TARGET_FULL when there is
 * no space for it; nothing is applied then.
 */
import { assert, SyncError } from "../base/index.ts";
import { FrameReader } from "../wire/index.ts";
import {
  Errno,
  errnoName,
  type Files,
  type Hashes,
  Open,
  Stat,
  statSlots,
} from "../world/index.ts";
import {
  decodeHeader,
  encodeHeader,
  headerBytes,
  headerSlotBytes,
  isTailOf,
  type JournalHeader,
  putRecordHead,
  putRecordTail,
  type RecordHead,
  recordHeadBytes,
  recordHeadOf,
  recordTailBytes,
} from "./journal-format.ts";

/** What the names of journals begin with. */
export const journalPrefix = "journal-";
/** Bytes that are allocated beforehand, so that small records need no space. */
const allocatedBytes: number = headerBytes + 1048576;
/** A record is written, and hashed, in pieces of this size. */
const chunkBytes = 65536;
const readBytes = 1048576;

export interface JournalPlace {
  readonly files: Files;
  /** Descriptor of the state directory. */
  readonly dirFd: number;
  /** Of the file in it. */
  readonly name: string;
  /** Of the target's folder. */
  readonly path: string;
  readonly hashes: Hashes;
  /** Of the machine's present run. */
  readonly bootId: string;
}

/** False ends the walk. */
export type FrameVisit = (type: number, bytes: Uint8Array, start: number, end: number) => boolean;

export type PutPiece = (bytes: Uint8Array, start: number, end: number) => void;

export class JournalFile {
  readonly #place: JournalPlace;
  readonly #fd: number;
  #header: JournalHeader;
  #serial = 0;
  /** Of its beginning, while a session writes it. */
  #map: unknown;
  /** Where the next record goes, and what it is called. */
  at: number = headerBytes;
  number = 0;
  readonly #buffer: Uint8Array = new Uint8Array(chunkBytes + recordTailBytes);
  readonly #view: DataView = new DataView(this.#buffer.buffer);

  private constructor(place: JournalPlace, fd: number) {
    this.#place = place;
    this.#fd = fd;
    this.#header = {
      path: place.path,
      cut: undefined,
      promotedMs: undefined,
      generation: 1,
      durability: "process",
      bootId: place.bootId,
      isSynced: false,
    };
  }

  /** Opens or makes it. */
  static open(place: JournalPlace): JournalFile {
    const file = JournalFile.#opened(place, Open.create);
    if (file === undefined) throw unusable("open the journal", -Errno.ENOENT);
    return file;
  }

  /** Undefined when there is none. */
  static openExisting(place: JournalPlace): JournalFile | undefined {
    return JournalFile.#opened(place, 0);
  }

  static #opened(place: JournalPlace, flags: number): JournalFile | undefined {
    const { files, dirFd, name } = place;
    const all = Open.readWrite | Open.noFollow | Open.nonBlock | flags;
    const mode = flags === 0 ? 0 : 0o600;
    const fd = files.openBeneath(dirFd, Buffer.from(name), all, mode);
    if (fd === -Errno.ENOENT && flags === 0) return undefined;
    if (fd < 0) throw unusable("open the journal", fd);
    const file = new JournalFile(place, fd);
    try {
      file.#load();
    } catch (error) {
      file.close();
      throw error;
    }
    return file;
  }

  get fd(): number {
    return this.#fd;
  }

  get header(): JournalHeader {
    return this.#header;
  }

  #load(): void {
    const { files, hashes } = this.#place;
    const slots = new Uint8Array(headerBytes);
    const read = files.pread(this.#fd, slots, 0, slots.length, 0);
    if (read < 0) throw unusable("read the journal", read);
    for (let i = 0; i < 2; i++) {
      const found = decodeHeader(
        slots.subarray(i * headerSlotBytes, (i + 1) * headerSlotBytes),
        hashes,
      );
      if (found === undefined || found.serial <= this.#serial) continue;
      const { serial, ...header } = found;
      this.#header = header;
      this.#serial = serial;
    }
    if (this.#serial > 0) this.#walk(undefined);
  }

  /**
   * Puts down the target's state. `isNew`: the records so far do not count any more. Waits for the
   * disk when this or what it replaces is believed after the machine's death: what is done to the
   * target next may get to the disk before it otherwise.
   */
  writeHeader(change: Partial<JournalHeader>, isNew = false): void {
    const { generation } = this.#header;
    const { path, bootId } = this.#place;
    const next = isNew ? (generation + 1) >>> 0 : generation;
    const header = { ...this.#header, path, bootId, ...change, generation: next };
    const slot = encodeHeader(header, this.#serial + 1, this.#place.hashes);
    const at = ((this.#serial + 1) % 2) * headerSlotBytes;
    // Where no header was whole generations begin anew, and would find records of their number.
    if (this.#serial === 0) this.trim();
    this.#put(slot, slot.length, at);
    if (outlivesMachine(this.#header) || outlivesMachine(header)) this.sync();
    this.#serial++;
    this.#header = header;
    if (!isNew) return;
    // What a large record has taken.
    if (this.at > allocatedBytes) this.#place.files.ftruncate(this.#fd, allocatedBytes);
    this.at = headerBytes;
    this.number = 0;
  }

  /** Takes the space that small records need, where the filesystem can, and maps it. */
  allocate(): void {
    const { files } = this.#place;
    if (files.fallocate(this.#fd, 0, 0, allocatedBytes) < 0) return;
    this.#map = files.mapFile(this.#fd, allocatedBytes);
  }

  /** For the addon, which stores records behind the last one; undefined: it writes them. */
  get map(): unknown {
    return this.#map;
  }

  /** Gives back the space for records; there are none. */
  trim(): void {
    this.#unmap();
    this.#place.files.ftruncate(this.#fd, headerBytes);
  }

  /** Nobody has used it since `trim`. */
  get isTrimmed(): boolean {
    const stat = new Float64Array(statSlots);
    const result = this.#place.files.fstat(this.#fd, stat);
    if (result < 0) throw unusable("read the journal", result);
    return stat[Stat.size]! <= headerBytes;
  }

  #unmap(): void {
    if (this.#map !== undefined) this.#place.files.unmapFile(this.#map);
    this.#map = undefined;
  }

  #put(bytes: Uint8Array, length: number, at: number): void {
    if (this.#map !== undefined && at + length <= allocatedBytes) {
      if (this.#place.files.storeMapped(this.#map, at, bytes, 0, length)) return;
      // What is wrong with the file is told by writing it.
      this.#unmap();
    }
    const result = this.#place.files.pwrite(this.#fd, bytes, 0, length, at);
    if (result < 0) throw unusable("write the journal", result);
  }

  /** Waits until it is on the disk. */
  sync(): void {
    const result = this.#place.files.fsync(this.#fd, true);
    if (result < 0) throw unusable("write the journal to disk", result);
  }

  /**
   * Appends one record, whose payload `fill` hands over in pieces that are `bytes` long together.
   * What it counts for is seen only when all of it is there.
   */
  append(bytes: number, isHashed: boolean, fill: (put: PutPiece) => void): void {
    const { put, end } = this.begin(bytes, isHashed);
    fill(put);
    end();
  }

  /** The same in the caller's own time: `end` comes after the last piece, and nothing between. */
  begin(bytes: number, isHashed: boolean): { put: PutPiece; end: () => void } {
    const head = { bytes, generation: this.#header.generation, number: this.number };
    const digests = isHashed ? new Digests(this.#place.hashes) : undefined;
    const buffer = this.#buffer;
    let used = recordHeadBytes;
    let at = this.at;
    putRecordHead(this.#view, 0, head);
    const flush = (): void => {
      this.#put(buffer, used, at);
      at += used;
      used = 0;
    };
    const put: PutPiece = (from, start, end) => {
      for (let next = start; next < end;) {
        if (used === chunkBytes) {
          digests?.add(buffer.subarray(0, chunkBytes));
          flush();
        }
        const length = Math.min(end - next, chunkBytes - used);
        buffer.set(from.subarray(next, next + length), used);
        used += length;
        next += length;
      }
    };
    const end = (): void => {
      digests?.add(buffer.subarray(0, used));
      putRecordTail(this.#view, used, head, digests?.all());
      used += recordTailBytes;
      flush();
      const length = recordHeadBytes + bytes + recordTailBytes;
      assert(at === this.at + length, "a record is as announced");
      this.at = at;
      this.number++;
    };
    return { put, end };
  }

  get generation(): number {
    return this.#header.generation;
  }

  /** Where the records begin. */
  get start(): number {
    return headerBytes;
  }

  get recordBytes(): number {
    return this.at - headerBytes;
  }

  /** The addon has appended a record with a payload of so many bytes. */
  passed(bytes: number): void {
    this.at += recordHeadBytes + bytes + recordTailBytes;
    this.number++;
  }

  /** There are records that count. */
  get hasRecords(): boolean {
    return this.number > 0;
  }

  /** Calls for every frame of the records that count, in order, until `visit` gives false. */
  each(visit: FrameVisit): void {
    this.#walk(visit);
  }

  /** Finds the end of the records, too. */
  #walk(visit: FrameVisit | undefined): void {
    let at = headerBytes;
    let number = 0;
    const bytes = new Uint8Array(recordHeadBytes);
    const view = new DataView(bytes.buffer);
    for (;;) {
      const read = this.#read(bytes, bytes.length, at);
      const head = read < bytes.length ? undefined : recordHeadOf(view);
      const isOurs = head?.generation === this.#header.generation && head.number === number;
      if (head === undefined || !isOurs || !this.#isWhole(head, at)) break;
      if (visit !== undefined && !this.#frames(head, at, visit)) return;
      at += recordHeadBytes + head.bytes + recordTailBytes;
      number++;
    }
    this.at = at;
    this.number = number;
  }

  #read(into: Uint8Array, length: number, at: number): number {
    const read = this.#place.files.pread(this.#fd, into, 0, length, at);
    if (read < 0) throw unusable("read the journal", read);
    return read;
  }

  #isWhole(head: RecordHead, at: number): boolean {
    const tail = new Uint8Array(recordTailBytes);
    const read = this.#read(tail, tail.length, at + recordHeadBytes + head.bytes);
    return (
      read === tail.length && isTailOf(new DataView(tail.buffer), head, () => this.#hash(head, at))
    );
  }

  #hash(head: RecordHead, at: number): Uint8Array {
    const digests = new Digests(this.#place.hashes);
    const chunk = new Uint8Array(chunkBytes);
    for (let left = recordHeadBytes + head.bytes, from = at; left > 0;) {
      const length = Math.min(left, chunkBytes);
      if (this.#read(chunk, length, from) < length) break;
      digests.add(chunk.subarray(0, length));
      from += length;
      left -= length;
    }
    return digests.all();
  }

  #frames(head: RecordHead, at: number, visit: FrameVisit): boolean {
    let goesOn = true;
    const reader = new FrameReader((type, bytes, start, end) => {
      goesOn &&= visit(type, bytes, start, end);
    });
    const chunk = new Uint8Array(Math.min(readBytes, head.bytes));
    for (let left = head.bytes, from = at + recordHeadBytes; left > 0 && goesOn;) {
      const length = Math.min(left, chunk.length);
      if (this.#read(chunk, length, from) < length) throw unusable("read the journal", -Errno.EIO);
      reader.push(chunk.subarray(0, length));
      from += length;
      left -= length;
    }
    return goesOn;
  }

  close(): void {
    this.#unmap();
    this.#place.files.close(this.#fd);
  }
}

function outlivesMachine({ durability, isSynced }: JournalHeader): boolean {
  return durability === "power" || isSynced;
}

/** One hash over pieces that come one after the other. */
class Digests {
  readonly #hashes: Hashes;
  #parts: Uint8Array[] = [];

  constructor(hashes: Hashes) {
    this.#hashes = hashes;
  }

  add(piece: Uint8Array): void {
    this.#parts.push(this.#hashes.sha256(piece));
    if (this.#parts.length >= 1024) this.#parts = [this.#hashes.sha256(...this.#parts)];
  }

  all(): Uint8Array {
    return this.#hashes.sha256(...this.#parts);
  }
}

function unusable(what: string, result: number): SyncError {
  const isFull = result === -Errno.ENOSPC || result === -Errno.EDQUOT;
  return new SyncError(isFull ? "TARGET_FULL" : "JOURNAL_FAILED", `${what}: ${errnoName(result)}`);
}
