/**
 * `SourceLook`: what the source really has of a node just now, for whoever compares it with the
 * target. Reads only; opens nothing that stays open but what it gives to the caller.
 */
import { type Directories, ESTALE } from "../descriptors/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { type Files, Stat } from "../world/index.ts";
import type { Cutter } from "./cutter.ts";
import type { SourceFiles } from "./source-files.ts";

const noName: Uint8Array = new Uint8Array(0);

export class SourceLook {
  readonly #files: Files;
  readonly #rootFd: number;
  readonly #tree: Tree;
  readonly #directories: Directories;
  readonly #sources: SourceFiles;

  constructor(files: Files, rootFd: number, tree: Tree, cutter: Cutter) {
    this.#files = files;
    this.#rootFd = rootFd;
    this.#tree = tree;
    this.#directories = cutter.directories;
    this.#sources = cutter.sources;
  }

  /** 0 and all slots of the node at its first name, or a negative errno: ESTALE for another one. */
  stat(node: number, out: Float64Array): number {
    const tree = this.#tree;
    const [dirFd, name] = this.#at(node);
    if (dirFd < 0) return dirFd;
    const result = this.#files.statAt(dirFd, name, out);
    if (result < 0) return result;
    const isSame = out[Stat.ino] === tree.ino[node] && out[Stat.gen] === tree.gen[node];
    return isSame || node === rootId ? 0 : -ESTALE;
  }

  /** A descriptor of a regular file, the caller's, or a negative errno. */
  open(node: number): number {
    const { names, firstName } = this.#tree;
    const id = firstName[node]!;
    return id === 0 ? -ESTALE : this.#sources.open(names.parent[id]!, names.bytes(id), node);
  }

  attributes(node: number, out: Uint8Array): number {
    const [dirFd, name] = this.#at(node);
    return dirFd < 0 ? dirFd : this.#files.getAttributes(dirFd, name, out);
  }

  link(node: number, out: Uint8Array): number {
    const [dirFd, name] = this.#at(node);
    return dirFd < 0 ? dirFd : this.#files.readlink(dirFd, name, out);
  }

  #at(node: number): [number, Uint8Array] {
    if (node === rootId) return [this.#rootFd, noName];
    const { names, firstName } = this.#tree;
    const id = firstName[node]!;
    if (id === 0) return [-ESTALE, noName];
    return [this.#directories.get(names.parent[id]!), names.bytes(id)];
  }
}
