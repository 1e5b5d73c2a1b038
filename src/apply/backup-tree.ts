/**
 * `BackupTree`: the folder of one session's backups, and the directories in it: made as they are
 * needed, with mode, owner and times of the directories that they stand for, and left with those
 * times when something is put into them.
 *
 * In: a path of the target as steps from the root, and a call that puts something under a name of
 * the directory there. Out: the name that it got: its own, or with `.1`, `.2`, … behind it.
 * Invariants: every directory is opened below the descriptor of the backup folder, by single names
 * and through no link; nothing that is there already is replaced.
 *
 * A folder is named by the time of the first thing in it, and used for a day: then what is in it is
 * as old as it says, also in a session of months.
 */
import { SyncError } from "../base/index.ts";
import { rootId } from "../tree/index.ts";
import {
  type Clock,
  Errno,
  errnoName,
  type Files,
  Mode,
  Open,
  Stat,
  statSlots,
} from "../world/index.ts";
import { folderName } from "./backup-folder.ts";

/** Versions of one name in one folder, besides the first. */
export const versionCountMax = 100;
/** NAME_MAX, man 7 path_resolution. */
const nameBytes = 255;
/** How long one folder is used. */
export const folderMsMax = 86_400_000;

const noName: Uint8Array = new Uint8Array(0);

/** Where backups go. */
export interface BackupPlace {
  /** Descriptor of the folder; whoever opened it closes it, after the session. */
  readonly dirFd: number;
  /** For messages. */
  readonly path: string;
  /** Below a session's folder: where the target is in its share. */
  readonly below: readonly Uint8Array[];
}

/** One directory of a path of the target. */
export interface Step {
  readonly name: Uint8Array;
  readonly node: number;
}

/** What a file or directory of the target was like. */
export interface Likeness {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
}

/** Something that was put into the backup. */
export interface Kept {
  readonly dirFd: number;
  readonly name: Uint8Array;
}

interface Opened {
  readonly key: string;
  readonly fd: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
}

export class BackupTree {
  readonly #files: Files;
  readonly #likenessOf: (node: number) => Likeness | undefined;
  readonly #clock: Clock;
  readonly #place: BackupPlace;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  #folderFd = -1;
  #folderMs = 0;
  /** What goes together is mostly in one directory. */
  #last: Opened | undefined;

  /** `likenessOf`: of a directory that is still one. */
  constructor(
    files: Files,
    clock: Clock,
    place: BackupPlace,
    likenessOf: (node: number) => Likeness | undefined,
  ) {
    this.#files = files;
    this.#likenessOf = likenessOf;
    this.#clock = clock;
    this.#place = place;
  }

  close(): void {
    if (this.#last !== undefined) this.#files.close(this.#last.fd);
    if (this.#folderFd >= 0) this.#files.close(this.#folderFd);
    this.#last = undefined;
    this.#folderFd = -1;
  }

  /**
   * Calls `put` with a directory and a free name in it. Gives that name, or what `put` refused: a
   * negative errno; EEXIST when the name has too many versions. Throws BACKUP_FAILED, TARGET_FULL.
   */
  keep(
    steps: readonly Step[],
    name: Uint8Array,
    put: (dirFd: number, name: Uint8Array) => number,
  ): Kept | number {
    const at = this.#directory(steps);
    const kept = this.#putFree(at.fd, name, put);
    this.#files.setTimes(at.fd, noName, at.mtimeSec, at.mtimeNsec);
    return kept;
  }

  /** A descriptor of the session's folder. */
  folderFd(): number {
    const nowMs = this.#clock.wallMs();
    if (this.#folderFd >= 0 && nowMs - this.#folderMs < folderMsMax) return this.#folderFd;
    this.close();
    const names = [Buffer.from(folderName(nowMs)), ...this.#place.below];
    let fd = this.#place.dirFd;
    for (const name of names) {
      const next = this.#enter(fd, { name, node: rootId });
      if (fd !== this.#place.dirFd) this.#files.close(fd);
      fd = next;
    }
    this.#folderFd = fd;
    this.#folderMs = nowMs;
    return fd;
  }

  #putFree(
    dirFd: number,
    name: Uint8Array,
    put: (dirFd: number, name: Uint8Array) => number,
  ): Kept | number {
    let result = put(dirFd, name);
    if (result >= 0) return { dirFd, name };
    if (result !== -Errno.EEXIST) return result;
    for (let n = this.#firstFree(dirFd, name); n <= versionCountMax; n++) {
      const version = versionName(name, n);
      result = put(dirFd, version);
      if (result >= 0) return { dirFd, name: version };
      if (result !== -Errno.EEXIST) return result;
    }
    return -Errno.EEXIST;
  }

  /** Versions are given in order, so that the first free one is found by halving. */
  #firstFree(dirFd: number, name: Uint8Array): number {
    let [low, high] = [1, versionCountMax + 1];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const result = this.#files.statAt(dirFd, versionName(name, middle), this.#stat);
      if (result === -Errno.ENOENT) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #directory(steps: readonly Step[]): Opened {
    const key = steps.map(({ name }) => Buffer.from(name).toString("latin1")).join("/");
    const folderFd = this.folderFd();
    if (this.#last?.key === key) return this.#last;
    if (this.#last !== undefined) this.#files.close(this.#last.fd);
    this.#last = undefined;
    // A descriptor of its own, also of the folder itself.
    let fd = this.#check(
      this.#files.openBeneath(folderFd, Buffer.from("."), Open.read | Open.directory, 0),
      "open the folder of the session",
    );
    for (const step of steps) {
      let next: number;
      try {
        next = this.#enter(fd, step);
      } finally {
        this.#files.close(fd);
      }
      fd = next;
    }
    this.#files.fstat(fd, this.#stat);
    const [mtimeSec, mtimeNsec] = [this.#stat[Stat.mtimeSec]!, this.#stat[Stat.mtimeNsec]!];
    this.#last = { key, fd, mtimeSec, mtimeNsec };
    return this.#last;
  }

  /** The directory of this name, or of a version of it where the name is no directory. */
  #enter(parentFd: number, { name, node }: Step): number {
    const flags = Open.read | Open.directory | Open.noFollow;
    for (let n = 0; n <= versionCountMax; n++) {
      const version = n === 0 ? name : versionName(name, n);
      const fd = this.#files.openBeneath(parentFd, version, flags, 0);
      if (fd >= 0) return fd;
      if (fd === -Errno.ENOENT) return this.#make(parentFd, version, node);
      if (fd !== -Errno.ENOTDIR && fd !== -Errno.ELOOP) this.#check(fd, `open ${text(version)}`);
    }
    return this.#check(-Errno.EEXIST, `make ${text(name)}`);
  }

  #make(parentFd: number, name: Uint8Array, node: number): number {
    const files = this.#files;
    const isOurs = parentFd !== this.#place.dirFd;
    if (isOurs) files.fstat(parentFd, this.#stat);
    const [sec, nsec] = [this.#stat[Stat.mtimeSec]!, this.#stat[Stat.mtimeNsec]!];
    this.#check(files.mkdir(parentFd, name, 0o700), `make ${text(name)}`);
    if (isOurs) files.setTimes(parentFd, noName, sec, nsec);
    const flags = Open.read | Open.directory | Open.noFollow;
    const fd = this.#check(files.openBeneath(parentFd, name, flags, 0), `open ${text(name)}`);
    const like = this.#likenessOf(node);
    if (like === undefined) return fd;
    // What may not be set is left: the content is what matters here.
    files.chown(fd, noName, like.uid, like.gid);
    files.chmod(fd, like.mode & Mode.permissionMask);
    files.setTimes(fd, noName, like.mtimeSec, like.mtimeNsec);
    return fd;
  }

  #check(result: number, what: string): number {
    if (result >= 0) return result;
    throw backupFailed(result, `${what} in the backup folder ${this.#place.path}`);
  }
}

/** Too little space is told as on the target itself: it goes on by itself when there is some. */
export function backupFailed(result: number, what: string): SyncError {
  const isFull = result === -Errno.ENOSPC || result === -Errno.EDQUOT;
  return new SyncError(isFull ? "TARGET_FULL" : "BACKUP_FAILED", `${what}: ${errnoName(result)}`);
}

function versionName(name: Uint8Array, n: number): Uint8Array {
  const suffix = Buffer.from(`.${n}`);
  return Buffer.concat([name.subarray(0, nameBytes - suffix.length), suffix]);
}

function text(name: Uint8Array): string {
  return Buffer.from(name).toString("utf8");
}
