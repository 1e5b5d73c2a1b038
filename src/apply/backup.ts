/**
 * `Backup`: keeps what a session deletes or overwrites on the target, below a folder of its own on
 * the same filesystem (`--backup-dir`).
 *
 * A name that goes is renamed there, a whole tree at once. A file whose name another gets is linked
 * there first, so that readers of the target see one or the other at any time. A file whose content
 * is changed before the session is live is copied there first, shared where the filesystem can.
 * A name that is one of several of its file takes nothing with it and is not kept.
 *
 * Invariants: nothing goes before it is kept: what cannot be kept stays, and the session ends with
 * BACKUP_FAILED (a halt), or TARGET_FULL where space lacks. Only of a name with too many versions
 * the further ones go, which is a problem of that path. Writes of a live session cost nothing.
 */
import { SyncError } from "../base/index.ts";
import type { ProblemLog } from "../model/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { type Clock, Errno, type Files, Mode, Rename, Stat, statSlots } from "../world/index.ts";
import {
  backupFailed,
  type BackupPlace,
  BackupTree,
  type Kept,
  type Likeness,
  type Step,
} from "./backup-tree.ts";
import type { Discard, Spot } from "./discard.ts";
import { FileCopy } from "./file-copy.ts";
import { holdName, isHoldName, keepKeyOf } from "./hold-name.ts";
import { removeTree } from "./remove-tree.ts";

/** Names whose further versions are not kept, which are told once. */
export const toldNamesMax = 1000;
/** Nodes whose mode, owner and time are remembered that the session has changed. */
export const likenessCountMax = 65_536;

export interface BackupOptions {
  readonly files: Files;
  readonly rootFd: number;
  readonly tree: Tree;
  readonly problems: ProblemLog;
  readonly clock: Clock;
  readonly place: BackupPlace;
  /** Bytes that a copy may take now. */
  readonly roomBytes: () => number;
  /** Mount points in the target: a folder with one stays where it is. */
  readonly mounts: () => readonly string[];
}

export class Backup implements Discard {
  readonly #options: BackupOptions;
  readonly #kept: BackupTree;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  /** A bit for each node that the target had at the beginning and whose content is still that. */
  #original: Uint8Array = new Uint8Array(0);
  /** What has come between the beginning of the scan and its end. */
  readonly #early: Set<number> = new Set();
  /** Where nodes were that wait under hold names, their own names included. */
  readonly #detached: Map<number, readonly Step[]> = new Map();
  /** Of nodes that the session has changed, before it did. */
  readonly #likenesses: Map<number, Likeness> = new Map();
  readonly #wanted: Set<number> = new Set();
  readonly #told: Set<string> = new Set();
  #copy: { node: number; copy: FileCopy } | undefined;
  #isLive = false;

  constructor(options: BackupOptions) {
    const { files, tree, clock, place } = options;
    this.#options = options;
    this.#kept = new BackupTree(files, clock, place, (node) => {
      if (!tree.isLive(node) || !tree.isDirectory(node)) return undefined;
      return this.#likenesses.get(node) ?? this.#likenessOf(node);
    });
  }

  /** The tree is what the target has; everything from now on is the session's doing. */
  begin(): void {
    const { endId } = this.#options.tree;
    this.#original = new Uint8Array((endId + 7) >>> 3).fill(255);
    for (const node of this.#early) this.forget(node);
    this.#early.clear();
  }

  /** The target equals the source: content is no longer kept before it is changed. */
  goLive(): void {
    if (this.#isLive) return;
    this.#isLive = true;
    this.#original = new Uint8Array(0);
    this.#likenesses.clear();
    this.#wanted.clear();
  }

  close(): void {
    this.#copy?.copy.close();
    this.#copy = undefined;
    this.#kept.close();
  }

  remove(spot: Spot, isGone: boolean): number {
    const { files, rootFd } = this.#options;
    if (!isGone) return removeTree(files, rootFd, spot.dirFd, spot.name);
    const steps = this.#steps(spot.parent);
    if (this.#hasMount(steps, spot.name)) return -Errno.EBUSY;
    return this.#move(spot.dirFd, spot.name, { steps, name: spot.name });
  }

  detached(node: number): void {
    this.#detached.set(node, this.#steps(node));
  }

  placed(node: number): void {
    this.#detached.delete(node);
  }

  removeHeld(node: number): number {
    const steps = this.#detached.get(node);
    this.#detached.delete(node);
    const name = holdName(node);
    const own = steps?.at(-1)?.name ?? name;
    return this.#move(this.#options.rootFd, name, { steps: steps?.slice(0, -1) ?? [], name: own });
  }

  removeHeldAtEnd(node: number): void {
    try {
      this.removeHeld(node);
    } catch (error) {
      // The next scan finds it where it waits.
      if (!(error instanceof SyncError)) throw error;
    }
  }

  /**
   * Takes away what a crash has left in the root under a hold name. It may be something that was
   * only stepping aside, so it is kept; but not what an earlier link had begun to send.
   */
  removeLeftover(name: Uint8Array): number {
    const { files, rootFd } = this.#options;
    if (!isHoldName(name) || keepKeyOf(name) !== undefined) {
      return removeTree(files, rootFd, rootFd, name);
    }
    return this.#move(rootFd, name, { steps: [], name });
  }

  rename(fromFd: number, fromName: Uint8Array, to: Spot): number {
    const { files, tree } = this.#options;
    const { dirFd, parent, name } = to;
    const former = tree.child(parent, name);
    const hasOthers = former !== 0 && tree.names.nextOfNode[tree.firstName[former]!] !== 0;
    if (!hasOthers) {
      const result = this.#renameNew(fromFd, fromName, dirFd, name);
      if (result !== -Errno.EEXIST) return result;
      return this.#replace(fromFd, fromName, to);
    }
    return files.rename(fromFd, fromName, dirFd, name, 0);
  }

  #replace(fromFd: number, fromName: Uint8Array, { dirFd, parent, name }: Spot): number {
    const { files } = this.#options;
    const seen = files.statAt(dirFd, name, this.#stat);
    if (seen < 0) return seen;
    const isFolder = (this.#stat[Stat.mode]! & Mode.typeMask) === Mode.directory;
    // Only an empty folder can be replaced by a rename.
    if (isFolder) return files.rename(fromFd, fromName, dirFd, name, 0);
    let wasMoved = false;
    const kept = this.#keep({ steps: this.#steps(parent), name }, dirFd, name, (toFd, free) => {
      const linked = files.link(dirFd, name, toFd, free);
      // A filesystem without hard links, a file with too many, or one of somebody else.
      if (![-Errno.EPERM, -Errno.EOPNOTSUPP, -Errno.EMLINK].includes(linked)) return linked;
      const moved = this.#renameNew(dirFd, name, toFd, free);
      wasMoved = moved === 0;
      return moved;
    });
    if (typeof kept === "number" && kept < 0) return kept;
    const result = files.rename(fromFd, fromName, dirFd, name, 0);
    if (result < 0 && typeof kept !== "number") {
      if (wasMoved) files.rename(kept.dirFd, kept.name, dirFd, name, Rename.noReplace);
      else files.unlink(kept.dirFd, kept.name, 0);
    }
    return result;
  }

  beforeChange(node: number, open: () => number): void {
    if (this.#isLive || !this.#isOriginal(node)) return;
    while (!this.#copyStep(node, open));
  }

  beforeMetadata(node: number): void {
    if (this.#isLive || this.#likenesses.size >= likenessCountMax) return;
    if (!this.#isOriginal(node) || this.#likenesses.has(node)) return;
    this.#likenesses.set(node, this.#likenessOf(node));
  }

  #likenessOf(node: number): Likeness {
    const { mode, uid, gid, mtimeSec, mtimeNsec } = this.#options.tree;
    return {
      mode: mode[node]!,
      uid: uid[node]!,
      gid: gid[node]!,
      mtimeSec: mtimeSec[node]!,
      mtimeNsec: mtimeNsec[node]!,
    };
  }

  /** The content of this node is about to be changed. */
  note(node: number): void {
    if (!this.#isLive && this.#isOriginal(node)) this.#wanted.add(node);
  }

  /** Copies on what was noted; true when nothing is left. */
  step(open: (node: number) => number): boolean {
    const node = this.#copy?.node ?? this.#wanted.values().next().value;
    if (node === undefined) return true;
    if (this.#copyStep(node, () => open(node))) this.#wanted.delete(node);
    return this.#wanted.size === 0 && this.#copy === undefined;
  }

  forget(node: number): void {
    this.#detached.delete(node);
    this.#forgetContent(node);
  }

  #forgetContent(node: number): void {
    if (this.#isLive) return;
    if (this.#original.length === 0) this.#early.add(node);
    else if (node >>> 3 < this.#original.length) this.#original[node >>> 3]! &= ~(1 << (node & 7));
    this.#likenesses.delete(node);
    this.#wanted.delete(node);
    if (this.#copy?.node === node) this.#dropCopy();
  }

  #isOriginal(node: number): boolean {
    return ((this.#original[node >>> 3] ?? 0) & (1 << (node & 7))) !== 0;
  }

  /** True when the node's content is kept, or there is none that could be. */
  #copyStep(node: number, open: () => number): boolean {
    const { files, tree, roomBytes } = this.#options;
    if (this.#copy !== undefined && this.#copy.node !== node) this.#dropCopy();
    const path = (): string => tree.path(node);
    if (this.#copy === undefined) {
      const fd = open();
      // What is not there, or no file, is the operation's own trouble.
      if (fd === -Errno.EACCES || fd === -Errno.EPERM) throw backupFailed(fd, `keep ${path()}`);
      if (fd < 0) return true;
      this.#copy = { node, copy: new FileCopy(files, fd, this.#kept.folderFd()) };
    }
    const { copy } = this.#copy;
    if (copy.nextBytes > roomBytes()) {
      this.#dropCopy();
      const message = `no space to keep ${path()} in the backup folder before it is changed`;
      throw new SyncError("TARGET_FULL", message);
    }
    const result = copy.step(this.#likenesses.get(node));
    if (result > 0) return false;
    if (result < 0) {
      this.#dropCopy();
      throw backupFailed(result, `copy ${path()} into the backup folder`);
    }
    const steps = this.#steps(node);
    const { name } = steps[steps.length - 1]!;
    const kept = this.#keepAs(
      { steps: steps.slice(0, -1), name },
      (toFd, free) => copy.putAt(toFd, free),
      () => true,
    );
    this.#dropCopy();
    this.#forgetContent(node);
    if (typeof kept === "number" && kept < 0) throw backupFailed(kept, `keep ${path()}`);
    return true;
  }

  #dropCopy(): void {
    this.#copy?.copy.close();
    this.#copy = undefined;
  }

  #move(dirFd: number, name: Uint8Array, as: { steps: readonly Step[]; name: Uint8Array }): number {
    const { files, rootFd } = this.#options;
    const kept = this.#keep(as, dirFd, name, (toFd, free) =>
      this.#renameNew(dirFd, name, toFd, free),
    );
    if (typeof kept !== "number") return 0;
    return kept === 0 ? removeTree(files, rootFd, dirFd, name) : kept;
  }

  /**
   * Keeps what has this name. 0 when it has too many versions there, and is not; a negative errno
   * when it is not on the target, or cannot be moved because something is mounted there.
   */
  #keep(
    as: { steps: readonly Step[]; name: Uint8Array },
    dirFd: number,
    name: Uint8Array,
    put: (dirFd: number, name: Uint8Array) => number,
  ): Kept | number {
    const { files } = this.#options;
    const kept = this.#keepAs(as, put, () => files.statAt(dirFd, name, this.#stat) === 0);
    if (typeof kept !== "number" || kept === 0) return kept;
    if (kept === -Errno.ENOENT || kept === -Errno.EBUSY) return kept;
    throw backupFailed(kept, `keep ${pathOf(as)} in the backup folder`);
  }

  #keepAs(
    as: { steps: readonly Step[]; name: Uint8Array },
    put: (dirFd: number, name: Uint8Array) => number,
    isThere: () => boolean,
  ): Kept | number {
    let kept = this.#kept.keep(as.steps, as.name, put);
    if (kept === -Errno.ENOENT && isThere()) {
      // Somebody has emptied the backup folder meanwhile.
      this.#kept.close();
      kept = this.#kept.keep(as.steps, as.name, put);
    }
    if (kept !== -Errno.EEXIST) return kept;
    const path = pathOf(as);
    if (this.#told.has(path)) return 0;
    if (this.#told.size < toldNamesMax) this.#told.add(path);
    this.#options.problems.add({ side: "target", path, operation: "backup", errno: "EEXIST" });
    return 0;
  }

  /** EEXIST where there is something, also on filesystems that cannot look by themselves. */
  #renameNew(fromFd: number, from: Uint8Array, toFd: number, to: Uint8Array): number {
    const { files } = this.#options;
    const result = files.rename(fromFd, from, toFd, to, Rename.noReplace);
    if (result !== -Errno.EINVAL) return result;
    const seen = files.statAt(toFd, to, this.#stat);
    if (seen !== -Errno.ENOENT) return seen < 0 ? seen : -Errno.EEXIST;
    return files.rename(fromFd, from, toFd, to, 0);
  }

  /** The way to a node from the root, as it was before anything on it stepped aside. */
  #steps(node: number): readonly Step[] {
    const { tree } = this.#options;
    const steps: Step[] = [];
    for (let at = node; at !== rootId;) {
      const id = tree.firstName[at]!;
      if (id === 0) {
        steps.reverse();
        return [...(this.#detached.get(at) ?? [{ name: holdName(at), node: at }]), ...steps];
      }
      steps.push({ name: tree.names.bytes(id).slice(), node: at });
      at = tree.names.parent[id]!;
    }
    return steps.reverse();
  }

  #hasMount(steps: readonly Step[], name: Uint8Array): boolean {
    const mounts = this.#options.mounts();
    if (mounts.length === 0) return false;
    const path = pathOf({ steps, name });
    return mounts.some((mount) => mount === path || mount.startsWith(`${path}/`));
  }
}

function pathOf({ steps, name }: { steps: readonly Step[]; name: Uint8Array }): string {
  const names = [...steps.map((step) => step.name), name];
  return names.map((part) => Buffer.from(part).toString("utf8")).join("/");
}
