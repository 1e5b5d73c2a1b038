/**
 * `TreeReader`: answers what a `RemoteTree` is asked, about a folder of this machine.
 *
 * In: paths below the root, which need not exist. Out: pages of entries, single entries, hashes of
 * the parts of a file. Everything is looked at on the disk at the moment of the question.
 * Invariants: nothing outside of the root is looked at, no link followed, no mount crossed
 * (openat2, see Files.openBeneath); no descriptor stays open between two questions. Questions are
 * answered one after the other.
 * Limits: an answer has at most about `pageBytes` and one entry, or `answerPartsMax` parts; names
 * of at most `listingCountMax` directories are kept between the pages of one.
 */
import { assert } from "../base/index.ts";
import { Errno, type Files, Mode, Open, Stat, statSlots } from "../world/index.ts";
import type { Pause } from "./content.ts";
import { DirectoryReader, nameBytes } from "./directory-reader.ts";
import { isGone, MetadataComparer, typeOf } from "./metadata.ts";
import { PartHasher, partBytesMax, partBytesMin, type Sha256 } from "./part-hasher.ts";
import {
  hashedAttributes,
  identitySlots,
  type PartRun,
  type RemoteEntry,
  type RemotePage,
  type RemoteParts,
  remotePathBytesMax,
  type RemoteTree,
} from "./remote-tree.ts";
import { isSame } from "./sides.ts";
import { SortedNames } from "./sorted-names.ts";

/** Directories of which names are kept, at most; the pages of others are read anew. */
const listingCountMax = 4;
/** A page is full when it has so many bytes. */
const pageBytes = 65_536;
const entryFixedBytes = 96;
/** Parts in one answer, zeros not counted; and bytes of them. */
const answerPartsMax = 256;
const answerDataBytesMax = 4 * 1024 * 1024;
const answerRunsMax = 1024;
/** An answer does not grow for longer than this. */
const answerUsMax = 100_000;
/** Below PATH_MAX (4096, with the closing NUL) by more than one name. */
const jumpBytes = 3800;
const stepEntries = 64;

const noName = new Uint8Array(0);
const nothing = new Uint8Array(0);

export interface TreeReaderOptions {
  readonly sha256: Sha256;
  readonly salt: Uint8Array;
  readonly nowUs: () => number;
  /** Called after each step; see Pause. What is cancelled is answered by EINTR. */
  readonly pause: Pause;
}

export class TreeReader implements RemoteTree {
  readonly sha256: Sha256;
  readonly salt: Uint8Array;
  readonly aheadMs = 0;
  readonly #files: Files;
  readonly #rootFd: number;
  readonly #options: TreeReaderOptions;
  readonly #reader: DirectoryReader;
  readonly #metadata: MetadataComparer;
  readonly #hasher: PartHasher;
  readonly #root = new Float64Array(statSlots);
  /** By path, the one used last at the end; with the name that a page ended with. */
  readonly #listings = new Map<string, { after: string; names: SortedNames }>();

  /** The descriptor stays the caller's. */
  constructor(files: Files, rootFd: number, options: TreeReaderOptions) {
    this.#files = files;
    this.#rootFd = rootFd;
    this.#options = options;
    this.sha256 = options.sha256;
    this.salt = options.salt;
    this.#reader = new DirectoryReader(files);
    this.#metadata = new MetadataComparer(files);
    this.#hasher = new PartHasher(files, options.sha256, options.salt);
    files.statAt(rootFd, noName, this.#root);
  }

  async list(path: Uint8Array, after: string): Promise<RemotePage | number> {
    const fd = this.#open(path, Open.read | Open.directory | Open.noFollow);
    if (fd < 0) return fd;
    try {
      const names = await this.#namesAfter(path, fd, after);
      // Awaited here: the descriptor is closed afterwards.
      return typeof names === "number" ? names : await this.#page(path, fd, names);
    } finally {
      this.#files.close(fd);
    }
  }

  async #namesAfter(path: Uint8Array, fd: number, after: string): Promise<SortedNames | number> {
    const key = keyOf(path);
    const kept = this.#listings.get(key);
    this.#listings.delete(key);
    if (kept?.after === after && after !== "") return kept.names;
    const names = await SortedNames.read(this.#reader, fd, this.#options.pause);
    if (names === "cancelled") return -Errno.EINTR;
    if (typeof names === "number") return names;
    for (let count = 0; names.next !== undefined && names.next <= after; count++) {
      names.take();
      if (count % pageBytes === 0 && (await this.#options.pause(0))) return -Errno.EINTR;
    }
    return names;
  }

  async #page(path: Uint8Array, fd: number, names: SortedNames): Promise<RemotePage | number> {
    const entries: RemoteEntry[] = [];
    let bytes = 0;
    for (let count = 1; bytes < pageBytes; count++) {
      const name = names.take();
      if (name === undefined) return { entries, hasMore: false };
      const entry = this.#look(fd, name);
      if (count % stepEntries === 0 && (await this.#options.pause(0))) return -Errno.EINTR;
      // Gone since it was listed.
      if (entry === undefined) continue;
      entries.push(entry);
      bytes += entryFixedBytes + name.length + lengthOf(entry.link) + lengthOf(entry.attributes);
    }
    const hasMore = names.next !== undefined;
    if (hasMore) this.#keep(path, entries.at(-1)!.name, names);
    return { entries, hasMore };
  }

  #keep(path: Uint8Array, after: string, names: SortedNames): void {
    const oldest = this.#listings.keys().next().value;
    if (this.#listings.size >= listingCountMax && oldest !== undefined) {
      this.#listings.delete(oldest);
    }
    this.#listings.set(keyOf(path), { after, names });
  }

  async look(path: Uint8Array): Promise<RemoteEntry | number> {
    await this.#options.pause(0);
    const { folder, name } = partsOf(path);
    const fd = this.#open(folder, Open.read | Open.directory | Open.noFollow);
    if (fd < 0) return fd;
    const entry = isName(name) || path.length === 0 ? this.#look(fd, name) : undefined;
    this.#files.close(fd);
    return entry === undefined ? -Errno.ENOENT : { ...entry, name: "" };
  }

  #look(directory: number, name: string): RemoteEntry | undefined {
    const bytes = nameBytes(name);
    const stat = new Float64Array(statSlots);
    const result = this.#files.statAt(directory, bytes, stat);
    if (isGone(result)) return undefined;
    if (result < 0) return { name, stat: result, link: nothing, attributes: nothing };
    const isLink = typeOf(stat) === Mode.symlink;
    const link = isLink ? copy(this.#metadata.readLink(directory, bytes)) : nothing;
    const list =
      stat[Stat.attributeBytes] === 0 ? nothing : this.#metadata.readAttributes(directory, bytes);
    const attributes = typeof list === "number" ? list : hashedAttributes(list, this);
    const isForeign =
      stat[Stat.mount] !== this.#root[Stat.mount] ||
      (typeOf(stat) === Mode.directory && stat[Stat.dev] !== this.#root[Stat.dev]);
    stat[Stat.mount] = isForeign ? 1 : 0;
    return { name, stat, link, attributes };
  }

  async parts(path: Uint8Array, from: number, partBytes: number): Promise<RemoteParts | number> {
    const isPart = partBytes >= partBytesMin && partBytes <= partBytesMax;
    if (!isPart || from % partBytes !== 0) return -Errno.EINVAL;
    const fd = this.#openFile(path);
    if (fd < 0) return fd;
    try {
      const stat = new Float64Array(statSlots);
      const result = this.#files.fstat(fd, stat);
      if (result < 0) return result;
      const runs = await this.#runs(fd, stat[Stat.size] ?? 0, from, partBytes);
      if (typeof runs === "number") return runs;
      const now = new Float64Array(statSlots);
      const isUnchanged = this.#files.fstat(fd, now) >= 0 && isSame(stat, now);
      for (let slot = 0; slot < statSlots; slot++) {
        if (!identitySlots.includes(slot)) stat[slot] = 0;
      }
      return { stat, isUnchanged, runs };
    } finally {
      this.#files.close(fd);
    }
  }

  /** A regular file. To open a device can be to set it going, so that is looked at before. */
  #openFile(path: Uint8Array): number {
    const { folder, name } = partsOf(path);
    if (!isName(name)) return -Errno.ENOENT;
    const bytes = nameBytes(name);
    const directory = this.#open(folder, Open.path | Open.directory | Open.noFollow);
    if (directory < 0) return directory;
    const stat = new Float64Array(statSlots);
    const result = this.#files.statAt(directory, bytes, stat);
    const isFile = result >= 0 && typeOf(stat) === Mode.regular;
    const flags = Open.read | Open.noFollow | Open.nonBlock;
    const fd = isFile
      ? this.#files.openBeneath(directory, bytes, flags, 0)
      : Math.min(result, 0) || -Errno.ENOENT;
    this.#files.close(directory);
    return fd;
  }

  async #runs(
    fd: number,
    size: number,
    from: number,
    partBytes: number,
  ): Promise<PartRun[] | number> {
    const hasher = this.#hasher;
    hasher.start(fd, size, partBytes);
    const runs: PartRun[] = [];
    const endUs = this.#options.nowUs() + answerUsMax;
    let hashCount = 0;
    let dataBytes = 0;
    for (let position = from; position < size; position = runs.at(-1)!.end) {
      if (hashCount >= answerPartsMax || runs.length >= answerRunsMax) break;
      if (dataBytes >= answerDataBytesMax) break;
      const result = hasher.step(position);
      if (result < 0) return result;
      const { end, hash, readBytes } = hasher;
      assert(end > position, "each step goes forward");
      const last = runs.at(-1);
      if (hash === undefined && last !== undefined && last.hash === undefined) runs.pop();
      runs.push({ end, hash });
      if (hash !== undefined) hashCount += 1;
      dataBytes += readBytes;
      if (await this.#options.pause(readBytes)) return -Errno.EINTR;
      if (this.#options.nowUs() >= endUs) break;
    }
    return runs;
  }

  /** Many levels a call, each call below PATH_MAX. Names that are none do not exist. */
  #open(path: Uint8Array, flags: number): number {
    if (path.length === 0) return this.#files.openBeneath(this.#rootFd, noName, flags, 0);
    if (path.length > remotePathBytesMax) return -Errno.ENAMETOOLONG;
    const names = keyOf(path).split("/");
    if (!names.every(isName)) return -Errno.ENOENT;
    const way = Open.path | Open.directory | Open.noFollow;
    let fd = -1;
    for (let next = 0; next < names.length;) {
      let part = names[next++]!;
      while (next < names.length && part.length + 1 + names[next]!.length <= jumpBytes) {
        part += `/${names[next++]!}`;
      }
      const from = fd < 0 ? this.#rootFd : fd;
      const isLast = next === names.length;
      const below = this.#files.openBeneath(from, nameBytes(part), isLast ? flags : way, 0);
      if (fd >= 0) this.#files.close(fd);
      if (below < 0) return below;
      fd = below;
    }
    return fd;
  }
}

function partsOf(path: Uint8Array): { folder: Uint8Array; name: string } {
  const slash = path.lastIndexOf(0x2f);
  const name = keyOf(path.subarray(slash + 1));
  return { folder: path.subarray(0, Math.max(slash, 0)), name };
}

function keyOf(path: Uint8Array): string {
  return Buffer.from(path.buffer, path.byteOffset, path.length).toString("latin1");
}

function isName(name: string): boolean {
  if (name === "" || name.length > 255 || name === "." || name === "..") return false;
  return !name.includes("\0") && !name.includes("/");
}

function copy(bytes: Uint8Array | number): Uint8Array | number {
  return typeof bytes === "number" ? bytes : new Uint8Array(bytes);
}

function lengthOf(bytes: Uint8Array | number | undefined): number {
  return typeof bytes === "object" ? bytes.length : 0;
}
