/**
 * `MovedNodes`: what it means for a node that it has another name now: what has to be looked at
 * anew, and of which nodes it is known, before they are found, that they have moved.
 */
import type { Tree } from "../tree/index.ts";
import { Mode } from "../world/index.ts";
import type { DirtySet } from "./dirty-set.ts";
import type { NameFilter } from "./name-filter.ts";

export interface MovedNodesOptions {
  tree: Tree;
  dirty: DirtySet;
  filter: NameFilter;
  tasks: {
    scan(node: number, deep: boolean): void;
    compare(node: number, stat: Float64Array): void;
  };
}

export class MovedNodes {
  readonly #of: MovedNodesOptions;
  /** Have moved while nobody looked, and were not found yet. */
  readonly #expected: Set<number> = new Set();
  /** Folders of the present plan. */
  readonly #folders: number[] = [];
  #suspectRounds = 0;

  constructor(options: MovedNodesOptions) {
    this.#of = options;
  }

  expect(nodes: Iterable<number>): void {
    for (const node of nodes) this.#expected.add(node);
  }

  isExpected(node: number): boolean {
    return this.#expected.has(node);
  }

  forget(node: number): void {
    this.#expected.delete(node);
  }

  beginRound(): void {
    if (this.#suspectRounds > 0) this.#suspectRounds--;
  }

  /**
   * A change of content was told of a name that has changed too, so perhaps of a file that has
   * moved away from it: whatever moves in this round or, being told later, in the next one is read.
   */
  suspectContent(): void {
    this.#suspectRounds = 2;
  }

  /** What was told of the node's old name, or what nobody told, is looked at. */
  moved(node: number, stat: Float64Array): void {
    const { tree, dirty, filter, tasks } = this.#of;
    dirty.addMetadata(node);
    const kind = tree.mode[node]! & Mode.typeMask;
    if (kind === Mode.directory && filter.isActive) this.#folders.push(node);
    if (kind === Mode.regular && this.#suspectRounds > 0) dirty.addExtent(node, 0, Infinity);
    if (!this.#expected.delete(node)) return;
    tasks.compare(node, stat);
    if (kind === Mode.directory) tasks.scan(node, false);
  }

  /** The plan has ended: other names below a moved folder may be ignored now. */
  judge(): void {
    if (this.#folders.length === 0) return;
    const { filter, tasks } = this.#of;
    filter.rules.moved();
    const isDependent = filter.rules.dependOnPlace;
    for (const node of this.#folders) if (isDependent) tasks.scan(node, true);
    this.#folders.length = 0;
  }
}
