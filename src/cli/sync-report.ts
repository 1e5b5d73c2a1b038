/**
 * What `lockstep sync` says of its targets: the line of progress on a terminal, the events of
 * `--json`, and what `lockstep status` is answered. Pure: reports of targets in, text and data out.
 */
import type { SourceStatus } from "../session/index.ts";
import type { Problem, ProblemKind } from "../model/index.ts";
import type { ShownHalt } from "./halts.ts";

/**
 * `stopped` and `failed` are the end; `retrying` lasts until the target is live again; `halted`
 * until a person has looked.
 */
export type TargetState =
  | "seeding"
  | "live"
  | "retrying"
  | "halted"
  | "stopping"
  | "stopped"
  | "failed";

export interface TargetReport {
  readonly target: string;
  readonly state: TargetState;
  readonly halts: readonly ShownHalt[];
  readonly problems: number;
  readonly problemKinds: readonly ProblemKind[];
  readonly recentProblems: readonly Problem[];
  /** Why it is retrying, or has failed. */
  readonly error: { readonly code: string; readonly message: string } | undefined;
  /** Undefined between links. */
  readonly status: SourceStatus | undefined;
}

/** The state of all is that of the target which is worst off. */
const worstFirst: readonly TargetState[] = [
  "failed",
  "halted",
  "retrying",
  "seeding",
  "stopping",
  "stopped",
  "live",
];

/** A `progress` event for a target that is not live yet. */
export function progressFields(
  { target, state, status }: TargetReport,
  seconds: number,
): Record<string, unknown> | undefined {
  if (status === undefined || status.live) return undefined;
  return { target, state, files: status.filesScanned, bytes: status.bytesSent, seconds };
}

/** One line for all targets; undefined when there is nothing to say yet. */
export function progressLine(
  reports: readonly TargetReport[],
  seconds: number,
): string | undefined {
  const [only] = reports;
  if (reports.length === 1) return lineOf(only?.status, seconds);
  const live = reports.filter(({ state }) => state === "live");
  const lagUs = Math.max(0, ...live.map(({ status }) => status?.lagUs ?? 0));
  const parts = [`${live.length} of ${reports.length} live`];
  if (live.length > 0) parts.push(`lag ${milliseconds(lagUs)}`);
  for (const { target, state, status } of reports) {
    if (state === "live") continue;
    const done = status === undefined ? "" : ` ${status.filesScanned} files`;
    parts.push(`${state}${done}: ${target}`);
  }
  return parts.join(", ");
}

function lineOf(status: SourceStatus | undefined, seconds: number): string | undefined {
  if (status === undefined) return undefined;
  const megabytes = (status.bytesSent / 1e6).toFixed(1);
  if (!status.live) {
    const rate = (status.bytesSent / 1e6 / seconds).toFixed(1);
    return `seeding: ${status.filesScanned} files, ${megabytes} MB, ${rate} MB/s`;
  }
  const waiting = status.dirtyNodes + status.dirtyNames;
  const lag = milliseconds(status.lagUs);
  return `live: ${status.ackedEpoch} epochs, ${megabytes} MB, lag ${lag}, ${waiting} waiting`;
}

function milliseconds(us: number): string {
  return `${(us / 1000).toFixed(2)} ms`;
}

/**
 * What `lockstep status` gets. `targets` has an object for each; a sync with one target has the
 * fields of that one beside it, and one with several the worst or the sum of theirs.
 */
export function describeTargets(reports: readonly TargetReport[]): Record<string, unknown> {
  const targets = reports.map(({ status, error, ...own }) => ({ ...own, error, ...status }));
  const [only] = targets;
  if (only !== undefined && targets.length === 1) return { ...only, targets };
  const statuses = reports.flatMap(({ status }) => status ?? []);
  return {
    target: targets.map(({ target }) => target).join(", "),
    state: worstFirst.find((state) => targets.some((each) => each.state === state)),
    halts: haltsOfAll(reports),
    problems: sum(targets.map(({ problems }) => problems)),
    bytesSent: sum(statuses.map(({ bytesSent }) => bytesSent)),
    lagUs: Math.max(0, ...statuses.map(({ lagUs }) => lagUs)),
    targets,
  };
}

/** One that concerns the source is told once, though every target has it. */
function haltsOfAll(reports: readonly TargetReport[]): ShownHalt[] {
  const all = new Map<string, ShownHalt>();
  for (const { target, halts } of reports) {
    for (const { code, message } of halts) {
      const isOfSource = code.startsWith("ROOT_");
      const told = isOfSource ? message : `${target}: ${message}`;
      all.set(`${code} ${told}`, { code, message: told });
    }
  }
  return [...all.values()];
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
