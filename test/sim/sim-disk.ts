/**
 * A simulated disk with one filesystem: inodes, directories, time stamps, space, and what a power
 * cut leaves of it. It knows no processes and no descriptors: that is `SimFiles`.
 *
 * Modelled on ext4: the lowest free inode number is taken again with another generation, times move
 * in ticks, a directory is read in the order of a hash of its names, and changes of names and
 * metadata reach the disk in order, a suffix being lost when the power fails.
 */
import { Mode } from "../../src/world/index.ts";
import { type Chance, hashOf } from "./chance.ts";
import { Content } from "./content.ts";

/** The kernel's clock for files moves this often (CONFIG_HZ=250). */
export const tickUs = 4000;
/** Changes of names and metadata that may still be lost; older ones are on the disk. */
const undoCountMax = 2000;

export interface Entry {
  readonly name: Uint8Array;
  readonly inode: Inode;
  /** Its place in the directory. */
  readonly cookie: number;
}

export class Inode {
  readonly ino: number;
  readonly gen: number;
  mode: number;
  nlink = 1;
  uid = 0;
  gid = 0;
  rdev = 0;
  mtimeSec = 0;
  mtimeNsec = 0;
  ctimeSec = 0;
  ctimeNsec = 0;
  /** Of a regular file. */
  readonly content: Content | undefined;
  /** Of a directory, by name in Latin-1. */
  readonly entries: Map<string, Entry> | undefined;
  /** Of a directory: where its `..` leads. */
  parent: Inode | undefined;
  /** Of a symbolic link. */
  target: Uint8Array = new Uint8Array(0);
  readonly attributes: Map<string, Uint8Array> = new Map();
  /** Descriptors. */
  openCount = 0;
  /** Its times were looked at since they changed. */
  isQueried = false;
  /** Made without a name, and may be given one. */
  isUnnamed = false;
  lockedBy: object | undefined;
  order: readonly Entry[] | undefined;

  constructor(ino: number, gen: number, mode: number) {
    this.ino = ino;
    this.gen = gen;
    this.mode = mode;
    if (this.isRegular) this.content = new Content();
    if (this.isDirectory) this.entries = new Map();
  }

  get type(): number {
    return this.mode & Mode.typeMask;
  }

  get isDirectory(): boolean {
    return this.type === Mode.directory;
  }

  get isRegular(): boolean {
    return this.type === Mode.regular;
  }

  get size(): number {
    if (this.content !== undefined) return this.content.size;
    return this.isDirectory ? 4096 : this.target.length;
  }

  get blocks(): number {
    return this.content === undefined ? (this.isDirectory ? 8 : 0) : this.content.pageCount * 8;
  }

  /** In the order in which the directory is read. */
  sorted(): readonly Entry[] {
    this.order ??= [...this.entries!.values()].sort((x, y) => x.cookie - y.cookie);
    return this.order;
  }
}

export interface DiskOptions {
  readonly chance: Chance;
  /** Microseconds since 1970. */
  readonly wallUs: () => number;
  readonly device: number;
  readonly pageCountMax: number;
  /**
   * Times are of the tick, as before Linux 6.13. Else what changes after its times were looked at
   * gets other ones (Documentation/filesystems/multigrain-ts.rst).
   */
  readonly isCoarse: boolean;
}

export class SimDisk {
  readonly root: Inode;
  readonly device: number;
  readonly #options: DiskOptions;
  readonly #inodes: Map<number, Inode> = new Map();
  readonly #free: number[] = [];
  #nextIno = 2;
  readonly #salt: number;
  readonly #undo: { readonly undo: () => void; readonly call: number }[] = [];
  #call = 0;
  pageCountMax: number;

  constructor(options: DiskOptions) {
    this.#options = options;
    this.device = options.device;
    this.pageCountMax = options.pageCountMax;
    this.#salt = options.chance.below(2 ** 31);
    this.root = this.make(Mode.directory | 0o755);
    this.root.nlink = 2;
    this.root.parent = this.root;
  }

  get inodes(): Iterable<Inode> {
    return this.#inodes.values();
  }

  get usedPages(): number {
    let count = 0;
    for (const inode of this.#inodes.values()) count += inode.content?.pageCount ?? 0;
    return count;
  }

  hasRoomFor(pages: number): boolean {
    return pages === 0 || this.usedPages + pages <= this.pageCountMax;
  }

  /** A new inode without a name. */
  make(mode: number): Inode {
    const ino = this.#free.length > 0 ? this.#takeFree() : this.#nextIno++;
    const inode = new Inode(ino, 1 + this.#options.chance.below(2 ** 31), mode);
    this.#inodes.set(ino, inode);
    const [sec, nsec] = this.now();
    inode.mtimeSec = inode.ctimeSec = sec;
    inode.mtimeNsec = inode.ctimeNsec = nsec;
    return inode;
  }

  #takeFree(): number {
    this.#free.sort((x, y) => y - x);
    return this.#free.pop()!;
  }

  #floorUs = 0;

  /** Seconds and nanoseconds of the present tick; or of this moment, if the last were looked at. */
  now(inode?: Inode): readonly [sec: number, nsec: number] {
    const us = this.#options.wallUs();
    if (inode?.isQueried === true && !this.#options.isCoarse) this.#floorUs = us;
    const ticked = Math.max(this.#floorUs, us - (us % tickUs));
    const sec = Math.floor(ticked / 1e6);
    return [sec, (ticked - sec * 1e6) * 1000];
  }

  /** The state has changed. */
  touchChange(inode: Inode): void {
    const { ctimeSec, ctimeNsec } = inode;
    this.note(() => {
      inode.ctimeSec = ctimeSec;
      inode.ctimeNsec = ctimeNsec;
    });
    [inode.ctimeSec, inode.ctimeNsec] = this.now(inode);
    inode.isQueried = false;
  }

  /** The content has changed. */
  touch(inode: Inode): void {
    const { mtimeSec, mtimeNsec } = inode;
    this.note(() => {
      inode.mtimeSec = mtimeSec;
      inode.mtimeNsec = mtimeNsec;
    });
    this.touchChange(inode);
    inode.mtimeSec = inode.ctimeSec;
    inode.mtimeNsec = inode.ctimeNsec;
  }

  /** Another system call begins: what one changes reaches the disk together or not at all. */
  beginCall(): void {
    this.#call++;
  }

  /** Remembers how to take a change back that has not reached the disk. */
  note(undo: () => void): void {
    this.#undo.push({ undo, call: this.#call });
    if (this.#undo.length > 2 * undoCountMax) this.#undo.splice(0, undoCountMax);
  }

  /** The owner has no name and no descriptor any more. */
  release(inode: Inode): void {
    if (inode.nlink > 0 || inode.openCount > 0 || inode === this.root) return;
    if (this.#inodes.get(inode.ino) !== inode) return;
    this.#inodes.delete(inode.ino);
    this.#free.push(inode.ino);
  }

  attach(directory: Inode, name: Uint8Array, inode: Inode): void {
    const key = latin1(name);
    const entry = { name: name.slice(), inode, cookie: this.#cookieOf(name) };
    const before = directory.entries!.get(key);
    this.note(() => this.#put(directory, key, before));
    this.#put(directory, key, entry);
  }

  detach(directory: Inode, name: Uint8Array): void {
    const key = latin1(name);
    const before = directory.entries!.get(key);
    this.note(() => this.#put(directory, key, before));
    this.#put(directory, key, undefined);
  }

  #put(directory: Inode, key: string, entry: Entry | undefined): void {
    if (entry === undefined) directory.entries!.delete(key);
    else directory.entries!.set(key, entry);
    directory.order = undefined;
  }

  setLinks(inode: Inode, nlink: number): void {
    const before = inode.nlink;
    this.note(() => (inode.nlink = before));
    inode.nlink = nlink;
  }

  setParent(inode: Inode, parent: Inode | undefined): void {
    const before = inode.parent;
    this.note(() => (inode.parent = before));
    inode.parent = parent;
  }

  #cookieOf(name: Uint8Array): number {
    return (hashOf(name) ^ this.#salt) >>> 0;
  }

  /** Everything up to now is on the disk; of contents that of `inode` alone. */
  sync(inode: Inode): void {
    this.#undo.length = 0;
    inode.content?.synced();
  }

  /** What a clean unmount, or much time, would do. */
  syncAll(): void {
    this.#undo.length = 0;
    for (const inode of this.#inodes.values()) inode.content?.synced();
  }

  /** No descriptor is open any more. What had no name is freed. */
  forgetOpens(): void {
    for (const inode of [...this.#inodes.values()]) {
      inode.openCount = 0;
      inode.lockedBy = undefined;
      if (inode.nlink === 0) this.release(inode);
    }
  }

  /** A suffix of what was not synced is lost, and of the pages whatever chance has. */
  powerCut(chance: Chance): void {
    const lostCount = chance.below(this.#undo.length + 1);
    for (let lost = 0, call = -1; this.#undo.length > 0; lost++) {
      const last = this.#undo.at(-1)!;
      if (lost >= lostCount && last.call !== call) break;
      call = last.call;
      this.#undo.pop()!.undo();
    }
    this.#undo.length = 0;
    this.#findAgain();
    for (const inode of this.#inodes.values()) {
      inode.content?.crash(() => {
        const kind = chance.below(3);
        return kind === 0 ? "all" : kind === 1 ? "none" : 512 * chance.between(1, 7);
      });
    }
    this.forgetOpens();
  }

  /** Undoing may have brought back what was freed. */
  #findAgain(): void {
    const found = new Set<Inode>([this.root]);
    const open: Inode[] = [this.root];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      for (const { inode } of at.entries!.values()) {
        if (found.has(inode)) continue;
        found.add(inode);
        if (inode.isDirectory) open.push(inode);
      }
    }
    this.#inodes.clear();
    for (const inode of found) this.#inodes.set(inode.ino, inode);
    this.#nextIno = Math.max(this.#nextIno, ...this.#inodes.keys()) + 1;
    this.#free.length = 0;
    for (let ino = 2; ino < this.#nextIno; ino++) if (!this.#inodes.has(ino)) this.#free.push(ino);
  }
}

export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
