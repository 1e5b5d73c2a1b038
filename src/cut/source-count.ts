/**
 * `SourceCount`: counts the source's regular files and the bytes of their content, beside a sync,
 * for "so much of so much": nobody knows the totals when a comparison begins.
 *
 * In: the root and the ignore rules. Out: `files`, `bytes`, `isComplete`. It counts what the cut
 * counts as done (content-share.ts): not what is ignored, reserved, or on another mount, nor what
 * lies in folders that cannot be opened. While the source changes it is an estimate.
 * Works in slices with rests between, so that it takes a twentieth of the thread, however long
 * others keep it from having its turn.
 * Memory: one batch of entries, and the folders that wait. When those are too many or lie too deep
 * the count ends without being complete (`isOver`): what was counted is then a lower bound.
 */
import { DirectoryEntries } from "../descriptors/index.ts";
import type { FollowedMounts } from "../capture/index.ts";
import { type IgnoreSettings, RuleChain } from "../ignore/index.ts";
import { type Clock, type Files, Mode, Open, Stat, statSlots, type Timer } from "../world/index.ts";
import { isHoldName } from "../wire/index.ts";
import { contentShare, isCounted } from "./content-share.ts";
import { type FolderRules, folderRules, isIgnoredIn } from "./folder-rules.ts";

/** Folders known and not looked at yet. */
export const waitingFolderCountMax = 131_072;
/** Folders within each other. */
export const folderLevelMax = 4096;
const restMs = 50;
/** A slice lasts for this part of the time since the last, and to the end of a batch. */
const sliceShare = 0.05;
const sliceUsMin = 2000;
/** So that nothing waits noticeably, even after a long time. */
const sliceUsMax = 50_000;
/** Of entries, at once: some hundred. */
const batchBytes = 65_536;
/** Bytes of a path opened in one call: less than PATH_MAX. */
const stepBytes = 4000;

const noName: Uint8Array = new Uint8Array(0);
const slash: Uint8Array = Buffer.from("/");

interface Folder {
  readonly above: Folder | undefined;
  readonly name: Uint8Array;
  readonly level: number;
  /** The rules that hold in it, without those of its own file until it is opened. */
  readonly rules: RuleChain;
}

export interface SourceCountOptions {
  readonly files: Files;
  readonly clock: Clock;
  readonly rootFd: number;
  /** No rules when absent. */
  readonly ignore?: IgnoreSettings;
  /** Filesystems below the root that are counted, too. */
  readonly followed?: FollowedMounts | undefined;
}

export class SourceCount {
  /** Names of regular files so far, and bytes of their content. */
  files = 0;
  bytes = 0;
  /** All has been counted. */
  isComplete = false;
  /** It is complete, was stopped, or cannot become complete. */
  isOver = false;
  readonly #of: SourceCountOptions;
  readonly #entries: DirectoryEntries;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  /** The next is the last. */
  readonly #waiting: Folder[] = [];
  #mount = 0;
  #timer: Timer | undefined;
  /** The folder that is being read. */
  #folder: Folder | undefined;
  #rules: FolderRules;
  #fd = -1;

  constructor(options: SourceCountOptions) {
    this.#of = options;
    this.#entries = new DirectoryEntries(options.files, batchBytes, 1);
    const chain = new RuleChain(options.ignore?.first ?? [], options.ignore?.last ?? []);
    this.#rules = { chain, path: "" };
  }

  /** Begins, with a rest. */
  start(): void {
    const { files, rootFd } = this.#of;
    if (files.statAt(rootFd, noName, this.#stat) < 0) return this.stop();
    this.#mount = this.#stat[Stat.mount]!;
    this.#waiting.push({ above: undefined, name: noName, level: 0, rules: this.#rules.chain });
    this.#rest();
  }

  /** Ends it, complete or not, and lets go of what it holds. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#waiting.length = 0;
    this.#leave();
    this.isOver = true;
  }

  #rest(): void {
    const { clock } = this.#of;
    const restedUs = clock.monotonicUs();
    this.#timer = clock.after(restMs, () => {
      const nowUs = clock.monotonicUs();
      const sliceUs = Math.max(sliceUsMin, (nowUs - restedUs) * sliceShare);
      const untilUs = nowUs + Math.min(sliceUsMax, sliceUs);
      do this.#step();
      while (!this.isOver && clock.monotonicUs() < untilUs);
      if (!this.isOver) this.#rest();
    });
  }

  /** One batch of entries, or the next folder. */
  #step(): void {
    if (this.#fd >= 0) {
      // A folder that cannot be read to its end is a problem of its path, which the cut tells.
      if (this.#entries.next(this.#fd, (name, stat) => this.#count(name, stat)) <= 0) this.#leave();
      return;
    }
    const folder = this.#waiting.pop();
    if (folder === undefined) {
      this.isComplete = true;
      this.stop();
      return;
    }
    this.#enter(folder);
  }

  #leave(): void {
    if (this.#fd >= 0) this.#of.files.close(this.#fd);
    this.#fd = -1;
    this.#folder = undefined;
  }

  /** A folder that has gone meanwhile, or may not be opened, counts nothing. */
  #enter(folder: Folder): void {
    const names: Uint8Array[] = [];
    for (let at = folder; at.above !== undefined; at = at.above) names.push(at.name);
    names.reverse();
    const fd = this.#open(names);
    if (fd < 0) return;
    this.#folder = folder;
    this.#fd = fd;
    const { files, ignore } = this.#of;
    this.#rules = folderRules(files, fd, folder.rules, ignore, () => names);
  }

  /** In steps: a path may be longer than one call takes. */
  #open(names: readonly Uint8Array[]): number {
    const { files, rootFd } = this.#of;
    const flags = Open.read | Open.directory | Open.noFollow;
    let fd = files.openBeneath(rootFd, noName, flags, 0);
    for (let index = 0; index < names.length && fd >= 0;) {
      const parts: Uint8Array[] = [];
      for (let bytes = 0; index < names.length; index++) {
        const name = names[index]!;
        bytes += name.length + 1;
        if (parts.length > 0 && bytes > stepBytes) break;
        if (parts.length > 0) parts.push(slash);
        parts.push(name);
      }
      const next = files.openBeneath(fd, Buffer.concat(parts), flags, 0);
      files.close(fd);
      fd = next;
    }
    return fd;
  }

  #count(name: Uint8Array, stat: Float64Array): void {
    const folder = this.#folder;
    // Stopped by an entry before this one of the same batch.
    if (folder === undefined) return;
    if (stat[Stat.mount] !== this.#mount && this.#of.followed === undefined) return;
    if (folder.level === 0 && isHoldName(name)) return;
    const isFolder = (stat[Stat.mode]! & Mode.typeMask) === Mode.directory;
    if (!isFolder && !isCounted(stat)) return;
    if (isIgnoredIn(this.#rules, this.#of.ignore, name, isFolder)) return;
    if (this.#of.followed?.admits(stat) === false) return;
    if (!isFolder) {
      this.files++;
      this.bytes += contentShare(stat);
      return;
    }
    const level = folder.level + 1;
    if (level > folderLevelMax || this.#waiting.length >= waitingFolderCountMax) return this.stop();
    this.#waiting.push({ above: folder, name: name.slice(), level, rules: this.#rules.chain });
  }
}
