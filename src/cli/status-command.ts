/**
 * `lockstep status`: asks every running sync and serve of this state directory how it is.
 *
 * In: what they publish (control-socket.ts), which another version may have written: only what has
 * the expected type is shown. Out: a table with a row for each target or link, or with --json their
 * answers.
 */
import { ExitCode } from "../base/index.ts";
import { durationText } from "./amount-texts.ts";
import { stateDirectory } from "./command-io.ts";
import type { CommandIo } from "./command-io.ts";
import { collectStatuses } from "./control-socket.ts";
import type { ProcessStatus } from "./control-socket.ts";
import { haltsOf } from "./halts.ts";
import { textTable } from "./text-table.ts";

type Fields = Readonly<Record<string, unknown>>;

const heads = [
  "PID",
  "COMMAND",
  "FROM",
  "TO",
  "STATE",
  "LAG",
  "CUT",
  "EPOCHS",
  "FUZZY",
  "FILES",
  "SENT",
  "BACKEND",
  "PROBLEMS",
];

export async function runStatus(io: CommandIo): Promise<ExitCode> {
  const processes = await collectStatuses(stateDirectory(process.env));
  for (const { pid, status } of processes) {
    io.event("status", { ...(status ?? { state: "not answering" }), pid });
  }
  if (processes.length === 0) io.say("nothing is running");
  else {
    const nowMs = io.world.clock.wallMs();
    const rows = processes.flatMap((process) => rowsOf(process, nowMs));
    for (const line of textTable([heads, ...rows])) io.print(line);
  }
  for (const { pid, status } of processes) {
    for (const { code, message } of haltsOf(status ?? {})) {
      io.print(`${pid} is halted: ${code}: ${message} (see \`lockstep help resume\`)`);
    }
  }
  return ExitCode.done;
}

function rowsOf({ pid, status }: ProcessStatus, nowMs: number): string[][] {
  if (status === undefined) return [[String(pid), "-", "-", "-", "not answering"]];
  const isServe = status["command"] === "serve";
  return isServe ? serveRows(pid, status, nowMs) : syncRows(pid, status, nowMs);
}

/** One row for each target. What the process told without a list is one target. */
function syncRows(pid: number, status: Fields, nowMs: number): string[][] {
  const targets: unknown[] = Array.isArray(status["targets"]) ? status["targets"] : [status];
  return targets.filter(isFields).map((target) => syncRow(pid, target, status, nowMs));
}

function syncRow(pid: number, status: Fields, whole: Fields, nowMs: number): string[] {
  return [
    String(pid),
    text(whole["command"]),
    text(whole["source"]),
    text(status["target"]),
    text(status["state"]),
    lagText(status["lagUs"]),
    ageText(status["ackedWallMs"], nowMs),
    text(status["ackedEpoch"]),
    text(status["fuzzyEpochs"]),
    text(status["nodes"]),
    bytesText(status["bytesSent"]),
    text(whole["backend"]),
    text(status["problems"]),
  ];
}

/** One row for each link, of a mirror or a verify; one where it listens while there is none. */
function serveRows(pid: number, status: Fields, nowMs: number): string[][] {
  const head = [String(pid), "serve"];
  const listed = (key: string): Fields[] => {
    const list: unknown[] = Array.isArray(status[key]) ? status[key] : [];
    return list.filter(isFields);
  };
  const verifies = listed("verifies").map((fields) => {
    return [...head, text(fields["peer"]), text(fields["path"]), "verifying"];
  });
  const links = listed("links");
  if (links.length + verifies.length === 0) {
    return [[...head, "-", text(status["listen"]), "listening"]];
  }
  const rows = links.map((fields) => {
    const isHalted = typeof fields["halt"] === "string" && fields["halt"] !== "";
    const state = isHalted ? "halted" : fields["live"] === true ? "live" : "seeding";
    const place = [text(fields["peer"]), text(fields["path"]), state, "-"];
    return [
      ...head,
      ...place,
      ageText(fields["cutWallMs"], nowMs),
      text(fields["epoch"]),
      text(fields["fuzzyEpochs"]),
      text(fields["nodes"]),
      "-",
      "-",
      text(fields["problems"]),
    ];
  });
  return [...rows, ...verifies];
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}

function text(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "-";
}

function lagText(us: unknown): string {
  if (typeof us !== "number") return "-";
  return us < 1e6 ? `${(us / 1e3).toFixed(2)} ms` : `${(us / 1e6).toFixed(1)} s`;
}

/** How long ago, by the clock of the source, the newest cut of a target was; 0 is no cut yet. */
function ageText(wallMs: unknown, nowMs: number): string {
  if (typeof wallMs !== "number" || wallMs === 0) return "-";
  const seconds = Math.max(0, (nowMs - wallMs) / 1000);
  return seconds < 60 ? `${seconds.toFixed(1)} s` : durationText(seconds);
}

/** Decimal units, as on the wire: `1.5 MB`. */
export function bytesText(value: unknown): string {
  if (typeof value !== "number") return "-";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let amount = value;
  let index = 0;
  while (amount >= 1000 && index < units.length - 1) {
    amount /= 1000;
    index += 1;
  }
  return `${index === 0 ? amount : amount.toFixed(1)} ${units[index]}`;
}
