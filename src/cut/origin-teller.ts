/**
 * `OriginTeller`: tells the target what the source's inodes are, so that it can remember it
 * (wire/origin.ts), and says what of that a restart may rely on.
 *
 * A ctime that was told stands for content: everything that was in the file then is at the target.
 * The kernel tells of a write after it has set the ctime, so what is told in an epoch is looked
 * through once more when the epoch is committed: a file that has changed since, that rests after
 * a store through a mapping, or of which something may have been missed, is told to be in
 * **doubt**: a ctime of 0. Who is in doubt is read at the next start; only reading ends that.
 *
 * In: stat records of nodes that have just been compared or read. Out: TIMES with its tail, ORIGIN.
 * Cost for the lone write: a few looks at arrays.
 */
import { Origins, type Tree } from "../tree/index.ts";
import { Mode, Stat } from "../world/index.ts";
import type { OpWriter } from "../wire/index.ts";
import type { DirtySet } from "./dirty-set.ts";
import type { MappedStores } from "./mapped-stores.ts";

/** Before the last cut: what changed earlier than this has surely been told of. */
const surelyToldMs = 60_000;

const keptListCount = 1024;

export class OriginTeller {
  /** What the target remembers, if it does. */
  readonly told: Origins = new Origins();
  /** The target takes origins. */
  isEnabled = false;
  readonly #tree: Tree;
  readonly #writer: OpWriter;
  /** Files told in the present epoch, some twice; in the first `#inEpochCount` places. */
  #inEpoch: number[] = [];
  #inEpochCount = 0;
  /** Files of which some content could not be read. */
  readonly #unread: Set<number> = new Set();
  /** Files that have moved since the target was told of them. */
  readonly #explained: Set<number> = new Set();
  /** Files that are about to be read because of their ctime. */
  readonly #suspects: Set<number> = new Set();
  /** Files that were told with a later ctime than this are in doubt (`missed`). */
  #doubtAfterMs = Infinity;
  /** Wall clock of the last cut. */
  #lastCutMs = 0;

  constructor(tree: Tree, writer: OpWriter) {
    this.#tree = tree;
    this.#writer = writer;
  }

  /** Of a node whose times the tree has just got. `isRead`: what had changed in it was read. */
  times(node: number, stat: Float64Array, isRead: boolean): void {
    const { told } = this;
    const { ino, gen, mode, mtimeSec, mtimeNsec } = this.#tree;
    const [sec, nsec] = [mtimeSec[node]!, mtimeNsec[node]!];
    const isSame = told.ino[node] === ino[node] && told.gen[node] === gen[node];
    const isFile = (mode[node]! & Mode.typeMask) === Mode.regular;
    if (!this.isEnabled || !isFile || !isSame) {
      this.#writer.times(node, sec, nsec);
      if (this.isEnabled && !isSame) this.#tell(node, isFile ? stat : undefined);
      return;
    }
    const isSure = (isRead || told.hasChangeTime(node)) && !this.#isUnread(node);
    const ctimeSec = isSure ? stat[Stat.ctimeSec]! : 0;
    const ctimeNsec = isSure ? stat[Stat.ctimeNsec]! : 0;
    told.setChangeTime(node, ctimeSec, ctimeNsec);
    this.#inEpoch[this.#inEpochCount++] = node;
    this.#writer.timesWithOrigin(node, sec, nsec, ctimeSec, ctimeNsec);
  }

  /**
   * Whether `times` of a file that has been read would tell the time of the last change; undefined
   * where it would tell more.
   */
  tellsTimesOf(node: number): boolean | undefined {
    if (!this.isEnabled) return false;
    return this.#isSame(node) && !this.#isUnread(node) ? true : undefined;
  }

  /** Of a node that was looked at, and of which nothing else is told. */
  looked(node: number, stat: Float64Array): void {
    const { told } = this;
    if (!this.isEnabled || this.#tree.ino[node] === 0) return;
    const isFile = (stat[Stat.mode]! & Mode.typeMask) === Mode.regular;
    if (!this.#isSame(node)) return this.#tell(node, isFile ? stat : undefined);
    if (!isFile || !told.hasChangeTime(node) || this.#isUnchanged(node, stat)) return;
    if (this.#isUnread(node)) return;
    this.#tell(node, stat);
  }

  /** The same file as the target was told of, with another ctime or with a doubtful one. */
  differs(node: number, stat: Float64Array): boolean {
    const { told } = this;
    if (!this.isEnabled || !told.has(node)) return false;
    if ((stat[Stat.mode]! & Mode.typeMask) !== Mode.regular) return false;
    if (told.ino[node] !== stat[Stat.ino] || told.gen[node] !== stat[Stat.gen]) return false;
    return !this.#isUnchanged(node, stat) || this.#isRecent(node, this.#doubtAfterMs);
  }

  #isRecent(node: number, afterMs: number): boolean {
    const { ctimeSec, ctimeNsec } = this.told;
    return ctimeSec[node]! * 1000 + ctimeNsec[node]! / 1e6 > afterMs;
  }

  /**
   * Records of unknown files were lost. The clock for files moves in ticks: what was written in the
   * tick in which a file was last read has left no other time behind.
   */
  missed(): void {
    this.#doubtAfterMs = Math.min(this.#doubtAfterMs, this.#lastCutMs - surelyToldMs);
  }

  /** The node has another name now, which has changed its ctime. */
  isExplained(node: number): boolean {
    return this.#explained.has(node);
  }

  /** The file is going to be read. False if it is already, by another of its names. */
  suspect(node: number): boolean {
    if (this.#suspects.has(node)) return false;
    this.#suspects.add(node);
    return true;
  }

  /** The target cannot be sure that it has all of the file. */
  isInDoubt(node: number): boolean {
    const isDoubtful = !this.told.hasChangeTime(node) || this.#isRecent(node, this.#doubtAfterMs);
    return this.told.has(node) && isDoubtful;
  }

  #isUnchanged(node: number, stat: Float64Array): boolean {
    const { ctimeSec, ctimeNsec } = this.told;
    return ctimeSec[node] === stat[Stat.ctimeSec] && ctimeNsec[node] === stat[Stat.ctimeNsec];
  }

  /** Something is known to be in the file that the target does not have. */
  #isUnread(node: number): boolean {
    return (
      this.#unread.size + this.#suspects.size > 0 &&
      (this.#unread.has(node) || this.#suspects.has(node))
    );
  }

  #isSame(node: number): boolean {
    const { ino, gen } = this.#tree;
    return this.told.ino[node] === ino[node] && this.told.gen[node] === gen[node];
  }

  #tell(node: number, stat: Float64Array | undefined): void {
    const ino = this.#tree.ino[node]!;
    const gen = this.#tree.gen[node]!;
    if (ino === 0) return;
    const ctimeSec = stat === undefined ? 0 : stat[Stat.ctimeSec]!;
    const ctimeNsec = stat === undefined ? 0 : stat[Stat.ctimeNsec]!;
    this.told.set(node, { ino, gen, ctimeSec, ctimeNsec });
    if (stat !== undefined) this.#inEpoch[this.#inEpochCount++] = node;
    this.#writer.origin(node, ino, gen, ctimeSec, ctimeNsec);
  }

  /** Some of the file's content could not be read. */
  unreadable(node: number): void {
    if (!this.isEnabled) return;
    this.#unread.add(node);
    this.#suspects.delete(node);
  }

  /** All of the file's content has been read. */
  readWhole(node: number): void {
    this.#unread.delete(node);
    this.#suspects.delete(node);
  }

  forget(node: number): void {
    this.told.forget(node);
    this.#unread.delete(node);
    this.#explained.delete(node);
    this.#suspects.delete(node);
  }

  /** Everything is compared from now on. `moved` have other names than the target knows. */
  begin(wallMs: number, moved: Iterable<number>): void {
    this.#lastCutMs = wallMs;
    for (const node of moved) this.#explained.add(node);
  }

  /** The epoch is about to be committed. `postponed` are to be read in the next. */
  commit(
    dirty: DirtySet,
    stores: MappedStores,
    postponed: readonly number[],
    wallMs: number,
  ): void {
    // Something may have been missed.
    const isUnsure = dirty.conflict || dirty.rescan;
    const count = this.#inEpochCount;
    if (!isUnsure) this.#doubtAfterMs = Infinity;
    const sureMs = isUnsure ? this.#lastCutMs - surelyToldMs : Infinity;
    this.#lastCutMs = wallMs;
    if (count === 0) return;
    if (isUnsure || !dirty.isEmpty || stores.count > 0 || postponed.length > 0) {
      for (const node of postponed) this.doubt(node);
      for (let i = 0; i < count; i++) {
        const node = this.#inEpoch[i]!;
        if (this.#isRecent(node, sureMs) || dirty.hasExtents(node) || stores.isResting(node))
          this.doubt(node);
      }
    }
    this.#inEpochCount = 0;
    // A short list is kept, for the sake of the lone write.
    if (count > keptListCount) this.#inEpoch = [];
  }

  /** The target may not have all that is in the file. */
  doubt(node: number): void {
    if (!this.#tree.isLive(node) || !this.told.hasChangeTime(node)) return;
    this.told.setChangeTime(node, 0, 0);
    this.#writer.origin(node, this.told.ino[node]!, this.told.gen[node]!, 0, 0);
  }
}
