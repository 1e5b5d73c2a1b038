/**
 * `lockstep verify SOURCE TARGET`: compares two folders by src/verify, which shares no code with
 * the engine; or a folder and a share of another device, which is asked. Exit code 0 only when the
 * comparison went to its end and found nothing.
 * How far it came is kept once a second, so that `--resume` can go on with an interrupted one.
 * Limits: `differencesShownMax` differences are listed, all are counted.
 */
import { hostname } from "node:os";
import { ExitCode, SyncError } from "../base/index.ts";
import type { IgnoreSettings } from "../ignore/index.ts";
import { openVerifyLink } from "../session/index.ts";
import { loadIdentity } from "../transport/index.ts";
import {
  compareTrees,
  compareWithRemote,
  escapeBytes,
  formatDifference,
  totalOf,
  WalkCursor,
} from "../verify/index.ts";
import type {
  CompareOptions,
  CompareProgress,
  CompareReporter,
  CompareSummary,
  Difference,
  TreeTotal,
} from "../verify/index.ts";
import { Stat } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { followedIn, mountsBelow } from "./mounts-below.ts";
import { durationText } from "./amount-texts.ts";
import { type CommandIo, stateDirectory } from "./command-io.ts";
import { type IgnoreChoices, readIgnoreChoices } from "./ignore-options.ts";
import { dialTarget } from "./dial-target.ts";
import {
  checkSource,
  openDirectory,
  parseTarget,
  type RemoteTarget,
  remoteScheme,
} from "./places.ts";
import { type VerifyPair, type VerifyState, VerifyStateFile } from "./verify-state.ts";

const differencesShownMax = 1_000;
/** On a live pair, a difference younger than this may be about to be mirrored. */
const settleMs = 1_000;
const keepUs = 1_000_000;
/** What an entry counts beside its bytes, in the estimate of the time left. */
const entryBytes = 4096;

export interface VerifyOptions {
  readonly source: string;
  readonly target: string;
  readonly content: boolean;
  readonly ignore: IgnoreChoices;
  /** Bytes compared in a second; 0 for no limit. */
  readonly rate: number;
  readonly resume: boolean;
  /** Filesystems below the source are compared, too. */
  readonly crossMounts: boolean;
}

type Compare = (settings: CompareOptions, report: CompareReporter) => Promise<CompareSummary>;

export async function runVerify(options: VerifyOptions, io: CommandIo): Promise<ExitCode> {
  const source = checkSource(options.source);
  const target = options.target.startsWith(remoteScheme) ? parseTarget(options.target) : undefined;
  const rules = readIgnoreChoices(options.ignore);
  const files = native();
  const fds: number[] = [];
  const open = (path: string): number => {
    const fd = openDirectory(files, path);
    fds.push(fd);
    return fd;
  };
  // Timers of the comparison do not keep the process alive; this one does.
  const alive = setInterval(() => {}, 1000);
  const verifying = new Verifying(options, io, open(source), rules);
  try {
    if (target?.kind === "remote") {
      verifying.cross(source, []);
      return await verifyShare(options, io, verifying, target);
    }
    const path = checkSource(options.target);
    const targetFd = open(path);
    verifying.cross(source, [targetFd]);
    return await verifying.run({ source, target: path }, (settings, report) => {
      return compareTrees(files, verifying.sourceFd, targetFd, settings, report);
    });
  } finally {
    clearInterval(alive);
    for (const fd of fds) files.close(fd);
  }
}

/** A link that is lost ends it, and it can be resumed. */
async function verifyShare(
  options: VerifyOptions,
  io: CommandIo,
  verifying: Verifying,
  target: RemoteTarget,
): Promise<ExitCode> {
  const stateDir = stateDirectory(process.env);
  const identity = await loadIdentity({
    stateDir,
    credentialsDirectory: process.env["CREDENTIALS_DIRECTORY"],
  });
  const { share, subpath, peerId } = target;
  const { signal } = verifying;
  const link = await dialTarget(target, { io, stateDir, identity, signal });
  const { world } = io;
  const place = { share, subpath, device: hostname(), rate: options.rate };
  const remote = await openVerifyLink({ world, link, ...place });
  signal.addEventListener("abort", () => remote.interrupt());
  try {
    const root = await remote.look(new Uint8Array(0));
    const stat = typeof root === "number" ? root : root.stat;
    const targetIdentity =
      typeof stat === "number" ? "" : `${stat[Stat.dev] ?? 0}:${stat[Stat.ino] ?? 0}`;
    const name = `lockstep://${peerId}/${share}/${subpath}`;
    const pair = { source: checkSource(options.source), target: name, targetIdentity };
    return await verifying.run(pair, (settings, report) => {
      return compareWithRemote(native(), verifying.sourceFd, remote, settings, report);
    });
  } finally {
    remote.close();
  }
}

type Counts = Record<string, number>;

class Verifying {
  readonly #options: VerifyOptions;
  readonly #io: CommandIo;
  readonly sourceFd: number;
  readonly #rules: IgnoreSettings;
  #file: VerifyStateFile | undefined;
  readonly #controller = new AbortController();
  readonly #startedUs: number;
  #before: VerifyState | undefined;
  /** Findings of this run by kind; and as they were when a folder was last finished. */
  readonly #counts: Counts = {};
  #kept: Pick<VerifyState, "entries" | "bytes" | "counts"> | undefined;
  #keptUs: number;
  #isKeeping = true;
  #toldUs: number;
  #shownCount = 0;
  #total: TreeTotal | undefined;

  constructor(options: VerifyOptions, io: CommandIo, sourceFd: number, rules: IgnoreSettings) {
    this.#options = options;
    this.#io = io;
    this.sourceFd = sourceFd;
    this.#rules = rules;
    io.onStop(() => this.#controller.abort());
    this.#startedUs = io.world.clock.monotonicUs();
    this.#keptUs = this.#startedUs;
    this.#toldUs = this.#startedUs;
  }

  #followed: ReadonlySet<number> | undefined;

  /** Filesystems that are mounted below the source now belong to it, if that was asked for. */
  cross(source: string, targetFds: readonly number[]): void {
    if (!this.#options.crossMounts) return;
    this.#followed = followedIn(mountsBelow(native(), source, this.sourceFd, targetFds));
  }

  /** Asked to stop. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  async run(pair: Omit<VerifyPair, "terms">, compare: Compare): Promise<ExitCode> {
    const { clock } = this.#io.world;
    const { rate, content, resume } = this.#options;
    const rules = this.#rules;
    const followed = this.#followed;
    const crossing = followed === undefined ? {} : { crossMounts: true };
    const terms = { content, rules, ...crossing };
    const file = new VerifyStateFile(stateDirectory(process.env), { ...pair, terms });
    this.#file = file;
    if (resume) this.#before = this.#readState(file);
    const cursor = new WalkCursor(this.#before?.cursor, (progress) => this.#finished(progress));
    // The total is of use no longer than the comparison.
    const counting = new AbortController();
    if (this.#io.isTerminal || this.#io.json) {
      void totalOf(native(), this.sourceFd, clock, counting.signal, followed).then((total) => {
        this.#total = total;
      });
    }
    const settings = {
      clock,
      content,
      ignore: new Set<never>(),
      rules,
      settleMs,
      differenceCountMax: differencesShownMax,
      ...(rate > 0 ? { bytesPerSecond: rate } : {}),
      ...(followed === undefined ? {} : { followed }),
      cursor,
      signal: this.signal,
    };
    try {
      const summary = await compare(settings, {
        difference: (difference) => this.#tellDifference(difference),
        progress: (progress) => {
          this.#tellProgress(progress);
          if (clock.monotonicUs() - this.#keptUs >= keepUs) this.#keep(cursor);
        },
      });
      if (summary.cancelled) this.#keep(cursor);
      else file.remove();
      return this.#conclude(summary);
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      this.#keep(cursor);
      this.#io.say("interrupted: nothing can be said about the rest; --resume goes on");
      throw error;
    } finally {
      counting.abort();
    }
  }

  #readState(file: VerifyStateFile): VerifyState | undefined {
    const { clock } = this.#io.world;
    const state = file.read(clock.wallMs());
    if (typeof state !== "string") {
      const { entries, bytes } = state;
      this.#io.event("resume", { resumed: true, entries, bytes });
      this.#io.say(`going on after ${entries} entries, ${megabytes(bytes)} MB`);
      return state;
    }
    this.#io.event("resume", { resumed: false, reason: state });
    this.#io.say(`starting at the beginning: ${state}`);
    return undefined;
  }

  #finished(progress: CompareProgress): void {
    const { entries, bytes, counts } = this.#sum(progress, this.#counts);
    this.#kept = { entries, bytes, counts: { ...counts } };
  }

  /** With what the interrupted runs before had. */
  #sum(
    { entryCount, contentBytes }: CompareProgress,
    counts: Readonly<Counts>,
  ): Pick<VerifyState, "entries" | "bytes" | "counts"> {
    const before = this.#before;
    const all: Counts = { ...before?.counts };
    for (const [kind, count] of Object.entries(counts)) all[kind] = (all[kind] ?? 0) + count;
    return {
      entries: (before?.entries ?? 0) + entryCount,
      bytes: (before?.bytes ?? 0) + contentBytes,
      counts: all,
    };
  }

  /** What cannot be kept is told once; the comparison itself does not need it. */
  #keep(cursor: WalkCursor): void {
    const { clock, log } = this.#io.world;
    const { state } = cursor;
    const done = this.#kept ?? this.#before;
    this.#keptUs = clock.monotonicUs();
    if (!this.#isKeeping || state === undefined || done === undefined) return;
    const { entries, bytes, counts } = done;
    const { folder, large } = state;
    const copy = { folder: [...folder], large: [...large] };
    try {
      this.#file?.write({ writtenMs: clock.wallMs(), cursor: copy, entries, bytes, counts });
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      this.#isKeeping = false;
      log.write("warn", `${error.message}; --resume will not work`, { code: error.code });
    }
  }

  #tellDifference(difference: Difference): void {
    const { kind, path, detail } = difference;
    this.#counts[kind] = (this.#counts[kind] ?? 0) + 1;
    if (++this.#shownCount > differencesShownMax) return;
    this.#io.event("difference", { kind, path: escapeBytes(path), detail });
    this.#io.print(formatDifference(difference));
  }

  #tellProgress(progress: CompareProgress): void {
    const nowUs = this.#io.world.clock.monotonicUs();
    const seconds = (nowUs - this.#startedUs) / 1e6;
    const { entries, bytes, counts } = this.#sum(progress, this.#counts);
    const differences = sumOf(counts);
    const bytesPerSecond = seconds > 0 ? progress.contentBytes / seconds : 0;
    const secondsLeft = this.#secondsLeft(progress, entries, bytes, seconds);
    const left = secondsLeft === undefined ? "" : `, ${durationText(secondsLeft)} left`;
    const rate = `${megabytes(bytesPerSecond)} MB/s`;
    const done = `${entries} entries, ${megabytes(bytes)} MB, ${rate}${left}`;
    this.#io.progress(`comparing: ${done}, ${differences} differences`);
    if (nowUs - this.#toldUs < keepUs) return;
    this.#toldUs = nowUs;
    const rounded = { bytesPerSecond: Math.round(bytesPerSecond), secondsLeft };
    this.#io.event("progress", { entries, bytes, ...rounded, differences, seconds });
  }

  /** By what is done and what there is, each entry counted as some bytes. */
  #secondsLeft(
    now: CompareProgress,
    entries: number,
    bytes: number,
    seconds: number,
  ): number | undefined {
    const done = workOf(now.entryCount, now.contentBytes);
    if (this.#total === undefined || seconds < 1 || done === 0) return undefined;
    const { entryCount, contentBytes } = this.#total;
    const all = workOf(entryCount, this.#options.content ? contentBytes : 0);
    return Math.round((Math.max(0, all - workOf(entries, bytes)) / done) * seconds);
  }

  #conclude(summary: CompareSummary): ExitCode {
    const { cancelled, mountPointCount } = summary;
    const { entries, bytes, counts } = this.#sum(summary, this.#counts);
    const found = sumOf(counts);
    const io = this.#io;
    const clean = summary.clean && found === 0;
    const exit = clean ? ExitCode.done : ExitCode.differences;
    const hidden = this.#shownCount - differencesShownMax;
    if (hidden > 0) io.say(`… and ${hidden} more`);
    if (mountPointCount > 0) io.say(`not compared: ${mountPointCount} mount points`);
    if (cancelled) io.say("interrupted: nothing can be said about the rest; --resume goes on");
    const kinds = Object.entries(counts).map(([kind, count]) => `${count} ${kind}`);
    const text = found === 0 ? "no difference" : `${found} found: ${kinds.join(", ")}`;
    io.say(`${entries} entries, ${megabytes(bytes)} MB compared: ${text}`);
    const resumed = this.#before !== undefined;
    const end = { exit, clean, cancelled, resumed, entries, bytes, differences: found, counts };
    io.event("end", { ...end, mountPoints: mountPointCount });
    return exit;
  }
}

function workOf(entries: number, bytes: number): number {
  return entries * entryBytes + bytes;
}

function sumOf(counts: Readonly<Counts>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
