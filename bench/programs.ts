/**
 * The bench's own C programs: builds them when needed and turns what they print into typed data.
 *
 * In: file names and limits. Out: what the program measured. Every run has a deadline.
 * Invariant: nothing that a measured product says enters here, only bytes in files and clocks.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ProcessError, run, start, type Started } from "./processes.ts";
import type { Usage } from "./usage.ts";

const buildTimeoutMs = 120_000;
/** As long as the longest phase of a scenario may take, and more. */
const serverMs = 3_600_000;

/** The root of the checkout: the nearest folder above this module that holds the C sources. */
export const repositoryRoot = findRoot();

export interface StopwatchOptions {
  readonly source: string;
  readonly target: string;
  readonly count: number;
  readonly warmup: number;
  readonly paceUs: number;
  readonly jitterUs: number;
  readonly sizeBytes: number;
  /** A fixed place in the file, or "random" for aligned random places. */
  readonly offset: number | "random";
  readonly timeoutMs: number;
  readonly readyMs: number;
}

export interface StopwatchResult {
  /** Microseconds from the return of write() to the bytes in the target, one per record seen. */
  readonly samples: readonly number[];
  readonly lost: number;
  /**
   * For each sample, how long before the sighting the observer had looked in vain, in µs: the bytes
   * came at some moment of that span, so sample - blind is the least the latency can have been.
   */
  readonly blinds: readonly number[];
}

export interface Comparison {
  /**
   * Monotonic nanoseconds since which source and target are equal: the last change of anything in
   * either, rounded up by a tick of the kernel's clock, at most `foundNs`. Undefined if never.
   */
  readonly equalNs: number | undefined;
  /** When that was seen: later, the longer there is to read. Undefined if never. */
  readonly foundNs: number | undefined;
  readonly files: number;
  readonly different: number;
  readonly extra: number;
}

export interface LoadResult {
  readonly written: number;
  readonly seconds: number;
  readonly endedNs: number;
}

export interface CallCost {
  readonly wallNs: number;
  readonly cpuNs: number;
}

export type OverheadResult = Readonly<Record<"syscall" | "outside" | "inside", CallCost>>;

/** Builds the programs that need gcc alone. */
export async function buildPrograms(): Promise<void> {
  await run("make", ["-s", "-C", join(repositoryRoot, "bench/native"), "all"], {
    timeoutMs: buildTimeoutMs,
  });
}

/** Builds the C floor; returns the reason when that is not possible here. */
export async function buildFloor(): Promise<string | undefined> {
  try {
    await run("make", ["-s", "-C", join(repositoryRoot, "bench/native"), "floor"], {
      timeoutMs: buildTimeoutMs,
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error;
    return `needs clang-14, bpftool, libbpf-dev and kernel BTF (${lastLine(error.message)})`;
  }
}

export function program(name: string): string {
  return join(repositoryRoot, "build/bench", name);
}

/** Measures write() -> visible; throws ProcessError when the target never becomes ready. */
export async function stopwatch(options: StopwatchOptions): Promise<StopwatchResult> {
  const { count, warmup, paceUs, jitterUs, timeoutMs, readyMs } = options;
  const where = options.offset === "random" ? ["--random"] : ["--offset", `${options.offset}`];
  const limitMs =
    readyMs * 2 + (count + warmup) * (timeoutMs + (paceUs + jitterUs) / 1000) + 10_000;
  const printed = await run(
    program("stopwatch"),
    [
      ...["--source", options.source, "--target", options.target, "--samples", ...where],
      ...["--count", `${count}`, "--warmup", `${warmup}`, "--size", `${options.sizeBytes}`],
      ...["--pace-us", `${paceUs}`, "--jitter-us", `${jitterUs}`],
      ...["--timeout-ms", `${timeoutMs}`, "--ready-ms", `${readyMs}`],
    ],
    { timeoutMs: Math.min(limitMs, 3_600_000) },
  );
  const { samples, blinds, lost } = JSON.parse(printed) as StopwatchResult;
  return { samples, blinds, lost };
}

/** Waits until `target` equals `source` byte by byte, at most `timeoutMs`. */
export async function compareTrees(
  source: string,
  target: string,
  timeoutMs: number,
): Promise<Comparison> {
  const printed = await run(program("treecmp"), [source, target, `${timeoutMs}`], {
    timeoutMs: timeoutMs + 600_000,
    exitCodes: [0, 1],
  });
  const result = JSON.parse(printed) as Comparison;
  const { equalNs, foundNs } = result;
  return { ...result, equalNs: equalNs || undefined, foundNs: foundNs || undefined };
}

/** Makes `files` files of exactly `bytes` below `folder`, 100 to a folder. */
export async function makeTree(
  folder: string,
  shape: { readonly files: number; readonly bytes: number },
): Promise<void> {
  await makeWith(["tree", folder, `${shape.files}`, `${shape.bytes}`]);
}

/** Makes `files` files of `bytesMin` to `bytesMax` random bytes below `folder`, 20..100 to one. */
export async function makeMixedTree(
  folder: string,
  shape: { readonly files: number; readonly bytesMin: number; readonly bytesMax: number },
): Promise<void> {
  const { files, bytesMin, bytesMax } = shape;
  await makeWith(["mixed", folder, `${files}`, `${bytesMin}`, `${bytesMax}`]);
}

/** Makes `files` empty files below `folder`, 1000 to a folder. */
export async function makeEmptyTree(folder: string, files: number): Promise<void> {
  await makeWith(["empty", folder, `${files}`]);
}

/** All that it makes is drawn from one seed: the same call makes the same tree. */
async function makeWith(args: readonly string[]): Promise<void> {
  await run(program("load"), args, { timeoutMs: 600_000 });
}

/** Writes into the files that makeTree made `perSecond` times 128 bytes a second. */
export async function loadWrites(
  folder: string,
  load: {
    readonly files: number;
    readonly bytes: number;
    readonly perSecond: number;
    readonly durationMs: number;
  },
): Promise<LoadResult> {
  const { files, bytes, perSecond, durationMs } = load;
  const printed = await run(
    program("load"),
    ["writes", folder, `${files}`, `${bytes}`, `${perSecond}`, `${durationMs}`],
    { timeoutMs: durationMs * 5 + 30_000 },
  );
  return JSON.parse(printed) as LoadResult;
}

/** Writes one file from its beginning to its end. */
export async function loadStream(
  file: string,
  bytes: number,
): Promise<{ readonly seconds: number; readonly endedNs: number }> {
  const printed = await run(program("load"), ["stream", file, `${bytes}`], {
    timeoutMs: 900_000,
  });
  return JSON.parse(printed) as { seconds: number; endedNs: number };
}

/** Runs a command to its end; what it and all its descendants have used. See usage.c. */
export async function measureCommand(
  command: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<Usage> {
  return JSON.parse(await run(program("usage"), [command, ...args], { timeoutMs })) as Usage;
}

/** A server under measurement; its end() says what it and all its descendants have used. */
export interface MeasuredServer {
  readonly process: Started;
  end(): Promise<Usage>;
}

export function startMeasured(command: string, args: readonly string[]): MeasuredServer {
  const process = start(program("usage"), [command, ...args]);
  const printed = process.waitFor((line) => line, serverMs);
  // It is looked at by end(); until then a failure must not count as one that nobody looks at.
  printed.catch(() => undefined);
  return {
    process,
    end: async () => {
      await process.end();
      return JSON.parse(await printed) as Usage;
    },
  };
}

/** Tight loops; see overhead.c. */
export async function measureOverhead(
  files: { readonly outside: string; readonly inside: string },
  repeat: { readonly batches: number; readonly calls: number },
): Promise<OverheadResult> {
  const printed = await run(
    program("overhead"),
    [files.outside, files.inside, `${repeat.batches}`, `${repeat.calls}`],
    { timeoutMs: 300_000 },
  );
  return JSON.parse(printed) as OverheadResult;
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let depth = 0; depth < 8; depth += 1) {
    if (existsSync(join(folder, "bench/native/Makefile"))) return folder;
    folder = dirname(folder);
  }
  return process.cwd();
}
