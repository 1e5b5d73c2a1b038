/**
 * `NameObserver`: looks at the dirty names and gives what it saw to the planner.
 *
 * In: names from the dirty set. Out: slots. A directory that cannot be opened any more has itself
 * moved or gone: then its ancestors' names are looked at first, and the name again after them. Of
 * one that has been deleted only its own name is looked at.
 */
import { NameChange } from "../capture/index.ts";
import type { Directories } from "../descriptors/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { Errno, type Files, Stat, statSlots } from "../world/index.ts";
import type { DirtySet } from "./dirty-set.ts";
import { openAttemptsMax } from "./limits.ts";
import type { NameLook } from "./name-look.ts";
import type { NamePlanner } from "./name-planner.ts";
import type { RuleFiles } from "./rule-files.ts";
import { genOf, inoOf, type Slot } from "./slot.ts";
import { isGone } from "./source-files.ts";

/** No errno: what there was has gone for good. */
const deleted = -4096;

export class NameObserver {
  readonly #files: Files;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly #tree: Tree;
  readonly #dirty: DirtySet;
  readonly #directories: Directories;
  readonly #planner: NamePlanner;
  readonly #look: NameLook;
  readonly #rules: RuleFiles;
  readonly #problem: (node: number, operation: string, result: number) => void;
  /** Directories of which names were looked at: their times may have changed in any case. */
  readonly looked: Set<number> = new Set();

  constructor(options: {
    files: Files;
    tree: Tree;
    dirty: DirtySet;
    directories: Directories;
    planner: NamePlanner;
    look: NameLook;
    rules: RuleFiles;
    problem: (node: number, operation: string, result: number) => void;
  }) {
    this.#files = options.files;
    this.#tree = options.tree;
    this.#dirty = options.dirty;
    this.#directories = options.directories;
    this.#planner = options.planner;
    this.#look = options.look;
    this.#rules = options.rules;
    this.#problem = options.problem;
  }

  /** What all dirty names are now. */
  observe(): Slot[] {
    const dirty = this.#dirty;
    const slots: Slot[] = [];
    const names = dirty.takeNames();
    for (const { parent, name } of names) {
      if (this.#rules.isRuleName(name) && this.#tree.isLive(parent))
        this.#rules.nameChanged(parent);
    }
    const failed: Map<number, number> = new Map();
    for (const { parent, name, change, attempts } of names) {
      if (!this.#tree.isLive(parent)) continue;
      const result = this.#reach(parent, names.length > 1, failed, slots);
      if (result === deleted) continue;
      if (result < 0) {
        if (!isGone(result)) this.#problem(parent, "open", result);
        else if (attempts < openAttemptsMax) dirty.addName(parent, name, change, attempts + 1);
        else dirty.rescan = true;
        continue;
      }
      this.looked.add(parent);
      const slot = this.#look.observe(parent, name);
      if (slot === undefined) continue;
      slots.push(slot);
      this.#noteChange(slot, change);
    }
    return slots;
  }

  /**
   * Not negative when names in the directory can be looked at. Of one that cannot be opened its own
   * path has changed: how, is found out once, and the name is looked at after that. One that has
   * been `deleted`, and is not at its name any more, has no names, nor will it ever have any: all
   * go with its own.
   */
  #reach(node: number, isOneOfMany: boolean, failed: Map<number, number>, slots: Slot[]): number {
    let result = failed.get(node);
    if (result !== undefined && result < 0) return result;
    const fd = this.#directories.get(node);
    const isFirst = result === undefined && isOneOfMany && node !== rootId;
    const isDeleted = isFirst && fd >= 0 && this.#isDeleted(fd);
    result = isDeleted ? -Errno.ENOENT : Math.min(fd, 0);
    if (result < 0 && this.#isGoneFrom(node, slots) && isDeleted) result = deleted;
    if (isOneOfMany) failed.set(node, result);
    return result;
  }

  #isDeleted(fd: number): boolean {
    return this.#files.fstat(fd, this.#stat) === 0 && this.#stat[Stat.nlink] === 0;
  }

  /**
   * What a backend told by name that is not about the name: content and metadata of the node there.
   * Which one that was is not certain when the name has meanwhile changed as well.
   */
  #noteChange(slot: Slot, change: number): void {
    if ((change & (NameChange.content | NameChange.metadata)) === 0) return;
    const known = this.#tree.child(slot.parent, slot.name);
    const seen = slot.stat === undefined ? 0 : this.#tree.byInode(inoOf(slot), genOf(slot));
    for (const node of seen === known ? [seen] : [seen, known]) {
      if (node === 0) continue;
      if (change & NameChange.content) this.#dirty.addExtent(node, 0, Infinity);
      if (change & NameChange.metadata) this.#dirty.addMetadata(node);
    }
    const hasMoved = (change & (NameChange.moved | NameChange.deleted)) !== 0;
    const isUnsure = hasMoved || seen !== known || slot.stat === undefined;
    if (isUnsure && change & NameChange.content) this.#planner.moves.suspectContent();
  }

  /**
   * Looks at the names of a directory that cannot be opened, up to the first one that can. True if
   * that is its own, and something else or nothing was found there.
   */
  #isGoneFrom(node: number, slots: Slot[]): boolean {
    const { names, firstName, ino, gen } = this.#tree;
    for (let at = node; at !== rootId;) {
      const id: number = firstName[at]!;
      if (id === 0) return false;
      const parent: number = names.parent[id]!;
      if (this.#directories.get(parent) >= 0) {
        const slot = this.#look.observe(parent, names.bytes(id).slice());
        if (slot === undefined) return false;
        slots.push(slot);
        const isAnother =
          slot.stat === undefined || inoOf(slot) !== ino[node] || genOf(slot) !== gen[node];
        return at === node && isAnother;
      }
      at = parent;
    }
    return false;
  }
}
