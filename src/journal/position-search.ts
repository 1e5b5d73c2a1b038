/**
 * `PositionSearch`: how far a journal's operations on names had come when the process died.
 *
 * They are carried out one by one and in order, so the names on the disk are those of the tree
 * after some number of them. The tree is taken through them in memory, and after each it is asked
 * whether the disk is like that, at all places that the operations in question touch. The first
 * such position counts: what comes behind it is carried out (again), and ends the same.
 *
 * What an operation leaves behind in its middle is allowed for: a directory that is just being
 * removed may lack anything, a node with several names may have lost some, and a name that is just
 * being replaced may be gone (Backup takes the former away first).
 */
import { holdName } from "../apply/index.ts";
import { SyncError } from "../base/index.ts";
import { Directories, ESTALE } from "../descriptors/index.ts";
import { rootId } from "../tree/index.ts";
import { FrameType, isHoldName, type Place, placesIn, u32 } from "../wire/index.ts";
import { Errno, type Files, Mode, Stat, statSlots } from "../world/index.ts";
import type { JournalFile } from "./journal-file.ts";
import { isNameOperation, nameWindow } from "./progress.ts";
import { type Inode, isOperation, Replay, type Survey } from "./replay.ts";

/** A place that operations in the window touch. */
export interface Spot {
  readonly parent: number;
  readonly name: Uint8Array;
}

/** A new file that was written ahead: until this operation on names it lies under its own name. */
interface Ahead extends Inode {
  readonly name: Uint8Array;
  until: number;
}

/** Collects the spots of the window, and the files that its operations need. */
export class SpotCollector {
  readonly spots: Spot[] = [];
  /** Their content is not in the journal: where they are missing they have been used already. */
  readonly ahead: Ahead[] = [];
  readonly #open: Map<number, Ahead> = new Map();
  #nameOperations = 0;
  readonly #seen: Set<string> = new Set();
  readonly #replay: Replay;
  readonly #from: number;

  constructor(survey: Survey, file: JournalFile) {
    this.#replay = new Replay(file);
    this.#from = survey.markedNames;
  }

  see(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    const replay = this.#replay;
    if (replay.note(type, bytes, start, end)) {
      this.#noteAhead();
      return true;
    }
    if (!isOperation(type)) return true;
    if (type === FrameType.place || type === FrameType.remove) {
      const one = this.#open.get(u32(bytes, start));
      if (one !== undefined) one.until = this.#nameOperations;
      this.#open.delete(u32(bytes, start));
    }
    if (isNameOperation(type)) this.#nameOperations++;
    const at = replay.nameOperations;
    // Beyond the window only the ends of what was begun in it are looked for.
    if (at > this.#from + nameWindow) return this.#open.size > 0;
    if (isNameOperation(type) && at >= this.#from) {
      for (const [parent, name] of touched(replay, type, bytes, start, end)) {
        const key = `${parent}/${Buffer.from(name).toString("latin1")}`;
        if (this.#seen.has(key)) continue;
        this.#seen.add(key);
        this.spots.push({ parent, name: name.slice() });
      }
    }
    replay.operate(type, bytes, start, end);
    return true;
  }

  #noteAhead(): void {
    const { names, written, inodes } = this.#replay;
    for (const node of written) {
      const name = names.staged.get(node)?.name;
      const inode = inodes.get(node);
      if (name === undefined || inode === undefined) continue;
      if (this.#open.has(node)) continue;
      // Until its end is found it is not needed: it may belong to an epoch that has never come.
      const one = { name, ...inode, until: -1 };
      this.#open.set(node, one);
      this.ahead.push(one);
    }
  }
}

function touched(
  replay: Replay,
  type: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): readonly Place[] {
  switch (type) {
    case FrameType.unlink:
    case FrameType.rename:
      return placesIn(type, bytes, start, end);
    case FrameType.place:
    case FrameType.link:
      return [...placesIn(type, bytes, start, end), ...waiting(replay, u32(bytes, start))];
    case FrameType.detach:
      return [...named(replay, u32(bytes, start)), [rootId, holdName(u32(bytes, start))]];
    default:
      return [...named(replay, u32(bytes, start)), ...waiting(replay, u32(bytes, start))];
  }
}

function named({ tree }: Replay, node: number): Place[] {
  const places: Place[] = [];
  if (!tree.isLive(node)) return places;
  for (let id = tree.firstName[node]!; id !== 0; id = tree.names.nextOfNode[id]!) {
    places.push([tree.names.parent[id]!, tree.names.bytes(id)]);
  }
  return places;
}

/** Its name in the root, if it has no other. */
function waiting({ names }: Replay, node: number): Place[] {
  if (names.held.has(node)) return [[rootId, holdName(node)]];
  const name = names.staged.get(node)?.name;
  return name === undefined ? [] : [[rootId, name]];
}

export interface SearchOptions {
  readonly files: Files;
  readonly rootFd: number;
  readonly file: JournalFile;
}

export class PositionSearch {
  /** At the position, when it has been found. */
  readonly replay: Replay;
  readonly #of: SearchOptions;
  readonly #from: number;
  readonly #spots: readonly Spot[];
  readonly #ahead: readonly Ahead[];
  readonly #stat: Float64Array = new Float64Array(statSlots);
  /** Index of the spot that was not right last: mostly it still is not. */
  #wrong = 0;
  #isFound = false;
  /** What the operation at the position has taken away already: nothing can be written to it. */
  readonly gone: Set<number> = new Set();

  constructor(options: SearchOptions, survey: Survey, { spots, ahead }: SpotCollector) {
    this.#of = options;
    this.replay = new Replay(options.file);
    this.#from = survey.markedNames;
    this.#spots = spots;
    this.#ahead = ahead;
  }

  see(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    const { replay } = this;
    if (replay.note(type, bytes, start, end) || !isOperation(type)) return true;
    if (isNameOperation(type) && replay.nameOperations >= this.#from) {
      if (replay.nameOperations > this.#from + nameWindow) return false;
      this.#isFound = this.#isHereWithin(type, bytes, start, end);
      if (this.#isFound) return false;
    }
    replay.operate(type, bytes, start, end);
    return true;
  }

  /** The end of the journal has been reached, or the position. Throws TARGET_DIVERGED. */
  settle(): void {
    if (this.#isFound || this.#isHere(undefined)) return;
    const spot = this.#spots[this.#wrong];
    const what =
      spot === undefined ? "" : ` (${this.replay.tree.childPath(spot.parent, spot.name)})`;
    throw new SyncError("TARGET_DIVERGED", `it is not as its journal says it was left${what}`);
  }

  /** Before the operation, or in its middle, when it takes several names away. */
  #isHereWithin(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    const { tree } = this.replay;
    const change = changeOf(this.replay, type, bytes, start, end);
    if (this.#isHere(change)) {
      this.#noteGone(change);
      return true;
    }
    const node = type === FrameType.remove ? u32(bytes, start) : 0;
    while (tree.isLive(node) && tree.countNames(node) > 1) {
      tree.removeName(tree.firstName[node]!);
      if (this.#isHere(change)) return true;
    }
    return false;
  }

  /**
   * Of what the change takes away: names that a node has besides others leave the tree, if they are
   * not on the disk any more; what has no name left on it is `gone`.
   */
  #noteGone(change: Change): void {
    const { tree } = this.replay;
    const { parent, node, nextOfNode } = tree.names;
    const replaced = change.parent === 0 ? 0 : tree.names.find(change.parent, change.name);
    const nodes = new Set<number>();
    if (replaced !== 0) nodes.add(node[replaced]!);
    for (let id = rootId + 1; change.removed !== 0 && id < tree.endId; id++) {
      if (tree.isLive(id)) nodes.add(id);
    }
    const directories = this.#directories();
    for (const one of nodes) {
      const absent: number[] = [];
      for (let id = tree.firstName[one]!; id !== 0; id = nextOfNode[id]!) {
        const isLoose =
          id === replaced || (change.removed !== 0 && tree.isWithin(parent[id]!, change.removed));
        if (isLoose && !this.#isOnDisk(id, directories)) absent.push(id);
      }
      if (absent.length === 0) continue;
      if (absent.length === tree.countNames(one)) this.gone.add(one);
      else for (const id of absent) tree.removeName(id);
    }
    directories.clear();
  }

  #isOnDisk(id: number, directories: Directories): boolean {
    const { names } = this.replay.tree;
    const dirFd = directories.get(names.parent[id]!);
    if (dirFd < 0) return false;
    return this.#of.files.identifyAt(dirFd, names.bytes(id), this.#stat) >= 0;
  }

  #directories(): Directories {
    const { tree, names } = this.replay;
    return new Directories(this.#of.files, this.#of.rootFd, tree, {
      detachedName: (node) => (names.held.has(node) ? holdName(node) : undefined),
    });
  }

  #isHere(change: Change | undefined): boolean {
    if (!this.#ahead.every((one) => this.#isThere(one))) return false;
    const directories = this.#directories();
    const count = this.#spots.length;
    let at = count;
    for (let i = 0; i < count && at === count; i++) {
      const index = (this.#wrong + i) % count;
      if (!this.#isRight(this.#spots[index]!, directories, change)) at = index;
    }
    directories.clear();
    if (at < count) this.#wrong = at;
    return at === count;
  }

  #isRight({ parent, name }: Spot, directories: Directories, change: Change | undefined): boolean {
    const { tree } = this.replay;
    if (!tree.isLive(parent)) return true;
    const isLoose =
      change !== undefined &&
      ((change.removed !== 0 && tree.isWithin(parent, change.removed)) ||
        (change.parent === parent && Buffer.compare(change.name, name) === 0));
    const node = this.#expected(parent, name);
    const dirFd = directories.get(parent);
    const result = dirFd < 0 ? dirFd : this.#of.files.identifyAt(dirFd, name, this.#stat);
    if (result < 0) return isGone(result) && (node === 0 || isLoose);
    // What has swapped names with a new file lies about until it is removed (Removal.rename).
    if (node === 0) return parent === rootId && isHoldName(name);
    return this.#isSame(node);
  }

  /** As far as it is still needed. */
  #isThere({ name, ino, gen, until }: Ahead): boolean {
    if (this.replay.nameOperations > until) return true;
    const stat = this.#stat;
    if (this.#of.files.identifyAt(this.#of.rootFd, name, stat) < 0) return false;
    return ino === stat[Stat.ino] && isGeneration(gen, stat[Stat.gen]!);
  }

  /** The node that is to be there, or 0. */
  #expected(parent: number, name: Uint8Array): number {
    const { tree, names } = this.replay;
    const node = tree.child(parent, name);
    if (node !== 0 || parent !== rootId) return node;
    for (const held of names.held) if (isEqual(name, holdName(held))) return held;
    for (const [staged, { name: own }] of names.staged) {
      if (own !== undefined && isEqual(name, own)) return staged;
    }
    return 0;
  }

  #isSame(node: number): boolean {
    const { tree, inodes } = this.replay;
    const stat = this.#stat;
    const known = inodes.get(node);
    if (known === undefined) {
      return (stat[Stat.mode]! & Mode.typeMask) === (tree.mode[node]! & Mode.typeMask);
    }
    return known.ino === stat[Stat.ino] && isGeneration(known.gen, stat[Stat.gen]!);
  }
}

/** One of them may not be known. */
function isGeneration(a: number, b: number): boolean {
  return a === 0 || b === 0 || a === b;
}

/** What is not as before while one operation is carried out. */
interface Change {
  /** A directory that is being removed with what is below it, or 0. */
  readonly removed: number;
  /** A name whose former node may be gone already. */
  readonly parent: number;
  readonly name: Uint8Array;
}

function changeOf(
  replay: Replay,
  type: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): Change {
  const { tree } = replay;
  const places = touched(replay, type, bytes, start, end);
  const [parent, name] = places[type === FrameType.rename ? 1 : 0] ?? [0, new Uint8Array(0)];
  const isReplaced =
    type === FrameType.place || type === FrameType.link || type === FrameType.rename;
  const child = parent !== 0 && tree.isLive(parent) ? tree.child(parent, name) : 0;
  const gone = type === FrameType.remove ? u32(bytes, start) : child;
  const removed = tree.isLive(gone) && tree.isDirectory(gone) ? gone : 0;
  return { removed, parent: isReplaced ? parent : 0, name };
}

/** There is nothing; or, with ESTALE, the directory is new and has no place yet. */
function isGone(result: number): boolean {
  const isAbsent = result === -Errno.ENOENT || result === -ESTALE;
  return isAbsent || result === -Errno.ENOTDIR || result === -Errno.ELOOP;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
