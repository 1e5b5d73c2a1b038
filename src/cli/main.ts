#!/usr/bin/env node
/**
 * The program `lockstep`: parses its arguments, runs the command, ends with its exit code.
 *
 * In: argv, signals. Out: lines on standard output and error, the exit code (ERRORS.md).
 * Each command is loaded when it is asked for, as start-up time counts. Only here is an exception
 * turned into an exit code, and only here does the process end in order.
 */
import type { TargetPromises } from "../session/index.ts";
import { setFlagsFromString } from "node:v8";
import { ExitCode } from "../base/index.ts";
import type { FreeLimit } from "../session/index.ts";
import type { CommandIo } from "./command-io.ts";
import { parseArguments } from "./command-program.ts";
import type { Invocation, OptionValue } from "./command-program.ts";
import { failureOf } from "./failure.ts";
import type { IgnoreChoices } from "./ignore-options.ts";
import { openProcessIo } from "./process-io.ts";
import type { ProcessIo } from "./process-io.ts";

let io: ProcessIo | undefined;

async function main(args: readonly string[]): Promise<ExitCode> {
  const parsed = await parseArguments(args);
  if (parsed.kind === "command") {
    io = openProcessIo(parsed.global);
    return await dispatch(parsed, io);
  }
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
  } else {
    const { programVersion } = await import("../session/index.ts");
    process.stdout.write(`${programVersion}\n`);
  }
  return ExitCode.done;
}

/**
 * V8 optimizes a function after some thousand calls, by default: a mirror of a quiet folder would
 * take minutes to get there, at half of its speed. Measured over a link, 1,000 writes, one a
 * millisecond, right after the start: p50 121 to 152 µs without, 77 to 94 µs with it. An unknown
 * flag is ignored.
 */
function compileEarly(): void {
  setFlagsFromString("--interrupt-budget=4000");
}

async function dispatch(invocation: Invocation, io: CommandIo): Promise<ExitCode> {
  const { arguments: args, options } = invocation;
  const [name = ""] = invocation.command.split(" ");
  switch (name) {
    case "sync":
      compileEarly();
      return await sync(args, options, io);
    case "serve": {
      compileEarly();
      const { runServe } = await import("./serve-command.ts");
      const shares = [...list(options["share"])];
      const minFree = await freeLimit(text(options["minFree"]));
      const backupDirs = list(options["backupDir"]);
      const backupKeep = text(options["backupKeep"]);
      const { durability } = promises(options);
      const choices = { listen: text(options["listen"]), shares, minFree, durability };
      return await runServe({ ...choices, backupDirs, backupKeep }, io);
    }
    case "id":
      return await (await import("./id-command.ts")).runId(io);
    case "pair":
      return await pair(args, options, io);
    case "peers": {
      const { runPeers } = await import("./peers-command.ts");
      return await runPeers(invocation, io);
    }
    case "status":
      return await (await import("./status-command.ts")).runStatus(io);
    case "resume": {
      const { runResume } = await import("./resume-command.ts");
      return await runResume({ source: text(options["source"]) }, io);
    }
    case "snapshot":
      return await snapshot(args, options, io);
    case "promote": {
      const { runPromote } = await import("./promote-command.ts");
      const how = { undo: options["undo"] === true, force: options["force"] === true };
      return await runPromote({ target: args[0] ?? "", ...how }, io);
    }
    case "flush":
      return await flush(args, options, io);
    case "verify": {
      const { runVerify } = await import("./verify-command.ts");
      const [source = "", target = ""] = args;
      const { parseByteRate } = await import("./amounts.ts");
      const rateText = text(options["rate"]);
      const rate = rateText === undefined ? 0 : parseByteRate("--rate", rateText);
      const crossMounts = options["crossMounts"] === true;
      const resume = options["resume"] === true;
      const how = { content: options["content"] !== false, resume, crossMounts };
      return await runVerify({ source, target, rate, ...how, ignore: ignoreChoices(options) }, io);
    }
    case "doctor": {
      const { runDoctor } = await import("./doctor-command.ts");
      return await runDoctor({ source: args[0], target: args[1] }, io);
    }
    default:
      throw new Error(`the argument table has a command that nothing runs: ${name}`);
  }
}

type Options = Invocation["options"];

/** The table allows only what there is. */
function promises(options: Options): TargetPromises {
  const durability = text(options["durability"]) === "power" ? "power" : "process";
  const consistency = text(options["consistency"]) === "strict" ? "strict" : "bounded";
  return { durability, consistency };
}

async function snapshot(
  args: readonly string[],
  options: Options,
  io: CommandIo,
): Promise<ExitCode> {
  const { runSnapshot } = await import("./snapshot-command.ts");
  const how = { list: options["list"] === true, remove: text(options["remove"]) };
  return await runSnapshot({ arguments: args, ...how, to: text(options["to"]) }, io);
}

async function flush(args: readonly string[], options: Options, io: CommandIo): Promise<ExitCode> {
  const { runFlush } = await import("./flush-command.ts");
  const choices = { source: text(options["source"]), timeout: text(options["timeout"]) };
  return await runFlush({ targets: args, ...choices }, io);
}

async function sync(args: readonly string[], options: Options, io: CommandIo): Promise<ExitCode> {
  const { runSync } = await import("./sync-command.ts");
  const [source = "", ...targets] = args;
  // The table allows only names of backends.
  const backend = text(options["backend"]) as Parameters<typeof runSync>[0]["backend"];
  const { parseByteRate, parseDeletionLimit } = await import("./amounts.ts");
  const { deletionLimitDefault, scrubBytesPerSecond } = await import("../session/index.ts");
  const limitText = text(options["maxDelete"]);
  const maxDelete = limitText === undefined ? deletionLimitDefault : parseDeletionLimit(limitText);
  const rateText = text(options["scrubRate"]);
  const scrubRate =
    rateText === undefined ? scrubBytesPerSecond : parseByteRate("--scrub-rate", rateText);
  const once = options["once"] === true;
  const checksum = options["checksum"] === true;
  const freeText = text(options["minFree"]);
  const [minFree, minFreeIsGiven] = [await freeLimit(freeText), freeText !== undefined];
  const limits = { maxDelete, minFree, minFreeIsGiven };
  const choices = {
    source,
    targets,
    once,
    backend,
    checksum,
    ...limits,
    promises: promises(options),
  };
  const backup = { backupDir: text(options["backupDir"]), backupKeep: text(options["backupKeep"]) };
  const crossMounts = options["crossMounts"] === true;
  const how = { scrubRate, crossMounts, ignore: ignoreChoices(options) };
  return await runSync({ ...choices, ...backup, ...how }, io);
}

async function freeLimit(text: string | undefined): Promise<FreeLimit | undefined> {
  const { parseFreeLimit } = await import("./amounts.ts");
  const { freeLimitDefault } = await import("../session/index.ts");
  return text === undefined ? freeLimitDefault : parseFreeLimit(text);
}

function ignoreChoices(options: Options): IgnoreChoices {
  return {
    ignore: list(options["ignore"]),
    ignoreFrom: list(options["ignoreFrom"]),
    ignoreFiles: options["ignoreFiles"] !== false,
  };
}

async function pair(args: readonly string[], options: Options, io: CommandIo): Promise<ExitCode> {
  const { runPair } = await import("./pair-command.ts");
  const choices = {
    ticket: args[0],
    listen: text(options["listen"]),
    expires: text(options["expires"]),
    addresses: list(options["address"]),
    name: text(options["name"]),
    grants: list(options["grant"]),
  };
  return await runPair(choices, io);
}

function text(value: OptionValue): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function list(value: OptionValue): readonly string[] {
  return typeof value === "object" ? value : [];
}

/** Says why on standard error, with --json also on standard output, and ends. */
function fail(error: unknown): never {
  const { exit, code, message, lines } = failureOf(error);
  io?.endProgress();
  process.stderr.write(`${lines.join("\n")}\n`);
  // The arguments may be what is wrong, so there may be no io that knows of --json.
  if (process.argv.includes("--json")) {
    process.stdout.write(`${JSON.stringify({ event: "end", exit, code, message })}\n`);
  }
  process.exit(exit);
}

// `lockstep help | head -1`; once there is an io, it has its own listener.
process.stdout.on("error", () => {
  if (io === undefined) process.exit(ExitCode.done);
});
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
main(process.argv.slice(2)).then((exit) => {
  io?.endProgress();
  process.exit(exit);
}, fail);
