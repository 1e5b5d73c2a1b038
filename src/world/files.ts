/**
 * `Files`: the system calls on files that the engine uses, one method each, synchronous. The real
 * one is the addon (world/node/native.ts); the simulator has its own.
 *
 * Results are the kernel's; an error is the negative errno (see `Errno`). Nothing throws.
 * Names and paths are bytes: a Linux name is any bytes but `/` and NUL, and need not be UTF-8.
 * A `name` is one component, given with the descriptor of its directory; the empty name means the
 * descriptor's own file. Times are whole seconds plus nanoseconds, never milliseconds.
 */

/** Slots of a stat record: a Float64Array of `statSlots`. */
export const Stat = {
  ino: 0,
  gen: 1,
  mode: 2,
  nlink: 3,
  uid: 4,
  gid: 5,
  rdev: 6,
  size: 7,
  mtimeSec: 8,
  mtimeNsec: 9,
  ctimeSec: 10,
  ctimeNsec: 11,
  blocks: 12,
  dev: 13,
  /** Bytes of the list of extended attributes; 0 none; -1 not asked for. */
  attributeBytes: 14,
  mount: 15,
} as const;
export const statSlots = 16;
export const statfsSlots = 8;

/** Byte size of the fixed part of a scanDirectory entry; a u16 name length and the name follow. */
export const scanEntryFixedBytes: number = statSlots * 8 + 2;

export const Mode = {
  typeMask: 0o170000,
  permissionMask: 0o7777,
  directory: 0o040000,
  regular: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
  fifo: 0o010000,
  blockDevice: 0o060000,
  characterDevice: 0o020000,
} as const;

export const Open = {
  read: 0,
  write: 1,
  readWrite: 2,
  create: 0o100,
  exclusive: 0o200,
  truncate: 0o1000,
  nonBlock: 0o4000,
  directory: 0o200000,
  noFollow: 0o400000,
  path: 0o10000000,
  temporary: 0o20200000,
} as const;

export const Rename = { noReplace: 1, exchange: 2 } as const;
export const Fallocate = { keepSize: 1, punchHole: 2, zeroRange: 16 } as const;

/** Slots of a search for blocks: a Float64Array of `deltaSlots` (native/addon/delta.c). */
export const Delta = {
  blockBytes: 0,
  basisBytes: 1,
  /** Bytes of the file; less when it turns out to have shrunk. */
  end: 2,
  /** Where the search stands. */
  at: 3,
  /** What of the file the buffer holds. */
  bufferAt: 4,
  bufferBytes: 5,
  /** Position in the basis less position in the file, of the last match. */
  shift: 6,
  /** Positions that may still look right by their weak sum and not be. */
  falseHits: 7,
  /** Odd, 32 bits: makes the buckets of the table. */
  multiplier: 8,
  bucketBits: 9,
  done: 10,
} as const;
export const deltaSlots = 11;
/** Bytes of a block's strong sum. */
export const deltaStrongBytes = 8;

export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  ETIMEDOUT: 110,
  EHOSTUNREACH: 113,
  EDQUOT: 122,
} as const;

const errnoNames: ReadonlyMap<number, string> = new Map(
  Object.entries(Errno).map(([name, value]) => [value, name]),
);

/** The name of a result's errno, for messages: `ENOSPC`, or `errno 123`. */
export function errnoName(result: number): string {
  return errnoNames.get(-result) ?? `errno ${-result}`;
}

export interface Files {
  openPath(path: Uint8Array, flags: number): number;
  /** Opens below `dirfd` by openat2: never leaves it, follows no link; `crosses` mounts or none. */
  openBeneath(
    dirfd: number,
    path: Uint8Array,
    flags: number,
    mode: number,
    crosses?: 0 | 1,
  ): number;
  close(fd: number): number;
  /** All slots, with generation and size of the attribute list. */
  statAt(dirfd: number, name: Uint8Array, out: Float64Array): number;
  /** All slots but attributes (-1). */
  identifyAt(dirfd: number, name: Uint8Array, out: Float64Array): number;
  /** All slots but generation (0) and attributes (-1). The hot path. */
  fstat(fd: number, out: Float64Array): number;
  /** `statfsSlots`: magic, block bytes, blocks, free, available, name bytes, two words of an id. */
  statfs(fd: number, out: Float64Array): number;
  /**
   * Bytes of entries, 0 at the end of the directory; goes on from the descriptor's position.
   * `brief`: with the slots that `fstat` has.
   */
  scanDirectory(dirfd: number, out: Uint8Array, brief: 0 | 1): number;
  /** Reads until `length` or the end of the file. */
  pread(fd: number, into: Uint8Array, offset: number, length: number, position: number): number;
  /** Writes all of `length`, or fails. */
  pwrite(fd: number, from: Uint8Array, offset: number, length: number, position: number): number;
  /** Pairs [start, end) that hold data between `from` and `to`; the count of pairs. */
  dataExtents(fd: number, from: number, to: number, out: Float64Array): number;
  ftruncate(fd: number, size: number): number;
  fallocate(fd: number, mode: number, position: number, length: number): number;
  cloneRange(
    toFd: number,
    fromFd: number,
    fromPosition: number,
    length: number,
    toPosition: number,
  ): number;
  fsync(fd: number, dataOnly: boolean | 0 | 1): number;
  /** Waits until all of the descriptor's filesystem is on its disk. */
  syncFilesystem(fd: number): number;
  /**
   * The first bytes of an open file for `storeMapped`: cheaper than `pwrite`, and there for all who
   * read the file as soon. Undefined where it cannot be, or the file is not that long.
   */
  mapFile(fd: number, length: number): unknown;
  /**
   * The last 32 bytes are stored last. False: not all of it is within what is mapped and there;
   * `pwrite` would tell why.
   */
  storeMapped(
    map: unknown,
    position: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
  ): boolean;
  /** Idempotent. */
  unmapFile(map: unknown): void;
  /** Starts write-out of the pages, which write-protects shared mappings of them again. */
  cleanPages(fd: number, position: number, length: number, waits: 0 | 1): number;
  /** Dirty pages in the extent (cachestat). */
  dirtyPages(fd: number, position: number, length: number): number;
  setTimes(dirfd: number, name: Uint8Array, sec: number, nsec: number): number;
  chown(dirfd: number, name: Uint8Array, uid: number, gid: number): number;
  chmod(fd: number, mode: number): number;
  chmodAt(dirfd: number, name: Uint8Array, mode: number): number;
  mkdir(dirfd: number, name: Uint8Array, mode: number): number;
  mknod(dirfd: number, name: Uint8Array, mode: number, rdev: number): number;
  symlink(dirfd: number, name: Uint8Array, target: Uint8Array): number;
  /** An empty `fromName` links the file of descriptor `fromDirfd` itself (an unnamed file). */
  link(fromDirfd: number, fromName: Uint8Array, toDirfd: number, toName: Uint8Array): number;
  unlink(dirfd: number, name: Uint8Array, directory: 0 | 1): number;
  rename(
    fromDirfd: number,
    fromName: Uint8Array,
    toDirfd: number,
    toName: Uint8Array,
    flags: number,
  ): number;
  readlink(dirfd: number, name: Uint8Array, out: Uint8Array): number;
  /** Sorted attributes: u16 name bytes, name, u32 value bytes, value; the count of bytes. */
  getAttributes(dirfd: number, name: Uint8Array, out: Uint8Array): number;
  setAttribute(dirfd: number, name: Uint8Array, attribute: Uint8Array, value: Uint8Array): number;
  removeAttribute(dirfd: number, name: Uint8Array, attribute: Uint8Array): number;
  /**
   * Weak, then strong sums of the blocks in [position, end); the count of bytes that the file does
   * not have, which count as zeros. `scratch` holds the whole range.
   */
  deltaSums(
    fd: number,
    position: number,
    end: number,
    blockBytes: number,
    salt: Uint8Array,
    scratch: Uint8Array,
    out: Uint8Array,
  ): number;
  /**
   * Puts blocks [from, to) into the table: 2^bucketBits words, as many for a filter, and one for
   * each block; zeros at first.
   */
  deltaIndex(
    state: Float64Array,
    weak: Uint32Array,
    strong: Uint8Array,
    table: Uint32Array,
    from: number,
    to: number,
  ): number;
  /** One step; the count of matches in `out`, each position, length, position in the basis. */
  deltaSearch(
    fd: number,
    state: Float64Array,
    weak: Uint32Array,
    strong: Uint8Array,
    table: Uint32Array,
    salt: Uint8Array,
    buffer: Uint8Array,
    out: Float64Array,
  ): number;
  /** Exclusive lock without waiting, held until the descriptor is closed. */
  lockFile(fd: number): number;
  umask(mask: number): number;
}

/** The kernel's event sources, and waiting for a descriptor to become readable. */
export interface Kernel {
  /**
   * Calls back on the event loop while `fd` is readable, with the PollEvent bits or a negative
   * errno. The handle goes to pollStop, once.
   */
  pollStart(fd: number, ready: (events: number) => void): unknown;
  /** Waits for these PollEvent bits from now on. */
  pollSet(handle: unknown, events: number): void;
  pollStop(handle: unknown): void;
  /** Throws an Error whose `code` names the failed step and whose message the errno's text. */
  captureOpen(mode: number, rootFd: number, ringBytes: number): unknown;
  captureFd(handle: unknown): number;
  /**
   * With CaptureMode.follow: tells of one more filesystem, by this number. `directoryFd` is of the
   * directory that is mounted, `device` the superblock's. 0, or a negative errno.
   */
  captureFollow(handle: unknown, number: number, directoryFd: number, device: number): number;
  captureUnfollow(handle: unknown, number: number): number;
  /** 1 until the filesystem is unmounted for good. */
  captureFollows(handle: unknown, number: number): number;
  /** Twice the bytes written to `out`, plus 1 when more waits. Layout: capture/records.ts. */
  captureDrain(handle: unknown, out: Uint8Array): number;
  /**
   * Reads hot extents until, for a moment, nothing was touched after it was read; returns as
   * captureDrain, of all that was drained meanwhile. Layout: capture/hot-reading.ts.
   */
  captureReadHot(handle: unknown, slots: Float64Array, data: Uint8Array, out: Uint8Array): number;
  /**
   * How many calls began after the look of that number and have not returned, also after a little
   * wait; -1 when that is not known. `out`, of 3 * 256 slots: of each the inode, 0 for whichever,
   * its generation, and the position from which on it changes. Counts as a look (captureDrain and
   * captureReadHot are the others).
   */
  captureBegun(handle: unknown, sinceLook: number, out: Float64Array): number;
  /** Nobody is going to ask for a while. */
  captureBegunRest(handle: unknown): void;
  captureDropped(handle: unknown): number;
  captureClose(handle: unknown): void;
  inotifyInit(): number;
  inotifyAdd(fd: number, directoryFd: number, mask: number): number;
  inotifyRemove(fd: number, watch: number): number;
  inotifyRead(fd: number, out: Uint8Array): number;
}
