/**
 * `HotExtents`: closes a cut whose last dirty extents are touched again and again while they are
 * read (docs/adr/0034-hot-extents.md).
 *
 * What has been touched since the present epoch read it is hot. A round leaves it for the end
 * (`putOff`); when all else is done, everything that is dirty, if that is content of a few files,
 * is read in one call of capture, which goes on until for a moment nothing of it was touched after
 * it was read. Then, if nothing else was told either, the dirty set is empty: all that had happened
 * by that moment is in the epoch, and it is committed without another drain. Otherwise nothing has
 * been sent or taken, and the round is read as ever.
 *
 * Once that was needed the next epochs begin with it (`isWarm`), instead of sending first what is
 * going to be read again.
 *
 * The last look follows the last read at once, so a write that had set the file's ctime before and
 * was still under way may be told later: the target is not to rely on that ctime. Such files are in
 * doubt (`OriginTeller`), and are read once more when they rest.
 * Invariant: only plain files that are no rule files, without holes; extents that end.
 */
import { HotOutcome, HotReading } from "../capture/index.ts";
import type { Tree } from "../tree/index.ts";
import { type Clock, Mode } from "../world/index.ts";
import { type OpWriter, writeBytesMax } from "../wire/index.ts";
import type { CutCounters } from "./cutter-options.ts";
import type { DirtyNode, DirtySet } from "./dirty-set.ts";
import { recentHotCountMax, warmEpochCount } from "./limits.ts";
import type { MetadataComparer } from "./metadata-comparer.ts";
import type { OriginTeller } from "./origin-teller.ts";
import type { RuleFiles } from "./rule-files.ts";
import type { SourceFiles } from "./source-files.ts";

/** A file that was hot rests so long before its ctime is told. */
const restUs = 1_000_000;

export interface HotExtentsOptions {
  /** Drains into the dirty set and reads; true when more waits. */
  readHot: (reading: HotReading, dirty: DirtySet) => boolean;
  clock: Clock;
  tree: Tree;
  dirty: DirtySet;
  sources: SourceFiles;
  rules: RuleFiles;
  writer: OpWriter;
  metadata: MetadataComparer;
  origins: OriginTeller;
  counters: CutCounters;
}

export class HotExtents {
  readonly #of: HotExtentsOptions;
  readonly #reading: HotReading = new HotReading();
  /** Node of each file of the reading. */
  readonly #nodes: number[] = [];
  /** Nodes that were hot lately, oldest first: they may be touched again while others are read. */
  readonly #recent: Set<number> = new Set();
  /** Nodes whose ctime the target is not to rely on. */
  readonly #doubtful: Set<number> = new Set();
  #lastUs = 0;
  #warmCount = 0;
  /** Something else than content was dirty when `close` was tried last. */
  #isMixed = false;

  constructor(options: HotExtentsOptions) {
    this.#of = options;
  }

  /** The last epochs could not be closed in another way. */
  get isWarm(): boolean {
    return this.#warmCount > 0;
  }

  /**
   * What was taken to be planned stays dirty if it is to be read at the end: it has been read in
   * this epoch and touched since, and something else is to be done first.
   */
  putOff(node: number, taken: DirtyNode): boolean {
    const { dirty } = this.#of;
    const { extents, closed } = taken;
    if (!this.#isMixed || extents.isEmpty || !dirty.wasRead(node)) return false;
    if (!this.#fits(node, taken)) return false;
    for (let i = 0; i < extents.count; i++) {
      dirty.addExtent(node, extents.from(i), extents.to(i)).closed ||= closed;
    }
    dirty.conflict = true;
    return true;
  }

  /**
   * Reads and sends all that is dirty. True: nothing is dirty any more, all that was sent in this
   * epoch is of this moment. False: nothing has been done, and what is dirty is to be planned.
   */
  close(): boolean {
    const { dirty, counters, readHot } = this.#of;
    this.#isMixed = !dirty.hasNodesOnly;
    if (!this.#list()) return false;
    const reading = this.#reading;
    reading.prepare();
    const more = readHot(reading, dirty);
    const isClosed = !more && reading.outcome === HotOutcome.closed && this.#takeAll();
    dirty.conflict = false;
    if (!isClosed) {
      this.#warmCount = 0;
      return false;
    }
    this.#send();
    counters.hotEpochs++;
    const isTouched = reading.passCount > 1;
    this.#warmCount = isTouched ? warmEpochCount : Math.max(0, this.#warmCount - 1);
    return true;
  }

  /**
   * Nothing is dirty. Has files read once more that were hot and rest now, so that the target may
   * rely on what it has of them. True if there are any.
   */
  rest(): boolean {
    if (this.#doubtful.size === 0) return false;
    const { clock, dirty, origins, tree } = this.#of;
    if (clock.monotonicUs() < this.#lastUs + restUs) return false;
    for (const node of this.#doubtful) {
      const isDoubtful = origins.isEnabled && !origins.told.hasChangeTime(node);
      if (tree.isLive(node) && isDoubtful) dirty.addExtent(node, 0, 1);
    }
    this.#doubtful.clear();
    this.#reading.release();
    return !dirty.isEmpty;
  }

  forget(node: number): void {
    this.#recent.delete(node);
    this.#doubtful.delete(node);
  }

  #fits(node: number, { extents, metadata, attempts }: DirtyNode): boolean {
    const { tree, rules } = this.#of;
    if (metadata || attempts > 0 || !tree.isLive(node) || rules.isRuleFile(node)) return false;
    const isFile = (tree.mode[node]! & Mode.typeMask) === Mode.regular;
    return isFile && tree.ino[node] !== 0 && extents.to(extents.count - 1) !== Infinity;
  }

  /** Lists all that is dirty; false when it is not of the kind, or too much. */
  #list(): boolean {
    const { dirty } = this.#of;
    if (!dirty.hasNodesOnly || dirty.isEmpty) return false;
    this.#reading.clear();
    this.#nodes.length = 0;
    for (const [node, of] of dirty.entries()) {
      if (of.extents.isEmpty) {
        // Told to have been closed: that is looked at in the next epoch, if this has begun.
        if (of.metadata || dirty.isNothingRead) return false;
        continue;
      }
      if (!this.#fits(node, of) || !this.#listFile(node, of)) return false;
    }
    const listed = this.#nodes.length;
    for (const node of this.#recent) {
      if (this.#nodes.indexOf(node) < 0 && !this.#addFile(node, this.#of.sources.peek(node))) break;
    }
    return listed > 0;
  }

  #listFile(node: number, { extents }: DirtyNode): boolean {
    if (!this.#addFile(node, this.#of.sources.get(node))) return false;
    const file = this.#nodes.length - 1;
    for (let i = 0; i < extents.count; i++) {
      if (!this.#reading.addExtent(file, extents.from(i), extents.to(i))) return false;
    }
    return true;
  }

  #addFile(node: number, fd: number): boolean {
    const { tree } = this.#of;
    if (fd < 0) return false;
    const added = this.#reading.addFile(fd, tree.ino[node]!, tree.gen[node]!, tree.mode[node]!);
    if (added < 0) return false;
    this.#nodes.push(node);
    return true;
  }

  /** Takes what was read out of the dirty set; puts it back, and is false, if anything is left. */
  #takeAll(): boolean {
    const { dirty } = this.#of;
    this.#eachExtent((node, from, to) => dirty.satisfy(node, from, to));
    for (const node of this.#nodes) dirty.contentTaken(node);
    if (dirty.hasNodesOnly && this.#isRestClosed()) return true;
    this.#eachExtent((node, from, to) => void dirty.addChanged(node, from, to));
    return false;
  }

  /** What is still dirty is only told to have been closed. */
  #isRestClosed(): boolean {
    for (const [, { extents, metadata }] of this.#of.dirty.entries()) {
      if (metadata || !extents.isEmpty) return false;
    }
    return true;
  }

  #eachExtent(each: (node: number, from: number, to: number, at: number) => void): void {
    const reading = this.#reading;
    for (let i = 0; i < reading.extentCount; i++) {
      const node = this.#nodes[reading.fileOf(i)]!;
      each(node, reading.from(i), reading.to(i), reading.dataAt(i));
    }
  }

  #send(): void {
    const { tree, writer, metadata, origins, clock } = this.#of;
    const { data } = this.#reading;
    const touched = new Set<number>();
    this.#eachExtent((node, from, to, at) => {
      touched.add(node);
      for (let position = from; position < to; position += writeBytesMax) {
        const length = Math.min(writeBytesMax, to - position);
        const start = at + position - from;
        const { bytes, offset } = writer.beginWrite(node, position, length);
        bytes.set(data.subarray(start, start + length), offset);
        writer.endWrite(length);
      }
      if (to > tree.size[node]!) tree.size[node] = to;
    });
    for (let file = 0; file < this.#nodes.length; file++) {
      const node = this.#nodes[file]!;
      if (!touched.has(node)) continue;
      const stat = this.#reading.stat(file);
      metadata.tellTimes(node, stat, true);
      origins.doubt(node);
      this.#doubtful.add(node);
      this.#recent.delete(node);
      this.#recent.add(node);
    }
    for (const node of this.#recent) {
      if (this.#recent.size <= recentHotCountMax) break;
      this.#recent.delete(node);
    }
    this.#lastUs = clock.monotonicUs();
  }
}
