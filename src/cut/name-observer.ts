/**
 * `NameObserver`: looks at the dirty names and gives what it saw to the planner.
 *
 * In: names from the dirty set. Out: slots. A directory that cannot be opened any more has itself
 * moved or gone: then its ancestors' names are looked at first, and the name again after them.
 */
import { NameChange } from "../capture/index.ts";
import type { Directories } from "../descriptors/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import type { DirtySet } from "./dirty-set.ts";
import { openAttemptsMax } from "./limits.ts";
import type { NameLook } from "./name-look.ts";
import type { NamePlanner } from "./name-planner.ts";
import type { RuleFiles } from "./rule-files.ts";
import { genOf, inoOf, type Slot } from "./slot.ts";
import { isGone } from "./source-files.ts";

export class NameObserver {
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
    tree: Tree;
    dirty: DirtySet;
    directories: Directories;
    planner: NamePlanner;
    look: NameLook;
    rules: RuleFiles;
    problem: (node: number, operation: string, result: number) => void;
  }) {
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
    for (const { parent, name, change, attempts } of names) {
      if (!this.#tree.isLive(parent)) continue;
      const dirFd = this.#directories.get(parent);
      if (dirFd < 0) {
        // The directory's own path has changed: find out how, and look at the name after that.
        this.#observeAncestors(parent, slots);
        if (!isGone(dirFd)) this.#problem(parent, "open", dirFd);
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

  /** Looks at the names of a directory that cannot be opened, up to the first one that can. */
  #observeAncestors(node: number, slots: Slot[]): void {
    const { names, firstName } = this.#tree;
    for (let at = node; at !== rootId;) {
      const id: number = firstName[at]!;
      if (id === 0) return;
      const parent: number = names.parent[id]!;
      if (this.#directories.get(parent) >= 0) {
        const slot = this.#look.observe(parent, names.bytes(id).slice());
        if (slot !== undefined) slots.push(slot);
        return;
      }
      at = parent;
    }
  }
}
