/**
 * `KnownNodes`: compares nodes that both trees have with what is found in the source: because their
 * metadata may have changed, or because everything is compared.
 *
 * In: a node, and what is dirty of it or what a scan found. Out: metadata and times through the
 * writer; a plan to read the content where that may differ.
 */
import type { Directories } from "../descriptors/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { type Files, Stat, statSlots } from "../world/index.ts";
import type { DirtyNode, DirtySet } from "./dirty-set.ts";
import { openAttemptsMax } from "./limits.ts";
import type { MetadataComparer } from "./metadata-comparer.ts";
import type { MovedNodes } from "./moved-nodes.ts";
import { isGone } from "./source-files.ts";
import type { TaskWeight } from "./task.ts";

const noName: Uint8Array = new Uint8Array(0);

export interface KnownNodesOptions {
  files: Files;
  tree: Tree;
  rootFd: number;
  dirty: DirtySet;
  directories: Directories;
  metadata: MetadataComparer;
  moves: MovedNodes;
  planExtent: (node: number, from: number, to: number, weight?: TaskWeight) => void;
  problem: (node: number, operation: string, result: number) => void;
}

export class KnownNodes {
  readonly #of: KnownNodesOptions;
  readonly #stat: Float64Array = new Float64Array(statSlots);

  constructor(options: KnownNodesOptions) {
    this.#of = options;
  }

  /** Its metadata may have changed, or it was closed by a writer of whom nothing was told. */
  look(node: number, dirtyNode: DirtyNode): void {
    const { tree, rootFd, directories, files, moves, metadata, dirty, planExtent } = this.#of;
    const stat = this.#stat;
    const { firstName, names } = tree;
    const id = firstName[node]!;
    // Without a name now: if it gets one, it is looked at then.
    if (id === 0 && node !== rootId) return;
    const dirFd = node === rootId ? rootFd : directories.get(names.parent[id]!);
    const name = node === rootId ? noName : names.bytes(id);
    if (
      dirFd < 0 ||
      files.statAt(dirFd, name, stat) < 0 ||
      stat[Stat.ino] !== tree.ino[node] ||
      stat[Stat.gen] !== tree.gen[node]
    ) {
      this.#retry(node, dirtyNode);
      return;
    }
    // A writer that no probe saw leaves a changed time or size behind, and no extent.
    const isUnsure = dirtyNode.closed && dirtyNode.extents.isEmpty;
    const unseen = (isUnsure || moves.isExpected(node)) && metadata.contentDiffers(node, stat);
    if (!dirtyNode.metadata && !unseen) return;
    dirty.noteRead(node, 0, 0);
    metadata.compare(node, stat, dirFd, name);
    if (unseen) planExtent(node, 0, Infinity);
    else metadata.tellTimes(node, stat);
  }

  /** The node is not where we know it: it has moved or gone, which is told or about to be. */
  #retry(node: number, { closed, attempts }: DirtyNode): void {
    const { dirty } = this.#of;
    if (attempts >= openAttemptsMax) {
      dirty.rescan = true;
      return;
    }
    const again = dirty.retryMetadata(node);
    again.closed ||= closed;
    again.attempts = attempts + 1;
    dirty.addNamesOf(node);
  }

  /** Its metadata, and its content when size or time differ. */
  compare(node: number, stat: Float64Array, weight: TaskWeight): void {
    const { tree, rootFd, directories, metadata, dirty, planExtent, problem } = this.#of;
    const id = tree.firstName[node]!;
    const above = id === 0 ? -1 : directories.get(tree.names.parent[id]!);
    const dirFd = node === rootId ? rootFd : above;
    const name = node === rootId || id === 0 ? noName : tree.names.bytes(id);
    const differs = metadata.mustRead(node, stat);
    const isTold = dirFd >= 0 && metadata.compare(node, stat, dirFd, name);
    if (dirFd < 0 && !isGone(dirFd)) problem(node, "open", dirFd);
    else if (dirFd < 0) dirty.retryMetadata(node);
    const isRead = differs || metadata.isSuspect(node, stat, isTold);
    if (isRead) planExtent(node, 0, Infinity, weight);
    else metadata.tellTimes(node, stat);
  }
}
