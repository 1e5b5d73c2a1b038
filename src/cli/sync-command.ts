/**
 * `lockstep sync SOURCE TARGET [TARGET…]`: seeds each target, then mirrors every change until
 * interrupted. One process, one capture, and for each target a tree, a cut and a link of its own
 * (docs/adr/0022-targets-share-capture.md).
 */
import { readdirSync } from "node:fs";
import { ExitCode, SyncError } from "../base/index.ts";
import {
  type BackendName,
  type CaptureBackend,
  listenerCountMax,
  openBackend,
  type OpenedBackend,
  shareCapture,
} from "../capture/index.ts";
import type { IgnoreSettings } from "../ignore/index.ts";
import type { DeletionLimit, FreeLimit, TargetPromises } from "../session/index.ts";
import { type Identity, loadIdentity } from "../transport/index.ts";
import { native, type Native } from "../world/node/index.ts";
import { BackupDir, parseKeepDays } from "./backup-dirs.ts";
import { type CommandIo, stateDirectory } from "./command-io.ts";
import { publishStatus, type ResumeAnswer } from "./control-socket.ts";
import type { TalkAnswers } from "./control-talk.ts";
import { flushAnswers } from "./flush-desk.ts";
import { haltsOf } from "./halts.ts";
import { type IgnoreChoices, readIgnoreChoices } from "./ignore-options.ts";
import { mappedInodes } from "./mapped-files.ts";
import {
  checkSource,
  checkTarget,
  checkTargetsOverlap,
  openDirectory,
  openStateDirectory,
  parseTarget,
  type Target,
} from "./places.ts";
import { RootHalt } from "./root-halt.ts";
import { ProgressTeller } from "./progress-teller.ts";
import { promotionAnswers } from "./promotion-desk.ts";
import { snapshotAnswers, type SnapshotTarget } from "./snapshot-desk.ts";
import { SourceMounts } from "./source-mounts.ts";
import { describeTargets } from "./sync-report.ts";
import { TargetRun } from "./target-run.ts";
import { areCutsValidated } from "./test-hooks.ts";

const progressMs = 500;
/** Port that `lockstep serve` listens on when it is not told another. */
export const defaultPort = 7420;

export interface SyncOptions {
  source: string;
  targets: string[];
  once: boolean;
  backend: BackendName | "auto";
  /** How much may be deleted without asking; everything when absent. */
  maxDelete: DeletionLimit | undefined;
  checksum: boolean;
  promises: TargetPromises;
  /** How much of a local target's filesystem is to stay free; nothing when absent. */
  minFree: FreeLimit | undefined;
  minFreeIsGiven: boolean;
  /** Where what goes on the local target is kept, and for how many days. */
  backupDir: string | undefined;
  backupKeep: string | undefined;
  ignore: IgnoreChoices;
  /** Bytes a second that the scrub compares; 0 for none. */
  scrubRate: number;
  /** Filesystems below the source are mirrored, too. */
  crossMounts: boolean;
}

/** What all targets of one sync have in common. */
interface Common {
  readonly options: SyncOptions;
  readonly io: CommandIo;
  readonly files: Native;
  readonly source: string;
  readonly rootFd: number;
  readonly stateDir: string;
  readonly stateFd: number;
  readonly identity: Identity | undefined;
  readonly mappedInodes: readonly number[];
  readonly validatesCuts: boolean;
  /** A person has agreed to what is deleted until a target is live. */
  readonly deletionsConfirmed: boolean;
  readonly ignore: IgnoreSettings;
  readonly backup: BackupDir | undefined;
}

export async function runSync(options: SyncOptions, io: CommandIo): Promise<ExitCode> {
  let isConfirmed = false;
  for (;;) {
    const exit = await syncOnce(options, io, isConfirmed);
    if (exit !== "again") return exit;
    // Another folder was agreed to, with what it lacks; an empty one is asked about once more.
    isConfirmed = readdirSync(options.source).length > 0;
  }
}

/** Runs until it ends; or until a person has agreed that the source's folder is another one. */
async function syncOnce(
  options: SyncOptions,
  io: CommandIo,
  deletionsConfirmed: boolean,
): Promise<ExitCode | "again"> {
  const { source, targets } = checkPlaces(options);
  const ignore = readIgnoreChoices(options.ignore);
  const files = native();
  files.umask(0);
  const backup = openBackup(options, files, io, source, targets);
  const stateDir = stateDirectory(process.env);
  const rootFd = openDirectory(files, source);
  const opened = openBackend(files, options.backend, rootFd, options.crossMounts);
  let stateFd = -1;
  try {
    tellStart(io, source, targets, opened);
    stateFd = openStateDirectory(files, stateDir);
    const identity = targets.some(({ kind }) => kind === "remote")
      ? await loadIdentity({
          stateDir,
          credentialsDirectory: process.env["CREDENTIALS_DIRECTORY"],
        })
      : undefined;
    // What is mapped from now on is told.
    const mapped = opened.backend.tellsExtents ? mappedInodes() : [];
    const own = { options, io, files, source, deletionsConfirmed, ignore, mappedInodes: mapped };
    const validatesCuts = areCutsValidated(process.env, io.world.log);
    const common = { ...own, validatesCuts, backup, rootFd, stateDir, stateFd, identity };
    return await mirrorAll(common, targets, opened);
  } finally {
    backup?.close();
    opened.backend.close();
    files.close(rootFd);
    if (stateFd >= 0) files.close(stateFd);
  }
}

/** One folder is for one target: their paths in it would be taken for each other's. */
function openBackup(
  { backupDir, backupKeep }: SyncOptions,
  files: Native,
  io: CommandIo,
  source: string,
  targets: readonly Target[],
): BackupDir | undefined {
  const keepDays = parseKeepDays(backupKeep);
  if (backupDir === undefined) {
    if (backupKeep === undefined) return undefined;
    throw new SyncError("USAGE", "--backup-keep needs --backup-dir");
  }
  const [target, ...others] = targets.flatMap((one) => (one.kind === "local" ? [one.path] : []));
  if (target === undefined) {
    throw new SyncError("USAGE", "--backup-dir is for `lockstep serve` when the target is remote");
  }
  if (others.length > 0) {
    throw new SyncError("USAGE", "--backup-dir is for one local target; run a sync for each");
  }
  const { clock, log } = io.world;
  return new BackupDir({ files, clock, log, keepDays }, backupDir, target, [source]);
}

/** Whatever is wrong with a place is said before anything is opened or made. */
function checkPlaces(options: SyncOptions): { source: string; targets: Target[] } {
  if (options.targets.length === 0) throw new SyncError("USAGE", "sync needs a TARGET");
  if (options.targets.length > listenerCountMax) {
    throw new SyncError("USAGE", `sync takes at most ${listenerCountMax} targets`);
  }
  const source = checkSource(options.source);
  const targets = options.targets.map((text) => parseTarget(text));
  if (options.minFreeIsGiven && targets.every(({ kind }) => kind === "remote")) {
    throw new SyncError("USAGE", "--min-free is for `lockstep serve` when the target is remote");
  }
  checkTargetsOverlap(source, targets);
  for (const target of targets) {
    if (target.kind === "local") target.path = checkTarget(target.path);
  }
  return { source, targets };
}

/**
 * The whole of it, wired: one capture, a view of it for each target, and each target by itself
 * until it is stopped or fails.
 */
async function mirrorAll(
  common: Common,
  targets: readonly Target[],
  { backend }: OpenedBackend,
): Promise<ExitCode | "again"> {
  const { options, io, source, stateDir } = common;
  const { clock } = io.world;
  const runs: TargetRun[] = [];
  const sourceMounts = openMounts(common, targets, backend, runs);
  const startedUs = clock.monotonicUs();
  const teller = new ProgressTeller(io, startedUs, {
    ...common,
    clock,
    files: sourceMounts.files,
    followed: sourceMounts.followed,
  });
  const views = shareCapture(backend, targets.length);
  for (const [index, target] of targets.entries()) {
    runs.push(
      new TargetRun({
        ...options,
        ...common,
        target,
        capture: views[index]!,
        startedUs,
        sourceMounts,
        hasOthers: targets.length > 1,
        onEqual: (report) => teller.finish(report),
        onState: () => {
          if (options.once && runs.every(isDone)) stopAll();
        },
      }),
    );
  }
  const isDone = ({ state, isOver }: TargetRun): boolean => state === "live" || isOver;
  const stopAll = (): void => runs.forEach((run) => run.stop());
  const reports = (): ReturnType<TargetRun["report"]>[] => runs.map((run) => run.report());

  const rootHalt = new RootHalt(io, options.source, { source, target: textOf(targets) });
  const describe = (): unknown => {
    const own = { command: "sync", source, backend: backend.name, ...sourceMounts.describe() };
    const all = describeTargets(teller.withProgress(reports()));
    return { ...own, ...all, halts: [...sourceMounts.halts, ...haltsOf(all)] };
  };
  const resume = (): ResumeAnswer =>
    rootHalt.isOn ? rootHalt.resume() : resumeAll(runs, sourceMounts);
  const talks = talksOf(runs, common, targets, backend.tellsExtents);
  const published = publishStatus(stateDir, describe, io.world.log, resume, talks);
  // Timers of the engine do not keep the process alive; this one does.
  const ticker = setInterval(() => teller.tell(reports()), progressMs);
  io.onStop(() => {
    stopAll();
    rootHalt.stop();
  });
  try {
    await Promise.all(runs.map((run) => run.run()));
    const halt = runs.find(({ failure }) => failure?.code === "ROOT_REPLACED")?.failure;
    if (halt !== undefined && (await rootHalt.untilResumed(halt, options.once))) return "again";
  } finally {
    clearInterval(ticker);
    teller.close();
    published.close();
    sourceMounts.close();
  }
  return conclude(runs, common, sourceMounts);
}

/** What is mounted below the source. Files that are mapped when it is followed concern all runs. */
function openMounts(
  common: Common,
  targets: readonly Target[],
  backend: CaptureBackend,
  runs: readonly TargetRun[],
): SourceMounts {
  const onFollowed = (): void => {
    const mapped = backend.tellsExtents ? mappedInodes() : [];
    for (const run of runs) run.noteMapped(mapped);
  };
  const backupFd = common.backup === undefined ? {} : { backupFd: common.backup.dirFd };
  const own = { ...common, ...backupFd, backend, targets, onFollowed };
  return new SourceMounts(own, common.options.crossMounts);
}

/** `flush` of all targets, and `snapshot` of local ones. */
function talksOf(
  runs: readonly TargetRun[],
  { io, files, source, backup, stateFd }: Common,
  targets: readonly Target[],
  tellsExtents: boolean,
): TalkAnswers {
  const local = targets.flatMap((target) => (target.kind === "local" ? [target.path] : []));
  const here = (): readonly SnapshotTarget[] => runs.flatMap((run) => run.snapshotTarget ?? []);
  const promotions = promotionAnswers({ world: io.world, files, stateFd, targets: here });
  const snapshots = snapshotAnswers({
    world: io.world,
    files,
    targets: here,
    apart: () => [source, ...local, ...(backup === undefined ? [] : [backup.path])],
  });
  return { ...flushAnswers(runs, source, tellsExtents), ...snapshots, ...promotions };
}

/** What is halted goes on. */
function resumeAll(runs: readonly TargetRun[], sourceMounts: SourceMounts): ResumeAnswer {
  const halts = runs.flatMap((run) => run.resume()?.code ?? []);
  const resumed = [...sourceMounts.resume(), ...halts];
  return resumed.length === 0 ? { refused: "it is not halted" } : { resumed };
}

/** The exit code is the worst of all targets. Throws the failure that has it. */
function conclude(
  runs: readonly TargetRun[],
  { options, io }: Common,
  sourceMounts: SourceMounts,
): ExitCode {
  let worst = options.once ? sourceMounts.halt : undefined;
  let problems = 0;
  for (const run of runs) {
    const { failure } = run;
    problems += run.problems.count;
    for (const line of run.summary()) io.world.log.write("warn", line);
    if (failure !== undefined && failure.exitCode >= (worst?.exitCode ?? 0)) worst = failure;
  }
  if (worst !== undefined) throw worst;
  const remained = options.once && problems > 0;
  const exit = remained ? ExitCode.differences : ExitCode.done;
  const problemKinds = runs.flatMap((run) => run.problems.kinds);
  io.event("end", { exit, problems, problemKinds });
  return exit;
}

function textOf(targets: readonly Target[]): string {
  return targets.map(({ text }) => text).join(", ");
}

function tellStart(
  io: CommandIo,
  source: string,
  targets: readonly Target[],
  { backend, refusals }: OpenedBackend,
): void {
  const texts = targets.map(({ text }) => text);
  io.event("start", {
    source,
    target: textOf(targets),
    targets: texts,
    backend: backend.name,
    refusals,
    pid: process.pid,
  });
  for (const refusal of refusals) io.say(`not used: ${refusal}`);
  for (const text of texts) io.say(`${source} -> ${text} (backend ${backend.name})`);
}
