/**
 * `Journal`: what a live target is about to do, put down before it does it, so that whoever comes
 * after a crash can finish it (redo.ts). Between two records the target is at a cut.
 *
 *   whole epochs -> record -> (durability `power`: on the disk) -> applied -> acknowledged
 *
 * A record says of each node that it names what a later process needs to find it: where it was
 * before and which inode it is; once in a generation. When the journal has grown the next
 * generation overwrites it from the start; with `power` the target is written to disk before that.
 *
 * Copies within the target cannot be repeated once their origin has changed: a mark says that they
 * are done. So does one after every `nameWindow` operations on names, because redo finds out by
 * looking how far those have come.
 */
import type { Applier, Staged } from "../apply/index.ts";
import { SyncError } from "../base/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import {
  type Commit,
  commitFrameBytes,
  encodeCommit,
  FrameType,
  type Place,
  placesIn,
  u32,
} from "../wire/index.ts";
import { errnoName, type Files, Mode, Stat, statSlots } from "../world/index.ts";
import { type Cut, cutOf, type Durability } from "./journal-format.ts";
import type { JournalFile, PutPiece } from "./journal-file.ts";
import { NoteWriter } from "./notes.ts";
import { nameWindow, Progress } from "./progress.ts";

/** Bytes after which a generation is overwritten by the next, when it need not be on the disk. */
const processBytes = 1048576;
/** The same when it has to: then the target is written to disk first. */
const powerBytes = 67108864;
/** Bytes of a large record after which those so far are written to disk: each wait is short. */
const syncBytes = 8388608;
const noName: Uint8Array = new Uint8Array(0);

/** What is recorded: the frames of an epoch, and the COMMIT that they came with. */
export interface RecordedEpoch {
  readonly bytes: number;
  readonly commit: Commit | undefined;
  each(visit: (type: number, bytes: Uint8Array, start: number, end: number) => void): void;
}

/** The same, for whoever takes its time. */
export interface LongEpoch {
  readonly bytes: number;
  readonly commit: Commit | undefined;
  cursor(): FrameCursor;
}

/** Goes from frame to frame; what it shows is of the present one. */
export interface FrameCursor {
  /** False after the last one. */
  next(): boolean;
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** Where the addon may put records: from `at` on, up to `end`. */
export interface RecordPlace {
  readonly fd: number;
  /** What is mapped of it, if anything. */
  readonly map: unknown;
  readonly at: number;
  readonly end: number;
  readonly generation: number;
  readonly number: number;
}

export interface JournalOptions {
  readonly files: Files;
  readonly rootFd: number;
  readonly tree: Tree;
  readonly applier: Applier;
  readonly file: JournalFile;
  readonly durability: Durability;
  /** Of a generation, instead of what is usual. */
  readonly recordBytesMax?: number;
}

export class Journal {
  readonly #of: JournalOptions;
  readonly #file: JournalFile;
  readonly #isPower: boolean;
  readonly #recordBytesMax: number;
  readonly #notes: NoteWriter = new NoteWriter();
  readonly #stat: Float64Array = new Float64Array(statSlots);
  /** Nodes that this generation has described, by their birth numbers. */
  readonly #described: Map<number, number> = new Map();
  /** Nodes born later come from this generation's own operations. */
  #firstBirth = 0;
  #endId = 0;
  readonly #progress: Progress;
  /** Another record must not follow in this generation. */
  #isAlone = false;
  #hasCopies = false;
  /** The generation is of this session. */
  #isBegun = false;
  #cut: Cut | undefined;
  readonly #head: Uint8Array = new Uint8Array(5);
  readonly #headView: DataView = new DataView(this.#head.buffer);
  readonly #commit: Uint8Array = new Uint8Array(commitFrameBytes);

  /** The file has no records that would still have to be redone. */
  constructor(options: JournalOptions) {
    this.#of = options;
    this.#file = options.file;
    this.#isPower = options.durability === "power";
    this.#recordBytesMax = options.recordBytesMax ?? (this.#isPower ? powerBytes : processBytes);
    this.#cut = options.file.header.cut;
    this.#progress = new Progress(options.applier, (operations, nameOperations) => {
      putMark(this.#file, options, operations, nameOperations);
    });
  }

  /** The moment that the target shows; undefined when it is of no one moment. */
  get cut(): Cut | undefined {
    return this.#cut;
  }

  /** Bytes of records that would have to be redone. */
  get bytes(): number {
    return this.#file.recordBytes;
  }

  /** The target is going to be changed step by step: it shows no one moment until `complete`. */
  incomplete(): void {
    if (this.#cut === undefined) return;
    this.#cut = undefined;
    this.#renew();
  }

  /** All of the target is as the source was at this moment. */
  complete(commit: Commit): void {
    this.#cut = cutOf(commit);
    this.#checkpoint();
  }

  /** What has been recorded has been carried out. */
  applied(commit: Commit): void {
    this.#progress.finish();
    this.#cut = cutOf(commit);
  }

  /** Everything is carried out and nobody goes on. `isLast`: the machine may be going down. */
  close(isLast: boolean): void {
    const isSynced = this.#isPower || isLast;
    try {
      if (this.#cut !== undefined) {
        if (isSynced) syncTarget(this.#of);
        this.#renew(isSynced);
        this.#file.trim();
      }
    } catch (error) {
      // Its records are still true: whoever comes next carries them out once more.
      if (!(error instanceof SyncError)) throw error;
    } finally {
      this.#file.close();
    }
  }

  /** Gives up the file as it is: something recorded has not been carried out. */
  abandon(): void {
    this.#file.close();
  }

  // --- records -----------------------------------------------------------------------------------

  /** Puts down epochs that are going to be applied one after the other, as one. */
  record(epochs: readonly RecordedEpoch[]): void {
    let bytes = 0;
    for (const epoch of epochs) bytes += epoch.bytes + commitFrameBytes;
    if (this.#isFull(bytes)) this.#checkpoint();
    const describe = (): void => {
      this.#begin();
      for (const epoch of epochs) {
        epoch.each((type, frame, start, end) => this.#describe(type, frame, start, end));
      }
      this.#describeStaged();
    };
    describe();
    if (this.#hasCopies && this.#file.hasRecords) {
      this.#checkpoint();
      describe();
    }
    this.#isAlone = this.#hasCopies;
    this.#file.append(this.#notes.length + bytes, this.#isPower, (put) => {
      put(this.#notes.bytes, 0, this.#notes.length);
      for (const epoch of epochs) {
        epoch.each((type, frame, start, end) => this.#putFrame(put, type, frame, start, end));
        encodeCommit(epoch.commit!, this.#commit);
        put(this.#commit, 0, commitFrameBytes);
      }
    });
    if (this.#isPower) this.#file.sync();
  }

  #putFrame(put: PutPiece, type: number, frame: Uint8Array, start: number, end: number): void {
    this.#headView.setUint32(0, end - start + 1, true);
    this.#head[4] = type;
    put(this.#head, 0, 5);
    put(frame, start, end);
  }

  /**
   * The same for one large epoch, in parts: it stops wherever `isOver`, which hears of the bytes
   * that have been dealt with. Only what comes ahead of later epochs may be done between, and a
   * record that is given up in the middle was never there.
   */
  *recordInSlices(epoch: LongEpoch, isOver: (bytes: number) => boolean): Generator<void, void> {
    const bytes = epoch.bytes + commitFrameBytes;
    if (this.#isFull(bytes)) this.#checkpoint();
    yield* this.#describeInSlices(epoch, isOver);
    if (this.#hasCopies && this.#file.hasRecords) {
      this.#checkpoint();
      yield* this.#describeInSlices(epoch, isOver);
    }
    this.#isAlone = this.#hasCopies;
    const { put, end } = this.#file.begin(this.#notes.length + bytes, this.#isPower);
    put(this.#notes.bytes, 0, this.#notes.length);
    let unsyncedBytes = this.#notes.length;
    const cursor = epoch.cursor();
    while (cursor.next()) {
      const frameBytes = cursor.end - cursor.start;
      this.#putFrame(put, cursor.type, cursor.bytes, cursor.start, cursor.end);
      unsyncedBytes += frameBytes;
      if (this.#isPower && unsyncedBytes >= syncBytes) {
        this.#file.sync();
        unsyncedBytes = 0;
      }
      if (isOver(frameBytes)) yield;
    }
    encodeCommit(epoch.commit!, this.#commit);
    put(this.#commit, 0, commitFrameBytes);
    end();
    if (this.#isPower) this.#file.sync();
  }

  /** What is announced meanwhile belongs to later epochs, whose records will tell of it. */
  *#describeInSlices(epoch: LongEpoch, isOver: (bytes: number) => boolean): Generator<void, void> {
    this.#begin();
    const cursor = epoch.cursor();
    const staged = [...this.#of.applier.staged];
    while (cursor.next()) {
      const { type, bytes, start, end } = cursor;
      this.#describe(type, bytes, start, end);
      if (isOver(0)) yield;
    }
    let hasContent = false;
    for (const [node, one] of staged) {
      if (this.#noteStaged(node, one)) hasContent = true;
      if (isOver(0)) yield;
    }
    if (hasContent && this.#isPower) syncTarget(this.#of);
  }

  /**
   * The same for the frames of one small epoch, its COMMIT included, as they came. False when it
   * has to be `record`ed.
   */
  recordWhole(epoch: Uint8Array): boolean {
    if (this.#isFull(epoch.length)) this.#checkpoint();
    this.#begin();
    for (let at = 0; at < epoch.length - commitFrameBytes;) {
      const end = at + 4 + u32(epoch, at);
      this.#describe(epoch[at + 4]!, epoch, at + 5, end);
      at = end;
    }
    if (this.#hasCopies) {
      // What has just been noted is not written.
      this.#checkpoint();
      return false;
    }
    this.#describeStaged();
    this.#file.append(this.#notes.length + epoch.length, this.#isPower, (put) => {
      if (this.#notes.length > 0) put(this.#notes.bytes, 0, this.#notes.length);
      put(epoch, 0, epoch.length);
    });
    if (this.#isPower) this.#file.sync();
    return true;
  }

  /** The addon has put down an epoch that needs no notes: a record of so many bytes. */
  recordedAhead(bytes: number): void {
    this.#file.passed(bytes);
  }

  /** Whether an epoch that only writes this node can be put down by the addon. */
  isDescribed(node: number): boolean {
    const { tree } = this.#of;
    const birth = tree.birth[node]!;
    return birth > this.#firstBirth || this.#described.get(node) === birth;
  }

  /** Undefined when the addon may not put down records now. */
  get ahead(): RecordPlace | undefined {
    if (this.#isPower || this.#isAlone || !this.#file.hasRecords) return undefined;
    const { fd, map, at, generation, number } = this.#file;
    return { fd, map, at, end: this.#file.start + this.#recordBytesMax, generation, number };
  }

  /** An operation of what was recorded last is going to be carried out. */
  before(type: number, bytes: Uint8Array, start: number): void {
    this.#progress.before(type, bytes, start);
  }

  /** The same for operations of a small epoch that has been recorded whole. */
  beforeWhole(epoch: Uint8Array): void {
    for (let at = 0; at < epoch.length - commitFrameBytes;) {
      this.before(epoch[at + 4]!, epoch, at + 5);
      at += 4 + u32(epoch, at);
    }
  }

  // --- generations -------------------------------------------------------------------------------

  #isFull(bytes: number): boolean {
    if (!this.#isBegun) return true;
    if (!this.#file.hasRecords) return false;
    if (this.#isAlone || this.#progress.nameOperations >= nameWindow) return true;
    return this.#file.recordBytes + bytes > this.#recordBytesMax;
  }

  /** All that was recorded has been carried out. */
  #checkpoint(): void {
    if (this.#isPower) syncTarget(this.#of);
    const isFirst = !this.#isBegun;
    this.#renew();
    if (isFirst) this.#file.allocate();
  }

  #renew(isSynced = false): void {
    const { durability, tree } = this.#of;
    this.#file.writeHeader({ cut: this.#cut, durability, isSynced }, true);
    this.#isBegun = true;
    this.#described.clear();
    this.#firstBirth = tree.birthCount;
    this.#endId = 0;
    this.#progress.startAt(0, 0);
    this.#isAlone = false;
  }

  // --- notes -------------------------------------------------------------------------------------

  #begin(): void {
    this.#notes.clear();
    this.#hasCopies = false;
    const { endId } = this.#of.tree;
    if (endId !== this.#endId) this.#notes.end(endId);
    this.#endId = endId;
  }

  /** What redo has to know before this operation. It has not been checked: that comes later. */
  #describe(type: number, bytes: Uint8Array, start: number, end: number): void {
    switch (type) {
      case FrameType.create:
        return;
      case FrameType.clone:
        this.#hasCopies = true;
        this.#describeNode(u32(bytes, start + 4));
        return this.#describeNode(u32(bytes, start));
      case FrameType.place:
      case FrameType.link:
        this.#describeNode(u32(bytes, start));
        return this.#describePlaces(placesIn(type, bytes, start, end));
      case FrameType.unlink:
      case FrameType.rename:
        return this.#describePlaces(placesIn(type, bytes, start, end));
      default:
        this.#describeNode(u32(bytes, start));
    }
  }

  #describePlaces(places: readonly Place[]): void {
    const { tree } = this.#of;
    for (const [parent, name] of places) {
      if (!tree.isLive(parent)) continue;
      this.#describeNode(parent);
      const node = tree.child(parent, name);
      if (node !== 0) this.#describeNode(node);
    }
  }

  #describeNode(node: number): void {
    const { tree, applier } = this.#of;
    if (!tree.isLive(node) || this.isDescribed(node) || applier.staged.has(node)) return;
    // From the top down, because a name needs its directory.
    const above: number[] = [];
    for (let at = node; !this.isDescribed(at);) {
      this.#described.set(at, tree.birth[at]!);
      above.push(at);
      const name = tree.firstName[at]!;
      if (name === 0) break;
      at = tree.names.parent[name]!;
    }
    for (let at = above.pop(); at !== undefined; at = above.pop()) this.#noteNode(at);
  }

  #noteNode(node: number): void {
    const { tree } = this.#of;
    const { names } = tree;
    const stat = this.#stat;
    if (node !== rootId) {
      this.#identify(node);
      this.#notes.node({
        node,
        mode: tree.mode[node]!,
        size: tree.size[node]!,
        ino: stat[Stat.ino]!,
        gen: stat[Stat.gen]!,
        mtimeSec: tree.mtimeSec[node]!,
        mtimeNsec: tree.mtimeNsec[node]!,
      });
      const own: number[] = [];
      for (let id = tree.firstName[node]!; id !== 0; id = names.nextOfNode[id]!) own.push(id);
      // The last one noted becomes the first of the node, as it is here.
      for (const id of own.reverse()) {
        const parent = names.parent[id]!;
        this.#describeNode(parent);
        this.#notes.name(node, parent, names.bytes(id));
      }
    }
    const attributes = tree.isDirectory(node) ? tree.attributes.get(node) : undefined;
    if (attributes !== undefined) this.#notes.attributes(node, attributes);
  }

  #identify(node: number): void {
    const { tree, applier, files } = this.#of;
    const open = applier.peekWritable(node);
    const id = tree.firstName[node]!;
    let result = -1;
    if (open >= 0) {
      result = files.fstat(open, this.#stat);
    } else if (id !== 0) {
      const dirFd = applier.directoryFd(tree.names.parent[id]!);
      result = files.identifyAt(dirFd, tree.names.bytes(id), this.#stat);
    }
    // What is not there any more cannot be found again; applying will say so.
    if (result < 0) this.#stat.fill(0);
  }

  /** New files that have been written ahead of their epoch, and nodes that have been announced. */
  #describeStaged(): void {
    let hasContent = false;
    for (const [node, staged] of this.#of.applier.staged) {
      if (this.#noteStaged(node, staged)) hasContent = true;
    }
    if (hasContent && this.#isPower) syncTarget(this.#of);
  }

  /** Whether it has content, which the disk is to have before the record. */
  #noteStaged(node: number, staged: Staged): boolean {
    const { applier, files, tree } = this.#of;
    const isFile = (staged.mode & Mode.typeMask) === Mode.regular;
    this.#described.set(node, tree.birth[node]!);
    if (isFile && staged.fd >= 0) applier.hold(node);
    const { name } = staged;
    this.#stat.fill(0);
    if (name !== undefined) {
      const result = files.identifyAt(this.#of.rootFd, name, this.#stat);
      if (result < 0) throw new SyncError("TARGET_DIVERGED", `a new file: ${errnoName(result)}`);
    }
    this.#notes.staged({
      node,
      mode: tree.mode[node]!,
      rdev: staged.rdev,
      ino: this.#stat[Stat.ino]!,
      gen: this.#stat[Stat.gen]!,
      isKept: staged.isKept,
      size: tree.size[node]!,
      text: isFile ? (name ?? noName) : staged.symlinkTarget,
    });
    return name !== undefined;
  }
}

interface Root {
  readonly files: Files;
  readonly rootFd: number;
}

/** Puts down that so many operations of the generation have been carried out, for good. */
export function putMark(
  file: JournalFile,
  of: Root & { readonly durability: Durability },
  operations: number,
  nameOperations: number,
): void {
  const isPower = of.durability === "power";
  if (isPower) syncTarget(of);
  const note = new NoteWriter();
  note.mark(operations, nameOperations);
  file.append(note.length, isPower, (put) => put(note.bytes, 0, note.length));
  if (isPower) file.sync();
}

/** Waits until all of the target is on its disk. */
export function syncTarget({ files, rootFd }: Root): void {
  const result = files.syncFilesystem(rootFd);
  if (result < 0) throw new SyncError("TARGET_DIVERGED", `write to disk: ${errnoName(result)}`);
}
