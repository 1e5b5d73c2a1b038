/**
 * What `lockstep sync` says of its targets: the line of progress on a terminal, the events of
 * `--json`, and what `lockstep status` is answered. Pure: reports of targets in, text and data out.
 */
import type { SourceStatus } from "../session/index.ts";
import type { Problem, ProblemKind } from "../model/index.ts";
import type { ShownHalt } from "./halts.ts";
import { countText, durationText } from "./amount-texts.ts";
import type { SeedProgress } from "./seed-meter.ts";

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
  /** Of a folder of this machine. */
  readonly path?: string;
  readonly state: TargetState;
  readonly halts: readonly ShownHalt[];
  readonly problems: number;
  readonly problemKinds: readonly ProblemKind[];
  readonly recentProblems: readonly Problem[];
  /** Why it is retrying, or has failed. */
  readonly error: { readonly code: string; readonly message: string } | undefined;
  /** Undefined between links. */
  readonly status: SourceStatus | undefined;
  /** Of a folder of this machine: what would be redone after a crash. */
  readonly journalBytes?: number;
  /** While it is being made equal, once that has taken a moment. */
  readonly progress?: SeedProgress;
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

/** A `progress` event for a target that is being made equal, or just has been. */
export function progressFields(
  { target, state, status }: TargetReport,
  progress: SeedProgress | undefined,
  seconds: number,
): Record<string, unknown> | undefined {
  if (status === undefined || progress === undefined) return undefined;
  return { target, state, ...amountsOf(progress), bytes: status.bytesSent, seconds };
}

/** What is not known is left out by JSON; totals are known when all of the source is counted. */
function amountsOf(progress: SeedProgress): Record<string, number | undefined> {
  const { files, contentBytes, bytesPerSecond, secondsLeft } = progress;
  const filesTotal = progress.isWhole ? progress.filesTotal : undefined;
  const contentBytesTotal = progress.isWhole ? progress.contentBytesTotal : undefined;
  return { files, filesTotal, contentBytes, contentBytesTotal, bytesPerSecond, secondsLeft };
}

/** One line for all targets, of less than 80 columns for one; undefined: nothing to say yet. */
export function progressLine(reports: readonly TargetReport[]): string | undefined {
  const [only] = reports;
  if (reports.length === 1) return only && lineOf(only);
  const live = reports.filter(({ state }) => state === "live");
  const lagUs = Math.max(0, ...live.map(({ status }) => status?.lagUs ?? 0));
  const parts = [`${live.length} of ${reports.length} live`];
  if (live.length > 0) parts.push(`lag ${milliseconds(lagUs)}`);
  const left = reports.flatMap(({ progress }) => progress?.secondsLeft ?? []);
  if (left.length > 0) parts.push(`${durationText(Math.max(...left))} left`);
  for (const { target, state, progress } of reports) {
    if (state === "live") continue;
    parts.push(`${state}${progress === undefined ? "" : ` ${shareText(progress)}`}: ${target}`);
  }
  return parts.join(", ");
}

function lineOf({ status, progress }: TargetReport): string | undefined {
  if (status === undefined) return undefined;
  if (!status.live) return progress && `seeding: ${seedingText(progress)}`;
  const megabytes = (status.bytesSent / 1e6).toFixed(1);
  const waiting = status.dirtyNodes + status.dirtyNames;
  const lag = milliseconds(status.lagUs);
  return `live: ${status.ackedEpoch} epochs, ${megabytes} MB, lag ${lag}, ${waiting} waiting`;
}

/** `12345/20000+ files`: more than 20000, it is not known yet how many. */
function seedingText(progress: SeedProgress): string {
  const { files, filesTotal, contentBytes, contentBytesTotal, isWhole } = progress;
  const more = isWhole ? "" : "+";
  const filesOf = filesTotal === undefined ? "" : `/${countText(filesTotal)}${more}`;
  const unit = unitOf(Math.max(contentBytes, contentBytesTotal ?? 0));
  const bytes = amountText(contentBytes, unit);
  const bytesOf =
    contentBytesTotal === undefined ? "" : `/${amountText(contentBytesTotal, unit)}${more}`;
  const parts = [`${countText(files)}${filesOf} files`, `${bytes}${bytesOf} ${unit.name}`];
  const { bytesPerSecond, secondsLeft } = progress;
  if (bytesPerSecond !== undefined) {
    const rateUnit = unitOf(bytesPerSecond);
    parts.push(`${amountText(bytesPerSecond, rateUnit)} ${rateUnit.name}/s`);
  }
  if (secondsLeft !== undefined) parts.push(`${durationText(secondsLeft)} left`);
  return parts.join(", ");
}

/** Of one target among several. */
function shareText({
  files,
  filesTotal = 0,
  contentBytes,
  contentBytesTotal = 0,
  isWhole,
}: SeedProgress): string {
  const isCounted = isWhole && filesTotal > 0;
  if (!isCounted) return `${countText(files)} files`;
  const share = contentBytesTotal > 0 ? contentBytes / contentBytesTotal : files / filesTotal;
  return `${Math.floor(100 * share)}%`;
}

const units = [
  { name: "MB", bytes: 1e6 },
  { name: "GB", bytes: 1e9 },
  { name: "TB", bytes: 1e12 },
  { name: "PB", bytes: 1e15 },
] as const;
type Unit = (typeof units)[number];

/** The largest of which it is at least one; MB for less. */
function unitOf(bytes: number): Unit {
  return units.findLast((unit) => bytes >= unit.bytes) ?? units[0];
}

/** Cut, not rounded: what is not done yet does not look done. */
function amountText(bytes: number, unit: Unit): string {
  return (Math.floor((bytes * 10) / unit.bytes) / 10).toFixed(1);
}

function milliseconds(us: number): string {
  return `${(us / 1000).toFixed(2)} ms`;
}

/**
 * What `lockstep status` gets. `targets` has an object for each; a sync with one target has the
 * fields of that one beside it, and one with several the worst or the sum of theirs.
 */
export function describeTargets(reports: readonly TargetReport[]): Record<string, unknown> {
  const targets = reports.map(({ status, error, progress, ...own }) => {
    const told = progress === undefined ? {} : { progress: amountsOf(progress) };
    return { ...own, error, ...told, ...status };
  });
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
