/**
 * An independent judge of a mirror: walks two trees and finds every difference. It shares no code
 * with the engine, so a mistake there cannot hide itself here.
 *
 * In: descriptors of both roots. Out: each finding to the reporter, and a summary with the first
 * ones and the counts by kind. `DifferenceKind` says what is compared; the roots themselves are.
 *
 * Live pairs: an entry that differs, or that was read, is looked at again afterwards; if inode or
 * ctime moved, it is compared anew, up to `attemptsMax` times, and then reported as `changing`. A
 * difference that is younger than `settleMs` is looked at again once it is that old, as the mirror
 * may just be about to copy it; on a pair that has come to rest all such waits together take at
 * most about `settleMs`. On kernels before 6.13, ctime moves in steps of a timer tick, and two
 * changes within one step may look like none.
 *
 * Limits: memory for the names of one target directory (about 250 bytes each), for the pending
 * directories of the path that is open, and for inodes with several names; descriptors: see
 * DirectoryStack. Mount points below the roots are counted, and not compared nor entered, but for
 * those of the source that are `followed`.
 */
import { type IgnoreSettings, ruleFileName } from "../ignore/index.ts";
import type { Clock, Files } from "../world/index.ts";
import { Errno, errnoName, Mode, Stat } from "../world/index.ts";
import { mayHaveLostHoles } from "./content.ts";
import { DifferenceKind, differenceKinds } from "./difference.ts";
import type { Difference } from "./difference.ts";
import type { StackError } from "./directory-stack.ts";
import { FollowedMounts, isForeign } from "./followed-mounts.ts";
import { HardLinks } from "./hard-links.ts";
import { LocalSides } from "./local-sides.ts";
import { compareStats, kindName, typeOf } from "./metadata.ts";
import type { Finding } from "./metadata.ts";
import { Pace } from "./pace.ts";
import { RemoteSides } from "./remote-sides.ts";
import type { RemoteTree } from "./remote-tree.ts";
import { isSame, isStat, type Seen, type Sides, type SidesContext, unreadable } from "./sides.ts";
import { VisibleNames } from "./visible-names.ts";
import { WalkCursor } from "./walk-cursor.ts";

const attemptsMax = 4;
const settleWaitsMax = 64;
const yieldUs = 5_000;
const progressUs = 100_000;
/** So soon is seen that the comparison is to end. */
const restMsLongest = 100;

export interface CompareOptions {
  readonly clock: Clock;
  /** Read and compare the bytes of files whose sizes are equal. */
  readonly content: boolean;
  /** Kinds that are neither reported nor counted, such as `owner` where the user is not root. */
  readonly ignore: ReadonlySet<DifferenceKind>;
  /** Names that are not compared; none when absent. */
  readonly rules?: IgnoreSettings;
  /** A difference younger than this is looked at again when it is this old; 0 never waits. */
  readonly settleMs: number;
  /** Findings kept in the summary; all are counted and told to the reporter. */
  readonly differenceCountMax: number;
  /** Bytes compared in a second, at most; the caller keeps the process alive. */
  readonly bytesPerSecond?: number;
  /** Mounts below the source that are compared, too; none when absent. */
  readonly followed?: ReadonlySet<number>;
  /** Where an earlier comparison of the two was; told how far this one is. */
  readonly cursor?: WalkCursor;
  /** Ends the comparison early, within some milliseconds. */
  readonly signal?: AbortSignal;
}

export interface CompareProgress {
  /** Names looked at, of both sides together. */
  readonly entryCount: number;
  /** Bytes of files compared, holes left out. */
  readonly contentBytes: number;
  readonly findingCount: number;
}

export interface CompareReporter {
  /** Each finding, as it is made. */
  difference?(difference: Difference): void;
  /** At most ten times a second. */
  progress?(progress: CompareProgress): void;
}

export interface CompareSummary extends CompareProgress {
  /** Nothing differs, nothing was changing or unreadable, and the walk went to the end. */
  readonly clean: boolean;
  readonly cancelled: boolean;
  /** Certain differences: all kinds but `changing` and `unreadable`. */
  readonly differenceCount: number;
  readonly counts: Readonly<Record<DifferenceKind, number>>;
  /** The first findings. */
  readonly differences: readonly Difference[];
  /** Mount points below the roots, which were not compared. */
  readonly mountPointCount: number;
}

/**
 * Compares the trees below two directories.
 * Ownership: the descriptors stay the caller's, whose reading position is not moved.
 * Errors: none thrown; what cannot be read is a finding of kind `unreadable`.
 * Cost: time as reading both trees; constant memory but for the limits above.
 */
export async function compareTrees(
  files: Files,
  sourceRootFd: number,
  targetRootFd: number,
  options: CompareOptions,
  report: CompareReporter,
): Promise<CompareSummary> {
  const roots = [sourceRootFd, targetRootFd] as const;
  const comparison = new Comparison(files, options, report, (context) => {
    return new LocalSides(files, roots, context);
  });
  return await comparison.run();
}

/**
 * The same with a target at the other end of a link, which is told by hashes what it has.
 * Errors: those of the link; all that was found before was told to the reporter.
 */
export async function compareWithRemote(
  files: Files,
  sourceRootFd: number,
  target: RemoteTree,
  options: CompareOptions,
  report: CompareReporter,
): Promise<CompareSummary> {
  const comparison = new Comparison(files, options, report, (context) => {
    return new RemoteSides(files, sourceRootFd, target, context);
  });
  return await comparison.run();
}

interface Examined {
  readonly findings: readonly Finding[];
  /** The entry was another one at the end than at the start. */
  readonly moved: boolean;
}

class Comparison {
  readonly #options: CompareOptions;
  readonly #report: CompareReporter;
  readonly #sides: Sides;
  readonly #visible: VisibleNames;
  readonly #hardLinks = new HardLinks();
  readonly #mounts: FollowedMounts;
  readonly #cursor: WalkCursor;
  readonly #pace: Pace;
  #sourceRoot: Seen = "absent";
  #targetRoot: Seen = "absent";
  readonly #counts: Record<DifferenceKind, number>;
  readonly #differences: Difference[] = [];
  #entryCount = 0;
  #contentBytes = 0;
  #findingCount = 0;
  #mountPointCount = 0;
  #settleWaitCount = 0;
  #cancelled = false;
  #yieldedUs = 0;
  #progressUs = 0;

  constructor(
    files: Files,
    options: CompareOptions,
    report: CompareReporter,
    makeSides: (context: SidesContext) => Sides,
  ) {
    this.#options = options;
    this.#report = report;
    this.#mounts = new FollowedMounts(options.followed ?? new Set());
    this.#cursor = options.cursor ?? new WalkCursor();
    this.#pace = new Pace(options.bytesPerSecond ?? Infinity);
    this.#visible = new VisibleNames(files, options.rules);
    this.#sides = makeSides({
      pause: (bytes) => this.#yieldWhenDue(bytes),
      content: options.content,
      crosses: options.followed !== undefined,
      cursor: this.#cursor,
      see: (name, source, target) => this.#visible.see(name, source, target),
    });
    this.#counts = Object.fromEntries(differenceKinds.map((kind) => [kind, 0])) as Record<
      DifferenceKind,
      number
    >;
  }

  async run(): Promise<CompareSummary> {
    const { signal } = this.#options;
    const cancel = (): void => {
      this.#cancelled = true;
    };
    signal?.addEventListener("abort", cancel);
    if (signal?.aborted === true) cancel();
    try {
      const error = this.#sides.enterRoots();
      if (error === undefined) await this.#walk();
      else this.#addStackError("", error);
    } finally {
      this.#sides.closeAll();
      signal?.removeEventListener("abort", cancel);
    }
    const counts = this.#counts;
    const uncertainCount = counts.changing + counts.unreadable;
    return {
      ...this.#progressNow(),
      clean: this.#findingCount === 0 && !this.#cancelled,
      cancelled: this.#cancelled,
      differenceCount: this.#findingCount - uncertainCount,
      counts,
      differences: this.#differences,
      mountPointCount: this.#mountPointCount,
    };
  }

  async #walk(): Promise<void> {
    await this.#yieldWhenDue(0);
    [this.#sourceRoot, this.#targetRoot] = await this.#sides.look("");
    // Their device and mount are needed to the end.
    if (!this.#cursor.isDone(this.#sides.pathOf(""))) {
      await this.#compareEntry("", this.#sourceRoot, this.#targetRoot);
    }
    this.#enterRules("");
    await this.#compareNames();
    while (!this.#cancelled) {
      const frame = this.#sides.top;
      if (frame === undefined) return;
      const name = frame.pending.pop();
      if (name === undefined) {
        const error = this.#sides.leave();
        this.#visible.leave();
        if (error !== undefined) this.#abandonTop(error);
        continue;
      }
      const error = this.#sides.enter(name);
      if (error !== undefined) {
        this.#addStackError(name, error);
        continue;
      }
      this.#enterRules(name);
      await this.#compareNames();
    }
  }

  #enterRules(name: string): void {
    const fault = this.#visible.enter(this.#sides.top?.source ?? -1, name);
    if (fault === undefined) return;
    const detail = `source: ${fault}; its folder is not compared`;
    this.#add(ruleFileName, { kind: DifferenceKind.unreadable, detail });
  }

  /** The directory on top is no longer where it was: what is pending in it cannot be compared. */
  #abandonTop(error: StackError): void {
    const frame = this.#sides.top;
    if (frame === undefined || frame.pending.length === 0) return;
    frame.pending.length = 0;
    this.#addStackError("", error);
  }

  /** Compares all entries of the directory on top; directories in it become pending. */
  async #compareNames(): Promise<void> {
    const frame = this.#sides.top;
    if (frame === undefined) return;
    const path = this.#sides.pathOf("");
    const isDone = this.#cursor.isDone(path);
    const names = this.#sides.names();
    let next = await names.next();
    for (; !this.#cancelled && next.done !== true; next = await names.next()) {
      const { name, source, target } = next.value;
      if (!isDone) await this.#compareEntry(name, source, target);
      else if (source !== "absent" && this.#cursor.isAhead(this.#sides.pathOf(name))) {
        this.#accept(name, ...this.#visible.see(name, source, target));
      }
    }
    await names.return(undefined);
    if (next.done === true && next.value !== undefined && !this.#cancelled) {
      this.#addStackError("", next.value);
      return;
    }
    // Taken from the end: the walk goes down in the order of names, on any filesystem.
    frame.pending.sort().reverse();
    if (!isDone && !this.#cancelled) this.#cursor.finished(path, this.#progressNow());
  }

  /** Compares one name, again while it moves. The first look comes from the scan of the names. */
  async #compareEntry(name: string, source: Seen, target: Seen): Promise<void> {
    if (await this.#yieldWhenDue(0)) return;
    let [s, t] = this.#visible.see(name, source, target);
    if (s === "absent" && t === "absent") return;
    this.#entryCount += 1;
    let settled = this.#options.settleMs === 0;
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const examined = await this.#examine(name, s, t);
      if (this.#cancelled) return;
      if (examined.findings.length === 0 && !examined.moved) {
        this.#accept(name, s, t);
        return;
      }
      const [before, beforeTarget] = [s, t];
      [s, t] = await this.#lookAgain(name);
      const stable = !examined.moved && isSame(before, s) && isSame(beforeTarget, t);
      if (!stable) continue;
      if (!settled && (await this.#settle(s, t))) {
        settled = true;
        attempt -= 1;
        [s, t] = await this.#lookAgain(name);
        continue;
      }
      for (const finding of examined.findings) this.#add(name, finding);
      this.#accept(name, s, t);
      return;
    }
    this.#add(name, { kind: DifferenceKind.changing, detail: `in ${attemptsMax} attempts` });
    this.#accept(name, s, t);
  }

  /** Waits until the newest change of the entry is old enough; false when it is already. */
  async #settle(source: Seen, target: Seen): Promise<boolean> {
    const { clock, settleMs } = this.#options;
    if (this.#settleWaitCount >= settleWaitsMax) return false;
    const [folder, targetFolder] = await this.#sides.look("");
    const { targetAheadMs } = this.#sides;
    const changedMs = Math.max(
      ctimeMs(source),
      ctimeMs(folder),
      ctimeMs(target) - targetAheadMs,
      ctimeMs(targetFolder) - targetAheadMs,
    );
    const ageMs = clock.wallMs() - changedMs;
    // An age below zero is a clock that jumped, and waiting for it could take for ever.
    if (ageMs < -settleMs || ageMs >= settleMs) return false;
    this.#settleWaitCount += 1;
    await this.#sleep(settleMs - Math.max(ageMs, 0));
    return !this.#cancelled;
  }

  /** After the last attempt: enter directories that both sides have, remember linked inodes. */
  #accept(name: string, source: Seen, target: Seen): void {
    if (this.#isMountPoint(source, target)) {
      this.#mountPointCount += 1;
      return;
    }
    if (!isStat(source) || !isStat(target) || typeOf(source) !== typeOf(target)) return;
    if (typeOf(source) === Mode.directory) {
      if (name !== "") this.#sides.top?.pending.push(name);
    } else if (!this.#hardLinks.conflicts(source, target)) {
      this.#hardLinks.record(source, target);
    }
  }

  async #lookAgain(name: string): Promise<[Seen, Seen]> {
    return this.#visible.see(name, ...(await this.#sides.look(name)));
  }

  #isMountPoint(source: Seen, target: Seen): boolean {
    const isOut = this.#mounts.isForeign(source, this.#sourceRoot);
    return isOut || isForeign(target, this.#targetRoot);
  }

  async #examine(name: string, source: Seen, target: Seen): Promise<Examined> {
    const findings: Finding[] = [];
    const moved = await this.#examineInto(name, source, target, findings);
    const { ignore } = this.#options;
    return { moved, findings: findings.filter((finding) => !ignore.has(finding.kind)) };
  }

  /** True when the entry moved meanwhile, so that the findings are worth nothing. */
  async #examineInto(name: string, source: Seen, target: Seen, out: Finding[]): Promise<boolean> {
    if (this.#isMountPoint(source, target)) return false;
    for (const [side, seen] of [
      ["source", source],
      ["target", target],
    ] as const) {
      if (typeof seen === "number") out.push(unreadable(side, seen));
    }
    if (out.length > 0 || (source === "absent" && target === "absent")) return false;
    if (!isStat(source)) {
      out.push({ kind: DifferenceKind.extra, detail: isStat(target) ? kindName(target) : "" });
      return false;
    }
    if (!isStat(target)) {
      out.push({ kind: DifferenceKind.missing, detail: kindName(source) });
      return false;
    }
    if (typeOf(source) !== typeOf(target)) {
      const detail = `source ${kindName(source)}, target ${kindName(target)}`;
      out.push({ kind: DifferenceKind.kind, detail });
      return false;
    }
    return await this.#examineBoth(name, source, target, out);
  }

  async #examineBoth(
    name: string,
    source: Float64Array,
    target: Float64Array,
    out: Finding[],
  ): Promise<boolean> {
    const type = typeOf(source);
    compareStats(source, target, out);
    if (type !== Mode.directory && this.#hardLinks.conflicts(source, target)) {
      out.push({ kind: DifferenceKind.hardLink, detail: linksDetail(source, target) });
    }
    const isLink = type === Mode.symlink;
    if (isLink && (await this.#sides.compareLinks(name, source, target, out))) return true;
    const isPlain = source[Stat.attributeBytes] === 0 && target[Stat.attributeBytes] === 0;
    if (!isPlain && (await this.#sides.compareAttributes(name, source, target, out))) return true;
    if (type !== Mode.regular || source[Stat.size] !== target[Stat.size]) return false;
    const read = this.#options.content && source[Stat.size] !== 0;
    if (!read && !mayHaveLostHoles(source, target)) return false;
    return await this.#sides.examineFile(name, source, target, out);
  }

  #addStackError(name: string, error: StackError): void {
    const { errno, side } = error;
    // Gone, replaced or mounted upon since it was seen.
    const moved = [Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EXDEV].some(
      (value) => -errno === value,
    );
    const detail = `${side}: ${errnoName(errno)}`;
    const kind = moved ? DifferenceKind.changing : DifferenceKind.unreadable;
    this.#add(name, { kind, detail });
  }

  #add(name: string, finding: Finding): void {
    const { ignore, differenceCountMax } = this.#options;
    if (ignore.has(finding.kind)) return;
    this.#findingCount += 1;
    this.#counts[finding.kind] += 1;
    const keep = this.#differences.length < differenceCountMax;
    if (!keep && this.#report.difference === undefined) return;
    const difference = { ...finding, path: this.#sides.pathOf(name) };
    if (keep) this.#differences.push(difference);
    this.#report.difference?.(difference);
  }

  #progressNow(): CompareProgress {
    return {
      entryCount: this.#entryCount,
      contentBytes: this.#contentBytes,
      findingCount: this.#findingCount,
    };
  }

  /** Lets the event loop run every few milliseconds. True when the comparison is cancelled. */
  async #yieldWhenDue(comparedBytes: number): Promise<boolean> {
    this.#contentBytes += comparedBytes;
    const { clock } = this.#options;
    const nowUs = clock.monotonicUs();
    const waitMs = comparedBytes === 0 ? 0 : this.#pace.waitMs(comparedBytes, nowUs);
    if (waitMs >= 1) await this.#rest(nowUs + waitMs * 1000);
    if (nowUs - this.#yieldedUs < yieldUs) return this.#cancelled;
    if (nowUs - this.#progressUs >= progressUs) {
      this.#progressUs = nowUs;
      this.#report.progress?.(this.#progressNow());
    }
    await new Promise<void>((resolve) => clock.defer(resolve));
    this.#yieldedUs = clock.monotonicUs();
    return this.#cancelled;
  }

  /** Waits for the rate. Whoever sets one keeps the process alive meanwhile. */
  async #rest(untilUs: number): Promise<void> {
    const { clock, signal } = this.#options;
    for (let now = clock.monotonicUs(); now < untilUs && signal?.aborted !== true;) {
      const delayMs = Math.min(restMsLongest, (untilUs - now) / 1000);
      await new Promise<void>((resolve) => clock.after(Math.ceil(delayMs), resolve));
      now = clock.monotonicUs();
    }
  }

  /**
   * Waits, turn by turn: a timer alone does not keep the process alive (see Clock.after), and an
   * end in the middle of a comparison would look like its result.
   */
  async #sleep(delayMs: number): Promise<void> {
    const { clock, signal } = this.#options;
    let due = false;
    const timer = clock.after(delayMs, () => (due = true));
    while (!due && signal?.aborted !== true) {
      await new Promise<void>((resolve) => clock.defer(resolve));
    }
    timer.cancel();
  }
}

function ctimeMs(seen: Seen): number {
  if (!isStat(seen)) return 0;
  return (seen[Stat.ctimeSec] ?? 0) * 1000 + (seen[Stat.ctimeNsec] ?? 0) / 1e6;
}

function linksDetail(source: Float64Array, target: Float64Array): string {
  return `source shares its inode with ${namesText(source)}, target with ${namesText(target)}`;
}

function namesText(stat: Float64Array): string {
  const others = (stat[Stat.nlink] ?? 1) - 1;
  return others === 1 ? "1 other name" : `${others} other names`;
}
