/**
 * `NamePlanner`: turns observed names into the fewest operations that make the target's names
 * equal.
 *
 * In: names to look at. It looks at them (statx below the directory's descriptor), and at the other
 * known names of every node that it meets: a node found at a new place while its old name is gone
 * has moved, whatever the order of events; a node found at both is a hard link.
 * Out: operations through the writer, with the tree updated to match; content and scans as tasks.
 *
 * Rules: a node that is wanted elsewhere is never thrown away: it steps aside (exchange, or
 * detach); a file replaced by a file is replaced atomically; a directory that lost its name is
 * buried only at the end of the round, when no scan has found it or its children elsewhere.
 * Cost: one statx a name; nothing of what lies below a moved directory is touched.
 */
import type { Directories } from "../descriptors/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { type Files, Mode, Stat, statSlots } from "../world/index.ts";
import { type OpWriter, symlinkBytesMax } from "../wire/index.ts";
import type { DeletionGuard } from "./deletion-guard.ts";
import type { DirtyNode, DirtySet } from "./dirty-set.ts";
import type { NameFilter } from "./name-filter.ts";
import type { NameLook } from "./name-look.ts";
import { HeldDeletions } from "./held-deletions.ts";
import { MovedNodes } from "./moved-nodes.ts";
import { genOf, inoOf, type Slot, slotKey } from "./slot.ts";

/** What the planner leaves for the cut to do, in this order. */
export interface PlannedTasks {
  /** Read all of a new file, then give it its name. */
  newFile(node: number, parent: number, name: Uint8Array, stat: Float64Array): void;
  /** What the target has of this file from an earlier link: a node without a name, or 0. */
  claimKept(stat: Float64Array): number;
  /** A node has moved away from this name. */
  moved(node: number, parent: number, name: Uint8Array): void;
  /** Give a node one more name, once it has its first. */
  linkLater(node: number, parent: number, name: Uint8Array): void;
  /** Look at everything in a directory. `deep`: in known subdirectories too. */
  scan(node: number, deep: boolean): void;
  /** Compare metadata and, by size and time, content of a node that is in both trees. */
  compare(node: number, stat: Float64Array): void;
}

/** Rounds that a node wanted inside of itself waits for the event that explains it. */
export const postponedTimesMax = 3;

export class NamePlanner {
  readonly #files: Files;
  readonly #tree: Tree;
  readonly #directories: Directories;
  readonly #writer: OpWriter;
  readonly #dirty: DirtySet;
  readonly #tasks: PlannedTasks;
  readonly #filter: NameFilter;
  readonly #look: NameLook;
  readonly #forget: (node: number) => void;
  readonly #guard: DeletionGuard;
  readonly #held: HeldDeletions;
  readonly moves: MovedNodes;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly #linkTarget: Uint8Array = new Uint8Array(symlinkBytesMax);
  /** Directories whose times must be set when the round ends. */
  readonly touched: Set<number> = new Set();
  /** Where each inode of the present plan was observed. */
  readonly #seenAt: Map<string, Slot[]> = new Map();
  /** Nodes that lost their last name this round. */
  readonly #limbo: Set<number> = new Set();
  /** Of these the ones that wait for the next round. */
  readonly #waiting: Set<number> = new Set();
  /** How often they have. */
  readonly #postponed: Map<number, number> = new Map();

  constructor(options: {
    files: Files;
    tree: Tree;
    directories: Directories;
    writer: OpWriter;
    dirty: DirtySet;
    guard: DeletionGuard;
    tasks: PlannedTasks;
    filter: NameFilter;
    look: NameLook;
    /** A node is leaving the tree. */
    forget: (node: number) => void;
  }) {
    this.#files = options.files;
    this.#tree = options.tree;
    this.#directories = options.directories;
    this.#writer = options.writer;
    this.#dirty = options.dirty;
    this.#tasks = options.tasks;
    this.#filter = options.filter;
    this.#look = options.look;
    this.#forget = options.forget;
    this.#guard = options.guard;
    this.moves = new MovedNodes(options);
    this.#held = new HeldDeletions(options.tree, options.dirty, options.guard);
  }

  /** Brings the names of the slots, and whatever moved from or to them, into agreement. */
  plan(observed: readonly Slot[], deep: boolean): void {
    this.#dirty.noteNamesRead();
    const slots = this.#closure(observed);
    let waiting = this.#placements(slots);
    while (waiting.length > 0) {
      const blocked = waiting.filter((slot) => !this.#settle(slot, slots, deep, false));
      if (blocked.length === waiting.length) {
        // Directories that wait for each other, like `a/b` becoming `b/a`: one steps aside.
        const [first, ...rest] = blocked;
        this.#settle(first!, slots, deep, true);
        waiting = rest;
      } else {
        waiting = blocked;
      }
    }
    for (const slot of slots.values()) this.#clear(slot);
    this.moves.judge();
    if (this.#held.isActive) this.#held.checkUnbound(this.#limbo);
  }

  /** Removes what lost its name and was not found anywhere. To be called when no scan is left. */
  bury(): void {
    if (this.#held.isActive) this.#takeHeld();
    for (const node of this.#limbo) {
      if (this.#waiting.has(node)) continue;
      this.#touchParents(node);
      if (this.#prune(node)) continue;
      this.#writer.remove(node);
      this.#removeNode(node, true);
    }
  }

  /** Throws when more would go than a person was asked for. */
  #takeHeld(): void {
    for (const { parent, name } of this.#held.settle(this.#limbo, this.#waiting)) {
      this.#unlink(parent, name, this.#tree.child(parent, name));
    }
  }

  /** What `bury` has to do: not for nodes that wait for another round. */
  get limboCount(): number {
    return this.#limbo.size - this.#waiting.size + this.#held.count;
  }

  /**
   * Whether the node is, or is in, a directory that was not found where it was: it goes with that
   * when the round ends, or is looked at in the next one.
   */
  putsOff(node: number, dirty: DirtyNode): boolean {
    if (this.#limbo.size === 0 || !dirty.extents.isEmpty) return false;
    const { names, firstName } = this.#tree;
    for (let at = node; at !== rootId; at = names.parent[firstName[at]!]!) {
      if (firstName[at] === 0) return false;
      if (!this.#limbo.has(at)) continue;
      const again = this.#dirty.retryMetadata(node);
      again.closed ||= dirty.closed;
      again.attempts = dirty.attempts;
      return true;
    }
    return false;
  }

  /** A new round: what waited for it is found now, or goes when the round ends. */
  beginRound(): void {
    if (this.#waiting.size > 0) this.#waiting.clear();
    this.moves.beginRound();
  }

  #found(node: number, { stat }: Slot): void {
    this.#leaveLimbo(node);
    this.moves.moved(node, stat!);
  }

  /** Unties a node from its inode: it is ignored from now on, and stays as it is on the target. */
  release(node: number): void {
    this.moves.forget(node);
    this.#leaveLimbo(node);
    this.touched.delete(node);
    this.#lostNames.delete(node);
    this.#forget(node);
    this.#tree.unbindInode(node);
  }

  /** Removes what is below a folder but for ignored entries. False when there are none. */
  #prune(folder: number): boolean {
    const { names } = this.#tree;
    return this.#filter.prune(folder, (id) =>
      this.#unlink(names.parent[id]!, names.bytes(id).slice(), names.node[id]!),
    );
  }

  /** Ignored entries of the target keep the folder that they are in, whatever takes its name. */
  #keepsIgnored(slot: Slot, occupant: number): boolean {
    const isFolder = (slot.stat![Stat.mode]! & Mode.typeMask) === Mode.directory;
    if (!this.#filter.hasKept(occupant, isFolder) || this.#isSeenElsewhere(occupant)) return false;
    if (!isFolder) return this.#prune(occupant);
    this.#filter.untieAll(occupant);
    return this.#adopt(slot, false);
  }

  #leaveLimbo(node: number): void {
    this.#limbo.delete(node);
    this.#waiting.delete(node);
    this.#postponed.delete(node);
  }

  /** Tells the target of a node's name, which may replace another file. */
  place(node: number, parent: number, name: Uint8Array): void {
    const occupant = this.#tree.child(parent, name);
    // The target steps through its root to replace a file, and parks nodes there.
    if (occupant !== 0 || !this.#pendingFiles.has(node)) this.touched.add(rootId);
    if (occupant !== 0) this.#dropName(parent, name, occupant);
    this.#pendingFiles.delete(node);
    this.#writer.place(node, parent, name);
    this.#tree.addName(parent, name, node);
    this.touched.add(parent);
  }

  link(node: number, parent: number, name: Uint8Array): void {
    const occupant = this.#tree.child(parent, name);
    if (occupant === node) return;
    if (occupant !== 0) {
      this.touched.add(rootId);
      this.#dropName(parent, name, occupant);
    }
    this.#writer.link(node, parent, name);
    this.#tree.addName(parent, name, node);
    this.touched.add(parent);
  }

  /** Gives up a node that was announced and got no name. */
  abandon(node: number): void {
    this.#pendingFiles.delete(node);
    this.#writer.remove(node);
    this.#removeNode(node);
  }

  /** Adds the other known names of every node met, and names that are gone. */
  #closure(observed: readonly Slot[]): Map<string, Slot> {
    const slots = new Map<string, Slot>();
    const walked = new Set<number>();
    const pending = [...observed];
    for (let slot = pending.pop(); slot !== undefined; slot = pending.pop()) {
      const key = slotKey(slot.parent, slot.name);
      if (slots.has(key)) continue;
      slots.set(key, slot);
      if (slot.stat === undefined) continue;
      const node = this.#tree.byInode(inoOf(slot), genOf(slot));
      if (node === 0 || walked.has(node)) continue;
      if (this.#tree.child(slot.parent, slot.name) === node) continue;
      walked.add(node);
      const { names } = this.#tree;
      for (let id = this.#tree.firstName[node]!; id !== 0; id = names.nextOfNode[id]!) {
        const parent = names.parent[id]!;
        const name = names.bytes(id).slice();
        if (slots.has(slotKey(parent, name))) continue;
        const other = this.#look.observe(parent, name);
        if (other !== undefined) pending.push(other);
      }
    }
    return slots;
  }

  /** Slots where the tree has something else than was observed. */
  #placements(slots: ReadonlyMap<string, Slot>): Slot[] {
    const waiting: Slot[] = [];
    this.#seenAt.clear();
    this.#lostNames.clear();
    for (const slot of slots.values()) {
      if (slot.stat === undefined) continue;
      const key = `${inoOf(slot)}.${genOf(slot)}`;
      const seen = this.#seenAt.get(key);
      if (seen === undefined) this.#seenAt.set(key, [slot]);
      else seen.push(slot);
      const node = this.#tree.byInode(inoOf(slot), genOf(slot));
      const present = this.#tree.child(slot.parent, slot.name);
      if (node !== 0 && node === present) {
        this.#leaveLimbo(node);
        // It was expected elsewhere, and is back: it has not been compared yet.
        if (this.moves.isExpected(node)) this.moves.moved(node, slot.stat);
        continue;
      }
      waiting.push(slot);
    }
    return waiting;
  }

  /** Places what was observed at the slot. False when something else has to move first. */
  #settle(
    slot: Slot,
    slots: ReadonlyMap<string, Slot>,
    deep: boolean,
    stepAside: boolean,
  ): boolean {
    const tree = this.#tree;
    const { parent, name } = slot;
    if (!tree.isLive(parent)) return true;
    const node = tree.byInode(inoOf(slot), genOf(slot));
    if (node !== 0 && tree.isDirectory(node) && tree.isWithin(parent, node)) {
      if (!stepAside) return false;
      this.#detach(node);
      if (tree.isWithin(parent, node)) {
        this.#postpone(slot, node);
        return true;
      }
    }
    if (node === 0 && this.#adopt(slot, deep)) return true;
    const occupant = tree.child(parent, name);
    if (occupant === node && node !== 0) return true;
    if (occupant !== 0 && this.#makeWay(slot, node, occupant, slots)) return true;
    if (node !== 0) this.#bring(node, slot, slots);
    else this.#create(slot);
    return true;
  }

  /**
   * The node is wanted inside of itself: what lies between must have moved out, which is yet to be
   * told. It waits for the next round; not for ever, because then it is brought anew.
   */
  #postpone(slot: Slot, node: number): void {
    this.#limbo.add(node);
    const times = (this.#postponed.get(node) ?? 0) + 1;
    this.#postponed.set(node, times);
    if (times > postponedTimesMax) return;
    this.#waiting.add(node);
    this.#dirty.addName(slot.parent, slot.name, 0);
  }

  /**
   * Moves or prepares the occupant of a slot. True when an exchange has settled the slot as well.
   */
  #makeWay(slot: Slot, node: number, occupant: number, slots: ReadonlyMap<string, Slot>): boolean {
    const tree = this.#tree;
    const { parent, name } = slot;
    const single = tree.names.nextOfNode[tree.firstName[occupant]!] === 0;
    const wanted = this.#isWanted(occupant);
    if (wanted && single && node !== 0 && this.#exchange(slot, node, occupant, slots)) return true;
    const kindsClash =
      tree.isDirectory(occupant) || (slot.stat![Stat.mode]! & Mode.typeMask) === Mode.directory;
    if (!single) {
      if (kindsClash) this.#unlink(parent, name, occupant);
      return false;
    }
    if (!wanted && kindsClash && this.#held.postpone(slot, occupant)) {
      if (node !== 0) this.#limbo.add(node);
      if (node !== 0) this.#waiting.add(node);
      return true;
    }
    if (kindsClash && this.#keepsIgnored(slot, occupant)) return true;
    if (wanted || kindsClash) {
      this.#detach(occupant);
      this.#limbo.add(occupant);
    }
    return false;
  }

  /** Swaps two nodes that want each other's place, in one step. */
  #exchange(slot: Slot, node: number, occupant: number, slots: ReadonlyMap<string, Slot>): boolean {
    const tree = this.#tree;
    const own = tree.firstName[node]!;
    if (own === 0 || tree.names.nextOfNode[own] !== 0) return false;
    const ownParent = tree.names.parent[own]!;
    const ownName = tree.names.bytes(own).slice();
    const there = slots.get(slotKey(ownParent, ownName));
    if (there?.stat === undefined || tree.byInode(inoOf(there), genOf(there)) !== occupant) {
      return false;
    }
    if (tree.isWithin(ownParent, occupant) || tree.isWithin(slot.parent, node)) return false;
    this.#writer.rename(ownParent, ownName, slot.parent, slot.name, 1);
    tree.removeName(own);
    tree.removeName(tree.names.find(slot.parent, slot.name));
    tree.addName(slot.parent, slot.name, node);
    tree.addName(ownParent, ownName, occupant);
    this.touched.add(ownParent);
    this.touched.add(slot.parent);
    this.#found(node, slot);
    this.#found(occupant, there);
    return true;
  }

  /** Whether the node was seen at some slot where it is not yet, or was told to have moved. */
  #isWanted(node: number): boolean {
    const ino = this.#tree.ino[node]!;
    const gen = this.#tree.gen[node]!;
    if (ino === 0) return false;
    const isTold = this.moves.isExpected(node) || this.#dirty.hasMoved(ino, gen);
    return isTold || this.#isSeenElsewhere(node);
  }

  #isSeenElsewhere(node: number): boolean {
    const seen = this.#seenAt.get(`${this.#tree.ino[node]!}.${this.#tree.gen[node]!}`) ?? [];
    return seen.some((slot) => this.#tree.child(slot.parent, slot.name) !== node);
  }

  /**
   * Brings a node that the target has to the slot: by rename when an old name is gone, else a link.
   */
  #bring(node: number, slot: Slot, slots: ReadonlyMap<string, Slot>): void {
    const tree = this.#tree;
    const { parent, name } = slot;
    this.#found(node, slot);
    const gone = this.#goneName(node, slots);
    if (gone !== 0) {
      const fromParent = tree.names.parent[gone]!;
      const fromName = tree.names.bytes(gone).slice();
      const occupant = tree.child(parent, name);
      this.#writer.rename(fromParent, fromName, parent, name, 0);
      this.#tasks.moved(node, fromParent, fromName);
      tree.removeName(gone);
      if (occupant !== 0) this.#dropName(parent, name, occupant);
      tree.addName(parent, name, node);
      this.touched.add(fromParent);
      this.touched.add(parent);
    } else if (tree.firstName[node] !== 0) {
      this.link(node, parent, name);
    } else if (this.#pendingFiles.has(node)) {
      this.#tasks.linkLater(node, parent, name);
    } else {
      this.place(node, parent, name);
    }
  }

  /** Names that nodes have lost, of the present plan. */
  readonly #lostNames: Map<number, Slot[]> = new Map();

  /** A name that the node no longer has, or 0. Found once a plan: a file may have thousands. */
  #goneName(node: number, slots: ReadonlyMap<string, Slot>): number {
    const { names, firstName, ino, gen } = this.#tree;
    if (this.#tree.isDirectory(node)) return firstName[node]!;
    let lost = this.#lostNames.get(node);
    if (lost === undefined) {
      lost = [];
      for (let id = firstName[node]!; id !== 0; id = names.nextOfNode[id]!) {
        const seen = slots.get(slotKey(names.parent[id]!, names.bytes(id)));
        if (seen === undefined) continue;
        const still =
          seen.stat !== undefined && inoOf(seen) === ino[node] && genOf(seen) === gen[node];
        if (!still) lost.push(seen);
      }
      this.#lostNames.set(node, lost);
    }
    for (let last = lost.pop(); last !== undefined; last = lost.pop()) {
      const id = names.find(last.parent, last.name);
      if (id !== 0 && names.node[id] === node) return id;
    }
    return 0;
  }

  /** New files that were announced and wait for their content. */
  readonly #pendingFiles: Set<number> = new Set();

  /** Takes a node of the manifest, which has no inode of ours yet, for what was observed there. */
  #adopt(slot: Slot, deep: boolean): boolean {
    const tree = this.#tree;
    const occupant = tree.child(slot.parent, slot.name);
    if (occupant === 0 || tree.ino[occupant] !== 0) return false;
    const mode = slot.stat![Stat.mode]!;
    const kind = mode & Mode.typeMask;
    if ((tree.mode[occupant]! & Mode.typeMask) !== kind) return false;
    if (kind === Mode.symlink) {
      const target = this.#readLink(slot);
      const present = tree.symlinkTarget.get(occupant);
      if (present === undefined || Buffer.compare(present, target) !== 0) return false;
    }
    const isDevice = kind === Mode.blockDevice || kind === Mode.characterDevice;
    if (isDevice && tree.rdev[occupant] !== slot.stat![Stat.rdev]) return false;
    // While it was tied to nothing it may have been opened as whatever was at its path.
    this.#directories.forget(occupant);
    tree.bindInode(occupant, inoOf(slot), genOf(slot));
    tree.preferName(tree.names.find(slot.parent, slot.name));
    this.#tasks.compare(occupant, slot.stat!);
    if (kind === Mode.directory) this.#tasks.scan(occupant, deep);
    return true;
  }

  #create(slot: Slot): void {
    const tree = this.#tree;
    const { parent, name } = slot;
    const stat = slot.stat!;
    const mode = stat[Stat.mode]!;
    const kind = mode & Mode.typeMask;
    const target = kind === Mode.symlink ? this.#readLink(slot) : new Uint8Array(0);
    if (kind === Mode.symlink && target.length === 0) {
      // Gone or replaced since it was looked at: its next event brings it.
      this.#dirty.addName(parent, name, 0);
      return;
    }
    const kept = kind === Mode.regular ? this.#tasks.claimKept(stat) : 0;
    const node = kept !== 0 ? kept : tree.addNode(mode);
    tree.bindInode(node, inoOf(slot), genOf(slot));
    // Announced at once: the target takes ids in order.
    if (kept === 0) this.#writer.create(node, mode, stat[Stat.rdev]!, target);
    if (kind === Mode.symlink) tree.symlinkTarget.set(node, target);
    // The target does not have this yet: compare() says what differs.
    tree.uid[node] = 0xffffffff;
    tree.mtimeSec[node] = NaN;
    if (kind === Mode.regular) {
      this.#pendingFiles.add(node);
      this.#tasks.newFile(node, parent, name, stat);
      return;
    }
    this.place(node, parent, name);
    if (kind === Mode.directory) this.#tasks.scan(node, false);
    this.#tasks.compare(node, stat);
  }

  /** Takes away a name that was observed to be gone, and its node with the last one. */
  #clear(slot: Slot): void {
    const tree = this.#tree;
    const id = tree.isLive(slot.parent) ? tree.names.find(slot.parent, slot.name) : 0;
    if (id === 0) return;
    const node = tree.names.node[id]!;
    if (slot.stat !== undefined) return;
    const single = tree.names.nextOfNode[tree.firstName[node]!] === 0;
    if (this.#held.isActive) return this.#holdBack(slot, node, single);
    // A file of the manifest may be what a file found later was copied or moved from.
    const mayReturn =
      tree.isDirectory(node) ||
      tree.ino[node] === 0 ||
      this.moves.isExpected(node) ||
      this.#dirty.hasMoved(tree.ino[node]!, tree.gen[node]!);
    if (single && mayReturn) {
      this.#limbo.add(node);
      return;
    }
    this.#unlink(slot.parent, slot.name, node);
  }

  #holdBack(slot: Slot, node: number, single: boolean): void {
    if (!single) {
      this.#held.loseName(slot);
    } else if (!this.#limbo.has(node)) {
      this.#limbo.add(node);
      this.#held.loseNode(node);
    }
  }

  #unlink(parent: number, name: Uint8Array, node: number): void {
    this.#writer.unlink(parent, name);
    this.touched.add(parent);
    this.#dropName(parent, name, node, true);
  }

  /** `isDeleted`: nothing takes the place of the name. */
  #dropName(parent: number, name: Uint8Array, node: number, isDeleted = false): void {
    this.#tree.removeName(this.#tree.names.find(parent, name));
    if (this.#tree.firstName[node] === 0) this.#removeNode(node, isDeleted);
    else this.#filter.nameLost(node);
  }

  #detach(node: number): void {
    const { names, firstName } = this.#tree;
    const id = firstName[node]!;
    if (id === 0) return;
    this.touched.add(names.parent[id]!);
    this.touched.add(rootId);
    this.#tasks.moved(node, names.parent[id]!, names.bytes(id));
    this.#writer.detach(node);
    this.#tree.removeName(id);
  }

  #removeNode(node: number, isDeleted = false): void {
    this.#leaveLimbo(node);
    this.#tree.removeNode(node, (gone) => {
      if (isDeleted) this.#guard.removed(gone);
      this.touched.delete(gone);
      this.moves.forget(gone);
      this.#leaveLimbo(gone);
      this.#pendingFiles.delete(gone);
      this.#lostNames.delete(gone);
      this.#forget(gone);
    });
  }

  #touchParents(node: number): void {
    const { names, firstName } = this.#tree;
    for (let id = firstName[node]!; id !== 0; id = names.nextOfNode[id]!) {
      this.touched.add(names.parent[id]!);
    }
  }

  /** The link's text, empty when the name no longer means the node that was observed. */
  #readLink(slot: Slot): Uint8Array {
    const dirFd = this.#directories.get(slot.parent);
    if (dirFd < 0) return new Uint8Array(0);
    const bytes = this.#files.readlink(dirFd, slot.name, this.#linkTarget);
    // Another link may have taken the name since; its text must not become this node's.
    const again = this.#files.statAt(dirFd, slot.name, this.#stat);
    const isSame =
      again === 0 && this.#stat[Stat.ino] === inoOf(slot) && this.#stat[Stat.gen] === genOf(slot);
    return this.#linkTarget.slice(0, isSame ? Math.max(bytes, 0) : 0);
  }
}
