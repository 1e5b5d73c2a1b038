/**
 * `TargetScan`: reads the target's tree as it stands and tells it as manifest entries, parents
 * before children. In steps, so that the event loop can breathe between directories.
 *
 * Leftovers of an interrupted epoch (hold names in the root) are removed on the way. Other mounts
 * below the root are left alone and remembered.
 */
import { SyncError } from "../base/index.ts";
import { Directories, DirectoryEntries } from "../descriptors/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { errnoName, type Files, Mode, Stat, statSlots } from "../world/index.ts";
import { attributesBytesMax, type ManifestEntry, symlinkBytesMax } from "../wire/index.ts";
import { isHoldName, keepKeyOf } from "./hold-name.ts";
import { removeTree } from "./remove-tree.ts";

/** Mount points remembered. */
export const mountCountMax = 100;

const nothing: Uint8Array = new Uint8Array(0);
/** Files of earlier links that the source is told of. */
export const keptCountMax = 1024;

export class TargetScan {
  readonly #files: Files;
  readonly #rootFd: number;
  readonly #tree: Tree;
  readonly #tell: (entry: ManifestEntry) => void;
  readonly #directories: Directories;
  readonly #entries: DirectoryEntries;
  readonly #pending: number[] = [];
  readonly #scratch: Uint8Array = new Uint8Array(attributesBytesMax);
  readonly #rootStat: Float64Array = new Float64Array(statSlots);
  readonly #kept: ((node: number, key: Uint8Array) => void) | undefined;
  readonly #removeLeftover: (name: Uint8Array) => number;
  #current = 0;
  /** Entries on other filesystems, which were left alone. */
  /** Mount points that were met. */
  readonly mounts: string[] = [];

  /**
   * `tree` must be empty but for its root. `kept` hears of files that an earlier link has begun;
   * without it they are removed.
   */
  constructor(
    files: Files,
    rootFd: number,
    tree: Tree,
    tell: (entry: ManifestEntry) => void,
    kept?: (node: number, key: Uint8Array) => void,
    removeLeftover?: (name: Uint8Array) => number,
  ) {
    this.#removeLeftover = removeLeftover ?? ((name) => removeTree(files, rootFd, rootFd, name));
    this.#kept = kept;
    this.#files = files;
    this.#rootFd = rootFd;
    this.#tree = tree;
    this.#tell = tell;
    this.#directories = new Directories(files, rootFd, tree);
    this.#entries = new DirectoryEntries(files);
    const result = files.statAt(rootFd, nothing, this.#rootStat);
    if (result < 0) throw unreadable("the target's root", result);
    this.#enter(0, nothing, this.#rootStat, rootFd);
    this.#pending.push(rootId);
  }

  /** Reads one batch of entries; false when the scan has ended. */
  step(): boolean {
    if (this.#current === 0) {
      const next = this.#pending.pop();
      if (next === undefined) {
        this.#directories.clear();
        return false;
      }
      this.#current = next;
    }
    const node = this.#current;
    const fd = this.#directories.get(node);
    if (fd < 0) throw unreadable(this.#tree.path(node), fd);
    const used = this.#entries.next(fd, (name, stat) => this.#visit(node, fd, name, stat));
    if (used < 0) throw unreadable(this.#tree.path(node), used);
    if (used === 0) {
      this.#directories.forget(node);
      this.#current = 0;
    }
    return true;
  }

  #visit(parent: number, dirFd: number, name: Uint8Array, stat: Float64Array): void {
    if (parent === rootId && isHoldName(name)) {
      if (this.#keeps(name, stat)) return;
      this.#removeLeftover(name.slice());
      // The manifest has told the root's time already: it must stay true.
      const [sec, nsec] = [this.#rootStat[Stat.mtimeSec]!, this.#rootStat[Stat.mtimeNsec]!];
      this.#files.setTimes(this.#rootFd, nothing, sec, nsec);
      return;
    }
    if (
      stat[Stat.mount] !== this.#rootStat[Stat.mount] ||
      stat[Stat.dev] !== this.#rootStat[Stat.dev]
    ) {
      if (this.mounts.length < mountCountMax) {
        this.mounts.push(this.#tree.childPath(parent, name));
      }
      return;
    }
    this.#enter(parent, name, stat, dirFd);
  }

  /** A file that an earlier link has begun, if the source can go on with it. */
  #keeps(name: Uint8Array, stat: Float64Array): boolean {
    const key = keepKeyOf(name);
    const isFile = (stat[Stat.mode]! & Mode.typeMask) === Mode.regular && stat[Stat.nlink] === 1;
    if (this.#kept === undefined || key === undefined || !isFile) return false;
    if (this.#keptCount >= keptCountMax) return false;
    this.#keptCount++;
    const mode = stat[Stat.mode]!;
    const node = this.#tree.addNode(mode);
    this.#tree.size[node] = stat[Stat.size]!;
    this.#tell({
      node,
      parent: 0,
      mode,
      uid: 0,
      gid: 0,
      rdev: 0,
      size: stat[Stat.size]!,
      mtimeSec: 0,
      mtimeNsec: 0,
      name: key,
      symlinkTarget: nothing,
      attributes: nothing,
    });
    this.#kept(node, key);
    return true;
  }

  #keptCount = 0;

  #enter(parent: number, name: Uint8Array, stat: Float64Array, dirFd: number): void {
    const tree = this.#tree;
    const mode = stat[Stat.mode]!;
    const kind = mode & Mode.typeMask;
    const isRoot = parent === 0;
    const linked = stat[Stat.nlink]! > 1 && kind !== Mode.directory;
    let node = isRoot ? rootId : linked ? tree.byInode(stat[Stat.ino]!, stat[Stat.gen]!) : 0;
    if (node === 0) node = tree.addNode(mode);
    tree.setMetadata(node, stat);
    if (linked) tree.bindInode(node, stat[Stat.ino]!, stat[Stat.gen]!);
    if (kind === Mode.regular) tree.size[node] = stat[Stat.size]!;
    if (!isRoot) tree.addName(parent, name, node);
    if (kind === Mode.directory && !isRoot) this.#pending.push(node);
    const symlinkTarget = kind === Mode.symlink ? this.#readLink(dirFd, name) : nothing;
    if (symlinkTarget.length > 0) tree.symlinkTarget.set(node, symlinkTarget);
    const attributes = stat[Stat.attributeBytes]! > 0 ? this.#readAttributes(dirFd, name) : nothing;
    if (attributes.length > 0) tree.attributes.set(node, attributes);
    this.#tell({
      node,
      parent,
      mode,
      uid: stat[Stat.uid]!,
      gid: stat[Stat.gid]!,
      rdev: stat[Stat.rdev]!,
      size: tree.size[node]!,
      mtimeSec: stat[Stat.mtimeSec]!,
      mtimeNsec: stat[Stat.mtimeNsec]!,
      name,
      symlinkTarget,
      attributes,
    });
  }

  #readLink(dirFd: number, name: Uint8Array): Uint8Array {
    const bytes = this.#files.readlink(dirFd, name, this.#scratch.subarray(0, symlinkBytesMax));
    return this.#scratch.slice(0, Math.max(bytes, 0));
  }

  #readAttributes(dirFd: number, name: Uint8Array): Uint8Array {
    const bytes = this.#files.getAttributes(dirFd, name, this.#scratch);
    return this.#scratch.slice(0, Math.max(bytes, 0));
  }
}

function unreadable(path: string, result: number): SyncError {
  return new SyncError("ROOT_UNREADABLE", `scan ${path}: ${errnoName(result)}`);
}
