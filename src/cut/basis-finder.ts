/**
 * `BasisFinder`: which of the target's files a new file may be a changed copy of: the one whose
 * name it takes, one that just had that name, or, while the target is being made equal, one of the
 * same size and modification time, as a file has that was moved or copied while nobody looked.
 *
 * A wrong guess costs a signature, never content: what is taken from it is found by hash.
 */
import type { Tree } from "../tree/index.ts";
import { Mode, Stat } from "../world/index.ts";
import type { DirtySet } from "./dirty-set.ts";
import { formerNameCountMax, twinCountMax } from "./limits.ts";
import { slotKey } from "./slot.ts";

export class BasisFinder {
  readonly #tree: Tree;
  readonly #dirty: DirtySet;
  readonly #bytesMin: number;
  /** Nodes that have left a name lately, oldest first. */
  readonly #former: Map<string, { node: number; birth: number }> = new Map();
  /** By size and time, the last of each; while the target is being made equal. */
  #known: Map<number, number> | undefined;
  /** The one before it of the same size and time. */
  readonly #before: Map<number, number> = new Map();

  /** `bytesMin`: of the files that are remembered. */
  constructor(tree: Tree, dirty: DirtySet, bytesMin: number) {
    this.#tree = tree;
    this.#dirty = dirty;
    this.#bytesMin = bytesMin;
  }

  /** The node has moved away from this name: how some editors keep a backup. */
  left(parent: number, name: Uint8Array, node: number): void {
    const key = slotKey(parent, name);
    this.#former.delete(key);
    this.#former.set(key, { node, birth: this.#tree.birth[node]! });
    if (this.#former.size <= formerNameCountMax) return;
    this.#former.delete(this.#former.keys().next().value!);
  }

  /** Remembers all files of the manifest, until `forgetKnown`. To be called first of all. */
  learn(): void {
    const { endId, size, mode } = this.#tree;
    const known = new Map<number, number>();
    for (let node = 1; node < endId; node++) {
      const isFile = (mode[node]! & Mode.typeMask) === Mode.regular;
      if (isFile && size[node]! >= this.#bytesMin && this.#tree.isLive(node)) {
        const key = this.#keyOf(size[node]!, this.#tree.mtimeNsec[node]!);
        const before = known.get(key);
        if (before !== undefined) this.#before.set(node, before);
        known.set(key, node);
      }
    }
    this.#known = known.size > 0 ? known : undefined;
  }

  forgetKnown(): void {
    this.#known = undefined;
    this.#before.clear();
  }

  #keyOf(size: number, mtimeNsec: number): number {
    return (size * 1_000_003 + mtimeNsec) % Number.MAX_SAFE_INTEGER;
  }

  /** A node with content that the target has, or 0. */
  find(node: number, parent: number, name: Uint8Array, stat: Float64Array): number {
    const tree = this.#tree;
    const occupant = tree.child(parent, name);
    if (this.#isFit(occupant, node)) return occupant;
    const former = this.#former.get(slotKey(parent, name));
    if (former !== undefined && tree.isSame(former.node, former.birth)) {
      if (this.#isFit(former.node, node)) return former.node;
    }
    return this.#twin(node, name, stat);
  }

  /** A file of the same size and time; of several the one with the same last name. */
  #twin(node: number, name: Uint8Array, stat: Float64Array): number {
    const { size, mtimeSec, mtimeNsec, names, firstName } = this.#tree;
    const key = this.#keyOf(stat[Stat.size]!, stat[Stat.mtimeNsec]!);
    let twin = this.#known?.get(key) ?? 0;
    let found = 0;
    for (let i = 0; i < twinCountMax && twin !== 0; i++, twin = this.#before.get(twin) ?? 0) {
      const isTwin =
        this.#isFit(twin, node) &&
        size[twin] === stat[Stat.size] &&
        mtimeSec[twin] === stat[Stat.mtimeSec] &&
        mtimeNsec[twin] === stat[Stat.mtimeNsec];
      if (!isTwin) continue;
      found = twin;
      if (Buffer.compare(names.bytes(firstName[twin]!), name) === 0) break;
    }
    return found;
  }

  /** The target has its content, and this epoch has not touched it yet. */
  #isFit(basis: number, node: number): boolean {
    if (basis === 0 || basis === node || !this.#tree.isLive(basis)) return false;
    const isFile = (this.#tree.mode[basis]! & Mode.typeMask) === Mode.regular;
    return isFile && this.#tree.size[basis]! > 0 && !this.#dirty.wasRead(basis);
  }
}
