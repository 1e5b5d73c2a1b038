/**
 * `lockstep resume`: tells every halted sync and serve of this state directory, or those of one
 * source, that a person has looked.
 *
 * In: what they publish and what they answer (control-socket.ts), which another version may have
 * written. Out: a line or event for each that goes on; NOTHING_HALTED when none was halted.
 */
import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import { ExitCode, SyncError } from "../base/index.ts";
import { stateDirectory } from "./command-io.ts";
import type { CommandIo } from "./command-io.ts";
import { collectStatuses, requestResume } from "./control-socket.ts";
import { haltsOf } from "./halts.ts";

export async function runResume(
  options: { source: string | undefined },
  io: CommandIo,
): Promise<ExitCode> {
  const stateDir = stateDirectory(process.env);
  const processes = await collectStatuses(stateDir);
  const halted = processes.filter(({ status }) => {
    if (status === undefined || haltsOf(status).length === 0) return false;
    return options.source === undefined || isSource(options.source, status["source"]);
  });
  if (halted.length === 0) {
    const where = options.source === undefined ? "" : ` with the source ${options.source}`;
    throw new SyncError("NOTHING_HALTED", `nothing${where} is halted`);
  }
  let refusal = "";
  for (const { pid, status } of halted) {
    const answer = await requestResume(stateDir, pid);
    const source = typeof status?.["source"] === "string" ? status["source"] : `process ${pid}`;
    const resumed = answer?.["resumed"];
    if (!Array.isArray(resumed)) {
      const reason = answer?.["refused"];
      refusal = `${source}: ${typeof reason === "string" ? reason : "it did not answer"}`;
      io.event("refused", { pid, source, message: refusal });
      continue;
    }
    io.event("resumed", { pid, source, halts: resumed });
    io.print(`${source} goes on: ${resumed.join(", ")}`);
  }
  if (refusal !== "") throw new SyncError("RESUME_REFUSED", refusal);
  return ExitCode.done;
}

/** The source may be gone, so its real path is tried, then what was written. */
function isSource(wanted: string, source: unknown): boolean {
  const path = resolve(wanted);
  if (path === source) return true;
  try {
    return realpathSync(path) === source;
  } catch {
    // It is gone, or out of reach: then no other name of it leads there either.
    return false;
  }
}
