/**
 * `FileCopy`: a copy of a regular file with mode, owner, times, extended attributes and holes, in
 * steps of bounded size; without a name until it is whole, so that a crash leaves no half of it.
 *
 * Content is shared by reflink where the filesystem can, else copied within the kernel.
 */
import { Errno, type Files, Mode, Open, Stat, statSlots } from "../world/index.ts";
import { attributesBytesMax } from "../wire/index.ts";
import { applyAttributes } from "./apply-attributes.ts";
import type { Likeness } from "./backup-tree.ts";
import { holdName } from "./hold-name.ts";

/** Bytes of one step. */
export const copyStepBytesMax: number = 16 * 1024 * 1024;
const noName: Uint8Array = new Uint8Array(0);
/** Of copies on filesystems without unnamed files. */
let copyCount = 0;

export class FileCopy {
  readonly #files: Files;
  readonly #fromFd: number;
  readonly #folderFd: number;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly #extent: Float64Array = new Float64Array(2);
  #fd = -1;
  /** In the folder, on a filesystem without unnamed files. */
  #name: Uint8Array | undefined;
  #at = 0;

  /** Takes `fromFd` over and closes it. `folderFd`: a directory of the filesystem to copy to. */
  constructor(files: Files, fromFd: number, folderFd: number) {
    this.#files = files;
    this.#fromFd = fromFd;
    // A descriptor of its own: the other may be closed before the copy is whole.
    this.#folderFd = files.openBeneath(folderFd, Buffer.from("."), Open.read | Open.directory, 0);
    files.fstat(fromFd, this.#stat);
  }

  /** Bytes that the next step may take. */
  get nextBytes(): number {
    return Math.min(copyStepBytesMax, Math.max(0, this.#stat[Stat.size]! - this.#at));
  }

  /**
   * Positive when there is more to copy, 0 at the end, or a negative errno. `like`: what the file
   * was before somebody changed its metadata; as it is now, if absent.
   */
  step(like?: Likeness): number {
    const files = this.#files;
    if (this.#fd < 0) {
      const opened = this.#open();
      if (opened < 0) return opened;
    }
    const size = this.#stat[Stat.size]!;
    // Steps begin at whole blocks, as sharing needs.
    const end = Math.min(size, this.#at + copyStepBytesMax);
    while (this.#at < end) {
      const count = files.dataExtents(this.#fromFd, this.#at, end, this.#extent);
      if (count < 0) return count;
      const [from, to] = [this.#extent[0]!, this.#extent[1]!];
      if (count === 0) {
        this.#at = end;
        break;
      }
      const result = files.cloneRange(this.#fd, this.#fromFd, from, to - from, from);
      if (result < 0) return result;
      this.#at = to;
    }
    if (this.#at < size) return 1;
    return this.#finish(like);
  }

  /** Gives the whole copy its name; a negative errno as link(2) and rename(2) have it. */
  putAt(dirFd: number, name: Uint8Array): number {
    const files = this.#files;
    if (this.#name === undefined) return files.link(this.#fd, noName, dirFd, name);
    const linked = files.link(this.#folderFd, this.#name, dirFd, name);
    if (linked !== -Errno.EPERM && linked !== -Errno.EOPNOTSUPP) return linked;
    const seen = files.statAt(dirFd, name, this.#stat);
    if (seen !== -Errno.ENOENT) return seen < 0 ? seen : -Errno.EEXIST;
    return files.rename(this.#folderFd, this.#name, dirFd, name, 0);
  }

  /** Without a name by now, the copy is gone. */
  close(): void {
    if (this.#fd >= 0) this.#files.close(this.#fd);
    if (this.#name !== undefined) this.#files.unlink(this.#folderFd, this.#name, 0);
    this.#files.close(this.#fromFd);
    if (this.#folderFd >= 0) this.#files.close(this.#folderFd);
    this.#fd = -1;
  }

  #open(): number {
    const files = this.#files;
    let fd = files.openBeneath(this.#folderFd, noName, Open.temporary | Open.readWrite, 0o600);
    if ([-Errno.EOPNOTSUPP, -Errno.EISDIR, -Errno.ENOENT].includes(fd)) {
      this.#name = holdName(copyCount++);
      const create = Open.create | Open.exclusive | Open.readWrite | Open.noFollow;
      fd = files.openBeneath(this.#folderFd, this.#name, create, 0o600);
      if (fd < 0) this.#name = undefined;
    }
    this.#fd = fd;
    return fd;
  }

  #finish(like: Likeness | undefined): number {
    const [files, fd, stat] = [this.#files, this.#fd, this.#stat];
    const { mode, uid, gid, mtimeSec, mtimeNsec } = like ?? {
      mode: stat[Stat.mode]!,
      uid: stat[Stat.uid]!,
      gid: stat[Stat.gid]!,
      mtimeSec: stat[Stat.mtimeSec]!,
      mtimeNsec: stat[Stat.mtimeNsec]!,
    };
    const result = files.ftruncate(fd, stat[Stat.size]!);
    if (result < 0) return result;
    // What may not be set is left: the content is what matters here.
    files.chown(fd, noName, uid, gid);
    const bytes = new Uint8Array(attributesBytesMax);
    const used = files.getAttributes(this.#fromFd, noName, bytes);
    if (used > 0) applyAttributes(files, fd, noName, bytes.subarray(0, used), () => {});
    files.chmod(fd, mode & Mode.permissionMask);
    files.setTimes(fd, noName, mtimeSec, mtimeNsec);
    return 0;
  }
}
