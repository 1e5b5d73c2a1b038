/**
 * `Directories`: descriptors of the tree's directories, opened below the root and never outside it.
 *
 * A path longer than PATH_MAX is walked in pieces. Where the tree knows the directory's inode, what
 * was opened is compared with it: a path may meanwhile lead to another directory (ESTALE then).
 */
import { type Files, Open, Stat, statSlots } from "../world/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { DescriptorCache } from "./descriptor-cache.ts";

/** Directory descriptors kept open by one side. */
export const directoryCountMax = 256;
/** Path bytes handed to one open call: below PATH_MAX. */
const pieceBytesMax = 3000;
export const ESTALE = 116;
const noName: Uint8Array = new Uint8Array(0);

export interface DirectoriesOptions {
  /** The name in the root below which a node without a name of its own waits. */
  readonly detachedName?: (node: number) => Uint8Array | undefined;
  /** Closes a descriptor in the end; at once when absent. */
  readonly close?: (fd: number) => void;
}

export class Directories {
  readonly #files: Files;
  readonly #rootFd: number;
  readonly #tree: Tree;
  readonly #cache: DescriptorCache;
  readonly #detachedName: ((node: number) => Uint8Array | undefined) | undefined;
  readonly #stat: Float64Array = new Float64Array(statSlots);

  constructor(files: Files, rootFd: number, tree: Tree, options: DirectoriesOptions = {}) {
    this.#detachedName = options.detachedName;
    this.#files = files;
    this.#rootFd = rootFd;
    this.#tree = tree;
    const open = (node: number): number => this.#open(node);
    this.#cache = new DescriptorCache(files, directoryCountMax, open, options.close);
  }

  /** A descriptor good for *at calls and scanning, or a negative errno. */
  get(node: number): number {
    return node === rootId ? this.#rootFd : this.#cache.get(node);
  }

  /** The descriptor if it is open, else -1. */
  peek(node: number): number {
    return node === rootId ? this.#rootFd : this.#cache.peek(node);
  }

  forget(node: number): void {
    this.#cache.forget(node);
  }

  forgetWhere(test: (node: number) => boolean): void {
    this.#cache.forgetWhere(test);
  }

  clear(): void {
    this.#cache.clear();
  }

  #open(node: number): number {
    const components = this.#tree.pathComponents(node, this.#detachedName);
    if (components === undefined) return -ESTALE;
    let at = this.#rootFd;
    for (let next = 0; next < components.length;) {
      const piece: Uint8Array[] = [];
      let bytes = 0;
      while (next < components.length && bytes < pieceBytesMax) {
        bytes += components[next]!.length + 1;
        piece.push(components[next]!);
        next++;
      }
      const fd = this.#files.openBeneath(at, join(piece, bytes), Open.read | Open.directory, 0);
      if (at !== this.#rootFd) this.#files.close(at);
      if (fd < 0) return fd;
      at = fd;
    }
    return this.#isExpected(node, at) ? at : this.#refuse(at);
  }

  #isExpected(node: number, fd: number): boolean {
    const ino = this.#tree.ino[node]!;
    if (ino === 0) return true;
    return (
      this.#files.statAt(fd, noName, this.#stat) === 0 &&
      this.#stat[Stat.ino] === ino &&
      this.#stat[Stat.gen] === this.#tree.gen[node]
    );
  }

  #refuse(fd: number): number {
    this.#files.close(fd);
    return -ESTALE;
  }
}

function join(piece: readonly Uint8Array[], bytes: number): Uint8Array {
  const path = new Uint8Array(bytes - 1);
  let at = 0;
  for (const component of piece) {
    if (at > 0) path[at++] = 47;
    path.set(component, at);
    at += component.length;
  }
  return path;
}
