/**
 * `NameLook`: what a name of the source is now, for the planner: statx below the directory's
 * descriptor. Names that the target keeps for itself, other filesystems, and what is ignored are
 * left as they are.
 */
import type { Directories } from "../descriptors/index.ts";
import { filesystemOf, type FollowedMounts } from "../capture/index.ts";
import type { MountLog, ProblemLog } from "../model/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { Errno, errnoName, type Files, Stat, statSlots } from "../world/index.ts";
import { isHoldName } from "../wire/index.ts";
import type { NameFilter } from "./name-filter.ts";
import type { Slot } from "./slot.ts";

export class NameLook {
  readonly #files: Files;
  readonly #tree: Tree;
  readonly #directories: Directories;
  readonly #problems: ProblemLog;
  readonly #filter: NameFilter;
  readonly #mount: number;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly #mounts: MountLog | undefined;
  readonly #followed: FollowedMounts | undefined;

  constructor(options: {
    files: Files;
    rootFd: number;
    tree: Tree;
    directories: Directories;
    problems: ProblemLog;
    mounts?: MountLog;
    followed?: FollowedMounts;
    filter: NameFilter;
  }) {
    this.#files = options.files;
    this.#tree = options.tree;
    this.#directories = options.directories;
    this.#problems = options.problems;
    this.#mounts = options.mounts;
    this.#followed = options.followed;
    this.#filter = options.filter;
    this.#files.statAt(options.rootFd, new Uint8Array(0), this.#stat);
    this.#mount = this.#stat[Stat.mount]!;
  }

  /**
   * What has this name now; undefined when it must be left as it is: other mount, unreadable,
   * ignored, or a directory that is not where it was.
   */
  observe(parent: number, name: Uint8Array): Slot | undefined {
    if (!this.#tree.isLive(parent) || this.isReserved(parent, name)) return undefined;
    const dirFd = this.#directories.get(parent);
    // The directory itself has moved or gone. That is told of the directory; its names stay.
    if (dirFd < 0) return undefined;
    const result = this.#files.statAt(dirFd, name, this.#stat);
    if (result < 0 && result !== -Errno.ENOENT && result !== -Errno.ENOTDIR) {
      this.#problem(this.#tree.path(parent), "stat", errnoName(result));
      return undefined;
    }
    const stat = result === 0 ? this.#stat : undefined;
    this.checkMountPoint(this.#tree.names.find(parent, name), parent, stat);
    const verdict = this.#filter.isActive ? this.#filter.judge(parent, name, stat) : "see";
    if (verdict === "leave") return undefined;
    if (stat !== undefined) {
      const isOurs =
        verdict === "see" ? this.isOurs(stat, parent, name) : stat[Stat.mount] === this.#mount;
      if (!isOurs) return undefined;
    }
    return { parent, name, stat: verdict === "see" ? stat?.slice() : undefined };
  }

  /** A name that the target keeps for itself. It is told as a problem and not mirrored. */
  isReserved(parent: number, name: Uint8Array): boolean {
    if (parent !== rootId || !isHoldName(name)) return false;
    this.#problem(Buffer.from(name).toString("utf8"), "mirror a reserved name", "EPERM");
    return true;
  }

  /**
   * Whether the entry is on the root's filesystem or on one that is followed; what is not is left
   * out, and told.
   */
  isOurs(stat: Float64Array, parent: number, name: Uint8Array): boolean {
    const followed = this.#followed;
    if (followed === undefined && stat[Stat.mount] === this.#mount) return true;
    if (followed?.admits(stat) === true) return true;
    this.#mounts?.add(this.#tree.childPath(parent, name), followed?.reasonOf(stat));
    return false;
  }

  /**
   * Where something is mounted that is followed, and is not seen now: before that is taken for a
   * deletion, those who keep the list of mounts look, and it is ignored from now on (RuleFiles).
   */
  checkMountPoint(id: number, parent: number, stat: Float64Array | undefined): void {
    if (this.#followed === undefined || id === 0) return;
    const { ino, names } = this.#tree;
    const own = filesystemOf(ino[names.node[id]!]!);
    if (own === 0 || own === filesystemOf(ino[parent]!)) return;
    if (stat === undefined || filesystemOf(stat[Stat.ino]!) !== own) this.#followed.refresh();
  }

  #problem(path: string, operation: string, errno: string): void {
    this.#problems.add({ side: "source", path, operation, errno });
  }
}
