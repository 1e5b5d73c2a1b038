/**
 * `DigestReader`: looks at what the target really has of a node, for a source that wants to know
 * whether the two still agree.
 *
 * In: an ask, from a peer that is authenticated but not believed. Out: a `Digest`, after one step
 * or, for the names of a directory, several; or nothing, when the node is not one with a name.
 * Invariants: the directory is opened anew for each ask, below the root and through no link, so
 * what somebody else has moved is not found where it was; nothing is written; a node that is not
 * where the tree says is an answer (mode 0), never an error.
 */
import { Directories, DirectoryEntries } from "../descriptors/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { Errno, type Files, Mode, Open, Stat, statSlots } from "../world/index.ts";
import {
  attributesBytesMax,
  blankDigest,
  comparableAttributes,
  type Digest,
  type DigestAsk,
  DigestFlag,
  digestRangeBytesMax,
  isHoldName,
  NamesHash,
  type Sha256,
  symlinkBytesMax,
} from "../wire/index.ts";

const noName: Uint8Array = new Uint8Array(0);
/** Bytes of directory entries looked at in one step. */
const namesBytes = 32768;

export interface DigestReaderOptions {
  files: Files;
  rootFd: number;
  tree: Tree;
  sha256: Sha256;
  /** Whether the target may set all attributes: else only those of owners are compared. */
  privileged: boolean;
}

export class DigestReader {
  readonly #of: DigestReaderOptions;
  readonly #directories: Directories;
  readonly #entries: DirectoryEntries;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly #rootStat: Float64Array = new Float64Array(statSlots);
  #scratch: Uint8Array = new Uint8Array(0);
  /** The directory whose names are being read; -1 if none. */
  #fd = -1;
  #names: NamesHash | undefined;
  #digest: Digest | undefined;

  constructor(options: DigestReaderOptions) {
    this.#of = options;
    this.#directories = new Directories(options.files, options.rootFd, options.tree);
    this.#entries = new DirectoryEntries(options.files, namesBytes);
  }

  /** One step of the ask: `more` to do, `refused`, or the answer. */
  step(ask: DigestAsk): Digest | "more" | "refused" {
    if (this.#digest === undefined) {
      const begun = this.#begin(ask);
      this.#directories.clear();
      if (begun !== "more") return begun;
    }
    return this.#readNames(ask.node);
  }

  /** Lets go of an ask that is not answered to its end. */
  close(): void {
    if (this.#fd >= 0) this.#of.files.close(this.#fd);
    this.#fd = -1;
    this.#digest = undefined;
    this.#names = undefined;
  }

  #begin(ask: DigestAsk): Digest | "more" | "refused" {
    const { files, rootFd, tree } = this.#of;
    const { node } = ask;
    if (!tree.isLive(node) || (node !== rootId && tree.firstName[node] === 0)) return "refused";
    const { names, firstName } = tree;
    const id = firstName[node]!;
    const dirFd = node === rootId ? rootFd : this.#directories.get(names.parent[id]!);
    if (dirFd < 0) return isAbsent(dirFd) ? blankDigest() : "refused";
    const name = node === rootId ? noName : names.bytes(id).slice();
    const stat = this.#stat;
    const result = files.statAt(dirFd, name, stat);
    if (result < 0) return isAbsent(result) ? blankDigest() : "refused";
    if (files.statAt(rootFd, noName, this.#rootStat) < 0 || !this.#isOwn(stat)) return "refused";
    const digest = this.#metadata(dirFd, name, ask);
    const kind = stat[Stat.mode]! & Mode.typeMask;
    // Of something else than it should be nothing more needs to be known.
    if (kind !== (tree.mode[node]! & Mode.typeMask)) return digest;
    if (kind === Mode.regular) this.#readRange(dirFd, name, ask, digest);
    else if (kind === Mode.symlink) this.#readLink(dirFd, name, ask, digest);
    else if (kind === Mode.directory) return this.#openNames(dirFd, name, ask, digest);
    return digest;
  }

  /** Not on another filesystem, which is left alone. */
  #isOwn(stat: Float64Array): boolean {
    const root = this.#rootStat;
    return stat[Stat.mount] === root[Stat.mount] && stat[Stat.dev] === root[Stat.dev];
  }

  #metadata(dirFd: number, name: Uint8Array, { salt }: DigestAsk): Digest {
    const { files, sha256, privileged } = this.#of;
    const stat = this.#stat;
    const digest: Digest = {
      ...blankDigest(),
      mode: stat[Stat.mode]!,
      uid: stat[Stat.uid]!,
      gid: stat[Stat.gid]!,
      rdev: stat[Stat.rdev]!,
      size: stat[Stat.size]!,
      mtimeSec: stat[Stat.mtimeSec]!,
      mtimeNsec: stat[Stat.mtimeNsec]!,
    };
    let bytes = 0;
    if (stat[Stat.attributeBytes] !== 0) {
      bytes = files.getAttributes(dirFd, name, this.#room(attributesBytesMax));
    }
    if (bytes >= 0) {
      const list = comparableAttributes(this.#scratch.subarray(0, bytes), privileged);
      digest.attributes = sha256(salt, list);
      digest.flags |= DigestFlag.attributes;
    }
    return digest;
  }

  /** What is beyond the end is not hashed: `count` says how much there was. */
  #readRange(dirFd: number, name: Uint8Array, ask: DigestAsk, digest: Digest): void {
    const { files, sha256 } = this.#of;
    const { from, salt } = ask;
    const length = Math.min(ask.length, digestRangeBytesMax);
    const flags = Open.read | Open.noFollow | Open.nonBlock;
    const fd = files.openBeneath(dirFd, name, flags, 0);
    if (fd < 0) return;
    const ino = this.#stat[Stat.ino];
    const isSame = files.fstat(fd, this.#stat) === 0 && this.#stat[Stat.ino] === ino;
    const room = this.#room(digestRangeBytesMax);
    const count = isSame && length > 0 ? files.pread(fd, room, 0, length, from) : isSame ? 0 : -1;
    files.close(fd);
    if (count < 0) return;
    digest.count = count;
    digest.content = sha256(salt, room.subarray(0, count));
    digest.flags |= DigestFlag.content;
  }

  #readLink(dirFd: number, name: Uint8Array, { salt }: DigestAsk, digest: Digest): void {
    const room = this.#room(symlinkBytesMax);
    const bytes = this.#of.files.readlink(dirFd, name, room.subarray(0, symlinkBytesMax));
    if (bytes < 0) return;
    digest.count = bytes;
    digest.content = this.#of.sha256(salt, room.subarray(0, bytes));
    digest.flags |= DigestFlag.content;
  }

  #openNames(
    dirFd: number,
    name: Uint8Array,
    { salt }: DigestAsk,
    digest: Digest,
  ): Digest | "more" {
    const flags = Open.read | Open.directory | Open.noFollow;
    const fd = this.#of.files.openBeneath(dirFd, name, flags, 0);
    if (fd < 0) return digest;
    this.#fd = fd;
    this.#names = new NamesHash(this.#of.sha256, salt);
    this.#digest = digest;
    return "more";
  }

  #readNames(node: number): Digest | "more" {
    const names = this.#names!;
    const digest = this.#digest!;
    const used = this.#entries.next(this.#fd, (name, stat) => {
      if (!this.#isOwn(stat) || (node === rootId && isHoldName(name))) return;
      names.add(name);
    });
    if (used > 0) return "more";
    this.close();
    if (used < 0) return digest;
    digest.count = names.count;
    digest.content = names.value();
    digest.flags |= DigestFlag.content;
    return digest;
  }

  #room(bytes: number): Uint8Array {
    if (this.#scratch.length < bytes) this.#scratch = new Uint8Array(bytes);
    return this.#scratch;
  }
}

function isAbsent(result: number): boolean {
  return [-Errno.ENOENT, -Errno.ENOTDIR, -Errno.ELOOP].includes(result);
}
