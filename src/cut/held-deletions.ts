/**
 * `HeldDeletions`: what the target is to lose while it is made equal, kept back until all of it is
 * known, because its frames are applied as they come and the guard must be asked before the first.
 *
 * In: names that were observed to be gone, and names that mean another kind of thing now. Out: at
 * the end of a round, when the guard has agreed, nodes to bury and names to take away; whatever has
 * another kind is looked at in the next round of the same epoch.
 * Nodes that the source was never seen to have cannot be found elsewhere any more: as soon as these
 * alone are too many the guard is asked, before anything of a wrong source has been copied.
 */
import { rootId, type Tree } from "../tree/index.ts";
import type { DeletionGuard } from "./deletion-guard.ts";
import type { DirtySet } from "./dirty-set.ts";
import { type Slot, slotKey } from "./slot.ts";

/** Of files with several names: how many names have not been lost. */
type Links = Map<number, number>;

export class HeldDeletions {
  readonly #tree: Tree;
  readonly #dirty: DirtySet;
  readonly #guard: DeletionGuard;
  /** Of files that had other names when the name was seen to be gone. */
  readonly #names: Map<string, Slot> = new Map();
  readonly #clashes: Slot[] = [];
  /** Occupants of clashes, which the guard has agreed to. */
  readonly #judged: Set<number> = new Set();
  #unboundCount = 0;
  readonly #unboundLinks: Links = new Map();
  #isOver = false;

  constructor(tree: Tree, dirty: DirtySet, guard: DeletionGuard) {
    this.#tree = tree;
    this.#dirty = dirty;
    this.#guard = guard;
  }

  get isActive(): boolean {
    return this.#guard.holdsBack;
  }

  get count(): number {
    return this.#names.size + this.#clashes.length;
  }

  /** The slot's name is gone, and its node had others. */
  loseName(slot: Slot): void {
    this.#names.set(slotKey(slot.parent, slot.name), slot);
  }

  /** The node has lost its only name. */
  loseNode(node: number): void {
    if (this.#tree.ino[node] !== 0) return;
    this.#unboundCount += this.#countOf(node, this.#unboundLinks);
  }

  /** True when the slot, whose occupant is of another kind, has to wait for the guard. */
  postpone(slot: Slot, occupant: number): boolean {
    if (!this.isActive || this.#isOver) return false;
    this.#clashes.push(slot);
    this.loseNode(occupant);
    return true;
  }

  /** Throws when already too much is lost for good. */
  checkUnbound(limbo: ReadonlySet<number>): void {
    if (this.#unboundCount === 0 || !this.#guard.exceeds(this.#unboundCount)) return;
    this.#guard.checkAll(this.#unboundCount, this.#isAll(limbo));
  }

  /**
   * The round has ended: asks the guard about the nodes to bury and everything that was held back.
   * Adds nodes that have lost all names to `limbo`; gives the names to take away from others.
   */
  settle(limbo: Set<number>, waiting: ReadonlySet<number>): readonly Slot[] {
    const names = this.#lostNames(limbo);
    const links: Links = new Map();
    let count = 0;
    for (const { parent, name } of names) {
      if (this.#isLastName(this.#tree.child(parent, name), links)) count++;
    }
    for (const node of limbo) {
      if (waiting.has(node) || this.#judged.has(node) || this.#isInside(node, limbo)) continue;
      count += this.#countOf(node, links);
    }
    for (const { parent, name } of this.#clashes) {
      const occupant = this.#tree.isLive(parent) ? this.#tree.child(parent, name) : 0;
      if (occupant === 0 || limbo.has(occupant)) continue;
      this.#judged.add(occupant);
      count += this.#countOf(occupant, links);
    }
    this.#guard.checkAll(count, this.#isAll(limbo));
    for (const { parent, name } of this.#clashes) {
      if (this.#tree.isLive(parent)) this.#dirty.addName(parent, name, 0);
    }
    this.#clashes.length = 0;
    this.#unboundCount = 0;
    this.#unboundLinks.clear();
    this.#isOver = true;
    return names;
  }

  #lostNames(limbo: Set<number>): readonly Slot[] {
    const { names, firstName } = this.#tree;
    const ofNode = new Map<number, Slot[]>();
    for (const slot of this.#names.values()) {
      const node = this.#tree.isLive(slot.parent) ? this.#tree.child(slot.parent, slot.name) : 0;
      if (node === 0) continue;
      const lost = ofNode.get(node);
      if (lost === undefined) ofNode.set(node, [slot]);
      else lost.push(slot);
    }
    this.#names.clear();
    const rest: Slot[] = [];
    for (const [node, lost] of ofNode) {
      let nameCount = 0;
      for (let id = firstName[node]!; id !== 0; id = names.nextOfNode[id]!) nameCount++;
      if (nameCount === lost.length) limbo.add(node);
      else rest.push(...lost);
    }
    return rest;
  }

  /** Whether nothing stays that the root had. */
  #isAll(limbo: ReadonlySet<number>): boolean {
    const { names, firstChild } = this.#tree;
    if (this.#clashes.length > 0) return false;
    for (let id = firstChild[rootId]!; id !== 0; id = names.nextSibling[id]!) {
      const isLost =
        limbo.has(names.node[id]!) || this.#names.has(slotKey(rootId, names.bytes(id)));
      if (!isLost) return false;
    }
    return true;
  }

  #isInside(node: number, limbo: ReadonlySet<number>): boolean {
    const { names, firstName } = this.#tree;
    for (let id = firstName[node]!; id !== 0;) {
      const parent = names.parent[id]!;
      if (limbo.has(parent)) return true;
      id = firstName[parent]!;
    }
    return false;
  }

  /** The node and all below it; a file with several names when the last of them is counted. */
  #countOf(node: number, links: Links): number {
    const { names, firstChild } = this.#tree;
    let count = 1;
    const pending = [node];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      for (let id = firstChild[at]!; id !== 0; id = names.nextSibling[id]!) {
        const child = names.node[id]!;
        if (!this.#isLastName(child, links)) continue;
        count++;
        if (firstChild[child] !== 0) pending.push(child);
      }
    }
    return count;
  }

  /** Takes one name of the node off those that `links` says are left. */
  #isLastName(node: number, links: Links): boolean {
    const { names, firstName } = this.#tree;
    if (names.nextOfNode[firstName[node]!] === 0) return true;
    let left = links.get(node) ?? 0;
    if (left === 0) {
      for (let id = firstName[node]!; id !== 0; id = names.nextOfNode[id]!) left++;
    }
    links.set(node, left - 1);
    return left === 1;
  }
}
