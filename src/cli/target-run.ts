/**
 * `TargetRun`: one target of a `lockstep sync`, from its first link to its end: how it is reached,
 * what is told of it, and what became of it.
 *
 * In: a view of the capture that all targets share. Out: events with the target's name, `state`,
 * `failure`.
 * Invariant: nothing that becomes of one target ends another. Only a bug does, and a source that is
 * not there any more, which each of them sees for itself.
 */
import { hostname } from "node:os";
import { SyncError } from "../base/index.ts";
import type { CaptureBackend } from "../capture/index.ts";
import type { IgnoreSettings } from "../ignore/index.ts";
import { MountLog, type Problem, ProblemLog } from "../model/index.ts";
import {
  type Barrier,
  type DeletionLimit,
  type FreeLimit,
  makeScrub,
  Mirror,
  serveLink,
  type TargetPromises,
  type TargetSession,
  UnknownStores,
} from "../session/index.ts";
import { type Identity, type Link, linkLimits, memoryLinkPair } from "../transport/index.ts";
import type { Timer } from "../world/index.ts";
import type { Native } from "../world/node/index.ts";
import type { BackupDir } from "./backup-dirs.ts";
import type { CommandIo } from "./command-io.ts";
import { dialTarget } from "./dial-target.ts";
import { shownHalts, tellHalt, tellResume } from "./halts.ts";
import { tellMount } from "./mount-notice.ts";
import { openDirectory, type Target } from "./places.ts";
import { readBootId } from "./promotion-desk.ts";
import type { SnapshotTarget } from "./snapshot-desk.ts";
import type { SourceMounts } from "./source-mounts.ts";
import type { TargetReport, TargetState } from "./sync-report.ts";
import { areJournalsKept } from "./test-hooks.ts";

/** Time for a target of this process to end after its last link. */
const targetEndMsMax = 30_000;

export interface TargetRunOptions {
  readonly io: CommandIo;
  readonly files: Native;
  /** What is below the source, and over which filesystems. */
  readonly sourceMounts: SourceMounts;
  readonly source: string;
  readonly rootFd: number;
  readonly target: Target;
  /** This target's view. */
  readonly capture: CaptureBackend;
  readonly stateDir: string;
  readonly stateFd: number;
  /** Of this device; absent when no target is remote. */
  readonly identity: Identity | undefined;
  /** Of files that are mapped already. */
  readonly mappedInodes: readonly number[];
  readonly startedUs: number;
  readonly once: boolean;
  /** How much may be deleted without asking; everything when absent. */
  readonly maxDelete: DeletionLimit | undefined;
  readonly checksum: boolean;
  readonly promises: TargetPromises;
  /** False only in tests that are to find it out. */
  readonly validatesCuts: boolean;
  /** How much of a local target's filesystem is to stay free; nothing when absent. */
  readonly minFree: FreeLimit | undefined;
  /** Where what goes on a local target is kept. */
  readonly backup: BackupDir | undefined;
  /** What is neither sent nor removed. */
  readonly ignore: IgnoreSettings;
  /** A person has agreed to what is deleted until the target is live. */
  readonly deletionsConfirmed: boolean;
  /** Content compared with what the target really has, in bytes a second; 0 for none. */
  readonly scrubRate: number;
  /** There are others, which go on: then this one is not given up while it may come back. */
  readonly hasOthers: boolean;
  /** It equals the source for the first time of a link. */
  readonly onEqual: (report: TargetReport) => void;
  /** Its state is another one now. */
  readonly onState: () => void;
}

export class TargetRun {
  readonly #options: TargetRunOptions;
  readonly #problems: ProblemLog;
  /** Below a target of this machine. */
  readonly #mounts: MountLog;
  readonly #mirror: Mirror;
  readonly #unknownStores: UnknownStores;
  #state: TargetState = "seeding";
  #failure: SyncError | undefined;
  #lastError: SyncError | undefined;

  constructor(options: TargetRunOptions) {
    this.#options = options;
    this.#problems = new ProblemLog((problem) => this.#tellProblem(problem));
    this.#mounts = new MountLog((path) => {
      tellMount(options.io, "target", `${options.target.text}/${path}`);
    });
    const { io, sourceMounts, target, capture, rootFd, source } = options;
    const { followed } = sourceMounts;
    const isRemote = target.kind === "remote";
    const unknownStores = new UnknownStores();
    this.#unknownStores = unknownStores;
    this.noteMapped(options.mappedInodes);
    this.#mirror = new Mirror({
      world: io.world,
      files: sourceMounts.files,
      express: options.files,
      ...(followed === undefined ? {} : { followed }),
      backend: capture,
      rootFd,
      rootPath: Buffer.from(source),
      problems: this.#problems,
      mounts: sourceMounts.leftOut,
      share: isRemote ? target.share : "",
      subpath: isRemote ? target.subpath : "",
      device: hostname(),
      connect: () =>
        target.kind === "remote"
          ? dialTarget(target, { io, stateDir: options.stateDir, identity: options.identity! })
          : this.#served.then(() => this.#connectLocal(target.path)),
      onLive: () => this.#onLive(),
      onRetry: (error, delayMs) => this.#onRetry(error, delayMs),
      isRetried: ({ kind }) => kind === "reject" && options.hasOthers && !options.once,
      ...(options.maxDelete === undefined ? {} : { maxDelete: options.maxDelete }),
      deletionsConfirmed: options.deletionsConfirmed,
      checksum: options.checksum,
      promises: options.promises,
      validatesCuts: options.validatesCuts,
      ignore: options.ignore,
      unknownStores,
      scrub: makeScrub(options.once ? 0 : options.scrubRate),
      onHalt: (halt) => this.#onHalt(halt),
      onResume: (halt) => this.#onResume(halt),
    });
  }

  /** These files are mapped, whatever filesystem they are on. */
  noteMapped(inodes: readonly number[]): void {
    for (const ino of inodes) this.#unknownStores.noteInode(ino);
  }

  get state(): TargetState {
    return this.#state;
  }

  /** Of the target, as the user wrote it. */
  get text(): string {
    return this.#options.target.text;
  }

  /** Its folder, when that is here and a source is linked to it. */
  get snapshotTarget(): SnapshotTarget | undefined {
    const { target } = this.#options;
    const session = this.#localSession;
    if (target.kind !== "local" || session === undefined) return undefined;
    return { path: target.path, base: target.path, session };
  }

  #localSession: TargetSession | undefined;

  /** See `Mirror.barrier`. */
  barrier(barrier: Barrier): () => void {
    return this.#mirror.barrier(barrier);
  }

  /** It is over, and not because a person has to look. */
  get isGivenUp(): boolean {
    return this.isOver && this.#failure?.kind !== "halt";
  }

  /** What ended it, if it could not go on. */
  get failure(): SyncError | undefined {
    return this.#failure;
  }

  get problems(): ProblemLog {
    return this.#problems;
  }

  /** For the end: what was told with one path and concerned more. */
  summary(): string[] {
    const { target, hasOthers } = this.#options;
    const where = hasOthers ? `${target.text}: ` : "";
    return this.#problems.kinds
      .filter(({ count }) => count > 1)
      .map(({ side, operation, errno, path, count }) => {
        return `${where}${side}: ${operation}: ${errno}: ${count} times, first ${path}`;
      });
  }

  report(): TargetReport {
    const { target } = this.#options;
    const journalBytes = this.#localSession?.status.journalBytes;
    return {
      target: this.#options.target.text,
      ...(target.kind === "local" ? { path: target.path } : {}),
      ...(journalBytes === undefined ? {} : { journalBytes }),
      state: this.#state,
      halts: shownHalts(this.#failure?.kind === "halt" ? this.#failure : this.#mirror.halt),
      problems: this.#problems.count,
      problemKinds: this.#problems.kinds,
      recentProblems: this.#problems.kept.slice(-10),
      error: this.#lastError && { code: this.#lastError.code, message: this.#lastError.message },
      status: this.#mirror.status(),
    };
  }

  /** Until it is stopped or has failed. Rejects only with a bug. */
  async run(): Promise<void> {
    try {
      await this.#mirror.run();
      this.#setState("stopped");
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      this.#failure = error;
      const isHalt = error.kind === "halt";
      if (!isHalt) this.#lastError = error;
      if (!isHalt && this.#options.hasOthers) {
        this.#tellError(error, "this target is given up", {});
      }
      this.#setState(isHalt ? "halted" : "failed");
    }
    await this.#targetEnded();
  }

  /** A target of this process writes down what it remembers; it is not waited for without end. */
  async #targetEnded(): Promise<void> {
    const { clock } = this.#options.io.world;
    let timer: Timer | undefined;
    const tooLong = new Promise<void>((resolve) => {
      timer = clock.after(targetEndMsMax, resolve);
    });
    await Promise.race([this.#served, tooLong]);
    timer?.cancel();
  }

  /** Sends what has happened so far, if there is a link, then lets `run` end. */
  stop(): void {
    if (this.isOver) return;
    this.#setState("stopping");
    this.#mirror.stop();
  }

  /** Stopped, or ended by a failure or a halt. */
  get isOver(): boolean {
    return this.#state === "stopped" || this.#failure !== undefined;
  }

  /** A person has looked: goes on if it is halted, and gives the halt. */
  resume(): SyncError | undefined {
    const { halt } = this.#mirror;
    if (this.isOver || halt === undefined) return undefined;
    this.#mirror.resume();
    return halt;
  }

  #setState(state: TargetState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onState();
  }

  /** The last link's target lets go of its folder when it has applied what it has. */
  #served: Promise<unknown> = Promise.resolve();

  /** Both ends in this process: no key, no port. */
  #connectLocal(path: string): Link {
    const { files, stateFd, io, minFree, backup } = this.#options;
    const { world } = io;
    const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
    this.#served = serveLink(far, {
      world,
      files,
      lanes: files,
      spool: { files, dirFd: stateFd },
      privileged: process.getuid?.() === 0,
      bootId: readBootId(),
      keepsJournal: areJournalsKept(process.env, world.log),
      ...(minFree === undefined ? {} : { minFree }),
      grant: () => ({
        rootFd: openDirectory(files, path),
        path,
        problems: this.#problems,
        mounts: this.#mounts,
        onSession: (session) => {
          this.#localSession = session;
          void session.done.then(() => {
            if (this.#localSession === session) this.#localSession = undefined;
          });
        },
        ...(backup === undefined
          ? {}
          : { backup: { dirFd: backup.dirFd, path: backup.path, below: [] } }),
      }),
    });
    return near;
  }

  #onLive(): void {
    const { io, target, source, startedUs } = this.#options;
    const seconds = (io.world.clock.monotonicUs() - startedUs) / 1e6;
    this.#options.onEqual(this.report());
    const status = this.#mirror.status();
    io.event("live", {
      target: target.text,
      files: status?.nodes ?? 0,
      bytes: status?.bytesSent ?? 0,
      bytesReceived: status?.bytesReceived ?? 0,
      operations: status?.operations ?? 0,
      seconds,
    });
    io.say(`live: ${target.text} equals ${source} after ${seconds.toFixed(1)} s`);
    this.#lastError = undefined;
    if (this.#state !== "stopping") this.#setState("live");
  }

  #onHalt(halt: SyncError): void {
    const { io, source, target, once } = this.#options;
    tellHalt(io, { source, target: target.text }, halt);
    if (once) this.#mirror.stop();
    else if (this.#state !== "stopping") this.#setState("halted");
  }

  #onResume(halt: SyncError): void {
    const { io, source, target } = this.#options;
    tellResume(io, { source, target: target.text }, halt);
    // A target that waited for space has kept its link.
    const isLive = this.#mirror.status()?.live === true;
    if (this.#state === "halted") this.#setState(isLive ? "live" : "retrying");
  }

  #onRetry(error: SyncError, delayMs: number): void {
    this.#lastError = error;
    this.#tellError(error, `trying again in ${delayMs} ms`, { retryMs: delayMs });
    this.#setState("retrying");
  }

  #tellError(error: SyncError, then: string, more: Readonly<Record<string, unknown>>): void {
    const { io, target, hasOthers } = this.#options;
    const { code, message } = error;
    io.event("problem", { target: target.text, code, message, ...more });
    const where = hasOthers ? `${target.text}: ` : "";
    io.world.log.write("warn", `${where}${message}; ${then}`, { code });
  }

  #tellProblem(problem: Problem): void {
    const { io, target, hasOthers } = this.#options;
    io.event("problem", { target: target.text, ...problem });
    const { side, path, operation, errno } = problem;
    const where = hasOthers ? `${target.text}: ` : "";
    io.world.log.write("warn", `${where}${side}: ${operation} ${path}: ${errno}`);
  }
}
