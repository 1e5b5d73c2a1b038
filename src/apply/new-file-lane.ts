/**
 * `NewFileLane`: in front of an `Applier` while a target is made equal: small new files are made
 * whole, in threads of the addon, while the next ones are received (docs/adr/0027-lanes.md).
 *
 * In: the operations of the stream. What is about one new regular file from its first content on is
 * a draft; PLACE makes it a job: unnamed file, content, owner, permissions, times, its name last.
 * All else goes to the applier, which waits for the jobs first where it could tell the difference.
 * Invariants: the tree is always that of all operations so far; a job that fails has left nothing
 * behind, and the applier does the same with its own calls, and their errors; nothing is
 * acknowledged as applied before `settle`. Bounded by the arena.
 */
import { rootId, type Tree } from "../tree/index.ts";
import { Job, JobFlag, jobFixedBytes, jobSecondsSlot, JobState, Mode } from "../world/index.ts";
import type { Lanes } from "../world/index.ts";
import type { Operations, Origin } from "../wire/index.ts";
import type { Applier } from "./applier.ts";
import { passesAclsOn } from "./apply-attributes.ts";
import { isRegular, type Staged } from "./staged.ts";

/** Threads: one is mostly enough; two, where touching new memory is what takes the time. */
const laneCount = 2;
/** Of files on their way: small enough to stay in a cache. */
const arenaBytes = 4194304;
/** Content of one file that is made in a lane; the applier writes longer ones. */
export const laneFileBytesMax = 262144;
/** Jobs that may fail before lanes are left alone: each costs its file twice. */
export const laneFailureCountMax = 8;

const setGroupId = 0o2000;
/** A name of 255 bytes and its NUL. */
const nameBytes = 256;
const recordBytes = jobFixedBytes + nameBytes + laneFileBytesMax;

interface SubmittedJob {
  readonly node: number;
  readonly parent: number;
  readonly name: Uint8Array;
  readonly staged: Staged;
  readonly offset: number;
  /** Position, in jobs, behind which a descriptor that was given up may be closed. */
  readonly number: number;
}

export class NewFileLane implements Operations {
  readonly #lanes: Lanes;
  readonly #applier: Applier;
  readonly #tree: Tree;
  readonly #rootFd: number;
  readonly #close: (fd: number) => void;
  #handle: unknown;
  #bytes: Uint8Array = new Uint8Array(0);
  #words: Int32Array = new Int32Array(0);
  #doubles: Float64Array = new Float64Array(0);
  /** Of the new file being told: its node, or 0; where its record is; operations in it. */
  #draft = 0;
  #at = 0;
  #draftBytes = 0;
  #draftOperationCount = 0;
  /** Where the next record may begin. */
  #next = 0;
  /** Oldest first. */
  #jobs: SubmittedJob[] = [];
  #jobNumber = 0;
  /** Descriptors of directories that jobs up to this number may use. */
  #leaving: { fd: number; number: number }[] = [];
  #failureCount = 0;
  #isOff = false;
  #operationCount = 0;

  constructor(options: { lanes: Lanes; applier: Applier; tree: Tree; rootFd: number }) {
    this.#lanes = options.lanes;
    this.#applier = options.applier;
    this.#tree = options.tree;
    this.#rootFd = options.rootFd;
    this.#close = this.#applier.closeDirectory;
    this.#applier.closeDirectory = (fd) => this.#closeLater(fd);
  }

  get operationCount(): number {
    return this.#operationCount + this.#applier.operationCount;
  }

  /** Waits until everything so far is on the disk's side of the calls. Throws as the applier. */
  settle(): void {
    while (this.#jobs.length > 0) this.#reap();
    this.#closeLeft();
  }

  /** Ends the lanes. What is a draft goes to the applier, which must still be open. */
  finish(): void {
    this.#toApplier();
    this.settle();
    this.close();
  }

  /** Ends the lanes when nothing more is to be applied. */
  close(): void {
    this.#isOff = true;
    this.#draft = 0;
    if (this.#handle !== undefined) this.#lanes.lanesClose(this.#handle);
    this.#handle = undefined;
    this.#jobs.length = 0;
    this.#closeLeft();
    this.#applier.closeDirectory = this.#close;
  }

  create(node: number, mode: number, rdev: number, symlinkTarget: Uint8Array): void {
    this.#applier.create(node, mode, rdev, symlinkTarget);
  }

  write(node: number, position: number, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (this.#isDraft(node)) {
      const isNext = position === this.#draftBytes && this.#words[this.#word(Job.flags)] === 0;
      if (isNext && position + length <= laneFileBytesMax) {
        const to = this.#at + jobFixedBytes + nameBytes + position;
        this.#bytes.set(bytes.subarray(start, end), to);
        this.#draftBytes += length;
        return this.#noted();
      }
      this.#toApplier();
    }
    this.#forFile(node).write(node, position, bytes, start, end);
  }

  meta(node: number, mode: number, uid: number, gid: number): void {
    if (!this.#isDraft(node)) {
      const isDirectory = this.#tree.isLive(node) && this.#tree.isDirectory(node);
      return (isDirectory ? this.#applier : this.#forFile(node)).meta(node, mode, uid, gid);
    }
    this.#words[this.#word(Job.mode)] = mode & Mode.permissionMask;
    this.#words[this.#word(Job.uid)] = uid;
    this.#words[this.#word(Job.gid)] = gid;
    this.#words[this.#word(Job.flags)]! |= JobFlag.meta;
    this.#noted();
  }

  times(
    node: number,
    mtimeSec: number,
    mtimeNsec: number,
    ctimeSec: number,
    ctimeNsec: number,
  ): void {
    if (!this.#isDraft(node)) {
      return this.#forFile(node).times(node, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec);
    }
    this.#applier.origins.setChangeTime(node, ctimeSec, ctimeNsec);
    this.#doubles[(this.#at >>> 3) + jobSecondsSlot] = mtimeSec;
    this.#words[this.#word(Job.nanoseconds)] = mtimeNsec;
    this.#words[this.#word(Job.flags)]! |= JobFlag.times;
    this.#noted();
  }

  place(node: number, parent: number, name: Uint8Array): void {
    const tree = this.#tree;
    const isFree = tree.names.find(parent, name) === 0;
    const isPlain = isFree && !passesAclsOn(tree, rootId) && tree.isLive(parent);
    const isDraft = node !== 0 && node === this.#draft;
    if (isDraft && isPlain && tree.isDirectory(parent)) {
      if (this.#submit(node, parent, name)) return;
    }
    if (isDraft) this.#toApplier();
    // Names that are free stand in no job's way.
    if (!isFree || !this.#applier.staged.has(node)) this.settle();
    this.#applier.place(node, parent, name);
  }

  /** Nothing on the disk is changed by it. */
  origin(node: number, origin: Origin): void {
    this.#applier.origin(node, origin);
  }

  zero(node: number, position: number, length: number): void {
    this.#forFile(node).zero(node, position, length);
  }

  truncate(node: number, size: number): void {
    this.#forFile(node).truncate(node, size);
  }

  clone(
    node: number,
    position: number,
    from: { node: number; position: number },
    length: number,
  ): void {
    this.#settled().clone(node, position, from, length);
  }

  attributes(node: number, attributes: Uint8Array): void {
    this.#forFile(node).attributes(node, attributes);
  }

  keep(node: number, key: Uint8Array): void {
    this.#forFile(node).keep(node, key);
  }

  rename(
    fromParent: number,
    fromName: Uint8Array,
    toParent: number,
    toName: Uint8Array,
    exchange: boolean,
  ): void {
    this.#settled().rename(fromParent, fromName, toParent, toName, exchange);
  }

  link(node: number, parent: number, name: Uint8Array): void {
    this.#settled().link(node, parent, name);
  }

  unlink(parent: number, name: Uint8Array): void {
    this.#settled().unlink(parent, name);
  }

  remove(node: number): void {
    this.#settled().remove(node);
  }

  detach(node: number): void {
    this.#settled().detach(node);
  }

  /** The applier, when everything before has been carried out. */
  #settled(): Applier {
    this.#toApplier();
    this.settle();
    return this.#applier;
  }

  /** The applier, for an operation about this node alone; of what has no name nothing waits. */
  #forFile(node: number): Applier {
    if (node === this.#draft) this.#toApplier();
    else if (!this.#applier.staged.has(node)) this.settle();
    return this.#applier;
  }

  #word(index: number): number {
    return (this.#at >>> 2) + index;
  }

  #noted(): void {
    this.#draftOperationCount++;
    this.#operationCount++;
  }

  /** Whether the node is the draft, which it becomes when it is a new file of which nothing is. */
  #isDraft(node: number): boolean {
    if (node === this.#draft) return node !== 0;
    if (this.#isOff) return false;
    const staged = this.#applier.staged.get(node);
    if (staged === undefined || !isRegular(staged)) return false;
    if (staged.fd >= 0 || staged.name !== undefined) return false;
    this.#toApplier();
    this.#open();
    this.#at = this.#reserve();
    this.#draft = node;
    this.#draftBytes = 0;
    this.#draftOperationCount = 0;
    this.#words[this.#word(Job.flags)] = 0;
    return true;
  }

  #open(): void {
    if (this.#handle !== undefined) return;
    this.#handle = this.#lanes.lanesOpen(laneCount, arenaBytes);
    const arena = this.#lanes.lanesArena(this.#handle);
    this.#bytes = new Uint8Array(arena);
    this.#words = new Int32Array(arena);
    this.#doubles = new Float64Array(arena);
  }

  /** Offset of room for one more record, in one piece. */
  #reserve(): number {
    for (;;) {
      const oldest = this.#jobs[0];
      if (oldest === undefined) return 0;
      const tail = oldest.offset;
      if (this.#next <= tail) {
        if (this.#next + recordBytes <= tail) return this.#next;
      } else {
        if (this.#next + recordBytes <= arenaBytes) return this.#next;
        if (recordBytes <= tail) return 0;
      }
      this.#reap();
    }
  }

  /** What the draft is so far becomes the applier's. */
  #toApplier(): void {
    const node = this.#draft;
    if (node === 0) return;
    this.#draft = 0;
    this.#operationCount -= this.#draftOperationCount;
    this.#apply(node, this.#at, this.#draftBytes);
  }

  #apply(node: number, offset: number, dataBytes: number): void {
    const [applier, words, word] = [this.#applier, this.#words, offset >>> 2];
    const flags = words[word + Job.flags]!;
    const start = offset + jobFixedBytes + nameBytes;
    if (dataBytes > 0) applier.write(node, 0, this.#bytes, start, start + dataBytes);
    if (flags & JobFlag.meta) {
      const [uid, gid] = [words[word + Job.uid]! >>> 0, words[word + Job.gid]! >>> 0];
      applier.meta(node, words[word + Job.mode]!, uid, gid);
    }
    if (flags & JobFlag.times) {
      const seconds = this.#doubles[(offset >>> 3) + jobSecondsSlot]!;
      const { ctimeSec, ctimeNsec } = applier.origins.get(node);
      applier.times(node, seconds, words[word + Job.nanoseconds]!, ctimeSec, ctimeNsec);
    }
  }

  /** The draft becomes a job. False: it could not be handed over. */
  #submit(node: number, parent: number, name: Uint8Array): boolean {
    const [words, word, offset] = [this.#words, this.#at >>> 2, this.#at];
    const staged = this.#applier.staged.get(node)!;
    const dirFd = this.#applier.directoryFd(parent);
    words[word + Job.rootFd] = this.#passesOn(parent) ? this.#rootFd : dirFd;
    words[word + Job.dirFd] = dirFd;
    words[word + Job.openMode] = staged.mode & 0o777;
    words[word + Job.dataAt] = jobFixedBytes + nameBytes;
    words[word + Job.dataBytes] = this.#draftBytes;
    this.#bytes.set(name, offset + jobFixedBytes);
    this.#bytes[offset + jobFixedBytes + name.length] = 0;
    const number = this.#jobNumber + 1;
    if (this.#lanes.lanesSubmit(this.#handle, number, offset) < 0) return false;
    this.#jobNumber = number;
    this.#jobs.push({ node, parent, name: name.slice(), staged, offset, number });
    this.#next = (offset + jobFixedBytes + nameBytes + this.#draftBytes + 63) & ~63;
    this.#draft = 0;
    this.#operationCount++;
    this.#note(node, word);
    this.#applier.staged.delete(node);
    this.#tree.addName(parent, name, node);
    while (this.#jobs.length > 0 && !this.#waits(this.#jobs[0]!)) this.#reap();
    return true;
  }

  /**
   * Whether a file made without a name in this directory would have its group or its ACLs. Where it
   * has not, it is better made there than in the root: filesystems keep together what is made in
   * one directory, and ext4 looks through what was deleted there of late for each new inode.
   */
  #passesOn(directory: number): boolean {
    const isSetGroup = (this.#tree.mode[directory]! & setGroupId) !== 0;
    return isSetGroup || passesAclsOn(this.#tree, directory);
  }

  /** The tree is told at once. */
  #note(node: number, word: number): void {
    const [tree, words] = [this.#tree, this.#words];
    const flags = words[word + Job.flags]!;
    this.#applier.changed.mark(node);
    tree.size[node] = this.#draftBytes;
    if (flags & JobFlag.meta) {
      tree.mode[node] = (tree.mode[node]! & Mode.typeMask) | words[word + Job.mode]!;
      tree.uid[node] = words[word + Job.uid]! >>> 0;
      tree.gid[node] = words[word + Job.gid]! >>> 0;
    }
    if (flags & JobFlag.times) {
      tree.mtimeSec[node] = this.#doubles[(word >>> 1) + jobSecondsSlot]!;
      tree.mtimeNsec[node] = words[word + Job.nanoseconds]!;
    }
  }

  #waits(job: SubmittedJob): boolean {
    return Atomics.load(this.#words, job.offset >>> 2) === JobState.waits;
  }

  /** Takes the oldest job back, when it is over. */
  #reap(): void {
    const job = this.#jobs[0]!;
    if (this.#waits(job)) this.#lanes.lanesWait(this.#handle, job.offset);
    const word = job.offset >>> 2;
    const isDone = Atomics.load(this.#words, word) === JobState.done;
    try {
      if (!isDone) this.#redo(job, this.#words[word + Job.dataBytes]!);
    } finally {
      this.#jobs.shift();
      if (this.#leaving.length > 0) this.#closeLeft();
    }
  }

  /** Nothing of it is there: the applier does it, or says why it cannot be done. */
  #redo(job: SubmittedJob, dataBytes: number): void {
    const { node, parent, name, staged } = job;
    if (++this.#failureCount >= laneFailureCountMax) this.#isOff = true;
    this.#tree.removeName(this.#tree.names.find(parent, name));
    this.#applier.staged.set(node, staged);
    this.#apply(node, job.offset, dataBytes);
    this.#applier.place(node, parent, name);
  }

  /** A directory's descriptor is kept for the jobs that name files in it. */
  #closeLater(fd: number): void {
    if (this.#jobs.length === 0) this.#close(fd);
    else this.#leaving.push({ fd, number: this.#jobNumber });
  }

  #closeLeft(): void {
    const done = this.#jobs[0]?.number ?? Infinity;
    while (this.#leaving.length > 0 && this.#leaving[0]!.number < done) {
      this.#close(this.#leaving.shift()!.fd);
    }
  }
}
