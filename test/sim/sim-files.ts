/**
 * `Files` on a `SimDisk`, for one simulated process: its descriptors, its umask, its errors.
 *
 * Each call first asks `before`, which may let others change the disk, inject an errno or throw
 * because the process has been killed. Results are those of the addon (native/addon/fs.c) on ext4
 * as root; sim-files.test.ts compares the two call by call. The process is root: permissions are
 * not looked at. What is changed is told to `tell` as the kernel would: after it was done.
 */
import {
  Delta,
  Errno,
  Fallocate,
  type Files,
  Mode,
  scanEntryFixedBytes,
  Stat,
  statSlots,
} from "../../src/world/index.ts";
import { pageBytes } from "./content.ts";
import type { Inode } from "./sim-disk.ts";
import { listBytes, NameCalls } from "./sim-names.ts";
import { type Descriptor, nameBytesMax, type SimFilesOptions, SimTable } from "./sim-table.ts";

const magicExt4 = 0xef53;
/** Not in `Errno`, because the engine never asks for it. */
const ESPIPE = 29;
const noBytes = new Uint8Array(0);

/** The calls of one process; `files` is what it is given. */
export class SimProcess {
  readonly files: Files;
  readonly #options: SimFilesOptions;
  readonly #table: SimTable;
  readonly #names: NameCalls;

  constructor(options: SimFilesOptions) {
    this.#options = options;
    this.#table = new SimTable(options);
    this.#names = new NameCalls(this.#table);
    this.files = this.#wrapped();
  }

  /** The kernel closes what the process had open. */
  kill(): void {
    this.#table.closeAll();
  }

  get openCount(): number {
    return this.#table.size;
  }

  inodeOf(fd: number): Inode | undefined {
    return this.#table.get(fd)?.inode;
  }

  #wrapped(): Files {
    const { before, after } = this.#options;
    const calls = this.#calls();
    if (before === undefined && after === undefined) return calls;
    const wrapped: Record<string, unknown> = {};
    for (const [name, own] of Object.entries(calls)) {
      const call = own as (...args: readonly unknown[]) => number;
      wrapped[name] = (...args: readonly unknown[]): number => {
        const injected = before?.(name as keyof Files, args);
        const result = injected ?? call(...args);
        after?.(name as keyof Files, args, result);
        return result;
      };
    }
    return wrapped as unknown as Files;
  }

  #calls(): Files {
    return {
      openPath: (path, flags) => this.#names.openPath(path, flags),
      openBeneath: (dirfd, path, flags, mode) => this.#names.openBeneath(dirfd, path, flags, mode),
      close: (fd) => this.#table.close(fd),
      statAt: (dirfd, name, out) => this.#stat(dirfd, name, out, "all"),
      identifyAt: (dirfd, name, out) => this.#stat(dirfd, name, out, "identity"),
      fstat: (fd, out) => this.#stat(fd, noBytes, out, "brief"),
      statfs: (fd, out) => this.#statfs(fd, out),
      scanDirectory: (dirfd, out, brief) => this.#scan(dirfd, out, brief === 1),
      pread: (fd, into, offset, length, position) =>
        this.#pread(fd, into, offset, length, position),
      pwrite: (fd, from, offset, length, position) =>
        this.#pwrite(fd, from.subarray(offset, offset + length), position),
      dataExtents: (fd, from, to, out) => this.#dataExtents(fd, from, to, out),
      ftruncate: (fd, size) => this.#ftruncate(fd, size),
      fallocate: (fd, mode, position, length) => this.#fallocate(fd, mode, position, length),
      cloneRange: (toFd, fromFd, fromPosition, length, toPosition) =>
        this.#cloneRange(toFd, fromFd, fromPosition, length, toPosition),
      fsync: (fd) => this.#fsync(fd),
      syncFilesystem: (fd) => this.#syncFilesystem(fd),
      mapFile: () => undefined,
      storeMapped: () => false,
      unmapFile: () => {},
      cleanPages: (fd, position, length) => this.#cleanPages(fd, position, length),
      dirtyPages: (fd, position, length) => this.#dirtyPages(fd, position, length),
      setTimes: (dirfd, name, sec, nsec) => this.#names.setTimes(dirfd, name, sec, nsec),
      chown: (dirfd, name, uid, gid) => this.#names.chown(dirfd, name, uid, gid),
      chmod: (fd, mode) => this.#names.chmod(this.#table.usable(fd), mode),
      chmodAt: (dirfd, name, mode) => this.#names.chmodAt(dirfd, name, mode),
      mkdir: (dirfd, name, mode) => this.#names.mkdir(dirfd, name, mode),
      mknod: (dirfd, name, mode, rdev) => this.#names.mknod(dirfd, name, mode, rdev),
      symlink: (dirfd, name, target) => this.#names.symlink(dirfd, name, target),
      link: (fromFd, fromName, toFd, toName) => this.#names.link(fromFd, fromName, toFd, toName),
      unlink: (dirfd, name, directory) => this.#names.unlink(dirfd, name, directory === 1),
      rename: (fromFd, fromName, toFd, toName, flags) =>
        this.#names.rename(fromFd, fromName, toFd, toName, flags),
      readlink: (dirfd, name, out) => this.#readlink(dirfd, name, out),
      getAttributes: (dirfd, name, out) => this.#names.getAttributes(dirfd, name, out),
      setAttribute: (dirfd, name, attribute, value) =>
        this.#names.setAttribute(dirfd, name, attribute, value),
      removeAttribute: (dirfd, name, attribute) =>
        this.#names.setAttribute(dirfd, name, attribute, undefined),
      deltaSums: (...args) => this.#deltaSums(...args),
      deltaIndex: (...args) => this.#scratch.files.deltaIndex(...args),
      deltaSearch: (...args) => this.#deltaSearch(...args),
      lockFile: (fd) => this.#lockFile(fd),
      umask: (mask) => {
        const before = this.#table.umask;
        this.#table.umask = mask & 0o777;
        return before;
      },
    };
  }

  // --- reading ----------------------------------------------------------------------------------

  #stat(
    fd: number,
    name: Uint8Array,
    out: Float64Array,
    how: "all" | "identity" | "brief",
  ): number {
    const inode = this.#table.find(fd, name);
    if (typeof inode === "number") return inode;
    this.#fill(inode, out, how);
    return 0;
  }

  #fill(inode: Inode, out: Float64Array, how: "all" | "identity" | "brief"): void {
    inode.isQueried = true;
    out[Stat.ino] = inode.ino;
    out[Stat.gen] = how === "brief" ? 0 : inode.gen;
    out[Stat.mode] = inode.mode;
    out[Stat.nlink] = inode.nlink;
    out[Stat.uid] = inode.uid;
    out[Stat.gid] = inode.gid;
    out[Stat.rdev] = inode.rdev;
    out[Stat.size] = inode.size;
    out[Stat.mtimeSec] = inode.mtimeSec;
    out[Stat.mtimeNsec] = inode.mtimeNsec;
    out[Stat.ctimeSec] = inode.ctimeSec;
    out[Stat.ctimeNsec] = inode.ctimeNsec;
    out[Stat.blocks] = inode.blocks;
    out[Stat.dev] = this.#table.disk.device;
    out[Stat.attributeBytes] = how === "all" ? listBytes(inode) : -1;
    out[Stat.mount] = this.#table.disk.device;
  }

  #statfs(fd: number, out: Float64Array): number {
    if (this.#table.get(fd) === undefined) return -Errno.EBADF;
    const { pageCountMax, usedPages, device } = this.#table.disk;
    const free = Math.max(0, pageCountMax - usedPages);
    out.set([magicExt4, pageBytes, pageCountMax, free, free, nameBytesMax, device, 0]);
    return 0;
  }

  #scan(dirfd: number, out: Uint8Array, isBrief: boolean): number {
    const found = this.#table.get(dirfd);
    if (found === undefined || found.isPath) return -Errno.EBADF;
    const { inode } = found;
    if (!inode.isDirectory) return -Errno.ENOTDIR;
    if (inode.nlink === 0) return -Errno.ENOENT;
    const stat = new Float64Array(statSlots);
    const view = new DataView(out.buffer, out.byteOffset, out.length);
    let used = 0;
    for (const entry of inode.sorted()) {
      if (entry.cookie < found.position) continue;
      this.#fill(entry.inode, stat, isBrief ? "brief" : "all");
      for (let slot = 0; slot < statSlots; slot++) {
        view.setFloat64(used + slot * 8, stat[slot]!, true);
      }
      view.setUint16(used + statSlots * 8, entry.name.length, true);
      out.set(entry.name, used + scanEntryFixedBytes);
      used += (scanEntryFixedBytes + entry.name.length + 7) & ~7;
      found.position = entry.cookie + 1;
      if (out.length - used < statSlots * 8 + 2 + 256 + 8) break;
    }
    return used;
  }

  #pread(fd: number, into: Uint8Array, offset: number, length: number, position: number): number {
    if (offset + length > into.length) return -Errno.EINVAL;
    if (length === 0) return 0;
    const found = this.#table.get(fd);
    if (isPipe(found)) return -ESPIPE;
    if (found === undefined || !found.reads) return -Errno.EBADF;
    if (found.inode.isDirectory) return -Errno.EISDIR;
    return found.inode.content?.read(into, offset, length, position) ?? -Errno.EINVAL;
  }

  #dataExtents(fd: number, from: number, to: number, out: Float64Array): number {
    const inode = this.#table.usable(fd);
    if (typeof inode === "number") return from < to ? inode : 0;
    return inode.content?.extents(from, to, out) ?? 0;
  }

  #readlink(dirfd: number, name: Uint8Array, out: Uint8Array): number {
    if (out.length === 0) return -Errno.EINVAL;
    const inode = this.#table.find(dirfd, name);
    if (typeof inode === "number") return inode;
    if (inode.type !== Mode.symlink) return name.length === 0 ? -Errno.ENOENT : -Errno.EINVAL;
    const count = Math.min(out.length, inode.target.length);
    out.set(inode.target.subarray(0, count));
    return count;
  }

  // --- content ----------------------------------------------------------------------------------

  #pwrite(fd: number, bytes: Uint8Array, position: number): number {
    if (bytes.length === 0) return 0;
    const found = this.#table.get(fd);
    if (isPipe(found)) return -ESPIPE;
    if (found === undefined || !found.writes) return -Errno.EBADF;
    const { inode } = found;
    const content = inode.content;
    if (content === undefined) return -Errno.EINVAL;
    if (!this.#table.disk.hasRoomFor(content.missingPages(position, bytes.length)))
      return -Errno.ENOSPC;
    this.#resizing(inode);
    content.write(bytes, position);
    this.#table.disk.touch(inode);
    this.#tellWritten(inode, position, bytes.length);
    return bytes.length;
  }

  #tellWritten(inode: Inode, from: number, length: number): void {
    const { tell } = this.#table;
    tell?.written(inode.ino, inode.gen, from, from + length, this.#table.nowUs(), false, false);
  }

  /** Appends as O_APPEND does; for the simulated application. The position, or an errno. */
  append(fd: number, bytes: Uint8Array): number {
    const inode = this.#table.get(fd)?.inode;
    if (inode?.content === undefined) return -Errno.EBADF;
    return this.#pwrite(fd, bytes, inode.content.size);
  }

  /** A store through a shared mapping, which the kernel tells of when the page was clean. */
  store(fd: number, bytes: Uint8Array, position: number): number {
    const inode = this.#table.get(fd)?.inode;
    const content = inode?.content;
    if (content === undefined) return -Errno.EBADF;
    const length = Math.min(bytes.length, Math.max(0, content.size - position));
    if (!this.#table.disk.hasRoomFor(content.missingPages(position, length))) return -Errno.ENOSPC;
    const first = Math.floor(position / pageBytes);
    const last = Math.floor((position + length - 1) / pageBytes);
    if (length === 0) return 0;
    const clean: number[] = [];
    for (let page = first; page <= last; page++) {
      if (!content.dirty.has(page)) clean.push(page);
      // The fault that lets the mapping write sets the times.
      if (content.enabled.has(page)) continue;
      content.enabled.add(page);
      this.#table.disk.touch(inode!);
    }
    content.write(bytes.subarray(0, length), position);
    for (const page of clean) {
      const from = page * pageBytes;
      this.#table.tell?.stored(inode!.ino, inode!.gen, from, from + pageBytes);
    }
    return length;
  }

  /** Makes a writable shared mapping. */
  map(fd: number): void {
    const inode = this.#table.get(fd)?.inode;
    if (inode === undefined) return;
    inode.content?.enabled.clear();
    this.#table.tell?.mapped(inode.ino, inode.gen);
  }

  #resizing(inode: Inode): void {
    const content = inode.content!;
    const before = content.size;
    this.#table.disk.note(() => {
      if (content.size > before) content.truncate(before);
    });
  }

  #ftruncate(fd: number, size: number): number {
    const found = this.#table.get(fd);
    if (found === undefined || found.isPath) return -Errno.EBADF;
    if (!found.writes || size < 0 || found.inode.content === undefined) return -Errno.EINVAL;
    this.#table.cutOff(found.inode, size);
    return 0;
  }

  #fallocate(fd: number, mode: number, position: number, length: number): number {
    const found = this.#table.get(fd);
    if (found === undefined || found.isPath) return -Errno.EBADF;
    if (position < 0 || length <= 0) return -Errno.EINVAL;
    const isPunch = mode === (Fallocate.punchHole | Fallocate.keepSize);
    const keeps = (mode & Fallocate.keepSize) !== 0;
    const isZero = (mode & ~Fallocate.keepSize) === Fallocate.zeroRange;
    if (!isPunch && !isZero && (mode & ~Fallocate.keepSize) !== 0) return -Errno.EOPNOTSUPP;
    if (!found.writes) return -Errno.EBADF;
    const { inode } = found;
    if (isPipe(found)) return -ESPIPE;
    const content = inode.content;
    if (content === undefined) return -Errno.ENODEV;
    if (!isPunch && !this.#table.disk.hasRoomFor(content.missingPages(position, length))) {
      return -Errno.ENOSPC;
    }
    this.#table.disk.note(content.save());
    if (isPunch || isZero) content.punch(position, length);
    if (!isPunch) {
      content.reserve(position, length);
      if (!keeps && position + length > content.size) content.truncate(position + length);
    }
    this.#table.disk.touch(inode);
    const { tell } = this.#table;
    if (mode === Fallocate.keepSize) tell?.attributes(inode.ino, inode.gen);
    else this.#tellWritten(inode, position, length);
    return 0;
  }

  #cloneRange(
    toFd: number,
    fromFd: number,
    fromPosition: number,
    length: number,
    toPosition: number,
  ): number {
    const to = this.#table.get(toFd);
    const from = this.#table.get(fromFd);
    if (to === undefined || from === undefined || to.isPath || from.isPath) {
      return length === 0 ? 0 : -Errno.EBADF;
    }
    if (length === 0) return 0;
    if (from.inode.isDirectory || to.inode.isDirectory) return -Errno.EISDIR;
    if (from.inode.content === undefined || to.inode.content === undefined) return -Errno.EINVAL;
    if (!to.writes || !from.reads) return -Errno.EBADF;
    // A file that is copied to its own end grows meanwhile.
    for (let done = 0; done < length;) {
      const [fromAt, toAt] = [fromPosition + done, toPosition + done];
      const count = Math.min(length - done, from.inode.content.size - fromAt);
      if (count <= 0) return -Errno.ENODATA;
      const isSame = from.inode === to.inode;
      if (isSame && fromAt + count > toAt && toAt + count > fromAt) return -Errno.EINVAL;
      const bytes = new Uint8Array(count);
      from.inode.content.read(bytes, 0, count, fromAt);
      const written = this.#pwrite(toFd, bytes, toAt);
      if (written < 0) return written;
      done += count;
    }
    return 0;
  }

  #fsync(fd: number): number {
    const inode = this.#table.usable(fd);
    if (typeof inode === "number") return inode;
    if (!inode.isRegular && !inode.isDirectory) return -Errno.EINVAL;
    this.#table.disk.sync(inode);
    return 0;
  }

  #syncFilesystem(fd: number): number {
    const inode = this.#table.usable(fd);
    if (typeof inode === "number") return inode;
    this.#table.disk.syncAll();
    return 0;
  }

  #cleanPages(fd: number, position: number, length: number): number {
    const inode = this.#table.usable(fd);
    if (typeof inode === "number") return inode;
    const { content } = inode;
    if (content === undefined) return -Errno.EINVAL;
    const pages = [...content.dirty, ...content.enabled];
    for (const page of pages) if (isWithin(page, position, length)) content.clean(page);
    return 0;
  }

  #dirtyPages(fd: number, position: number, length: number): number {
    const inode = this.#table.usable(fd);
    if (typeof inode === "number") return inode;
    let count = 0;
    for (const page of inode.content?.dirty ?? []) {
      if (isWithin(page, position, length)) count++;
    }
    return count;
  }

  #lockFile(fd: number): number {
    const found = this.#table.get(fd);
    if (found === undefined || found.isPath) return -Errno.EBADF;
    const { inode } = found;
    if (inode.lockedBy !== undefined && inode.lockedBy !== found) return -Errno.EAGAIN;
    inode.lockedBy = found;
    return 0;
  }

  // --- sums of blocks ------------------------------------------------------------------------

  get #scratch(): { files: Files; fd: number } {
    if (this.#options.scratch === undefined) throw new Error("sums of blocks need the addon");
    return this.#options.scratch;
  }

  /** Puts a range of the file where the addon can read it, at its own position. */
  #expose(fd: number, from: number, to: number): number {
    const found = this.#table.get(fd);
    if (found === undefined || !found.reads) return -Errno.EBADF;
    const content = found.inode.content;
    if (content === undefined) return -Errno.EISDIR;
    const { files, fd: scratchFd } = this.#scratch;
    files.ftruncate(scratchFd, 0);
    files.ftruncate(scratchFd, content.size);
    const bytes = new Uint8Array(Math.max(0, Math.min(to, content.size) - from));
    content.read(bytes, 0, bytes.length, from);
    if (bytes.length > 0) files.pwrite(scratchFd, bytes, 0, bytes.length, from);
    return scratchFd;
  }

  #deltaSums(...args: Parameters<Files["deltaSums"]>): number {
    const [fd, position, end, ...rest] = args;
    const own = this.#expose(fd, position, end);
    return own < 0 ? own : this.#scratch.files.deltaSums(own, position, end, ...rest);
  }

  #deltaSearch(...args: Parameters<Files["deltaSearch"]>): number {
    const [fd, state, weak, strong, table, salt, buffer, out] = args;
    const from = state[Delta.bufferAt]! + state[Delta.bufferBytes]!;
    const own = this.#expose(fd, from, from + buffer.length);
    if (own < 0) return own;
    return this.#scratch.files.deltaSearch(own, state, weak, strong, table, salt, buffer, out);
  }
}

function isPipe(found: Descriptor | undefined): boolean {
  return found !== undefined && !found.isPath && found.inode.type === Mode.fifo;
}

function isWithin(page: number, position: number, length: number): boolean {
  const from = page * pageBytes;
  return from < (length === 0 ? Infinity : position + length) && from + pageBytes > position;
}
