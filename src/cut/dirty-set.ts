/**
 * `DirtySet`: what has changed since it was last looked at, coalesced: names by directory, extents
 * and metadata by node. It is the mailbox between capture and the cut: it never drops, and its size
 * is bounded by the tree, because a second change of the same thing adds nothing.
 *
 * In: a backend's ChangeSink calls. Out: `take*` for the planner. While a cut is being read it also
 * answers the question of the seqlock: has anything that was read changed since? (`conflict`)
 *
 * Changes of nodes that the tree does not know are ignored: whoever discovers a node reads all of
 * it. Unless the tree is just being taken (`hold`).
 */
import { type ChangeSink, NameChange, type PathStart } from "../capture/index.ts";
import { ExtentList, type Tree } from "../tree/index.ts";
import { OrderedRun } from "./ordered-run.ts";
import { SharedPositionRuns } from "./shared-position.ts";
import { UnknownStores } from "./unknown-stores.ts";

export interface DirtyName {
  parent: number;
  name: Uint8Array;
  /** NameChange bits that were told. */
  change: number;
  /** Times that its directory could not be opened. */
  attempts: number;
}

/** A directory whose scan could not begin, because its path was just changing. */
export interface DirtyScan {
  deep: boolean;
  attempts: number;
}

export class DirtyNode {
  readonly extents: ExtentList = new ExtentList();
  /** Mode, owner, times or attributes may have changed. */
  metadata = false;
  /** Closed by a writer: if the file changed and nobody told an extent, all of it is unknown. */
  closed = false;
  attempts = 0;
}

export interface DirtyPath {
  path: Uint8Array;
  start: PathStart;
  truncatedTo: number;
}

/** Path events kept until they are resolved; more become a rescan. */
export const dirtyPathCountMax = 1024;
/** Changes of unknown nodes kept while the tree is being taken; more become a rescan. */
export const heldChangeCountMax = 65536;
/** Inodes remembered as moved to a place that is not known yet. */
export const movedCountMax = 65536;

/** A part of a file that is written in order; `isCut`: before it, the file has ended there. */
export interface OrderedPart {
  readonly node: number;
  readonly from: number;
  readonly to: number;
  readonly isCut: boolean;
  /** Nothing that was done before this wall clock's time is missing then; undefined: not known. */
  readonly wholeMs: number | undefined;
}

export class DirtySet implements ChangeSink {
  readonly #tree: Tree;
  readonly #onStore: (node: number, from: number, to: number) => void;
  readonly #unknown: UnknownStores;
  readonly #runs: SharedPositionRuns = new SharedPositionRuns();
  readonly #ordered: OrderedRun = new OrderedRun();
  #names: Map<string, DirtyName> = new Map();
  #nodes: Map<number, DirtyNode> = new Map();
  /** The only dirty node, 0 if there is none or if #nodes has them: mostly there is no second. */
  #loneId = 0;
  /** What is dirty of the lone node; blank while there is none. */
  #lone: DirtyNode = new DirtyNode();
  #scans: Map<number, DirtyScan> = new Map();
  #paths: DirtyPath[] = [];
  readonly #moved: Set<string> = new Set();
  readonly #readExtents: Map<number, ExtentList> = new Map();
  /** The only extent read, of node 0 if there is none or if #readExtents has them. */
  #readNode = 0;
  #readFrom = 0;
  #readTo = 0;
  #readNames = false;
  /** Changes of nodes that the tree does not know yet, told anew by `release`. */
  #held: (() => void)[] | undefined;
  /** Everything must be compared: records of unknown files were lost. */
  rescan = false;
  /** Records of unknown files were lost since this was last asked. */
  #isMissed = false;
  /** Something that the present epoch has read changed after it was read. */
  conflict = false;
  /** Monotonic µs of the oldest change told since the last `takeOldest`; Infinity when none. */
  #oldestUs = Infinity;
  changeCount = 0;
  /** Times that the cut itself has put something here, rather than capture. */
  putBackCount = 0;

  /**
   * `onStore` hears of stores through shared mappings, which need write-protecting anew: those of
   * `unknown` files as soon as the tree knows the file.
   */
  constructor(
    tree: Tree,
    onStore: (node: number, from: number, to: number) => void,
    unknown: UnknownStores = new UnknownStores(),
  ) {
    this.#tree = tree;
    this.#onStore = onStore;
    this.#unknown = unknown;
    tree.onBind = (node, ino, gen) => {
      if (unknown.size > 0 && unknown.take(ino, gen)) onStore(node, 0, Infinity);
    };
  }

  /**
   * From now on changes of unknown nodes are kept: the tree is about to be taken from what is read
   * of the source meanwhile, and nobody reads it again.
   */
  hold(): void {
    this.#held ??= [];
  }

  get isHolding(): boolean {
    return this.#held !== undefined;
  }

  /** The tree knows its nodes. False when too much was told to be kept. */
  release(): boolean {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined || held.length > heldChangeCountMax) return false;
    for (const tell of held) tell();
    return true;
  }

  #hold(tell: () => void): void {
    if (this.#held !== undefined && this.#held.length <= heldChangeCountMax) this.#held.push(tell);
  }

  /** These files have been stored to, and nobody is going to clean them: the next tree has to. */
  leave(nodes: Iterable<number>): void {
    for (const node of nodes) this.#unknown.note(this.#tree.ino[node]!, this.#tree.gen[node]!);
  }

  get isEmpty(): boolean {
    return (
      this.#loneId === 0 &&
      this.#names.size === 0 &&
      this.#nodes.size === 0 &&
      this.#scans.size === 0 &&
      this.#paths.length === 0 &&
      !this.rescan
    );
  }

  get nameCount(): number {
    return this.#names.size;
  }

  get nodeCount(): number {
    return this.#loneId === 0 ? this.#nodes.size : 1;
  }

  /** The node of the only change there is, when that is one extent of its content; else 0. */
  get loneNode(): number {
    if (this.#loneId === 0) return 0;
    const lone = this.#lone;
    const isExtent = lone.extents.count === 1 && !lone.metadata && lone.attempts === 0;
    const isAlone = this.#names.size + this.#scans.size + this.#paths.length === 0 && !this.rescan;
    return isExtent && isAlone ? this.#loneId : 0;
  }

  get loneFrom(): number {
    return this.#lone.extents.from(0);
  }

  get loneTo(): number {
    return this.#lone.extents.to(0);
  }

  /** The lone node's extent has been read. */
  clearLone(): void {
    this.#ordered.drop();
    this.#loneId = 0;
    this.#lone.extents.clear();
    this.#lone.closed = false;
  }

  /** A new epoch begins: nothing has been read for it. */
  beginEpoch(): void {
    this.#readNode = 0;
    if (this.#readExtents.size > 0) this.#readExtents.clear();
    this.#readNames = false;
    this.conflict = false;
  }

  /** The present epoch has read this extent. */
  noteRead(node: number, from: number, to: number): void {
    if (this.isNothingRead) {
      this.#readNode = node;
      this.#readFrom = from;
      this.#readTo = to;
      return;
    }
    if (this.#readNode !== 0) this.#addRead(this.#readNode, this.#readFrom, this.#readTo);
    this.#readNode = 0;
    this.#addRead(node, from, to);
  }

  #addRead(node: number, from: number, to: number): void {
    let list = this.#readExtents.get(node);
    if (list === undefined) {
      list = new ExtentList();
      this.#readExtents.set(node, list);
    }
    list.add(from, to);
  }

  get isNothingRead(): boolean {
    return this.#readNode === 0 && this.#readExtents.size === 0;
  }

  /** Whether the present epoch has read content of the node. */
  wasRead(node: number): boolean {
    if (this.#readNode === node) return this.#readTo > this.#readFrom;
    return (this.#readExtents.get(node)?.count ?? 0) > 0;
  }

  /** Whether the present epoch has read content of the node from this position on, or its size. */
  wasReadFrom(node: number, from: number): boolean {
    if (this.#readNode === node) return this.#readTo > from || this.#readTo === 0;
    const read = this.#readExtents.get(node);
    return read !== undefined && (read.count === 0 || read.to(read.count - 1) > from);
  }

  /** Whether content of the node is to be read. */
  hasExtents(node: number): boolean {
    const dirty = node === this.#loneId ? this.#lone : this.#nodes.get(node);
    return dirty !== undefined && !dirty.extents.isEmpty;
  }

  /** What was told of this extent so far is in what is read now. */
  satisfy(node: number, from: number, to: number): void {
    const dirty = node === this.#loneId ? this.#lone : this.#nodes.get(node);
    dirty?.extents.subtract(from, to);
  }

  /** The present epoch has looked at names. */
  noteNamesRead(): void {
    this.#readNames = true;
  }

  takeNames(): DirtyName[] {
    if (this.#names.size === 0) return [];
    const taken = [...this.#names.values()];
    this.#names = new Map();
    return taken;
  }

  /**
   * The next `bytes` of a file that is being written in order and is further ahead than that, if
   * nothing older is dirty. The extent is no longer dirty then.
   */
  takeOrdered(bytes: number, heardMs: number, isLate = false): OrderedPart | undefined {
    const run = this.#ordered;
    const { node, from, isCut } = run;
    const to = from + bytes;
    run.mark(heardMs);
    if (isLate || node === 0 || run.to < to || this.rescan) return undefined;
    const dirty = node === this.#loneId ? this.#lone : this.#nodes.get(node);
    const extents = dirty?.extents;
    if (extents === undefined || dirty?.attempts !== 0 || extents.count === 0) return undefined;
    if (extents.from(0) !== from || extents.to(0) < to) return undefined;
    extents.subtract(from, to);
    return { node, from, to, isCut, wholeMs: run.advance(to) };
  }

  /** No name is dirty, no directory, and not everything: nodes are all that may be. */
  get hasNodesOnly(): boolean {
    return this.#names.size + this.#scans.size + this.#paths.length === 0 && !this.rescan;
  }

  /** The dirty nodes and what is dirty of each, which stay dirty. */
  entries(): Iterable<[number, DirtyNode]> {
    return this.#loneId === 0 ? this.#nodes : [[this.#loneId, this.#lone]];
  }

  /** Content of the node has been taken by way of `satisfy`: it leaves if nothing else is dirty. */
  contentTaken(node: number): void {
    this.#ordered.drop();
    const dirty = node === this.#loneId ? this.#lone : this.#nodes.get(node);
    if (dirty === undefined || !dirty.extents.isEmpty || dirty.metadata || dirty.closed) return;
    if (node === this.#loneId) this.#loneId = 0;
    else this.#nodes.delete(node);
  }

  /** The dirty nodes, which stay dirty. */
  nodes(): Iterable<number> {
    return this.#loneId === 0 ? this.#nodes.keys() : [this.#loneId];
  }

  takeNodes(): Map<number, DirtyNode> {
    this.#ordered.drop();
    if (this.#loneId !== 0) this.#joinOthers();
    const taken = this.#nodes;
    this.#nodes = new Map();
    return taken;
  }

  takeScans(): Map<number, DirtyScan> {
    const taken = this.#scans;
    if (taken.size > 0) this.#scans = new Map();
    return taken;
  }

  takePaths(): DirtyPath[] {
    if (this.#paths.length === 0) return this.#paths;
    const taken = this.#paths;
    this.#paths = [];
    return taken;
  }

  get oldestUs(): number {
    return this.#oldestUs;
  }

  takeOldestUs(): number {
    const oldest = this.#oldestUs;
    this.#oldestUs = Infinity;
    return oldest;
  }

  /** Whether this inode was told to have moved somewhere, so that it should not be thrown away. */
  hasMoved(ino: number, gen: number): boolean {
    return this.#moved.has(`${ino}.${gen}`);
  }

  clearMoved(): void {
    if (this.#moved.size > 0) this.#moved.clear();
  }

  forget(node: number): void {
    this.#ordered.changed(node);
    if (this.#loneId === node) this.#joinOthers();
    if (this.#readNode === node) this.#readNode = 0;
    this.#nodes.delete(node);
    this.#scans.delete(node);
    this.#readExtents.delete(node);
    this.#runs.forget(node);
  }

  /** Marks a range by node id: for the planner itself. */
  addExtent(node: number, from: number, to: number): DirtyNode {
    this.putBackCount++;
    return this.addChanged(node, from, to);
  }

  /** The same for a range that has changed since it was read, or has become readable only now. */
  addChanged(node: number, from: number, to: number): DirtyNode {
    this.#ordered.changed(node);
    return this.#addExtent(node, from, to);
  }

  #addExtent(node: number, from: number, to: number): DirtyNode {
    const dirty = this.#dirty(node);
    dirty.extents.add(from, to);
    if (this.#readNode === node) {
      if (this.#readFrom < to && from < this.#readTo) this.conflict = true;
    } else if (this.#readExtents.get(node)?.intersects(from, to)) {
      this.conflict = true;
    }
    return dirty;
  }

  addMetadata(node: number): DirtyNode {
    this.putBackCount++;
    this.#ordered.interrupted();
    const dirty = this.#dirty(node);
    dirty.metadata = true;
    return dirty;
  }

  /** It could not be looked at by the name that is known: no cut closes before it has been. */
  retryMetadata(node: number): DirtyNode {
    this.conflict = true;
    return this.addMetadata(node);
  }

  addName(parent: number, name: Uint8Array, change: number, attempts = 0): void {
    this.putBackCount++;
    this.#addName(parent, name, change, attempts);
  }

  #addName(parent: number, name: Uint8Array, change: number, attempts: number): void {
    this.#ordered.interrupted();
    const key = `${parent}/${latin1(name)}`;
    const known = this.#names.get(key);
    if (known === undefined) this.#names.set(key, { parent, name, change, attempts });
    else known.change |= change;
    if (this.#readNames) this.conflict = true;
  }

  /** All names of a node are to be looked at. */
  addNamesOf(node: number): void {
    const { names, firstName } = this.#tree;
    for (let id = firstName[node]!; id !== 0; id = names.nextOfNode[id]!) {
      this.addName(names.parent[id]!, names.bytes(id).slice(), 0);
    }
  }

  /** Scans the directory in the next round: its path could not be followed in this one. */
  addScan(node: number, deep: boolean, attempts: number): void {
    this.putBackCount++;
    this.#ordered.interrupted();
    this.#scans.set(node, { deep, attempts });
    this.conflict = true;
  }

  #dirty(node: number): DirtyNode {
    if (node === this.#loneId) return this.#lone;
    if (this.#loneId !== 0) {
      this.#joinOthers();
    } else if (this.#nodes.size === 0) {
      this.#loneId = node;
      return this.#lone;
    }
    let dirty = this.#nodes.get(node);
    if (dirty === undefined) {
      dirty = new DirtyNode();
      this.#nodes.set(node, dirty);
    }
    return dirty;
  }

  /** The lone node is a node among others from now on. */
  #joinOthers(): void {
    this.#nodes.set(this.#loneId, this.#lone);
    this.#loneId = 0;
    this.#lone = new DirtyNode();
  }

  #told(timeUs: number): void {
    this.changeCount++;
    if (timeUs < this.#oldestUs) this.#oldestUs = timeUs;
  }

  written(
    ino: number,
    gen: number,
    from: number,
    to: number,
    timeUs: number,
    sharedPosition: boolean,
    mapped: boolean,
  ): void {
    const node = this.#tree.byInode(ino, gen);
    if (node === 0) {
      if (mapped) this.#unknown.note(ino, gen);
      return this.#hold(() => this.written(ino, gen, from, to, timeUs, sharedPosition, mapped));
    }
    this.#told(timeUs);
    const start = sharedPosition ? this.#runs.widen(node, from, to) : from;
    if (sharedPosition || mapped) this.#ordered.changed(node);
    else this.#ordered.written(node, from, to, this.isEmpty);
    this.#addExtent(node, start, to);
    if (mapped) this.#onStore(node, start, to);
  }

  appended(ino: number, gen: number, timeUs: number): void {
    const node = this.#tree.byInode(ino, gen);
    if (node === 0) return this.#hold(() => this.appended(ino, gen, timeUs));
    this.#told(timeUs);
    this.addChanged(node, this.#tree.size[node]!, Infinity);
  }

  truncated(ino: number, gen: number, size: number, timeUs: number, isCut = false): void {
    const node = this.#tree.byInode(ino, gen);
    if (node === 0) return this.#hold(() => this.truncated(ino, gen, size, timeUs, isCut));
    this.#told(timeUs);
    const from = Math.min(size, this.#tree.size[node]!);
    if (isCut && from === size && this.isEmpty) this.#ordered.cut(node, size);
    else this.#ordered.changed(node);
    this.#addExtent(node, from, Infinity);
    // Whoever has read it since knows the new size: nothing of what was read need have changed.
    this.#conflictIfRead(node);
  }

  unknownContent(ino: number, gen: number): void {
    const node = this.#tree.byInode(ino, gen);
    if (node === 0) return this.#hold(() => this.unknownContent(ino, gen));
    this.#told(Infinity);
    this.addChanged(node, 0, Infinity);
  }

  stored(ino: number, gen: number, from: number, to: number): void {
    const node = this.#tree.byInode(ino, gen);
    if (node !== 0) this.#onStore(node, from, to);
    else this.#unknown.note(ino, gen);
  }

  mapped(ino: number, gen: number): void {
    const node = this.#tree.byInode(ino, gen);
    if (node !== 0) this.#onStore(node, 0, Infinity);
    else this.#unknown.note(ino, gen);
  }

  attributes(ino: number, gen: number): void {
    const node = this.#tree.byInode(ino, gen);
    if (node === 0) return this.#hold(() => this.attributes(ino, gen));
    this.#told(Infinity);
    this.#ordered.interrupted();
    this.#dirty(node).metadata = true;
    this.#conflictIfRead(node);
  }

  #conflictIfRead(node: number): void {
    if (this.#readNode === node || this.#readExtents.has(node)) this.conflict = true;
  }

  closed(ino: number, gen: number): void {
    const node = this.#tree.byInode(ino, gen);
    if (node === 0) return this.#hold(() => this.closed(ino, gen));
    this.#dirty(node).closed = true;
  }

  name(
    directoryIno: number,
    directoryGen: number,
    name: Uint8Array,
    childIno: number,
    childGen: number,
    change: number,
  ): void {
    if (change & NameChange.moved && childIno !== 0) {
      if (this.#moved.size >= movedCountMax) this.#moved.clear();
      this.#moved.add(`${childIno}.${childGen}`);
    }
    const parent = this.#tree.byInode(directoryIno, directoryGen);
    if (parent === 0) {
      return this.#hold(() =>
        this.name(directoryIno, directoryGen, name, childIno, childGen, change),
      );
    }
    this.#told(Infinity);
    this.#addName(parent, name, change, 0);
  }

  path(path: Uint8Array, start: PathStart, truncatedTo: number): void {
    this.#ordered.drop();
    // Which node it means is found out later: it may be one that was read.
    if (this.#readNames || this.#readNode !== 0 || this.#readExtents.size > 0) this.conflict = true;
    if (this.#paths.length >= dirtyPathCountMax) this.rescan = true;
    else this.#paths.push({ path, start, truncatedTo });
  }

  lost(ino: number, gen: number): void {
    const node = this.#tree.byInode(ino, gen);
    if (node === 0) return this.#hold(() => this.lost(ino, gen));
    this.addChanged(node, 0, Infinity).metadata = true;
  }

  /** A drain ended with more to tell: what was read may have changed, though nobody said so. */
  unfinished(): void {
    this.#ordered.drop();
    this.conflict = true;
  }

  takeMissed(): boolean {
    const isMissed = this.#isMissed;
    this.#isMissed = false;
    return isMissed;
  }

  overflow(): void {
    this.#ordered.drop();
    this.#isMissed = true;
    this.rescan = true;
    this.conflict = true;
  }
}

/** Bytes as a string of the same length, for use as a key. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
