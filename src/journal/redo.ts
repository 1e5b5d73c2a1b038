/**
 * `redo`: finishes what a journal tells and a crash has left half done, so that the target is at
 * the last cut that was recorded whole.
 *
 * How far the operations on names have come is found out by looking (position-search.ts). From
 * there on they are carried out. Content and metadata of what has a place by then are written anew,
 * which changes nothing where they were written before (docs/adr/0035-redo-journal.md).
 *
 * Errors: TARGET_FULL (the journal stays: try again), TARGET_DIVERGED and PEER_MALFORMED (somebody
 * else has changed the target, or the journal says what cannot be).
 */
import { Applier, type Discard, holdName, Removal, removeOwnNames } from "../apply/index.ts";
import type { ProblemLog } from "../model/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { decodeOperation, FrameType, keepKeyOf, u32 } from "../wire/index.ts";
import { type Files, Mode, Stat, statSlots } from "../world/index.ts";
import { type Cut, cutOf, NoteType } from "./journal-format.ts";
import type { JournalFile } from "./journal-file.ts";
import { putMark } from "./journal.ts";
import { PositionSearch, SpotCollector } from "./position-search.ts";
import { isContentOperation, isNameOperation, Progress } from "./progress.ts";
import { isOperation, type Replay, Survey } from "./replay.ts";

const noName: Uint8Array = new Uint8Array(0);

export interface RedoOptions {
  readonly files: Files;
  readonly rootFd: number;
  readonly file: JournalFile;
  readonly problems: ProblemLog;
  readonly keeper?: (tree: Tree) => Keeper;
}

/** Of what redo takes away on the target. */
export interface Keeper extends Discard {
  close(): void;
}

export interface Redone {
  readonly cut: Cut;
  /** Operations that the journal had; some of them had been carried out before. */
  readonly operations: number;
}

/** Undefined when there is nothing to redo. */
export function redo(options: RedoOptions): Redone | undefined {
  const { file } = options;
  const survey = new Survey();
  file.each((...frame) => survey.see(...frame));
  if (survey.commit === undefined) return undefined;
  const spots = new SpotCollector(survey, file);
  file.each((...frame) => spots.see(...frame));
  const search = new PositionSearch(options, survey, spots);
  file.each((...frame) => search.see(...frame));
  search.settle();
  const pass = new RedoPass(options, survey, search);
  let isDone = false;
  try {
    pass.begin();
    file.each((...frame) => pass.repeat(...frame));
    pass.turn();
    file.each((...frame) => pass.goOn(...frame));
    isDone = true;
  } finally {
    pass.close(isDone);
  }
  return { cut: cutOf(survey.commit), operations: survey.operationCount };
}

class RedoPass {
  readonly #of: RedoOptions;
  readonly #survey: Survey;
  readonly #replay: Replay;
  readonly #applier: Applier;
  readonly #keeper: Keeper | undefined;
  readonly #progress: Progress;
  /** The first operation that is carried out in its turn, and announcements before it. */
  readonly #position: number;
  readonly #announcedCount: number;
  /** What the operation at the position has taken away. */
  readonly #gone: ReadonlySet<number>;
  #operations = 0;
  #nameOperations = 0;
  #announcements = 0;
  /** New files whose content is written from its beginning. */
  readonly #isFresh: Set<number> = new Set();

  constructor(options: RedoOptions, survey: Survey, search: PositionSearch) {
    this.#of = options;
    this.#survey = survey;
    this.#replay = search.replay;
    this.#position = search.replay.operations;
    this.#announcedCount = search.replay.announcements;
    this.#gone = search.gone;
    const { files, rootFd, problems, file } = options;
    const { tree, names } = search.replay;
    this.#keeper = options.keeper?.(tree);
    const discard = this.#keeper ?? new Removal(files, rootFd);
    this.#applier = new Applier(files, rootFd, tree, problems, discard, names);
    this.#progress = new Progress(this.#applier, (operations, nameOperations) => {
      putMark(
        file,
        { files, rootFd, durability: file.header.durability },
        operations,
        nameOperations,
      );
    });
  }

  /** Removes what lies about in the root, and finds the new files that are there. */
  begin(): void {
    const { files, rootFd } = this.#of;
    const { names, tree } = this.#replay;
    // The journal says nothing of the root, whose time is set back after what comes and goes there.
    const stat = new Float64Array(statSlots);
    if (files.statAt(rootFd, noName, stat) >= 0) {
      tree.mtimeSec[rootId] = stat[Stat.mtimeSec]!;
      tree.mtimeNsec[rootId] = stat[Stat.mtimeNsec]!;
    }
    const owned = new Set<string>(this.#survey.aheadNames);
    for (const node of names.held) owned.add(latin1(holdName(node)));
    for (const [node, staged] of names.staged) {
      if ((staged.mode & Mode.typeMask) !== Mode.regular) continue;
      staged.name ??= this.#isThere(holdName(node)) ? holdName(node) : undefined;
      if (staged.name !== undefined) owned.add(latin1(staged.name));
    }
    removeOwnNames(files, rootFd, (name) => {
      return keepKeyOf(name) === undefined && !owned.has(latin1(name));
    });
    this.#progress.startAt(this.#survey.markedOperations, this.#survey.markedNames);
  }

  #isThere(name: Uint8Array): boolean {
    return this.#of.files.identifyAt(this.#of.rootFd, name, new Float64Array(statSlots)) >= 0;
  }

  /** Operations before the position: those on content and metadata of what is there. */
  repeat(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (!isOperation(type)) return true;
    const at = this.#operations;
    if (at === this.#position) return false;
    if (!isNameOperation(type) && type !== FrameType.create) {
      const node = u32(bytes, start);
      if (this.#isToRepeat(node, at)) {
        this.#freshen(type, node, at);
        this.#progress.goTo(at, this.#nameOperations);
        this.#carryOut(type, bytes, start, end);
      }
    }
    this.#operations++;
    if (isNameOperation(type)) this.#nameOperations++;
    return true;
  }

  #isToRepeat(node: number, at: number): boolean {
    const { tree, names, bornAt } = this.#replay;
    if (!tree.isLive(node) || (bornAt.get(node) ?? 0) > at) return false;
    if (this.#gone.has(node)) return false;
    if (at >= this.#survey.markedOperations) return true;
    // What had no name has vanished with the process, marked as written or not.
    const staged = names.staged.get(node);
    return staged !== undefined && staged.name === undefined;
  }

  /** A new file of which the journal has everything may have some of it already. */
  #freshen(type: number, node: number, at: number): void {
    const { bornAt, written, names } = this.#replay;
    if (!isContentOperation(type) || this.#isFresh.has(node)) return;
    this.#isFresh.add(node);
    const bornFrom = bornAt.get(node);
    if (bornFrom === undefined || written.has(node)) return;
    const staged = names.staged.get(node);
    const isMarked =
      (this.#survey.contentFrom(node, bornFrom) ?? at) < this.#survey.markedOperations;
    if (isMarked && staged?.name !== undefined) return;
    if (isMarked && staged === undefined) return;
    this.#applier.truncate(node, 0);
  }

  turn(): void {
    this.#operations = 0;
    this.#nameOperations = 0;
    this.#announcements = 0;
  }

  /** From the position on: everything. */
  goOn(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (type === NoteType.staged && this.#announcements++ < this.#announcedCount) return true;
    if (this.#replay.note(type, bytes, start, end)) return true;
    if (!isOperation(type)) return true;
    const at = this.#operations++;
    if (isNameOperation(type)) this.#nameOperations++;
    if (at < this.#position) {
      if (at === this.#position - 1) this.#progress.goTo(at + 1, this.#nameOperations);
      return true;
    }
    if (type === FrameType.create) this.#replay.bornAt.set(u32(bytes, start), at);
    else if (isContentOperation(type)) this.#freshen(type, u32(bytes, start), at);
    this.#carryOut(type, bytes, start, end);
    return true;
  }

  #carryOut(type: number, bytes: Uint8Array, start: number, end: number): void {
    this.#progress.before(type, bytes, start);
    decodeOperation(type, bytes, start, end, this.#applier);
  }

  /**
   * What waits without a name belongs to an epoch that never came, unless it is not `isDone`: then
   * whoever tries again needs it. The root keeps its time.
   */
  close(isDone: boolean): void {
    const { files, rootFd } = this.#of;
    const stat = new Float64Array(statSlots);
    const known = files.statAt(rootFd, noName, stat);
    this.#applier.close(!isDone);
    this.#keeper?.close();
    if (known < 0) return;
    files.setTimes(rootFd, noName, stat[Stat.mtimeSec]!, stat[Stat.mtimeNsec]!);
  }
}

function latin1(name: Uint8Array): string {
  return Buffer.from(name.buffer, name.byteOffset, name.length).toString("latin1");
}
