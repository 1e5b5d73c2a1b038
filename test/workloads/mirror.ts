/**
 * Runs the real command line on a pair of temporary folders while a real program works on the
 * source, and holds the result to the independent comparison of src/verify.
 *
 * In: a workload. Out: a pass, or an error that names the first differences, the last lines of the
 * mirror's output and its exit code.
 * Invariants: everything is bounded (start, workload, convergence, stop), lives below one temporary
 * folder that is removed, and ends the mirror's process whatever happens.
 * The contract with the mirror is DESIGN 10: `sync SOURCE TARGET --json`, `{"event":"live"}` on
 * standard output once the target equals the source, SIGTERM drains and exits 0.
 *
 * LOCKSTEP_WORKLOADS_MIRROR=rsync puts a loop around rsync in the place of Lockstep, to see that a
 * workload passes with something that works; `nothing` mirrors nothing, to see that it can fail.
 * LOCKSTEP_WORKLOADS_CONVERGE_MS is how long the target may take to become equal (20000).
 * LOCKSTEP_WORKLOADS_DIR is where the folders are made, to try another filesystem.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { IgnoreSettings } from "../../src/ignore/index.ts";
import { compareTrees, formatDifference } from "../../src/verify/index.ts";
import type { CompareSummary, DifferenceKind } from "../../src/verify/index.ts";
import { Open } from "../../src/world/index.ts";
import { native, nodeWorld } from "../../src/world/node/index.ts";
import { runCommand } from "./commands.ts";

const startMs = 60_000;
const stopMs = 30_000;
/** Generous, as shared machines are noisy; the goal is one second, and the time is reported. */
const convergeMs = Number(process.env["LOCKSTEP_WORKLOADS_CONVERGE_MS"] ?? 20_000);
const pollMs = 20;
/** A mirror that has worked for less than that many hundredths of a second in this time rests. */
const restMs = 50;
const busyTicksMin = 2;
const outputLinesMax = 40;

export const cliPath: string = join(
  dirname(fileURLToPath(import.meta.url)),
  "../../src/cli/main.js",
);

export type MirrorProgram = "lockstep" | "rsync" | "nothing";

export interface MirrorOptions {
  readonly program: MirrorProgram;
  /** Given to --backend. */
  readonly backend: string;
  /** Further arguments of `sync`. */
  readonly args: readonly string[];
  /** Fills the source before the mirror starts. */
  readonly prepare?: (folders: Folders) => Promise<void>;
  /** How long the target may take to become equal; `convergeMs` if absent. */
  readonly convergeMs?: number;
  /** What need not be equal; all must be if absent. */
  readonly rules?: IgnoreSettings;
}

export interface Folders {
  readonly source: string;
  readonly target: string;
  /** For the workload's own files: not mirrored. */
  readonly scratch: string;
}

export interface Mirror extends Folders {
  /**
   * Waits until the target equals the source, for which the workload must be at rest. Gives the
   * milliseconds from the call to the start of the comparison that found them equal. Differences
   * in paths that match `ignore` are let pass.
   */
  readonly verifyClean: (ignore?: RegExp) => Promise<number>;
}

export interface MirrorResult {
  /** Of each verifyClean(), in order; the last is that after the workload's end. */
  readonly convergedMs: readonly number[];
  readonly entryCount: number;
}

/** The backend that was asked for does not exist here: a reason to skip, not to fail. */
export class BackendMissing extends Error {}

/** The reason why `program` cannot run here, or undefined. */
export function whyNoMirror(program: MirrorProgram): string | undefined {
  if (program !== "lockstep" || existsSync(cliPath)) return undefined;
  return "the command line is not built (dist/src/cli/main.js)";
}

/**
 * Mirrors while `workload` runs, then: equal within the bound; SIGTERM; exit code 0; equal still.
 * Errors: rejects with what went wrong; BackendMissing when the backend cannot be opened here.
 */
export async function withMirror(
  options: MirrorOptions,
  workload: (mirror: Mirror) => Promise<void>,
): Promise<MirrorResult> {
  const base = mkdtempSync(join(process.env["LOCKSTEP_WORKLOADS_DIR"] ?? tmpdir(), "lockstep-w-"));
  const folders = {
    source: join(base, "source"),
    target: join(base, "target"),
    scratch: join(base, "scratch"),
  };
  for (const folder of Object.values(folders)) mkdirSync(folder);
  let running: RunningMirror | undefined;
  try {
    await options.prepare?.(folders);
    running = new RunningMirror(options, folders, join(base, "state"));
    const mirror = running;
    await mirror.untilLive();
    const limitMs = options.convergeMs ?? convergeMs;
    const convergedMs: number[] = [];
    const verifyClean = async (ignore?: RegExp): Promise<number> => {
      const elapsedMs = await mirror.untilEqual(limitMs, ignore);
      convergedMs.push(elapsedMs);
      return elapsedMs;
    };
    await Promise.race([workload({ ...folders, verifyClean }), mirror.untilFailed()]);
    await verifyClean();
    await mirror.stop();
    const summary = await compareFolders(folders, options.rules);
    assert.ok(summary.clean, `not equal after a clean stop\n${describe(summary)}`);
    return { convergedMs, entryCount: summary.entryCount };
  } finally {
    await running?.kill();
    await removeTree(base);
  }
}

/** By rm, as node:fs cannot remove what is deeper than PATH_MAX. Never hides the test's error. */
async function removeTree(base: string): Promise<void> {
  const options = { cwd: tmpdir() };
  try {
    await runCommand("rm", ["-rf", base], options);
  } catch {
    // Some stressors leave files that may only be appended to (man 1 chattr).
    await runCommand("chattr", ["-R", "-f", "-ia", base], options).catch(() => {});
    await runCommand("rm", ["-rf", base], options).catch((error: unknown) => {
      console.error(`left behind: ${base}`, error);
    });
  }
}

/** One comparison of the folders. Users other than root cannot keep owners. */
export async function compareFolders(
  folders: Pick<Folders, "source" | "target">,
  rules?: IgnoreSettings,
): Promise<CompareSummary> {
  const files = native();
  const ignore: DifferenceKind[] = process.getuid?.() === 0 ? [] : ["owner"];
  const fds = [folders.source, folders.target].map((path) =>
    files.openPath(Buffer.from(path), Open.read | Open.directory),
  );
  const [sourceFd = -1, targetFd = -1] = fds;
  try {
    return await compareTrees(
      files,
      sourceFd,
      targetFd,
      {
        clock: nodeWorld({ write: () => {} }).clock,
        content: true,
        ignore: new Set(ignore),
        ...(rules === undefined ? {} : { rules }),
        settleMs: 0,
        differenceCountMax: 20,
      },
      {},
    );
  } finally {
    for (const fd of fds) if (fd >= 0) files.close(fd);
  }
}

/** Whether all differences are in paths that match. More than the summary lists are too many. */
function isIgnored(summary: CompareSummary, ignore: RegExp | undefined): boolean {
  if (ignore === undefined || summary.findingCount > summary.differences.length) return false;
  return summary.differences.every(({ path }) => ignore.test(Buffer.from(path).toString("latin1")));
}

function describe(summary: CompareSummary): string {
  const counts = Object.entries(summary.counts).filter(([, count]) => count > 0);
  const lines = summary.differences.map((difference) => `  ${formatDifference(difference)}`);
  return [`${counts.map(([kind, count]) => `${count} ${kind}`).join(", ")}:`, ...lines].join("\n");
}

/** A program that never ends by itself, says `live`, and ends on SIGTERM. */
const rsyncLoop = `
trap 'stop=1' TERM INT
while :; do
  rsync -aHAXS --modify-window=-1 --delete "$1/" "$2/" 2>/dev/null
  [ -n "$live" ] || { echo '{"event":"live"}'; live=1; }
  [ -z "$stop" ] || exit 0
  sleep 0.1 & wait $!
done`;
const nothingLoop = `
trap 'exit 0' TERM INT
echo '{"event":"live"}'
while :; do sleep 0.1 & wait $!; done`;

function commandOf(options: MirrorOptions, { source, target }: Folders): [string, string[]] {
  switch (options.program) {
    case "lockstep": {
      const args = [cliPath, "sync", source, target, "--json", "--backend", options.backend];
      return [process.execPath, [...args, ...options.args]];
    }
    case "rsync":
      return ["bash", ["-c", rsyncLoop, "mirror", source, target]];
    case "nothing":
      return ["bash", ["-c", nothingLoop]];
  }
}

/** The process, what it said, and how it ended. */
class RunningMirror {
  readonly #child: ChildProcess;
  readonly #folders: Folders;
  readonly #rules: IgnoreSettings | undefined;
  readonly #lines: string[] = [];
  readonly #live: Promise<void>;
  readonly #failed: Promise<never>;
  readonly #ended: Promise<string>;
  #end: string | undefined;
  #stopping = false;

  constructor(options: MirrorOptions, folders: Folders, stateFolder: string) {
    this.#folders = folders;
    this.#rules = options.rules;
    mkdirSync(stateFolder, { mode: 0o700 });
    const [command, args] = commandOf(options, folders);
    const env = { ...process.env, STATE_DIRECTORY: stateFolder };
    const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    let fail: (error: Error) => void = () => {};
    let live: () => void = () => {};
    this.#live = new Promise((resolve) => (live = resolve));
    this.#failed = new Promise((_, reject) => (fail = reject));
    // Whoever waits for it sees it; nobody may be waiting at the moment.
    this.#failed.catch(() => {});
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(`could not be started: ${error.message}`));
      child.once("close", (code, signal) => resolve(`exit ${code ?? signal ?? "unknown"}`));
    });
    void this.#ended.then((end) => {
      this.#end = end;
      const missing = end === "exit 3" && this.#said("BACKEND_UNAVAILABLE|backend");
      const message = `the mirror ended by itself: ${end}\n${this.#output()}`;
      if (!this.#stopping) fail(missing ? new BackendMissing(message) : new Error(message));
    });
    createInterface({ input: child.stderr }).on("line", (line) => this.#keep(line));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const event = eventOf(line);
      if (event !== "progress") this.#keep(line);
      if (event === "live") live();
      if (event === "halt") fail(new Error(`the mirror halted\n${this.#output()}`));
    });
  }

  async untilLive(): Promise<void> {
    await within(startMs, "did not become live", this.#live, this.#failed, () => this.#output());
  }

  /** Never resolves; rejects when the mirror ends or halts. */
  untilFailed(): Promise<never> {
    return this.#failed;
  }

  /**
   * Compares again and again until they are equal. A comparison of a large tree keeps a core busy
   * and takes longer than what is to be measured: the first begins when the mirror rests, and every
   * further one after a pause as long as the one before.
   */
  async untilEqual(limitMs: number, ignore?: RegExp): Promise<number> {
    const startedMs = performance.now();
    await Promise.race([this.#rested(limitMs), this.#failed]);
    for (;;) {
      const elapsedMs = performance.now() - startedMs;
      const summary = await compareFolders(this.#folders, this.#rules);
      const tookMs = performance.now() - startedMs - elapsedMs;
      if (summary.clean || isIgnored(summary, ignore)) return elapsedMs;
      const late = elapsedMs > limitMs;
      const problem = (): string => `not equal after ${Math.round(elapsedMs)} ms`;
      assert.ok(!late, `${problem()}\n${describe(summary)}\n${this.#output()}`);
      await Promise.race([sleep(Math.max(pollMs, tookMs)), this.#failed]);
    }
  }

  /** Until the mirror has nothing to do, as far as its use of the processor tells. */
  async #rested(limitMs: number): Promise<void> {
    const startedMs = performance.now();
    let before = this.#ticks();
    while (before !== undefined && performance.now() - startedMs < limitMs) {
      await sleep(restMs);
      const now = this.#ticks();
      if (now === undefined || now - before < busyTicksMin) return;
      before = now;
    }
  }

  /** Hundredths of a second that the process has worked; undefined when it has gone. */
  #ticks(): number | undefined {
    try {
      const stat = readFileSync(`/proc/${this.#child.pid}/stat`, "latin1");
      const [user, system] = stat
        .slice(stat.lastIndexOf(")") + 2)
        .split(" ")
        .slice(11, 13);
      return Number(user) + Number(system);
    } catch {
      return undefined; // whoever waits for its end hears of it
    }
  }

  /** SIGTERM; the exit code must be 0. */
  async stop(): Promise<void> {
    this.#stopping = true;
    assert.equal(this.#end, undefined, `the mirror has ended already\n${this.#output()}`);
    this.#child.kill("SIGTERM");
    const output = (): string => this.#output();
    const end = await within(stopMs, "did not stop on SIGTERM", this.#ended, neverFails, output);
    assert.equal(end, "exit 0", this.#output());
  }

  async kill(): Promise<void> {
    this.#stopping = true;
    if (this.#end === undefined) this.#child.kill("SIGKILL");
    await this.#ended;
  }

  #keep(line: string): void {
    this.#lines.push(line.slice(0, 400));
    if (this.#lines.length > outputLinesMax) this.#lines.shift();
  }

  #said(pattern: string): boolean {
    return this.#lines.some((line) => new RegExp(pattern).test(line));
  }

  #output(): string {
    return this.#lines.map((line) => `  mirror: ${line}`).join("\n");
  }
}

const neverFails = new Promise<never>(() => {});

function eventOf(line: string): string {
  try {
    const value: unknown = JSON.parse(line);
    const event = typeof value === "object" && value !== null && "event" in value;
    return event && typeof value.event === "string" ? value.event : "";
  } catch (error) {
    if (error instanceof SyntaxError) return "";
    throw error;
  }
}

async function within<T>(
  limitMs: number,
  what: string,
  promise: Promise<T>,
  failed: Promise<never>,
  output: () => string,
): Promise<T> {
  const controller = new AbortController();
  const late = sleep(limitMs, undefined, { signal: controller.signal }).then((): never => {
    throw new Error(`the mirror ${what} within ${limitMs} ms\n${output()}`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, failed, late]);
  } finally {
    controller.abort();
  }
}
