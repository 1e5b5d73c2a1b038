/**
 * `Discard`: what becomes of something on the target that goes for good: a name that is taken away,
 * a file whose name another gets, content that is changed. `Removal` lets it go; `Backup` keeps it.
 *
 * Results are the kernel's, as those of `Files`: a negative errno is the target's own trouble.
 */
import { type Files, Rename } from "../world/index.ts";
import { holdName, isHoldName } from "./hold-name.ts";
import { removeTree } from "./remove-tree.ts";

/** A name in a directory of the tree, and the descriptor of that directory. */
export interface Spot {
  readonly dirFd: number;
  readonly parent: number;
  readonly name: Uint8Array;
}

export interface Discard {
  /** Takes the name away with all that is below it. `isGone`: its node has no name then. */
  remove(spot: Spot, isGone: boolean): number;
  /** The node is about to wait under its hold name; it still has its own in the tree. */
  detached(node: number): void;
  /** It has a name again. */
  placed(node: number): void;
  /** Takes a node away that waits under its hold name. */
  removeHeld(node: number): number;
  /** The same when the session ends; what cannot be kept then waits where it is. */
  removeHeldAtEnd(node: number): void;
  /** Renames over whatever there is. */
  rename(fromFd: number, fromName: Uint8Array, to: Spot, isFolder?: boolean): number;
  /** A file with a name is opened to be changed; `open` gives a descriptor for reading it. */
  beforeChange(node: number, open: () => number): void;
  /** Mode, owner or, of a directory, time of a node with a name are about to be changed. */
  beforeMetadata(node: number): void;
  /** The node is not what the target had at the beginning, or is gone. */
  forget(node: number): void;
}

export class Removal implements Discard {
  readonly #files: Files;
  readonly #rootFd: number;

  constructor(files: Files, rootFd: number) {
    this.#files = files;
    this.#rootFd = rootFd;
  }

  remove({ dirFd, name }: Spot): number {
    return removeTree(this.#files, this.#rootFd, dirFd, name);
  }

  detached(): void {}

  placed(): void {}

  removeHeld(node: number): number {
    return removeTree(this.#files, this.#rootFd, this.#rootFd, holdName(node));
  }

  removeHeldAtEnd(node: number): void {
    this.removeHeld(node);
  }

  rename(fromFd: number, fromName: Uint8Array, to: Spot, isFolder = false): number {
    const isOwn = fromFd === this.#rootFd && isHoldName(fromName);
    if (isOwn && !isFolder && this.#takePlace(fromName, to)) return 0;
    return this.#files.rename(fromFd, fromName, to.dirFd, to.name, 0);
  }

  /**
   * ext4 writes a file out at once when it is renamed over another (auto_da_alloc in man 5 ext4):
   * they swap names instead, and the other one goes. False, and as it was, when that cannot be.
   */
  #takePlace(holdName: Uint8Array, { dirFd, name }: Spot): boolean {
    const [files, rootFd] = [this.#files, this.#rootFd];
    if (files.rename(rootFd, holdName, dirFd, name, Rename.exchange) < 0) return false;
    if (files.unlink(rootFd, holdName, 0) === 0) return true;
    files.rename(dirFd, name, rootFd, holdName, Rename.exchange);
    return false;
  }

  beforeChange(): void {}

  beforeMetadata(): void {}

  forget(): void {}
}
