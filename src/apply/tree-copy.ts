/**
 * `TreeCopy`: copies a folder into an empty one, with all that a mirror keeps: content and holes,
 * modes, owners, times in nanoseconds, extended attributes (and so ACLs), hard links among
 * themselves, symbolic links, devices, pipes and sockets. In steps, so that the event loop has its
 * turn between them.
 *
 * In: two directories, of which nobody may change the first meanwhile. Out: `step`, and counts.
 * Content is shared by reflink where the filesystem can, else copied: in the kernel within one
 * filesystem, by reading and writing between two. No hard link is made to what is copied: a mirror
 * writes in place, and a link would change with it.
 * A file with several names is linked once into a folder of its own (`linksFd`), and from there to
 * its further names. What is mounted below is an empty folder in the copy.
 * Invariants: no link is followed, nothing outside of the two folders is touched; no recursion.
 * Limits: openLevelCountMax directories open in each tree; pieceBytesMax copied in one step.
 */
import { DirectoryEntries } from "../descriptors/index.ts";
import { Errno, errnoName, type Files, Mode, Open, Stat, statSlots } from "../world/index.ts";
import { attributesBytesMax } from "../wire/index.ts";
import { applyAttributes, dropInheritedAcls } from "./apply-attributes.ts";

/** Bytes that one step copies where they cannot be shared. */
export const pieceBytesMax: number = 4 * 1024 * 1024;
/** Levels of directories that are open at once; those above are opened anew on the way back. */
export const openLevelCountMax = 64;
/** Read and written at once between two filesystems. */
const bufferBytes = 1024 * 1024;
const symlinkBytes = 4096;
const noName: Uint8Array = new Uint8Array(0);
/** Results of a copy within the kernel that reading and writing may do better. */
const copyRefusals: ReadonlySet<number> = new Set([
  -Errno.EXDEV,
  -Errno.EINVAL,
  -Errno.EOPNOTSUPP,
  -Errno.EPERM,
  -Errno.EBADF,
]);

export interface TreeCopyOptions {
  readonly files: Files;
  /** What is copied. */
  readonly fromFd: number;
  /** An empty directory, which becomes the copy. */
  readonly toFd: number;
  /** An empty directory beside it, for files with several names; to be removed afterwards. */
  readonly linksFd: number;
  /** Names in the root that are no part of it. */
  readonly isLeftOut: (name: Uint8Array) => boolean;
  /** Something of one path could not be kept; the rest of it is. */
  readonly problem: (path: string, operation: string, errno: string) => void;
}

interface Entry {
  readonly name: Uint8Array;
  readonly stat: Float64Array;
}

interface Level extends Entry {
  /** -1 while closed. */
  fromFd: number;
  toFd: number;
  isRead: boolean;
  /** Of the batch read last, last first. */
  readonly batch: Entry[];
  readonly pending: Entry[];
}

interface OpenFile extends Entry {
  readonly fromFd: number;
  readonly toFd: number;
  at: number;
}

export class TreeCopy {
  fileCount = 0;
  /** All names, of directories and everything else, but the root. */
  entryCount = 0;
  contentBytes = 0;
  /** Path of what a negative result was about. */
  failedAt = "";
  readonly #of: TreeCopyOptions;
  readonly #entries: DirectoryEntries;
  readonly #levels: Level[] = [];
  readonly #linked: Set<number> = new Set();
  readonly #attributes: Uint8Array = new Uint8Array(attributesBytesMax);
  readonly #extent: Float64Array = new Float64Array(2);
  readonly #mount: number;
  #buffer: Uint8Array | undefined;
  #file: OpenFile | undefined;

  constructor(options: TreeCopyOptions) {
    this.#of = options;
    this.#entries = new DirectoryEntries(options.files);
    const stat = new Float64Array(statSlots);
    options.files.statAt(options.fromFd, noName, stat);
    this.#mount = stat[Stat.mount]!;
    const { files } = options;
    const flags = Open.read | Open.directory;
    const fromFd = files.openBeneath(options.fromFd, Buffer.from("."), flags, 0);
    const toFd = files.openBeneath(options.toFd, Buffer.from("."), flags, 0);
    dropInheritedAcls(files, options.toFd, noName, true);
    this.#push({ name: noName, stat }, fromFd, toFd);
  }

  /** Bytes that the next step may take. */
  get nextBytes(): number {
    return this.#file === undefined ? 0 : pieceBytesMax;
  }

  /** Positive when there is more to do, 0 when the copy is whole, or a negative errno. */
  step(): number {
    const result = this.#file === undefined ? this.#stepTree() : this.#stepFile(this.#file);
    if (result >= 0) return this.#levels.length === 0 ? 0 : 1;
    const { name } = this.#file ?? { name: noName };
    if (this.failedAt === "") this.failedAt = this.#path(name);
    this.close();
    return result;
  }

  /** Lets go of everything; what was copied stays. */
  close(): void {
    this.#closeFile();
    while (this.#levels.length > 0) this.#closeLevel(this.#levels.pop()!);
  }

  #stepTree(): number {
    const level = this.#levels[this.#levels.length - 1]!;
    if (level.fromFd < 0 || level.toFd < 0) return this.#reopen();
    const entry = level.batch.pop();
    if (entry !== undefined) return this.#begin(level, entry);
    if (!level.isRead) return this.#read(level);
    const child = level.pending.pop();
    return child === undefined ? this.#leave(level) : this.#enter(level, child);
  }

  #read(level: Level): number {
    const isRoot = this.#levels.length === 1;
    const used = this.#entries.next(level.fromFd, (name, stat) => {
      if (isRoot && this.#of.isLeftOut(name)) return;
      level.batch.push({ name: name.slice(), stat: stat.slice() });
    });
    level.isRead = used === 0;
    level.batch.reverse();
    return used;
  }

  #begin(level: Level, entry: Entry): number {
    this.entryCount++;
    const { name, stat } = entry;
    const mode = stat[Stat.mode]!;
    const kind = mode & Mode.typeMask;
    if (kind === Mode.directory) {
      level.pending.push(entry);
      return 1;
    }
    const { files } = this.#of;
    const isShared = stat[Stat.nlink]! > 1;
    const key = Buffer.from(String(stat[Stat.ino]));
    if (isShared && this.#linked.has(stat[Stat.ino]!)) {
      return this.#fail(files.link(this.#of.linksFd, key, level.toFd, name), name);
    }
    if (kind === Mode.regular) return this.#open(level, entry);
    const made =
      kind === Mode.symlink
        ? this.#symlink(level, name)
        : files.mknod(level.toFd, name, kind | 0o600, stat[Stat.rdev]!);
    if (made === -Errno.EPERM) {
      this.#problem(name, "mknod", made);
      return 1;
    }
    if (made < 0) return this.#fail(made, name);
    this.#keepAll(level.fromFd, level.toFd, entry);
    return isShared ? this.#shareLater(level, entry) : 1;
  }

  #symlink(level: Level, name: Uint8Array): number {
    const target = new Uint8Array(symlinkBytes);
    const length = this.#of.files.readlink(level.fromFd, name, target);
    if (length < 0) return length;
    return this.#of.files.symlink(level.toFd, name, target.subarray(0, length));
  }

  #open(level: Level, entry: Entry): number {
    const { files } = this.#of;
    const { name } = entry;
    this.fileCount++;
    const flags = Open.read | Open.noFollow | Open.nonBlock;
    const fromFd = files.openBeneath(level.fromFd, name, flags, 0);
    if (fromFd < 0) return this.#fail(fromFd, name);
    const create = Open.create | Open.exclusive | Open.readWrite | Open.noFollow;
    const toFd = files.openBeneath(level.toFd, name, create, 0o600);
    if (toFd < 0) {
      files.close(fromFd);
      return this.#fail(toFd, name);
    }
    this.#file = { ...entry, fromFd, toFd, at: 0 };
    return this.#stepFile(this.#file);
  }

  /** One piece of content; behind the last one the metadata. */
  #stepFile(file: OpenFile): number {
    const { files } = this.#of;
    const size = file.stat[Stat.size]!;
    // Steps begin at whole blocks, as sharing needs.
    const end = Math.min(size, file.at + pieceBytesMax);
    while (file.at < end) {
      const count = files.dataExtents(file.fromFd, file.at, end, this.#extent);
      if (count < 0) return count;
      const [from, to] = count === 0 ? [end, end] : [this.#extent[0]!, this.#extent[1]!];
      if (count > 0) {
        const copied = this.#copyRange(file, from, to);
        if (copied < 0) return copied;
        this.contentBytes += to - from;
      }
      file.at = to;
    }
    if (file.at < size) return 1;
    const sized = files.ftruncate(file.toFd, size);
    if (sized < 0) return sized;
    this.#keepAll(file.fromFd, file.toFd, { ...file, name: noName }, file.name);
    const level = this.#levels[this.#levels.length - 1]!;
    this.#closeFile();
    return file.stat[Stat.nlink]! > 1 ? this.#shareLater(level, file) : 1;
  }

  #copyRange({ fromFd, toFd }: OpenFile, from: number, to: number): number {
    const { files } = this.#of;
    const shared = files.cloneRange(toFd, fromFd, from, to - from, from);
    if (!copyRefusals.has(shared)) return shared;
    const buffer = (this.#buffer ??= new Uint8Array(bufferBytes));
    for (let at = from; at < to;) {
      const read = files.pread(fromFd, buffer, 0, Math.min(bufferBytes, to - at), at);
      if (read <= 0) return read === 0 ? -Errno.ENODATA : read;
      const written = files.pwrite(toFd, buffer, 0, read, at);
      if (written < 0) return written;
      at += read;
    }
    return 0;
  }

  /** Further names of it are linked to what is put aside here. */
  #shareLater(level: Level, { name, stat }: Entry): number {
    const ino = stat[Stat.ino]!;
    const key = Buffer.from(String(ino));
    const linked = this.#of.files.link(level.toFd, name, this.#of.linksFd, key);
    if (linked >= 0) this.#linked.add(ino);
    return this.#fail(linked, name);
  }

  /** Owner, attributes, mode and times, in the order in which none undoes another. */
  #keepAll(fromFd: number, toFd: number, { name, stat }: Entry, shown = name): void {
    const { files } = this.#of;
    const kind = stat[Stat.mode]! & Mode.typeMask;
    const kept = (operation: string, result: number): void => {
      if (result < 0) this.#problem(shown, operation, result);
    };
    kept("chown", files.chown(toFd, name, stat[Stat.uid]!, stat[Stat.gid]!));
    if (stat[Stat.attributeBytes] !== 0) {
      const used = files.getAttributes(fromFd, name, this.#attributes);
      kept("getxattr", used);
      const wanted = this.#attributes.slice(0, Math.max(0, used));
      if (used > 0) applyAttributes(files, toFd, name, wanted, kept);
    }
    const permissions = stat[Stat.mode]! & Mode.permissionMask;
    if (name.length === 0) kept("chmod", files.chmod(toFd, permissions));
    else if (kind !== Mode.symlink) kept("chmod", files.chmodAt(toFd, name, permissions));
    kept("utimens", files.setTimes(toFd, name, stat[Stat.mtimeSec]!, stat[Stat.mtimeNsec]!));
  }

  #enter(level: Level, { name, stat }: Entry): number {
    const { files } = this.#of;
    const made = files.mkdir(level.toFd, name, 0o700);
    if (made < 0) return this.#fail(made, name);
    if (stat[Stat.mount] !== this.#mount) {
      this.#problem(name, "copy what is mounted", -Errno.EXDEV);
      return 1;
    }
    const flags = Open.read | Open.directory | Open.noFollow;
    const fromFd = files.openBeneath(level.fromFd, name, flags, 0);
    const toFd = fromFd < 0 ? -1 : files.openBeneath(level.toFd, name, flags, 0);
    if (toFd < 0) {
      if (fromFd >= 0) files.close(fromFd);
      return this.#fail(Math.min(fromFd, toFd), name);
    }
    this.#push({ name, stat }, fromFd, toFd);
    return 1;
  }

  #push(entry: Entry, fromFd: number, toFd: number): void {
    this.#levels.push({ ...entry, fromFd, toFd, isRead: false, batch: [], pending: [] });
    // The root stays open: every way back begins there.
    const far = this.#levels[this.#levels.length - 1 - openLevelCountMax];
    if (far !== undefined && far !== this.#levels[0]) this.#closeLevel(far);
  }

  #leave(level: Level): number {
    this.#keepAll(level.fromFd, level.toFd, { name: noName, stat: level.stat });
    this.#closeLevel(level);
    this.#levels.pop();
    return 1;
  }

  /** Opens the lowest levels anew, on the way back from further below. */
  #reopen(): number {
    const { files } = this.#of;
    const flags = Open.read | Open.directory | Open.noFollow;
    const first = Math.max(1, this.#levels.length - openLevelCountMax / 2);
    let [fromFd, toFd] = [this.#levels[0]!.fromFd, this.#levels[0]!.toFd];
    for (let at = 1; at < this.#levels.length; at++) {
      const level = this.#levels[at]!;
      const nextFrom = files.openBeneath(fromFd, level.name, flags, 0);
      const nextTo = files.openBeneath(toFd, level.name, flags, 0);
      // Those passed on the way are not kept.
      if (at > 1 && at <= first) for (const fd of [fromFd, toFd]) files.close(fd);
      [level.fromFd, level.toFd] = at >= first ? [nextFrom, nextTo] : [-1, -1];
      [fromFd, toFd] = [nextFrom, nextTo];
      if (nextFrom >= 0 && nextTo >= 0) continue;
      if (at < first) for (const fd of [nextFrom, nextTo]) if (fd >= 0) files.close(fd);
      return Math.min(nextFrom, nextTo);
    }
    return 1;
  }

  #closeLevel(level: Level): void {
    for (const fd of [level.fromFd, level.toFd]) if (fd >= 0) this.#of.files.close(fd);
    level.fromFd = -1;
    level.toFd = -1;
  }

  #closeFile(): void {
    if (this.#file === undefined) return;
    for (const fd of [this.#file.fromFd, this.#file.toFd]) this.#of.files.close(fd);
    this.#file = undefined;
  }

  #fail(result: number, name: Uint8Array): number {
    if (result < 0) this.failedAt = this.#path(name);
    return result < 0 ? result : 1;
  }

  #problem(name: Uint8Array, operation: string, result: number): void {
    this.#of.problem(this.#path(name), operation, errnoName(result));
  }

  #path(name: Uint8Array): string {
    const names = [...this.#levels.slice(1).map((level) => level.name), name];
    return names
      .filter(({ length }) => length > 0)
      .map((each) => Buffer.from(each).toString())
      .join("/");
  }
}
