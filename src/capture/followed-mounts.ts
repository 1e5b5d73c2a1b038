/**
 * `FollowedMounts`: the filesystems mounted below a source that are followed (`--cross-mounts`).
 *
 * In: the mount table, read again when the kernel says that it has changed (poll(2) on
 * /proc/self/mountinfo), and stat records of mount points that somebody meets. Out: whether what
 * was met belongs to the source; `files`, in which inode numbers say their filesystem; and to
 * listeners the places where something was mounted or unmounted.
 *
 * A filesystem is followed when it is met: capture tells of it before its first folder is read.
 * Each gets a number, the same one again at the same place, also in later runs.
 * What is unmounted while it is followed, or was in an earlier run and is not mounted now, is
 * *gone*: an empty folder at its place does not say that its content was deleted. The target's
 * copy stays as it is, as if it were ignored, until something is mounted there again or a person
 * confirms.
 *
 * Invariants: no descriptor of a followed filesystem is kept here, so it can be unmounted. One that
 * comes back, even with the number of the mount before, is compared anew: what was known of its
 * inodes is given up by listeners (`departed`).
 * Limits: followedCountMax, mountTableBytesMax, filesystemNumberMax (of followed and gone ones).
 */
import { assert } from "../base/index.ts";
import { type MountBelow, type MountLog, MountTable, parseMountTable } from "../model/index.ts";
import {
  errnoName,
  type Files,
  type Kernel,
  Open,
  PollEvent,
  Stat,
  statSlots,
} from "../world/index.ts";
import type { CaptureBackend } from "./backend.ts";
import { followedFiles } from "./followed-files.ts";
import { filesystemNumberMax, foreignFilesystem, withFilesystem } from "./inode-keys.ts";

/** Bytes of the mount table; of a longer one the rest is not seen. */
export const mountTableBytesMax = 4_194_304;

const noName: Uint8Array = new Uint8Array(0);
const directoryKind = 0o040000;
const kindMask = 0o170000;

/** Places are relative to the source, Latin-1, one character a byte. */
export interface MountChange {
  /** What was known below these is not to be relied on any more. */
  readonly departed: readonly string[];
  /** To be looked at. */
  readonly changed: readonly string[];
}

export interface FollowedMountsOptions {
  readonly system: Kernel & Files;
  readonly backend: CaptureBackend;
  readonly rootFd: number;
  /** Absolute and real. */
  readonly rootPath: Uint8Array;
  /** Descriptors, for now, of targets and backup folders: their filesystems are not followed. */
  readonly avoided: readonly number[];
  /** Places that an earlier run followed, and their numbers. */
  readonly remembered: Iterable<readonly [place: string, number: number]>;
  /** Hears of mount points that are left out. */
  readonly leftOut: MountLog;
  /** To be remembered for the next run. */
  readonly remember: (places: ReadonlyMap<string, number>) => void;
  readonly onFollowed: (place: string) => void;
  readonly onGone: (place: string) => void;
  /** Something is mounted where one had gone. */
  readonly onBack: (place: string) => void;
}

interface Followed {
  readonly number: number;
  readonly mount: number;
  /** Of the superblock, and as stat shows it. */
  readonly device: number;
  readonly dev: number;
  /** A change by path is told of its inodes (docs/adr/0013). */
  readonly tellsPaths: boolean;
  place: string;
}

export class FollowedMounts {
  /** For the source: whatever is below the root, over all its filesystems. */
  readonly files: Files;
  readonly #of: FollowedMountsOptions;
  readonly #rootPath: string;
  readonly #rootMount: number;
  readonly #rootDev: number;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly #byMount: Map<number, Followed> = new Map();
  readonly #byDev: Map<number, Followed> = new Map();
  /** Places that have gone, and their numbers. */
  readonly #gone: Map<string, number> = new Map();
  /** Mounts that could not be followed, and why. */
  readonly #refused: Map<number, string> = new Map();
  readonly #listeners: Set<(change: MountChange) => void> = new Set();
  /** Mounts of targets and backup folders. */
  readonly #avoided: readonly number[];
  readonly #fd: number;
  readonly #bytes: Uint8Array = new Uint8Array(mountTableBytesMax);
  #table: MountTable;
  #poll: unknown;

  constructor(options: FollowedMountsOptions) {
    this.#of = options;
    const { system, rootFd, rootPath } = options;
    this.#rootPath = Buffer.from(rootPath).toString("latin1");
    const result = system.statAt(rootFd, noName, this.#stat);
    assert(result === 0, "the root is open");
    this.#rootMount = this.#stat[Stat.mount]!;
    this.#rootDev = this.#stat[Stat.dev]!;
    this.#avoided = options.avoided.map((fd) => {
      return system.fstat(fd, this.#stat) < 0 ? -1 : this.#stat[Stat.mount]!;
    });
    this.#fd = system.openPath(Buffer.from("/proc/self/mountinfo"), Open.read);
    this.#table = this.#read();
    this.files = followedFiles(system, (stat) => this.#numberOf(stat));
    const mounted = new Set([...this.#table.below].map(({ place }) => place));
    for (const [place, number] of options.remembered) this.#gone.set(place, number);
    for (const place of this.gone) {
      // Told by what it is now when somebody meets it.
      if (mounted.has(place)) this.#back(place);
      else options.onGone(place);
    }
  }

  /** Listens for mounts that come and go. */
  start(): void {
    if (this.#fd < 0) return;
    const { system } = this.#of;
    this.#poll = system.pollStart(this.#fd, () => this.refresh());
    system.pollSet(this.#poll, PollEvent.priority);
  }

  close(): void {
    const { system } = this.#of;
    if (this.#poll !== undefined) system.pollStop(this.#poll);
    this.#poll = undefined;
    if (this.#fd >= 0) system.close(this.#fd);
  }

  /** Calls back, perhaps out of `admits` or `refresh`, until what is returned is called. */
  listen(listener: (change: MountChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Where filesystems are followed. */
  get places(): readonly string[] {
    return [...this.#byMount.values()].map(({ place }) => place);
  }

  /**
   * Where a change by path, of which nobody knows what it led to, may have gone unheard: places, or
   * undefined when it may have been anywhere.
   */
  get unheardPlaces(): readonly string[] | undefined {
    if (!tellsPaths(this.#table.kind)) return undefined;
    return [...this.#byMount.values()].flatMap((one) => (one.tellsPaths ? [] : [one.place]));
  }

  get isEmpty(): boolean {
    return this.#byMount.size === 0;
  }

  /** Where they were, and nothing is mounted now. */
  get gone(): readonly string[] {
    return [...this.#gone.keys()];
  }

  get hasGone(): boolean {
    return this.#gone.size > 0;
  }

  /** Whether a path is, or lies below, a place of which the filesystem has gone. */
  covers(path: string): boolean {
    for (const place of this.#gone.keys()) {
      if (path.startsWith(place) && (path.length === place.length || path[place.length] === "/")) {
        return true;
      }
    }
    return false;
  }

  /**
   * Whether an entry of the source belongs to it: it is on the root's filesystem, or on one that is
   * followed, from now on at the latest. Its inode in `stat` is made that filesystem's.
   */
  admits(stat: Float64Array): boolean {
    const mount = stat[Stat.mount]!;
    const known = this.#byMount.get(mount);
    const dev = known?.dev ?? (mount === this.#rootMount ? this.#rootDev : undefined);
    if (dev !== undefined) return this.#isNoSubvolume(stat, dev);
    const followed = this.#meet(mount);
    if (followed === undefined) return false;
    stat[Stat.ino] = withFilesystem(stat[Stat.ino]!, followed.number);
    return true;
  }

  /** A folder of one mount and another device: its inode numbers are also others'. */
  #isNoSubvolume(stat: Float64Array, dev: number): boolean {
    return stat[Stat.dev] === dev || (stat[Stat.mode]! & kindMask) !== directoryKind;
  }

  /** Why an entry that was not admitted was not. */
  reasonOf(stat: Float64Array): string {
    const mount = stat[Stat.mount]!;
    if (mount === this.#rootMount || this.#byMount.has(mount)) return "it is a btrfs subvolume";
    const refused = this.#refused.get(mount) ?? this.#table.find(mount)?.leftOut;
    return refused ?? "it is not in the mount table";
  }

  #meet(mount: number): Followed | undefined {
    if (this.#table.find(mount) === undefined) this.refresh();
    const below = this.#table.find(mount);
    if (below === undefined || below.leftOut !== undefined) return undefined;
    return this.#byMount.get(mount) ?? this.#follow(below);
  }

  #follow(below: MountBelow): Followed | undefined {
    if (this.#refused.has(below.id)) return undefined;
    const { system, backend } = this.#of;
    const { id, device, place } = below;
    const fd = system.openPath(Buffer.from(below.path, "latin1"), Open.read | Open.directory);
    const error = fd < 0 ? fd : system.statAt(fd, noName, this.#stat);
    const number = this.#numberFor(place);
    const isOther = error >= 0 && this.#stat[Stat.mount] !== id;
    const isReady = error >= 0 && !isOther && number > 0;
    const result = isReady ? (backend.follow?.(number, fd, device) ?? 0) : error;
    const dev = this.#stat[Stat.dev]!;
    if (fd >= 0) system.close(fd);
    // Something else was mounted there just now, of which the kernel tells.
    if (isOther) return undefined;
    if (result < 0 || number === 0) {
      const lack = `${filesystemNumberMax} others are followed or gone: see \`lockstep resume\``;
      this.#refused.set(id, result < 0 ? `it cannot be watched: ${errnoName(result)}` : lack);
      return undefined;
    }
    const followed = { number, mount: id, device, dev, place, tellsPaths: tellsPaths(below.kind) };
    this.#byMount.set(id, followed);
    this.#byDev.set(dev, followed);
    this.#expected.delete(place);
    this.#remember();
    this.#of.onFollowed(place);
    return followed;
  }

  /** Something is mounted again at a place that has gone; it is followed when it is met. */
  #back(place: string): boolean {
    const number = this.#gone.get(place);
    if (number !== undefined) this.#expected.set(place, number);
    return this.#gone.delete(place);
  }

  /** Places that were followed, where something is mounted that nobody has met yet. */
  readonly #expected: Map<string, number> = new Map();

  /** 0 when all are taken. */
  #numberFor(place: string): number {
    const inUse = [...this.#byMount.values()].map(({ number }) => number);
    const wanted = this.#expected.get(place);
    if (wanted !== undefined && !inUse.includes(wanted)) return wanted;
    const taken = new Set([...inUse, ...this.#gone.values(), ...this.#expected.values()]);
    for (let number = 1; number <= filesystemNumberMax; number++) {
      if (!taken.has(number)) return number;
    }
    return 0;
  }

  #numberOf(stat: Float64Array): number {
    const mount = stat[Stat.mount]!;
    if (mount === this.#rootMount) return 0;
    // By another mount of the same filesystem it is the same file.
    const followed = this.#byMount.get(mount) ?? this.#byDev.get(stat[Stat.dev]!);
    if (followed !== undefined) return followed.number;
    return stat[Stat.dev] === this.#rootDev ? 0 : foreignFilesystem;
  }

  /** Reads the mount table and tells what has changed. */
  refresh(): void {
    const before = new Map([...this.#table.below].map((below) => [below.place, below]));
    this.#table = this.#read();
    const now = new Map([...this.#table.below].map((below) => [below.place, below]));
    const changed = new Set<string>();
    for (const [place, { id, leftOut }] of now) {
      const was = before.get(place);
      if (was?.id !== id || was.leftOut !== leftOut) changed.add(place);
      if (!this.#back(place)) continue;
      changed.add(place);
      this.#of.onBack(place);
    }
    for (const [place, number] of [...this.#expected]) {
      if (!now.has(place)) this.#lose(place, number);
    }
    for (const place of before.keys()) if (!now.has(place)) changed.add(place);
    for (const id of this.#refused.keys()) if (!this.#table.find(id)) this.#refused.delete(id);
    const departed: string[] = [];
    for (const followed of [...this.#byMount.values()]) {
      const place = this.#standsAt(followed);
      if (place !== undefined) followed.place = place;
      else departed.push(this.#depart(followed, now));
    }
    if (changed.size + departed.length === 0) return;
    this.#remember();
    const change = { departed, changed: [...changed, ...departed] };
    for (const listener of this.#listeners) listener(change);
  }

  /** Where a followed filesystem is now; undefined when it has gone. */
  #standsAt({ mount, device, number }: Followed): string | undefined {
    const below = this.#table.find(mount);
    if (below === undefined || below.device !== device || below.leftOut !== undefined) {
      return undefined;
    }
    return this.#of.backend.stillFollows?.(number) === false ? undefined : below.place;
  }

  #depart(followed: Followed, now: ReadonlyMap<string, MountBelow>): string {
    const { place, mount, dev, number } = followed;
    this.#byMount.delete(mount);
    if (this.#byDev.get(dev) === followed) this.#byDev.delete(dev);
    this.#of.backend.unfollow?.(number);
    if (now.has(place)) this.#expected.set(place, number);
    else this.#lose(place, number);
    return place;
  }

  #lose(place: string, number: number): void {
    this.#expected.delete(place);
    this.#gone.set(place, number);
    this.#of.onGone(place);
  }

  /** A folder of the source has another path now. */
  moved(from: string, to: string): void {
    const isBelow = (place: string): boolean => place.startsWith(`${from}/`);
    for (const places of [this.#gone, this.#expected]) {
      for (const [place, number] of [...places]) {
        if (isBelow(place) && places.delete(place)) {
          places.set(to + place.slice(from.length), number);
        }
      }
    }
    for (const followed of this.#byMount.values()) {
      if (isBelow(followed.place)) followed.place = to + followed.place.slice(from.length);
    }
    this.#remember();
  }

  /** A person says that what has gone is not coming back. Gives the places. */
  confirmGone(): readonly string[] {
    const places = this.gone;
    if (places.length === 0) return places;
    this.#gone.clear();
    this.#remember();
    for (const listener of this.#listeners) listener({ departed: [], changed: places });
    return places;
  }

  #remember(): void {
    const places = new Map([...this.#gone, ...this.#expected]);
    for (const { place, number } of this.#byMount.values()) places.set(place, number);
    this.#of.remember(places);
  }

  #read(): MountTable {
    const bytes = this.#bytes;
    const used = this.#fd < 0 ? 0 : this.#of.system.pread(this.#fd, bytes, 0, bytes.length, 0);
    const text = Buffer.from(bytes.buffer, 0, Math.max(used, 0)).toString("latin1");
    return new MountTable(parseMountTable(text), {
      path: this.#rootPath,
      mount: this.#rootMount,
      avoided: this.#avoided,
    });
  }
}

/** Filesystems that mark inodes dirty through the VFS: those of EXT_MAGIC in the addon. */
function tellsPaths(kind: string): boolean {
  return kind === "ext2" || kind === "ext3" || kind === "ext4";
}
