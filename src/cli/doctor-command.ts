/**
 * `lockstep doctor`: looks at everything that decides whether a sync works here and how fast, and
 * says what to do about what is wrong. Exit code 0 when nothing FAILs, else 1.
 */
import { ExitCode } from "../base/index.ts";
import { stateDirectory } from "./command-io.ts";
import type { CommandIo } from "./command-io.ts";
import type { DoctorFinding } from "./doctor-finding.ts";
import { examineSource, examineState, examineTarget } from "./doctor-folders.ts";
import { examineHost, examineInotify } from "./doctor-host.ts";
import { examinePeers } from "./doctor-peers.ts";
import { parseTarget } from "./places.ts";

export interface DoctorOptions {
  /** The current folder if absent. */
  readonly source: string | undefined;
  readonly target: string | undefined;
}

export async function runDoctor(options: DoctorOptions, io: CommandIo): Promise<ExitCode> {
  const target = options.target === undefined ? undefined : parseTarget(options.target);
  const path = options.source ?? ".";
  const levels = new Set<string>();
  const tell = (findings: readonly DoctorFinding[]): void => {
    for (const finding of findings) {
      levels.add(finding.level);
      tellFinding(finding, io);
    }
  };
  tell(examineHost());
  const source = examineSource(path);
  tell(source.findings);
  tell([examineInotify(source.backend === "inotify")]);
  if (target?.kind === "local") tell(examineTarget(path, target.path));
  tell(examineState(stateDirectory(process.env)));
  tell(await examinePeers(io.world, target?.kind === "remote" ? target : undefined));
  const works = !levels.has("FAIL");
  const exit = works ? ExitCode.done : ExitCode.differences;
  const how = levels.has("WARN") ? "a sync works, see the warnings" : "a sync works";
  io.say(works ? how : "a sync would not work: see the lines with FAIL");
  io.event("end", { exit, works, backend: source.backend ?? null });
  return exit;
}

function tellFinding(finding: DoctorFinding, io: CommandIo): void {
  const { level, topic, detail, advice } = finding;
  io.event("check", { level, topic, detail, ...(advice === undefined ? {} : { advice }) });
  io.print(`${level.padEnd(4)}  ${topic}: ${detail}`);
  if (advice !== undefined) io.print(`      ${advice}`);
}
