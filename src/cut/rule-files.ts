/**
 * `RuleFiles`: the ignore rules that hold in each folder of the source, as its `.lockstepignore`
 * files and the command line have them.
 *
 * In: folders that are scanned, and events of rule files. Out: whether a name is ignored.
 * A rule file that is found by a scan counts at once. One that changes while it is known counts
 * together with what it said before, until it has rested for `ruleRestUs`: programs empty a file
 * before they write it anew, and what was ignored must not be sent, or removed from the target, for
 * the moment between. What either of the two ignores is left alone. Then its folder is scanned.
 * A rule file that cannot be read, or is too large, is a problem of its path, and all of its folder
 * is left alone until it can be.
 * Cost: nothing while there are no rules; else a lookup in the chain that the folder's names share.
 */
import type { FollowedMounts } from "../capture/index.ts";
import type { Directories } from "../descriptors/index.ts";
import {
  type IgnoreSettings,
  parsePatterns,
  RuleChain,
  ruleBytesMax,
  ruleFileName,
} from "../ignore/index.ts";
import type { ProblemLog } from "../model/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { type Clock, Errno, type Files, Mode, Open, Stat, statSlots } from "../world/index.ts";
import { type DirtySet, latin1 } from "./dirty-set.ts";

const noRules: IgnoreSettings = { first: [], last: [], readsFiles: false };

/** Rest of a rule file after which what it said before no longer counts. */
export const ruleRestUs = 250_000;
/** A rule file that cannot be used, or of which nobody tells, is read anew this often. */
export const ruleRetryUs = 2_000_000;
/** Folders whose path and rules are remembered. */
export const placeCountMax = 65536;

const ruleName: Uint8Array = Buffer.from(ruleFileName);
const noName: Uint8Array = new Uint8Array(0);
/** All that a folder's file says when it cannot be read. */
const everything: readonly string[] = ["*"];
const ELOOP = -Errno.ELOOP;
const stampSlots = [Stat.ino, Stat.size, Stat.mtimeSec, Stat.mtimeNsec, Stat.ctimeNsec] as const;

interface Folder {
  patterns: readonly string[];
  /** What the file said before its last change, while that still counts. */
  former: readonly string[] | undefined;
  /** Tells the file as it was read from a later one. */
  stamp: string;
  /** What is wrong with the file, as it was told. */
  faults: string;
  isUsable: boolean;
  /** 0 when there is no file, or it could not be opened. */
  ino: number;
}

const noFile: Folder = {
  patterns: [],
  former: undefined,
  stamp: "",
  faults: "",
  isUsable: true,
  ino: 0,
};

interface Place {
  /** Latin-1, with a slash at its end; empty for the root. */
  readonly path: string;
  readonly chain: RuleChain;
  /** The chain with the former rules, where they differ. */
  readonly former: RuleChain;
}

export class RuleFiles {
  readonly #files: Files;
  readonly #tree: Tree;
  readonly #directories: Directories;
  readonly #dirty: DirtySet;
  readonly #clock: Clock;
  readonly #problems: ProblemLog;
  readonly #readsFiles: boolean;
  readonly #base: RuleChain;
  /** What was mounted and has gone is left alone like what is ignored. */
  readonly #followed: FollowedMounts | undefined;
  readonly #folders: Map<number, Folder> = new Map();
  readonly #places: Map<number, Place> = new Map();
  readonly #stat: Float64Array = new Float64Array(statSlots);
  /** A rule file was met: files that are written may be rule files. */
  #isMet = false;
  /** Monotonic µs at which former rules end; Infinity when there are none. */
  nextDueUs = Infinity;

  constructor(options: {
    files: Files;
    tree: Tree;
    directories: Directories;
    dirty: DirtySet;
    clock: Clock;
    problems: ProblemLog;
    ignore?: IgnoreSettings;
    followed?: FollowedMounts;
  }) {
    this.#files = options.files;
    this.#tree = options.tree;
    this.#directories = options.directories;
    this.#dirty = options.dirty;
    this.#clock = options.clock;
    this.#problems = options.problems;
    this.#followed = options.followed;
    const { first, last, readsFiles } = options.ignore ?? noRules;
    this.#readsFiles = readsFiles;
    this.#base = new RuleChain(first, last);
  }

  /** Whether any name may be ignored. */
  get isActive(): boolean {
    return this.#folders.size > 0 || !this.#base.isEmpty || this.#followed?.hasGone === true;
  }

  /** Whether a folder that moves may find other rules at its new place. */
  get dependOnPlace(): boolean {
    if (this.#base.isAnchored || this.#followed?.hasGone === true) return true;
    for (const node of this.#folders.keys()) {
      if (node !== rootId || this.#place(rootId)?.chain.isAnchored === true) return true;
    }
    return false;
  }

  isRuleName(name: Uint8Array): boolean {
    if (name.length !== ruleName.length || !this.#readsFiles) return false;
    for (let i = 0; i < name.length; i++) if (name[i] !== ruleName[i]) return false;
    this.#isMet = true;
    return true;
  }

  /** Whether a known file is a rule file. */
  isRuleFile(node: number): boolean {
    if (!this.#isMet) return false;
    const { names, firstName } = this.#tree;
    for (let id = firstName[node]!; id !== 0; id = names.nextOfNode[id]!) {
      if (this.isRuleName(names.bytes(id))) return true;
    }
    return false;
  }

  /**
   * Whether a name of a folder is ignored, or the folder or one above it. Rule files never are: in
   * a folder that is mirrored they are needed where it is mirrored to, to mirror it back.
   */
  isIgnored(folder: number, name: Uint8Array, isFolder: boolean): boolean {
    if (!this.isActive) return false;
    const place = this.#place(folder);
    if (place === undefined) return false;
    if (this.#hasGone(place.path + latin1(name))) return true;
    if (place.chain.isEmpty && place.former.isEmpty) return false;
    if (!isFolder && this.isRuleName(name)) {
      return place.path !== "" && covers(place, place.path);
    }
    return covers(place, place.path + latin1(name) + (isFolder ? "/" : ""));
  }

  /** The same for a path below `folder`, by the rules of that folder and above only. */
  isIgnoredBelow(folder: number, path: string): boolean {
    const place = this.#place(folder);
    if (place === undefined) return false;
    return covers(place, place.path + path) || this.#hasGone(place.path + path);
  }

  #hasGone(path: string): boolean {
    return this.#followed?.hasGone === true && this.#followed.covers(path);
  }

  /**
   * A folder has been scanned and its rule file had this stat record, or none was there.
   * True when that is news to a folder that had none: its names must be judged once more.
   */
  scanned(folder: number, dirFd: number, stat: Float64Array | undefined): boolean {
    const known = this.#folders.get(folder);
    if (stat === undefined && known === undefined) return false;
    if (known !== undefined) {
      if (known.stamp !== stampOf(stat)) this.#reload(folder, dirFd);
      return false;
    }
    const found = this.#read(folder, dirFd, "");
    if (found.patterns.length === 0 && found.faults === "") return false;
    this.#folders.set(folder, found);
    this.#wakeAfter(ruleRetryUs);
    this.#places.clear();
    return found.patterns.length > 0;
  }

  /** These files have changed, some of which may be rule files. */
  hear(nodes: Iterable<number>): void {
    if (!this.#isMet) return;
    for (const node of nodes) if (this.isRuleFile(node)) this.fileChanged(node);
  }

  /** The content of a rule file has changed, or its metadata. */
  fileChanged(node: number): void {
    const { names, firstName } = this.#tree;
    for (let id = firstName[node]!; id !== 0; id = names.nextOfNode[id]!) {
      if (this.isRuleName(names.bytes(id))) this.nameChanged(names.parent[id]!);
    }
  }

  /** A folder's rule file has come, gone, or become another file. */
  nameChanged(folder: number): void {
    const dirFd = this.#directories.get(folder);
    // The folder itself has moved or gone, which is told as well.
    if (dirFd >= 0) this.#reload(folder, dirFd);
  }

  #reload(folder: number, dirFd: number): void {
    const known = this.#folders.get(folder);
    const read = this.#read(folder, dirFd, known?.faults ?? "");
    const before = known?.patterns ?? [];
    const isSame = read.patterns.join("\n") === before.join("\n");
    if (isSame && known === undefined) return;
    const former = isSame ? known?.former : (known?.former ?? before);
    // The same object stays while the same is said: `settle` sees what has changed by that.
    if (known !== undefined && isSame) Object.assign(known, { ...read, former });
    else this.#folders.set(folder, { ...read, former });
    this.#wakeAfter(ruleRetryUs);
    if (former === undefined) return;
    this.nextDueUs = Infinity;
    this.#wakeAfter(ruleRestUs);
    this.#places.clear();
  }

  #wakeAfter(delayUs: number): void {
    this.nextDueUs = Math.min(this.nextDueUs, this.#clock.monotonicUs() + delayUs);
  }

  /** Whether what a rule file said before its last change still counts. */
  get isResting(): boolean {
    for (const { former } of this.#folders.values()) if (former !== undefined) return true;
    return false;
  }

  /** What was said before a change no longer counts, if it has rested. */
  settle(nowUs: number): void {
    if (nowUs < this.nextDueUs) return;
    this.nextDueUs = Infinity;
    for (const [node, folder] of this.#folders) {
      if (!folder.isUsable || !this.#isHeard(node, folder)) {
        this.#wakeAfter(ruleRetryUs);
        this.nameChanged(node);
      }
      // If it has changed just now, it has to rest.
      if (folder.former === undefined || this.#folders.get(node) !== folder) continue;
      folder.former = undefined;
      if (folder.patterns.length === 0 && folder.faults === "") this.#folders.delete(node);
      this.#dirty.addScan(node, true, 0);
    }
    this.#places.clear();
  }

  /** Whether changes of the file are told: not when the target has no place for it. */
  #isHeard(folder: number, { ino }: Folder): boolean {
    return ino === 0 || this.#tree.ino[this.#tree.child(folder, ruleName)] === ino;
  }

  /** A folder has another path now. */
  moved(): void {
    if (this.#places.size > 0) this.#places.clear();
  }

  /** A folder is no longer mirrored. */
  forget(folder: number): void {
    if (this.#places.size > 0) this.#places.delete(folder);
    if (this.#folders.size > 0) this.#folders.delete(folder);
  }

  #read(folder: number, dirFd: number, told: string): Folder {
    const path = folder === rootId ? ruleFileName : `${this.#tree.path(folder)}/${ruleFileName}`;
    const flags = Open.read | Open.noFollow | Open.nonBlock;
    const fd = this.#files.openBeneath(dirFd, ruleName, flags, 0);
    if (fd === -Errno.ENOENT) return { ...noFile };
    if (fd < 0) {
      const reason = fd === ELOOP ? "a symbolic link is no rule file" : "it cannot be opened";
      return this.#unusable(path, reason, told);
    }
    const { bytes, ...version } = this.#content(fd);
    this.#files.close(fd);
    if (typeof bytes === "string") return { ...this.#unusable(path, bytes, told), ...version };
    const { patterns, faults } = parsePatterns(bytes);
    const text = faults.map((fault) => `${fault.line} ${fault.pattern}`).join("\n");
    if (text !== told) {
      for (const { line, pattern, reason } of faults) {
        this.#problem(path, `line ${line}, pattern ${pattern}`, reason);
      }
    }
    return { ...noFile, patterns, faults: text, ...version };
  }

  /** The bytes, or why there are none. */
  #content(fd: number): { bytes: Uint8Array | string; stamp: string; ino: number } {
    const stat = this.#stat;
    const unread = "it cannot be read";
    if (this.#files.statAt(fd, noName, stat) < 0) return { bytes: unread, stamp: "", ino: 0 };
    const version = { stamp: stampOf(stat), ino: stat[Stat.ino]! };
    // A folder or a pipe of that name is a folder or a pipe.
    if ((stat[Stat.mode]! & Mode.typeMask) !== Mode.regular) {
      return { bytes: noName, ...version };
    }
    const bytes = new Uint8Array(ruleBytesMax + 1);
    const read = this.#files.pread(fd, bytes, 0, bytes.length, 0);
    if (read < 0) return { bytes: unread, ...version };
    const tooLarge = `it has more than ${ruleBytesMax} bytes`;
    return { bytes: read > ruleBytesMax ? tooLarge : bytes.subarray(0, read), ...version };
  }

  #problem(path: string, operation: string, errno: string): void {
    this.#problems.add({ side: "source", path, operation, errno });
  }

  #unusable(path: string, reason: string, told: string): Folder {
    if (reason !== told) this.#problem(path, "read the rules, so its folder is left alone", reason);
    return { ...noFile, patterns: everything, faults: reason, isUsable: false };
  }

  /** Path and rules of a folder; undefined while it has no path. */
  #place(folder: number): Place | undefined {
    const known = this.#places.get(folder);
    if (known !== undefined) return known;
    const { names, firstName } = this.#tree;
    const missing: number[] = [];
    let above: Place | undefined;
    for (let at = folder; above === undefined;) {
      missing.push(at);
      if (at === rootId) break;
      const id: number = firstName[at]!;
      if (id === 0) return undefined;
      at = names.parent[id]!;
      above = this.#places.get(at);
    }
    if (this.#places.size + missing.length > placeCountMax) this.#places.clear();
    for (let at = missing.pop(); at !== undefined; at = missing.pop()) {
      const path: string =
        above === undefined ? "" : `${above.path}${latin1(names.bytes(firstName[at]!))}/`;
      above = this.#below(above, path, this.#folders.get(at));
      this.#places.set(at, above);
    }
    return above;
  }

  #below(above: Place | undefined, path: string, folder: Folder | undefined): Place {
    const { chain, former } = above ?? { chain: this.#base, former: this.#base };
    if (folder === undefined) return { path, chain, former };
    const next = chain.below(path, folder.patterns);
    const isSame = chain === former && folder.former === undefined;
    return {
      path,
      chain: next,
      former: isSame ? next : former.below(path, folder.former ?? folder.patterns),
    };
  }
}

function covers({ chain, former }: Place, path: string): boolean {
  return chain.ignores(path) || (former !== chain && former.ignores(path));
}

function stampOf(stat: Float64Array | undefined): string {
  return stat === undefined ? "" : stampSlots.map((slot) => stat[slot]).join(" ");
}
