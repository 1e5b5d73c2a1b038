/**
 * `HeldEpoch`: the frames of one epoch, kept until it is whole. Small ones live in memory, the rest
 * of a large one in a spool file that has no name any more, so that a crash leaves nothing behind.
 *
 * Frames are stored as they came (length, type, payload), whole frames per chunk.
 */
import type { Rx } from "../actor/index.ts";
import { assert, SyncError } from "../base/index.ts";
import type { FrameCursor } from "../journal/index.ts";
import { errnoName, type Files, Open } from "../world/index.ts";
import {
  type Commit,
  frameBytesMax,
  FrameReader,
  FrameType,
  u32,
  writeBytesMax,
} from "../wire/index.ts";
import { heldBytesMax } from "./limits.ts";

/** Of an epoch's first chunk, which is mostly all that it needs, and of the others: two writes. */
const firstChunkBytes = 16384;
const chunkBytes = 2 * (writeBytesMax + 64);
/** Chunks kept for the next epochs: allocating one for each would cost more than all the rest. */
const spareFirstCountMax = 256;
/** As many as the source may send before the target has consumed them, and some. */
const spareChunkCountMax = 144;
const spareFirsts: Uint8Array[] = [];
const spareChunks: Uint8Array[] = [];
const spoolReadBytes = 1048576;
/** A frame of any length is whole in what is read. */
const cursorReadBytes: number = 4 + frameBytesMax;
const nothing: Uint8Array = new Uint8Array(0);

export interface SpoolPlace {
  files: Files;
  /** Descriptor of the state directory. */
  dirFd: number;
}

export class HeldEpoch {
  readonly #place: SpoolPlace;
  readonly #chunks: Uint8Array[] = [];
  readonly #ends: number[] = [];
  #memoryBytes = 0;
  #spoolFd = -1;
  #spoolBytes = 0;
  /** Bytes of all frames. */
  bytes = 0;
  /** Of these the ones that write content. */
  dataBytes = 0;
  /** A few bytes of it may copy many. */
  hasClones = false;
  /** Set when the epoch is whole; without it the frames are applied as they come (seeding). */
  commit: Commit | undefined;

  constructor(place: SpoolPlace) {
    this.#place = place;
  }

  get isEmpty(): boolean {
    return this.bytes === 0;
  }

  get spoolBytes(): number {
    return this.#spoolBytes;
  }

  add(type: number, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start + 5;
    const last = this.#chunks.length - 1;
    let at = last < 0 ? 0 : this.#ends[last]!;
    if (last < 0 || at + length > this.#chunks[last]!.length) {
      if (this.#memoryBytes + length > heldBytesMax) this.#spool();
      this.#chunks.push(takeChunk(length, last < 0));
      this.#ends.push(0);
      at = 0;
    }
    const chunk = this.#chunks[this.#chunks.length - 1]!;
    writeHeader(chunk, at, end - start + 1, type);
    chunk.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), at + 5);
    this.#ends[this.#chunks.length - 1] = at + length;
    this.#memoryBytes += length;
    this.bytes += length;
    if (type === FrameType.write) this.dataBytes += length;
    else if (type === FrameType.clone) this.hasClones = true;
  }

  #spool(): void {
    const { files, dirFd } = this.#place;
    if (this.#spoolFd < 0) {
      const fd = files.openBeneath(
        dirFd,
        new Uint8Array(0),
        Open.temporary | Open.readWrite,
        0o600,
      );
      if (fd < 0) throw new SyncError("STATE_UNUSABLE", `spool file: ${errnoName(fd)}`);
      this.#spoolFd = fd;
    }
    for (let i = 0; i < this.#chunks.length; i++) {
      const n = files.pwrite(this.#spoolFd, this.#chunks[i]!, 0, this.#ends[i]!, this.#spoolBytes);
      if (n < 0) throw new SyncError("TARGET_FULL", `write the spool file: ${errnoName(n)}`);
      this.#spoolBytes += n;
      giveBack(this.#chunks[i]!);
    }
    this.#chunks.length = 0;
    this.#ends.length = 0;
    this.#memoryBytes = 0;
  }

  /** Calls `visit` for every frame, in order, and then lets go of everything. */
  consume(visit: (type: number, bytes: Uint8Array, start: number, end: number) => void): void {
    try {
      this.each(visit);
    } finally {
      this.release();
    }
  }

  /** Calls `visit` for every frame, in order. */
  each(visit: (type: number, bytes: Uint8Array, start: number, end: number) => void): void {
    if (this.#spoolFd >= 0) this.#readSpool(visit);
    for (let i = 0; i < this.#chunks.length; i++) {
      eachFrame(this.#chunks[i]!, this.#ends[i]!, visit);
    }
  }

  #readSpool(visit: (type: number, bytes: Uint8Array, start: number, end: number) => void): void {
    const reader = new FrameReader(visit);
    const buffer = new Uint8Array(spoolReadBytes);
    for (let at = 0; at < this.#spoolBytes;) {
      const n = this.#place.files.pread(this.#spoolFd, buffer, 0, buffer.length, at);
      if (n <= 0) throw new SyncError("STATE_UNUSABLE", `read the spool file: ${errnoName(n)}`);
      reader.push(buffer.subarray(0, Math.min(n, this.#spoolBytes - at)));
      at += n;
    }
  }

  /** All frames, one by one; it must not be released before the last one. */
  cursor(): FrameCursor {
    return new HeldFrames({
      files: this.#place.files,
      spoolFd: this.#spoolFd,
      spoolBytes: this.#spoolBytes,
      chunks: this.#chunks,
      ends: this.#ends,
    });
  }

  release(): void {
    for (const chunk of this.#chunks) giveBack(chunk);
    this.#chunks.length = 0;
    this.#ends.length = 0;
    if (this.#spoolFd >= 0) this.#place.files.close(this.#spoolFd);
    this.#spoolFd = -1;
  }
}

interface Held {
  readonly files: Files;
  readonly spoolFd: number;
  readonly spoolBytes: number;
  readonly chunks: readonly Uint8Array[];
  readonly ends: readonly number[];
}

/** First what is in the spool file, a part of it in memory, then the chunks. */
class HeldFrames implements FrameCursor {
  readonly #held: Held;
  type = 0;
  bytes: Uint8Array = nothing;
  start = 0;
  end = 0;
  /** Behind the last frame, and how far whole frames of these bytes go. */
  #at = 0;
  #limit = 0;
  #spoolAt = 0;
  #chunkIndex = 0;
  #buffer: Uint8Array = nothing;

  constructor(held: Held) {
    this.#held = held;
  }

  next(): boolean {
    if (this.#at === this.#limit && !this.#fill()) return false;
    const { bytes } = this;
    const at = this.#at;
    const length = u32(bytes, at);
    assert(length > 0 && at + 4 + length <= this.#limit, "a held frame is whole");
    this.type = bytes[at + 4]!;
    this.start = at + 5;
    this.end = at + 4 + length;
    this.#at = this.end;
    return true;
  }

  #fill(): boolean {
    const { spoolBytes, chunks, ends } = this.#held;
    if (this.#spoolAt < spoolBytes) {
      this.#readSpool();
      return true;
    }
    if (this.#chunkIndex >= chunks.length) return false;
    this.bytes = chunks[this.#chunkIndex]!;
    this.#at = 0;
    this.#limit = ends[this.#chunkIndex++]!;
    return true;
  }

  #readSpool(): void {
    const { files, spoolFd, spoolBytes } = this.#held;
    if (this.#buffer.length === 0) this.#buffer = new Uint8Array(cursorReadBytes);
    const buffer = this.#buffer;
    const length = Math.min(buffer.length, spoolBytes - this.#spoolAt);
    const read = files.pread(spoolFd, buffer, 0, length, this.#spoolAt);
    if (read < length)
      throw new SyncError("STATE_UNUSABLE", `read the spool file: ${errnoName(read)}`);
    let end = 0;
    while (end + 4 <= length && end + 4 + u32(buffer, end) <= length) end += 4 + u32(buffer, end);
    assert(end > 0, "a spooled frame is whole");
    this.bytes = buffer;
    this.#at = 0;
    this.#limit = end;
    this.#spoolAt += end;
  }
}

/** Epochs that are not going to be applied. */
export function releaseAll(rx: Rx<HeldEpoch>, ready: HeldEpoch[]): void {
  while (rx.available() > 0) {
    rx.peek(0).release();
    rx.commit(1);
  }
  for (const epoch of ready) epoch.release();
  ready.length = 0;
}

/** Lets go of what a burst has left behind; a few stay for the next small epochs. */
export function dropSpareChunks(): void {
  spareFirsts.length = Math.min(spareFirsts.length, 4);
  spareChunks.length = 0;
}

function takeChunk(bytes: number, isFirst: boolean): Uint8Array {
  if (isFirst && bytes <= firstChunkBytes) {
    return spareFirsts.pop() ?? new Uint8Array(firstChunkBytes);
  }
  if (bytes > chunkBytes) return new Uint8Array(bytes);
  return spareChunks.pop() ?? new Uint8Array(chunkBytes);
}

function giveBack(chunk: Uint8Array): void {
  const isFirst = chunk.length === firstChunkBytes;
  if (isFirst && spareFirsts.length < spareFirstCountMax) spareFirsts.push(chunk);
  const isOther = chunk.length === chunkBytes;
  if (isOther && spareChunks.length < spareChunkCountMax) spareChunks.push(chunk);
}

function writeHeader(chunk: Uint8Array, at: number, length: number, type: number): void {
  chunk[at] = length & 255;
  chunk[at + 1] = (length >>> 8) & 255;
  chunk[at + 2] = (length >>> 16) & 255;
  chunk[at + 3] = length >>> 24;
  chunk[at + 4] = type;
}

function eachFrame(
  chunk: Uint8Array,
  end: number,
  visit: (type: number, bytes: Uint8Array, start: number, end: number) => void,
): void {
  for (let at = 0; at < end;) {
    const length = u32(chunk, at);
    assert(length > 0 && at + 4 + length <= end, "a held frame is whole");
    visit(chunk[at + 4]!, chunk, at + 5, at + 4 + length);
    at += 4 + length;
  }
}
