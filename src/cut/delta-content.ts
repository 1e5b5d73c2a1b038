/**
 * `DeltaContent`: brings a file's content over as the difference to a file that the target has: to
 * itself, when nobody knows what has changed in it; or to the one that it replaces, moved from or
 * was copied from.
 *
 * Asks for the basis' signature, searches the file for its blocks, then writes CLONE for what was
 * found elsewhere and WRITE for the rest; what is at its place already costs nothing.
 * In a file that is its own basis, blocks that have moved are first copied aside to a file without
 * a name: writing could otherwise destroy what is yet to be copied.
 * Invariant: between the ask and the last CLONE nothing is sent that touches the basis' content.
 */
import { DeltaSearch, type Signature } from "../delta/index.ts";
import { ExtentList, type Tree } from "../tree/index.ts";
import { type Files, Mode, Stat, statSlots } from "../world/index.ts";
import { cloneBytesMax, type OpWriter } from "../wire/index.ts";
import { type ContentReader, type Reading, startReading } from "./content-reader.ts";
import type { DirtySet } from "./dirty-set.ts";
import { clonedLiveBytesMax } from "./limits.ts";

const noName: Uint8Array = new Uint8Array(0);
const sectorBytes = 512;

/** Asks the target for signatures; implemented by the session. */
export interface SignaturePort {
  /** Whether one more ask, about a file of this size, may go out now. */
  hasRoom(fileBytes: number): boolean;
  /** Whether a file of this size may be asked about at all. */
  isWorth(fileBytes: number): boolean;
  ask(node: number, fileBytes: number): number;
  result(id: number): Signature | "waiting" | "refused";
  forget(id: number): void;
}

export interface DeltaContext {
  files: Files;
  tree: Tree;
  writer: OpWriter;
  reader: ContentReader;
  dirty: DirtySet;
  signatures: SignaturePort;
  hasRoom: () => boolean;
  /** The target is being made equal for the first time. */
  isSeeding: () => boolean;
}

/**
 * `waiting` for the answer; `room`: for room in the writer; `more`: a breath; `whole`: there
 * is no delta, send all of it. A number is a negative errno.
 */
export type DeltaStep = "waiting" | "room" | "more" | "whole" | "done" | number;

/** Phases of the writing, each over all runs. */
const Pass = { aside: 0, literals: 1, back: 2, end: 3 } as const;

export class DeltaContent {
  readonly #of: DeltaContext;
  readonly #node: number;
  readonly #basis: number;
  readonly #basisBirth: number;
  readonly #basisBytes: number;
  #askId = 0;
  #search: DeltaSearch | undefined;
  #isSearched = false;
  #pass: number = Pass.aside;
  #run = 0;
  #copied = 0;
  #literal: Reading | undefined;
  #punchedTo = 0;
  readonly #pair: Float64Array = new Float64Array(2);
  readonly #stat: Float64Array = new Float64Array(statSlots);
  /** The file without a name that moved blocks wait in, 0 if none do. */
  #aside = 0;

  constructor(of: DeltaContext, node: number, basis: number) {
    this.#of = of;
    this.#node = node;
    this.#basis = basis;
    this.#basisBirth = of.tree.birth[basis]!;
    this.#basisBytes = of.tree.size[basis]!;
  }

  /** Progress, up to the file's size: half of it for the search, half for writing what is new. */
  get bytesDone(): number {
    if (this.#search === undefined) return 0;
    const { runs, searchedTo } = this.#search;
    return (searchedTo + (this.#isSearched ? this.#writtenTo(runs) : 0)) / 2;
  }

  /** How far the literals, which are what is sent, have got. */
  #writtenTo(runs: DeltaSearch["runs"]): number {
    if (this.#pass < Pass.literals || runs.count === 0) return 0;
    const last = runs.count - 1;
    if (this.#pass > Pass.literals) return runs.at(last) + runs.length(last);
    const run = Math.min(this.#run, last);
    return Math.max(runs.at(run), this.#literal?.position ?? 0);
  }

  /** Asks if there is room for that. Once it has, the answer comes while other work is done. */
  ask(): void {
    const { signatures } = this.#of;
    if (this.#askId !== 0 || !this.#isBasisThere() || !signatures.hasRoom(this.#basisBytes)) return;
    this.#askId = signatures.ask(this.#basis, this.#basisBytes);
  }

  /** Whether a step would do something but wait. */
  get isReady(): boolean {
    if (!this.#isBasisThere()) return true;
    if (this.#askId === 0) return this.#of.signatures.hasRoom(this.#basisBytes);
    return this.#of.signatures.result(this.#askId) !== "waiting";
  }

  /** The basis is what it was when it was asked about, and stays until the epoch is applied. */
  #isBasisThere(): boolean {
    const { tree, dirty } = this.#of;
    if (!tree.isSame(this.#basis, this.#basisBirth)) return false;
    if (this.#isSearched || this.#search !== undefined) return true;
    return tree.size[this.#basis] === this.#basisBytes && !dirty.wasRead(this.#basis);
  }

  /** `fileBytes` is the size of the file just now, `fd` its descriptor. */
  step(fd: number, fileBytes: number): DeltaStep {
    if (!this.#isBasisThere()) return "whole";
    if (this.#search === undefined) return this.#begin(fd, fileBytes);
    if (!this.#isSearched) {
      const found = this.#search.step();
      if (typeof found === "number") return found;
      this.#isSearched = found;
      return found && this.#movesTooMuch() ? "whole" : "more";
    }
    return this.#write(fd);
  }

  /** A live target applies an epoch in one step, and must not fall silent in it. */
  #movesTooMuch(): boolean {
    if (this.#of.isSeeding()) return false;
    const { runs } = this.#search!;
    let moved = 0;
    for (let i = 0; i < runs.count; i++) if (this.#isMoved(i)) moved += runs.length(i);
    return moved > clonedLiveBytesMax;
  }

  #isMoved(run: number): boolean {
    const { runs } = this.#search!;
    const basis = runs.basis(run);
    return basis >= 0 && (this.#basis !== this.#node || basis !== runs.at(run));
  }

  #begin(fd: number, fileBytes: number): DeltaStep {
    const { signatures, dirty, files } = this.#of;
    this.ask();
    if (this.#askId === 0) return "waiting";
    const signature = signatures.result(this.#askId);
    if (signature === "waiting") return "waiting";
    if (signature === "refused") return "whole";
    // From here on a change of the file is a conflict; what was told before is in what is read.
    dirty.satisfy(this.#node, 0, Infinity);
    dirty.noteRead(this.#node, 0, Infinity);
    this.#search = new DeltaSearch(files, fd, fileBytes, signature);
    signatures.forget(this.#askId);
    return "more";
  }

  #write(fd: number): DeltaStep {
    const { runs } = this.#search!;
    while (this.#pass < Pass.end) {
      for (; this.#run < runs.count; this.#run++) {
        if (!this.#of.hasRoom()) return "room";
        const basis = runs.basis(this.#run);
        if (this.#pass === Pass.literals) {
          const done = basis >= 0 ? 1 : this.#writeLiteral(fd);
          if (done <= 0) return done === 0 ? "room" : done;
        } else if (this.#isMoved(this.#run) && !this.#copy(this.#pass)) {
          return "room";
        }
      }
      this.#run = 0;
      this.#pass++;
    }
    return this.#finish(fd);
  }

  #writeLiteral(fd: number): number {
    const { runs } = this.#search!;
    if (this.#literal === undefined) {
      const extents = new ExtentList();
      const at = runs.at(this.#run);
      extents.add(at, at + runs.length(this.#run));
      this.#literal = startReading(this.#node, extents);
    }
    const done = this.#of.reader.read(this.#literal, fd);
    if (done !== 0) this.#literal = undefined;
    return done;
  }

  /** Copies the present run, in pieces. False when the room ends before the run does. */
  #copy(pass: number): boolean {
    const { tree, writer, hasRoom } = this.#of;
    const { runs } = this.#search!;
    const isOwnBasis = this.#basis === this.#node;
    if (pass === Pass.back && !isOwnBasis) return true;
    const at = runs.at(this.#run);
    const length = runs.length(this.#run);
    if (isOwnBasis && this.#aside === 0) this.#openAside();
    const to = isOwnBasis && pass === Pass.aside ? this.#aside : this.#node;
    const from = pass === Pass.back ? this.#aside : this.#basis;
    const fromAt = pass === Pass.back ? at : runs.basis(this.#run);
    for (; this.#copied < length; this.#copied += cloneBytesMax) {
      if (!hasRoom()) return false;
      const bytes = Math.min(cloneBytesMax, length - this.#copied);
      const position = at + this.#copied;
      writer.clone(to, position, { node: from, position: fromAt + this.#copied }, bytes);
      tree.size[to] = Math.max(tree.size[to]!, position + bytes);
    }
    this.#copied = 0;
    return true;
  }

  #openAside(): void {
    const { tree, writer } = this.#of;
    const mode = Mode.regular | 0o600;
    this.#aside = tree.addNode(mode);
    writer.create(this.#aside, mode, 0, noName);
  }

  /** Zeros that were found in the basis may be a hole here. False when there is no room. */
  #punch(fd: number): boolean {
    const { files, hasRoom, writer } = this.#of;
    if (files.fstat(fd, this.#stat) < 0) return true;
    const size = this.#stat[Stat.size]!;
    if (this.#stat[Stat.blocks]! * sectorBytes >= size) return true;
    while (this.#punchedTo < size) {
      if (!hasRoom()) return false;
      const pairs = files.dataExtents(fd, this.#punchedTo, size, this.#pair);
      if (pairs < 0) return true;
      const holeEnd = pairs === 0 ? size : this.#pair[0]!;
      const bytes = holeEnd - this.#punchedTo;
      if (bytes > 0) writer.zero(this.#node, this.#punchedTo, bytes);
      this.#punchedTo = pairs === 0 ? size : this.#pair[1]!;
    }
    return true;
  }

  #dropAside(): void {
    if (this.#aside === 0) return;
    this.#of.writer.remove(this.#aside);
    this.#of.tree.removeNode(this.#aside);
    this.#aside = 0;
  }

  #finish(fd: number): DeltaStep {
    if (!this.#punch(fd)) return "room";
    this.#dropAside();
    const { runs } = this.#search!;
    const last = runs.count - 1;
    const readTo = last < 0 ? 0 : runs.at(last) + runs.length(last);
    const result = this.#of.reader.endAtSize(this.#node, fd, readTo);
    return result < 0 ? result : "done";
  }

  /** Gives up: what was written so far is not needed, the file is sent whole or has gone. */
  abandon(): void {
    if (this.#askId !== 0) this.#of.signatures.forget(this.#askId);
    this.#dropAside();
  }
}
