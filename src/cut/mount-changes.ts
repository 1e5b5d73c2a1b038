/**
 * `MountChanges`: what filesystems that are mounted and unmounted below the source mean for one
 * target's tree (FollowedMounts in the capture room).
 *
 * In: places that changed. Out: names to look at, in the dirty set. Below a place whose filesystem
 * has departed every node is untied from its inode: if the same one is mounted again its files are
 * found by their names, and compared by size and time.
 * Descriptors of followed filesystems are closed when they have rested, because an open one keeps
 * its filesystem from being unmounted.
 */
import { filesystemOf, type FollowedMounts, type MountChange } from "../capture/index.ts";
import type { Directories } from "../descriptors/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import type { Clock, Timer } from "../world/index.ts";
import { type DirtySet, latin1 } from "./dirty-set.ts";
import type { NameFilter } from "./name-filter.ts";
import type { SourceFiles } from "./source-files.ts";

/** Descriptors of followed filesystems stay open for so long at most, while there is a rest. */
export const followedRestMs = 500;

export class MountChanges {
  readonly #tree: Tree;
  readonly #dirty: DirtySet;
  readonly #filter: NameFilter;
  readonly #directories: Directories;
  readonly #sources: SourceFiles;
  readonly #clock: Clock;
  readonly #followed: FollowedMounts;
  readonly #unlisten: () => void;
  /** Folders that have moved, perhaps with mount points below, by their former paths. */
  readonly #moved: Map<number, string> = new Map();
  readonly #isAtRest: () => boolean;
  #timer: Timer | undefined;

  constructor(options: {
    tree: Tree;
    dirty: DirtySet;
    filter: NameFilter;
    directories: Directories;
    sources: SourceFiles;
    clock: Clock;
    followed: FollowedMounts;
    /** Nothing is being read. */
    isAtRest: () => boolean;
  }) {
    this.#isAtRest = options.isAtRest;
    this.#tree = options.tree;
    this.#dirty = options.dirty;
    this.#filter = options.filter;
    this.#directories = options.directories;
    this.#sources = options.sources;
    this.#clock = options.clock;
    this.#followed = options.followed;
    this.#unlisten = options.followed.listen((change) => this.#apply(change));
  }

  close(): void {
    this.#unlisten();
    this.#timer?.cancel();
  }

  /** The folder is about to lose this name to another one. */
  moving(node: number, parent: number, name: Uint8Array): void {
    if (this.#followed.isEmpty && !this.#followed.hasGone) return;
    if (!this.#tree.isDirectory(node) || this.#moved.has(node)) return;
    this.#moved.set(node, this.#path(parent) + latin1(name));
  }

  /** Folders that were moving have their new names. To be called before names are judged. */
  settle(): void {
    if (this.#moved.size === 0) return;
    for (const [node, from] of this.#moved) {
      if (this.#tree.isLive(node)) this.#followed.moved(from, this.#path(node).slice(0, -1));
    }
    this.#moved.clear();
  }

  /**
   * A change by path could not be found: looks at all filesystems that do not tell of such changes
   * themselves. False when the root's is one of them, and everything has to be looked at.
   */
  scanUnheard(): boolean {
    const places = this.#followed.unheardPlaces;
    for (const place of places ?? []) {
      const [parent, name] = this.#find(place);
      const node = parent === 0 ? 0 : this.#tree.child(parent, name);
      if (node === 0 || !this.#tree.isDirectory(node)) continue;
      this.#dirty.addScan(node, true, 0);
      this.#dirty.addMetadata(node);
    }
    return places !== undefined;
  }

  /** To be called when no task is left. */
  rest(): void {
    this.settle();
    if (this.#followed.isEmpty) return;
    this.#timer ??= this.#clock.after(followedRestMs, () => this.#closeFollowed());
  }

  #closeFollowed(): void {
    this.#timer = undefined;
    if (!this.#isAtRest()) return this.rest();
    const isFollowed = (node: number): boolean => filesystemOf(this.#tree.ino[node]!) !== 0;
    this.#sources.forgetWhere(isFollowed);
    this.#directories.forgetWhere(isFollowed);
  }

  #apply({ departed, changed }: MountChange): void {
    // The tree is just being taken, from what was surveyed before: names are not known yet.
    if (this.#dirty.isHolding) this.#dirty.rescan = true;
    for (const place of departed) {
      const [parent, name] = this.#find(place);
      const id = parent === 0 ? 0 : this.#tree.names.find(parent, name);
      if (id !== 0) this.#filter.hide(id, true);
    }
    for (const place of changed) {
      const [parent, name] = this.#find(place);
      if (parent !== 0) this.#dirty.addName(parent, name, 0);
    }
  }

  /** The folder that a place is in, or 0 when the tree has none, and the name. */
  #find(place: string): [number, Uint8Array] {
    const names = place.split("/").map((name) => Buffer.from(name, "latin1"));
    const last = names.pop()!;
    let node = rootId;
    for (const name of names) {
      node = this.#tree.child(node, name);
      if (node === 0 || !this.#tree.isDirectory(node)) return [0, last];
    }
    return [node, last];
  }

  /** With a slash at its end; empty for the root. */
  #path(node: number): string {
    const names = this.#tree.pathComponents(node) ?? [];
    return names.map((name) => `${latin1(name)}/`).join("");
  }
}
