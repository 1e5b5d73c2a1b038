/**
 * `lockstep verify SOURCE TARGET`: compares two folders by src/verify, which shares no code with
 * the engine. Exit code 0 only when the comparison went to its end and found nothing.
 * How far it came is kept once a second, so that `--resume` can go on with an interrupted one.
 * Limits: `differencesShownMax` differences are listed, all are counted.
 */
import { ExitCode, SyncError } from "../base/index.ts";
import type { IgnoreSettings } from "../ignore/index.ts";
import {
  compareTrees,
  escapeBytes,
  formatDifference,
  totalOf,
  WalkCursor,
} from "../verify/index.ts";
import type { CompareProgress, CompareSummary, Difference, TreeTotal } from "../verify/index.ts";
import { native } from "../world/node/index.ts";
import { durationText } from "./amount-texts.ts";
import { type CommandIo, stateDirectory } from "./command-io.ts";
import { type IgnoreChoices, readIgnoreChoices } from "./ignore-options.ts";
import { checkSource, openDirectory } from "./places.ts";
import { type VerifyState, VerifyStateFile } from "./verify-state.ts";

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
}

export async function runVerify(options: VerifyOptions, io: CommandIo): Promise<ExitCode> {
  const places = { source: checkSource(options.source), target: checkSource(options.target) };
  const rules = readIgnoreChoices(options.ignore);
  const terms = { content: options.content, rules };
  const file = new VerifyStateFile(stateDirectory(process.env), { ...places, terms });
  const files = native();
  const fds: number[] = [];
  // Timers of the comparison do not keep the process alive; this one does.
  const alive = setInterval(() => {}, 1000);
  try {
    for (const path of [places.source, places.target]) fds.push(openDirectory(files, path));
    return await new Verifying(options, io, file).run(fds[0]!, fds[1]!, rules);
  } finally {
    clearInterval(alive);
    for (const fd of fds) files.close(fd);
  }
}

type Counts = Record<string, number>;

class Verifying {
  readonly #options: VerifyOptions;
  readonly #io: CommandIo;
  readonly #file: VerifyStateFile;
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

  constructor(options: VerifyOptions, io: CommandIo, file: VerifyStateFile) {
    this.#options = options;
    this.#io = io;
    this.#file = file;
    this.#startedUs = io.world.clock.monotonicUs();
    this.#keptUs = this.#startedUs;
    this.#toldUs = this.#startedUs;
  }

  async run(sourceFd: number, targetFd: number, rules: IgnoreSettings): Promise<ExitCode> {
    const { clock } = this.#io.world;
    const files = native();
    if (this.#options.resume) this.#before = this.#readState();
    const cursor = new WalkCursor(this.#before?.cursor, (progress) => this.#finished(progress));
    this.#io.onStop(() => this.#controller.abort());
    if (this.#io.isTerminal || this.#io.json) {
      void totalOf(files, sourceFd, clock, this.#controller.signal).then((total) => {
        this.#total = total;
      });
    }
    const { rate, content } = this.#options;
    const settings = {
      clock,
      content,
      ignore: new Set<never>(),
      rules,
      settleMs,
      differenceCountMax: differencesShownMax,
      ...(rate > 0 ? { bytesPerSecond: rate } : {}),
      cursor,
      signal: this.#controller.signal,
    };
    const summary = await compareTrees(files, sourceFd, targetFd, settings, {
      difference: (difference) => this.#tellDifference(difference),
      progress: (progress) => {
        this.#tellProgress(progress);
        if (clock.monotonicUs() - this.#keptUs >= keepUs) this.#keep(cursor);
      },
    });
    // The total is of use no more.
    this.#controller.abort();
    if (summary.cancelled) this.#keep(cursor);
    else this.#file.remove();
    return this.#conclude(summary);
  }

  #readState(): VerifyState | undefined {
    const { clock } = this.#io.world;
    const state = this.#file.read(clock.wallMs());
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
      this.#file.write({ writtenMs: clock.wallMs(), cursor: copy, entries, bytes, counts });
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
