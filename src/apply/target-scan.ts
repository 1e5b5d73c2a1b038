/**
 * `TargetScan`: reads the target's tree as it stands and tells it as manifest entries, parents
 * before children. In steps, so that the event loop can breathe between directories.
 *
 * Leftovers of an interrupted epoch (hold names in the root) are removed on the way. Other mounts
 * below the root are left alone and remembered.
 */
import { SyncError } from "../base/index.ts";
import { TreeScan, type TreeScanHooks } from "../descriptors/index.ts";
import { type Origins, rootId, type Tree } from "../tree/index.ts";
import { errnoName, type Files, Mode, Stat, statSlots } from "../world/index.ts";
import { type ManifestEntry, noOrigin } from "../wire/index.ts";
import { isHoldName, keepKeyOf } from "./hold-name.ts";
import { removeTree } from "./remove-tree.ts";

/** Mount points remembered. */
export const mountCountMax = 100;

const nothing: Uint8Array = new Uint8Array(0);
/** Files of earlier links that the source is told of. */
export const keptCountMax = 1024;

export interface TargetScanOptions {
  files: Files;
  rootFd: number;
  /** Empty but for its root. */
  tree: Tree;
  /** Hears of every name; of nothing when absent. */
  tell?: ((entry: ManifestEntry) => void) | undefined;
  /** Hears of files that an earlier link has begun; without it they are removed. */
  kept?: ((node: number, key: Uint8Array) => void) | undefined;
  removeLeftover?: ((name: Uint8Array) => number) | undefined;
  /** What the target remembers of its nodes; filled by `recall` when a node has been read. */
  origins?: Origins | undefined;
  recall?: ((node: number, stat: Float64Array) => void) | undefined;
  /** All below a directory is known: see TreeScanHooks. */
  left?: TreeScanHooks["left"];
}

export class TargetScan {
  readonly #of: TargetScanOptions;
  readonly #scan: TreeScan;
  readonly #rootStat: Float64Array = new Float64Array(statSlots);
  readonly #removeLeftover: (name: Uint8Array) => number;
  /** Mount points that were met and left alone. */
  readonly mounts: string[] = [];
  /** Files that earlier links have begun: nodes without a name, by their keys. */
  readonly keptFiles: Map<number, Uint8Array> = new Map();

  constructor(options: TargetScanOptions) {
    const { files, rootFd, tree } = options;
    this.#of = options;
    this.#removeLeftover =
      options.removeLeftover ?? ((name) => removeTree(files, rootFd, rootFd, name));
    const result = files.statAt(rootFd, nothing, this.#rootStat);
    if (result < 0) throw unreadable("the target's root", result);
    const { tell, left, origins, recall } = options;
    this.#scan = new TreeScan(files, rootFd, tree, this.#rootStat, {
      admits: (parent, name, stat) => this.#admits(parent, name, stat),
      entered(node, parent, name, stat) {
        recall?.(node, stat);
        tell?.(entryOf({ tree, origins }, node, parent, name));
      },
      ...(left && { left }),
      unreadable(directory, failure) {
        throw unreadable(tree.path(directory), failure);
      },
    });
  }

  /** Reads one batch of entries; false when the scan has ended. */
  step(): boolean {
    return this.#scan.step();
  }

  #admits(parent: number, name: Uint8Array, stat: Float64Array): boolean {
    if (parent === rootId && isHoldName(name)) {
      if (this.#keeps(name, stat)) return false;
      this.#removeLeftover(name.slice());
      // The root's time was read already: it must stay true.
      const [sec, nsec] = [this.#rootStat[Stat.mtimeSec]!, this.#rootStat[Stat.mtimeNsec]!];
      this.#of.files.setTimes(this.#of.rootFd, nothing, sec, nsec);
      return false;
    }
    const isOurs =
      stat[Stat.mount] === this.#rootStat[Stat.mount] &&
      stat[Stat.dev] === this.#rootStat[Stat.dev];
    if (!isOurs && this.mounts.length < mountCountMax) {
      this.mounts.push(this.#of.tree.childPath(parent, name));
    }
    return isOurs;
  }

  /** A file that an earlier link has begun, if the source can go on with it. */
  #keeps(name: Uint8Array, stat: Float64Array): boolean {
    const key = keepKeyOf(name);
    const isFile = (stat[Stat.mode]! & Mode.typeMask) === Mode.regular && stat[Stat.nlink] === 1;
    if (this.#of.kept === undefined || key === undefined || !isFile) return false;
    if (this.keptFiles.size >= keptCountMax) return false;
    const node = this.#of.tree.addNode(stat[Stat.mode]!);
    this.#of.tree.size[node] = stat[Stat.size]!;
    this.keptFiles.set(node, key.slice());
    this.#of.tell?.(keptEntry(this.#of.tree, node, key));
    this.#of.kept(node, key);
    return true;
  }
}

/** The manifest's entry for a name of a node; of the root, which has none. */
export function entryOf(
  { tree, origins }: { tree: Tree; origins?: Origins | undefined },
  node: number,
  parent: number,
  name: Uint8Array,
): ManifestEntry {
  return {
    node,
    parent,
    mode: tree.mode[node]!,
    uid: tree.uid[node]!,
    gid: tree.gid[node]!,
    rdev: tree.rdev[node]!,
    size: tree.size[node]!,
    mtimeSec: tree.mtimeSec[node]!,
    mtimeNsec: tree.mtimeNsec[node]!,
    name,
    symlinkTarget: tree.symlinkTarget.get(node) ?? nothing,
    attributes: tree.attributes.get(node) ?? nothing,
    origin: origins?.has(node) ? origins.get(node) : noOrigin,
  };
}

/** The same for a file that an earlier link has begun. */
export function keptEntry(tree: Tree, node: number, key: Uint8Array): ManifestEntry {
  return {
    ...entryOf({ tree }, node, 0, key),
    uid: 0,
    gid: 0,
    mtimeSec: 0,
    mtimeNsec: 0,
  };
}

function unreadable(path: string, result: number): SyncError {
  return new SyncError("ROOT_UNREADABLE", `scan ${path}: ${errnoName(result)}`);
}
