/**
 * `TreeScan`: reads a folder into a tree, in steps, so that the event loop can breathe between
 * batches of entries.
 *
 * The order is the same wherever the folder is: entries by the bytes of their names, and all below
 * the first subdirectory before the second. So the nodes below a directory get consecutive ids, and
 * equal folders equal ids but for a constant.
 */
import { rootId, type Tree } from "../tree/index.ts";
import { type Files, Mode, Open, Stat, statSlots } from "../world/index.ts";
import { Directories } from "./directories.ts";
import { DirectoryEntries } from "./directory-entries.ts";

/** Room for the extended attributes of one node, and for what a symbolic link says. */
const attributeBytes = 1048576;
const symlinkBytes = 4096;
const noName: Uint8Array = new Uint8Array(0);

/** Who scans. Records and names are views, valid only during the call. */
export interface TreeScanHooks {
  /** Whether the entry belongs to the tree; asked in the filesystem's order. */
  admits(parent: number, name: Uint8Array, stat: Float64Array, dirFd: number): boolean;
  /** A directory is about to be read. */
  entering?(directory: number, dirFd: number): void;
  /** The root (of no parent), or an entry, is in the tree. */
  entered?(node: number, parent: number, name: Uint8Array, stat: Float64Array): void;
  /**
   * All below a directory is in the tree, in the ids from `first` to before `end`. Not `isWhole`:
   * it could not be read to its end, or a file in it has another name that came before, and its id.
   */
  left?(directory: number, first: number, end: number, isWhole: boolean): void;
  /** A directory could not be opened, or not be read to its end. May throw. */
  unreadable(directory: number, result: number): void;
}

export class TreeScan {
  readonly #files: Files;
  readonly #tree: Tree;
  readonly #hooks: TreeScanHooks;
  readonly #directories: Directories;
  readonly #entries: DirectoryEntries;
  /** Directories to be read; with a minus, to be left. */
  readonly #pending: number[] = [];
  readonly #first: Map<number, number> = new Map();
  readonly #partial: Set<number> = new Set();
  readonly #scratch: Uint8Array = new Uint8Array(attributeBytes);
  /** Of the directory that is being read. */
  #current = 0;
  #fd = -1;
  #names: string[] = [];
  #stats: Float64Array = new Float64Array(64 * statSlots);

  /** `tree` must be empty but for its root, whose record is `rootStat`. */
  constructor(
    files: Files,
    rootFd: number,
    tree: Tree,
    rootStat: Float64Array,
    hooks: TreeScanHooks,
  ) {
    this.#files = files;
    this.#tree = tree;
    this.#hooks = hooks;
    this.#directories = new Directories(files, rootFd, tree);
    this.#entries = new DirectoryEntries(files);
    this.#enter(0, noName, rootStat, rootFd);
    this.#pending.push(rootId);
  }

  /** Reads one batch of entries; false when the scan has ended. */
  step(): boolean {
    if (this.#current === 0 && !this.#begin()) {
      this.close();
      return false;
    }
    const node = this.#current;
    if (node === 0) return true;
    const fd = this.#fd;
    const used = fd < 0 ? fd : this.#entries.next(fd, (name, stat) => this.#note(name, stat, fd));
    if (used > 0) return true;
    if (used < 0) {
      this.#partial.add(node);
      this.#hooks.unreadable(node, used);
    }
    this.#enterAll(node, fd);
    this.#closeCurrent();
    this.#directories.forget(node);
    return true;
  }

  #closeCurrent(): void {
    if (this.#fd >= 0) this.#files.close(this.#fd);
    this.#fd = -1;
    this.#current = 0;
  }

  /** Lets go of what it holds open. */
  close(): void {
    this.#closeCurrent();
    this.#directories.clear();
    this.#pending.length = 0;
  }

  /** Takes the next directory, or leaves one. False when there is none. */
  #begin(): boolean {
    const next = this.#pending.pop();
    if (next === undefined) return false;
    if (next > 0) {
      this.#current = next;
      const at = this.#directories.get(next);
      // A descriptor of its own, which stands at the directory's beginning.
      this.#fd = at < 0 ? at : this.#files.openBeneath(at, noName, Open.read | Open.directory, 0);
      if (this.#fd >= 0) this.#hooks.entering?.(next, this.#fd);
      return true;
    }
    const first = this.#first.get(-next)!;
    this.#first.delete(-next);
    const isWhole = !this.#partial.delete(-next);
    this.#hooks.left?.(-next, first, this.#tree.endId, isWhole);
    return true;
  }

  #note(name: Uint8Array, stat: Float64Array, dirFd: number): void {
    if (!this.#hooks.admits(this.#current, name, stat, dirFd)) return;
    const at = this.#names.length * statSlots;
    if (at >= this.#stats.length) {
      const fresh = new Float64Array(this.#stats.length * 2);
      fresh.set(this.#stats);
      this.#stats = fresh;
    }
    this.#stats.set(stat, at);
    this.#names.push(latin1(name));
  }

  /** The entries of a directory, all known, by the order of their names. */
  #enterAll(directory: number, dirFd: number): void {
    const names = this.#names;
    this.#first.set(directory, this.#tree.endId);
    this.#pending.push(-directory);
    const isSorted = names.every((name, i) => i === 0 || names[i - 1]! < name);
    const order = [...names.keys()];
    if (!isSorted) order.sort((a, b) => (names[a]! < names[b]! ? -1 : 1));
    const subdirectories: number[] = [];
    let former: string | undefined;
    for (const i of order) {
      // Told twice, because the directory changes.
      if (names[i] === former) continue;
      former = names[i];
      const stat = this.#stats.subarray(i * statSlots, (i + 1) * statSlots);
      const node = this.#enter(directory, Buffer.from(names[i]!, "latin1"), stat, dirFd);
      if (this.#tree.isDirectory(node)) subdirectories.push(node);
    }
    while (subdirectories.length > 0) this.#pending.push(subdirectories.pop()!);
    this.#names = [];
    if (this.#stats.length > 65536) this.#stats = new Float64Array(64 * statSlots);
  }

  #enter(parent: number, name: Uint8Array, stat: Float64Array, dirFd: number): number {
    const tree = this.#tree;
    const mode = stat[Stat.mode]!;
    const kind = mode & Mode.typeMask;
    const isRoot = parent === 0;
    const linked = stat[Stat.nlink]! > 1 && kind !== Mode.directory;
    let node = isRoot ? rootId : linked ? tree.byInode(stat[Stat.ino]!, stat[Stat.gen]!) : 0;
    if (node !== 0 && !isRoot) this.#partial.add(parent);
    if (node === 0) node = tree.addNode(mode);
    tree.setMetadata(node, stat);
    if (linked) tree.bindInode(node, stat[Stat.ino]!, stat[Stat.gen]!);
    if (kind === Mode.regular) tree.size[node] = stat[Stat.size]!;
    if (!isRoot) tree.addName(parent, name, node);
    const symlinkTarget = kind === Mode.symlink ? this.#readLink(dirFd, name) : noName;
    if (symlinkTarget.length > 0) tree.symlinkTarget.set(node, symlinkTarget);
    const attributes = stat[Stat.attributeBytes]! > 0 ? this.#readAttributes(dirFd, name) : noName;
    if (attributes.length > 0) tree.attributes.set(node, attributes);
    this.#hooks.entered?.(node, parent, name, stat);
    return node;
  }

  #readLink(dirFd: number, name: Uint8Array): Uint8Array {
    const bytes = this.#files.readlink(dirFd, name, this.#scratch.subarray(0, symlinkBytes));
    return this.#scratch.slice(0, Math.max(bytes, 0));
  }

  #readAttributes(dirFd: number, name: Uint8Array): Uint8Array {
    const bytes = this.#files.getAttributes(dirFd, name, this.#scratch);
    return this.#scratch.slice(0, Math.max(bytes, 0));
  }
}

function latin1(name: Uint8Array): string {
  return Buffer.from(name.buffer, name.byteOffset, name.length).toString("latin1");
}
