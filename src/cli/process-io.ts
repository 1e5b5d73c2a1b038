/**
 * The real CommandIo, on this process: standard output and error, signals, the keep-alive.
 *
 * Invariants: with --json nothing but whole JSON lines reaches standard output. A progress line is
 * wiped before any other line is written. The first SIGINT or SIGTERM calls what the command
 * registered, a second one (or the first, when nothing is registered) ends the process at once.
 * A reader of standard output that goes away (EPIPE) is no error: the command is asked to stop, or
 * the process ends with code 0 if it cannot be asked.
 * While a command runs the process is kept alive: the timers of the engine do not do that.
 */
import type { Log } from "../world/index.ts";
import { nodeWorld, stderrLog } from "../world/node/index.ts";
import type { CommandIo } from "./command-io.ts";
import type { GlobalOptions } from "./command-program.ts";

const signalExits = { SIGINT: 130, SIGTERM: 143 } as const;
const keepAliveMs = 3_600_000;

export interface ProcessIo extends CommandIo {
  /** Wipes the progress line, so that what is written next to standard error is whole. */
  endProgress(): void;
}

/** Takes over the signals of this process; called once. */
export function openProcessIo(options: GlobalOptions): ProcessIo {
  let hasProgress = false;
  const endProgress = (): void => {
    if (hasProgress) process.stderr.write("\r\x1b[K");
    hasProgress = false;
  };
  const log = wipingLog(stderrLog(levelOf(options)), endProgress);
  const stopper = new Stopper();
  // A reader of standard error that goes away is no reason to stop mirroring.
  process.stderr.on("error", () => {});
  let isOutputGone = false;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (isOutputGone) return;
    isOutputGone = true;
    if (error.code !== "EPIPE") log.write("error", `standard output: ${error.message}`);
    stopper.readerGone();
  });
  const write = (line: string): void => {
    endProgress();
    if (!isOutputGone) process.stdout.write(`${line}\n`);
  };
  const isTerminal = process.stderr.isTTY;
  return {
    world: nodeWorld(log),
    json: options.json,
    quiet: options.quiet,
    verbose: options.verbose,
    isTerminal,
    say: (line) => {
      if (!options.json && !options.quiet) write(line);
    },
    print: (line) => {
      if (!options.json) write(line);
    },
    event: (event, fields) => {
      if (options.json) write(JSON.stringify({ event, ...fields }));
    },
    progress: (line) => {
      if (!isTerminal || options.quiet) return;
      const columns = Math.max(1, process.stderr.columns - 1);
      process.stderr.write(`\r\x1b[K${line.slice(0, columns)}`);
      hasProgress = true;
    },
    onStop: (stop) => stopper.register(stop),
    endProgress,
  };
}

function levelOf(options: GlobalOptions): "error" | "warn" | "info" | "debug" {
  if (options.logLevel !== undefined) return options.logLevel;
  if (options.verbose > 0) return "debug";
  return options.quiet ? "error" : "info";
}

function wipingLog(log: Log, endProgress: () => void): Log {
  return {
    write: (level, message, fields) => {
      endProgress();
      log.write(level, message, fields);
    },
  };
}

class Stopper {
  #stop: (() => void) | undefined;
  #isStopping = false;

  constructor() {
    setInterval(() => {}, keepAliveMs);
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (!this.#begin()) process.exit(signalExits[signal]);
      });
    }
  }

  register(stop: () => void): void {
    this.#stop = stop;
    if (this.#isStopping) stop();
  }

  readerGone(): void {
    if (this.#stop === undefined) process.exit(0);
    this.#begin();
  }

  /** False when nothing is registered, or it has been called already. */
  #begin(): boolean {
    if (this.#isStopping || this.#stop === undefined) return false;
    this.#isStopping = true;
    this.#stop();
    return true;
  }
}
