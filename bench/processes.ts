/**
 * The processes that the bench starts: each leads its own process group, is ended by that group's
 * id and by nothing else, and never outlives the bench.
 *
 * In: command lines. Out: lines of stdout, exit codes. Invariants: every wait has a deadline; what
 * a process printed last on stderr is kept (bounded) and named when it fails.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import { createInterface, type Interface } from "node:readline";

const stderrBytesMax = 4096;
const endGraceMs = 5000;
const listenMs = 20_000;

/** A started process. `end()` is idempotent and resolves when it is gone. */
export interface Started {
  readonly pid: number;
  /** Resolves with the first stdout line that `accept` maps to a value. */
  waitFor<T>(accept: (line: string) => T | undefined, timeoutMs: number): Promise<T>;
  /** Resolves with the exit code (or signal) when the process has ended by itself. */
  exited(timeoutMs: number): Promise<number | string>;
  end(): Promise<void>;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** A process that could not be started, ended early, or did not do in time what was waited for. */
export class ProcessError extends Error {
  override readonly name = "ProcessError";
}

const running = new Set<ChildProcess>();

/** Ends whatever is still running, at once. For the way out of the bench only. */
export function killAll(): void {
  for (const child of running) signalGroup(child, "SIGKILL");
  running.clear();
}

/** Starts `command`. Its stdout is read line by line; lines nobody waits for are dropped. */
export function start(
  command: string,
  args: readonly string[],
  options: StartOptions = {},
): Started {
  const child = spawn(command, [...args], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  running.add(child);
  let complaint = "";
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => {
    complaint = (complaint + text).slice(-stderrBytesMax);
  });
  const lines = createInterface({ input: child.stdout });
  const gone = new Promise<number | string>((resolve) => {
    child.once("error", (error) => {
      complaint = error.message;
      running.delete(child);
      resolve("error");
    });
    child.once("close", (code, signal) => {
      running.delete(child);
      resolve(code ?? signal ?? "unknown");
    });
  });
  const describe = (what: string) =>
    new ProcessError(`${command}: ${what}${complaint === "" ? "" : `: ${complaint.trim()}`}`);
  return {
    pid: child.pid ?? -1,
    waitFor: (accept, timeoutMs) => waitForLine(lines, gone, accept, timeoutMs, describe),
    exited: (timeoutMs) => withDeadline(gone, timeoutMs, () => describe("did not end in time")),
    end: async () => {
      signalGroup(child, "SIGTERM");
      const timer = setTimeout(() => signalGroup(child, "SIGKILL"), endGraceMs);
      // Bounded: a descendant that left the group could hold the pipes open.
      await withDeadline(gone, 2 * endGraceMs, () => describe("cannot be ended"));
      clearTimeout(timer);
      // What the leader left behind in its group (a shell's pipeline) goes with it.
      signalGroup(child, "SIGKILL");
    },
  };
}

/** Runs `command` to its end and returns its stdout. Throws ProcessError unless it exits with 0. */
export async function run(
  command: string,
  args: readonly string[],
  options: StartOptions & { readonly timeoutMs: number; readonly exitCodes?: readonly number[] },
): Promise<string> {
  const child = start(command, args, options);
  const printed: string[] = [];
  const collecting = child
    .waitFor((line) => {
      printed.push(line);
      return undefined;
    }, options.timeoutMs)
    .catch((error: unknown) => error);
  const code = await child.exited(options.timeoutMs).catch(async (error: unknown) => {
    await child.end();
    throw error;
  });
  const ended = await collecting;
  if (typeof code === "number" && (options.exitCodes ?? [0]).includes(code)) {
    return printed.join("\n");
  }
  throw ended instanceof Error ? ended : new ProcessError(`${command}: ended with ${code}`);
}

/** Whether `command` can be found and started with `args` (its exit code does not matter). */
export async function exists(command: string, args: readonly string[]): Promise<boolean> {
  const code = await start(command, args).exited(10_000);
  return code !== "error";
}

/** A TCP port on 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new ProcessError("no port");
  return address.port;
}

/** Resolves when something accepts on 127.0.0.1:port. */
export async function waitAccepting(port: number, owner: Started): Promise<void> {
  const deadline = performance.now() + listenMs;
  while (performance.now() < deadline) {
    const accepted = await new Promise<boolean>((resolve) => {
      const probe = connect(port, "127.0.0.1", () => {
        probe.destroy();
        resolve(true);
      });
      probe.once("error", () => resolve(false));
    });
    if (accepted) return;
    await sleep(20);
  }
  await owner.end();
  throw new ProcessError(`nothing listens on port ${port}`);
}

export function sleep(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    const isGone = error instanceof Error && "code" in error && error.code === "ESRCH";
    if (!isGone) throw error;
  }
}

function waitForLine<T>(
  lines: Interface,
  gone: Promise<number | string>,
  accept: (line: string) => T | undefined,
  timeoutMs: number,
  describe: (what: string) => ProcessError,
): Promise<T> {
  let listener: ((line: string) => void) | undefined;
  const found = new Promise<T>((resolve, reject) => {
    listener = (line) => {
      const value = accept(line);
      if (value !== undefined) resolve(value);
    };
    lines.on("line", listener);
    void gone.then((code) => reject(describe(`ended with ${code}`)));
  });
  return withDeadline(found, timeoutMs, () => describe("did not get ready in time")).finally(() => {
    if (listener !== undefined) lines.off("line", listener);
  });
}

function withDeadline<T>(work: Promise<T>, timeoutMs: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), timeoutMs);
  });
  return Promise.race([work, deadline]).finally(() => clearTimeout(timer));
}
