/** `lockstep sync SOURCE TARGET`: seeds the target, then mirrors every change until interrupted. */
import { readdirSync } from "node:fs";
import { hostname } from "node:os";
import { ExitCode, SyncError } from "../base/index.ts";
import { type BackendName, type CaptureBackend, openBackend } from "../capture/index.ts";
import { type Problem, type ProblemKind, ProblemLog } from "../model/index.ts";
import { type DeletionLimit, Mirror, serveLink, type SourceStatus } from "../session/index.ts";
import {
  type Address,
  dial,
  type Link,
  linkLimits,
  loadIdentity,
  memoryLinkPair,
  parseAddress,
  TrustStore,
} from "../transport/index.ts";
import { native, type Native } from "../world/node/index.ts";
import { type CommandIo, stateDirectory } from "./command-io.ts";
import { publishStatus, type ResumeAnswer } from "./control-socket.ts";
import { shownHalts, tellHalt, tellResume } from "./halts.ts";
import {
  checkOverlap,
  checkSource,
  checkTarget,
  openDirectory,
  openStateDirectory,
  parseTarget,
  plannedTarget,
  type RemoteTarget,
  type Target,
} from "./places.ts";

const dialMsMax = 15_000;
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
}

export async function runSync(options: SyncOptions, io: CommandIo): Promise<ExitCode> {
  const [targetText, ...more] = options.targets;
  if (targetText === undefined) throw new SyncError("USAGE", "sync needs a TARGET");
  if (more.length > 0) {
    throw new SyncError("USAGE", "several targets are not available in this version");
  }
  let isConfirmed = false;
  for (;;) {
    const exit = await syncOnce(options, io, targetText, isConfirmed);
    if (exit !== "again") return exit;
    // Another folder was agreed to, with what it lacks; an empty one is asked about once more.
    isConfirmed = readdirSync(options.source).length > 0;
  }
}

/** Runs until it ends; or until a person has agreed that the source's folder is another one. */
async function syncOnce(
  options: SyncOptions,
  io: CommandIo,
  targetText: string,
  deletionsConfirmed: boolean,
): Promise<ExitCode | "again"> {
  const source = checkSource(options.source);
  const target = parseTarget(targetText);
  if (target.kind === "local") {
    checkOverlap(source, plannedTarget(target.path));
    target.path = checkTarget(target.path);
  }
  const files = native();
  files.umask(0);
  const stateDir = stateDirectory(process.env);
  const rootFd = openDirectory(files, source);
  const { backend, refusals } = openBackend(files, options.backend, rootFd);
  const sync = new RunningSync(options, io, files, source, target, rootFd, backend, refusals);
  try {
    return await sync.run(stateDir, deletionsConfirmed);
  } finally {
    backend.close();
    files.close(rootFd);
  }
}

class RunningSync {
  readonly #options: SyncOptions;
  readonly #io: CommandIo;
  readonly #files: Native;
  readonly #source: string;
  readonly #target: Target;
  readonly #rootFd: number;
  readonly #backend: CaptureBackend;
  readonly #refusals: readonly string[];
  readonly #problems: ProblemLog;
  #state: "seeding" | "live" | "retrying" | "halted" | "stopping" = "seeding";
  #startedUs = 0;

  constructor(
    options: SyncOptions,
    io: CommandIo,
    files: Native,
    source: string,
    target: Target,
    rootFd: number,
    backend: CaptureBackend,
    refusals: readonly string[],
  ) {
    this.#options = options;
    this.#io = io;
    this.#files = files;
    this.#source = source;
    this.#target = target;
    this.#rootFd = rootFd;
    this.#backend = backend;
    this.#refusals = refusals;
    this.#problems = new ProblemLog((problem) => this.#tellProblem(problem));
  }

  async run(stateDir: string, deletionsConfirmed: boolean): Promise<ExitCode | "again"> {
    const io = this.#io;
    this.#startedUs = io.world.clock.monotonicUs();
    this.#tellStart();
    const stateFd = openStateDirectory(this.#files, stateDir);
    const mirror = new Mirror({
      world: io.world,
      files: this.#files,
      backend: this.#backend,
      rootFd: this.#rootFd,
      rootPath: Buffer.from(this.#source),
      problems: this.#problems,
      ...this.#address(),
      device: hostname(),
      connect: await this.#connector(stateDir, stateFd),
      onLive: () => this.#onLive(mirror),
      onRetry: (error, delayMs) => this.#onRetry(error, delayMs),
      ...(this.#options.maxDelete === undefined ? {} : { maxDelete: this.#options.maxDelete }),
      deletionsConfirmed,
      onHalt: (halt) => this.#onHalt(mirror, halt),
      onResume: (halt) => this.#onResume(halt),
    });
    const published = publishStatus(
      stateDir,
      () => this.#describe(mirror),
      io.world.log,
      () => this.#resume(mirror),
    );
    // Timers of the engine do not keep the process alive; this one does.
    const ticker = setInterval(() => this.#progress(mirror.status()), progressMs);
    io.onStop(() => {
      this.#state = "stopping";
      mirror.stop();
      this.#endRootHalt?.(false);
    });
    try {
      await mirror.run();
    } catch (error) {
      if (!(error instanceof SyncError) || error.code !== "ROOT_REPLACED") throw error;
      if (!(await this.#untilRootIsRight(error))) throw error;
      return "again";
    } finally {
      clearInterval(ticker);
      published.close();
      this.#files.close(stateFd);
    }
    const { count, kinds } = this.#problems;
    const remained = this.#options.once && count > 0;
    for (const line of kinds.flatMap(problemSummary)) io.world.log.write("warn", line);
    io.event("end", { exit: remained ? 1 : 0, problems: count, problemKinds: kinds });
    return remained ? ExitCode.differences : ExitCode.done;
  }

  #address(): { share: string; subpath: string } {
    const target = this.#target;
    return target.kind === "remote"
      ? { share: target.share, subpath: target.subpath }
      : { share: "", subpath: "" };
  }

  async #connector(stateDir: string, stateFd: number): Promise<() => Promise<Link>> {
    const target = this.#target;
    if (target.kind === "local")
      return async () => {
        // The last link's target lets go of its folder when it has applied what it has.
        await this.#served;
        return this.#connectLocal(stateFd, target.path);
      };
    const identity = await loadIdentity({
      stateDir,
      credentialsDirectory: process.env["CREDENTIALS_DIRECTORY"],
    });
    const { world } = this.#io;
    return async () => {
      const addresses = addressesOf(target, stateDir, this.#io);
      let failure: SyncError | undefined;
      for (const { host, port } of addresses) {
        try {
          return await dial({
            world,
            identity,
            host,
            port,
            expectPeerId: target.peerId,
            timeoutMs: dialMsMax,
            limits: linkLimits,
          });
        } catch (error) {
          if (!(error instanceof SyncError)) throw error;
          failure = error;
        }
      }
      throw failure ?? new SyncError("PEER_UNREACHABLE", `no address is known for ${target.text}`);
    };
  }

  #served: Promise<unknown> = Promise.resolve();

  /** Both ends in this process: no key, no port. */
  #connectLocal(stateFd: number, path: string): Link {
    const { world } = this.#io;
    const files = this.#files;
    const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
    this.#served = serveLink(far, {
      world,
      files,
      spool: { files, dirFd: stateFd },
      privileged: process.getuid?.() === 0,
      grant: () => ({ rootFd: openDirectory(files, path), path, problems: this.#problems }),
    });
    return near;
  }

  #tellStart(): void {
    const { text } = this.#target;
    this.#io.event("start", {
      source: this.#source,
      target: text,
      backend: this.#backend.name,
      refusals: this.#refusals,
      pid: process.pid,
    });
    for (const refusal of this.#refusals) this.#io.say(`not used: ${refusal}`);
    this.#io.say(`${this.#source} -> ${text} (backend ${this.#backend.name})`);
  }

  #onLive(mirror: Mirror): void {
    const seconds = (this.#io.world.clock.monotonicUs() - this.#startedUs) / 1e6;
    const status = mirror.status();
    this.#state = "live";
    const { text } = this.#target;
    this.#io.event("live", {
      target: text,
      files: status?.nodes ?? 0,
      bytes: status?.bytesSent ?? 0,
      bytesReceived: status?.bytesReceived ?? 0,
      seconds,
    });
    this.#io.say(`live: ${text} equals ${this.#source} after ${seconds.toFixed(1)} s`);
    if (this.#options.once) mirror.stop();
  }

  #onHalt(mirror: Mirror, halt: SyncError): void {
    if (this.#state !== "stopping") this.#state = "halted";
    this.#tellHalt(halt);
    if (this.#options.once) mirror.stop();
  }

  #tellHalt(halt: SyncError): void {
    tellHalt(this.#io, { source: this.#source, target: this.#target.text }, halt);
  }

  #onResume(halt: SyncError): void {
    if (this.#state === "halted") this.#state = "retrying";
    tellResume(this.#io, { source: this.#source, target: this.#target.text }, halt);
  }

  #rootHalt: SyncError | undefined;
  #endRootHalt: ((isRight: boolean) => void) | undefined;

  /** False when it is to end instead: at once with --once, or asked to stop meanwhile. */
  async #untilRootIsRight(halt: SyncError): Promise<boolean> {
    this.#tellHalt(halt);
    if (this.#options.once || this.#state === "stopping") return false;
    this.#state = "halted";
    this.#rootHalt = halt;
    const isRight = await new Promise<boolean>((resolve) => (this.#endRootHalt = resolve));
    if (isRight) this.#onResume(halt);
    return isRight;
  }

  #resume(mirror: Mirror): ResumeAnswer {
    const halt = this.#rootHalt ?? mirror.halt;
    if (halt === undefined) return { refused: "it is not halted" };
    if (this.#rootHalt === undefined) {
      mirror.resume();
      return { resumed: [halt.code] };
    }
    try {
      checkSource(this.#options.source);
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      return { refused: error.message };
    }
    this.#endRootHalt?.(true);
    return { resumed: [halt.code] };
  }

  #onRetry(error: SyncError, delayMs: number): void {
    this.#state = "retrying";
    this.#io.event("problem", { code: error.code, message: error.message, retryMs: delayMs });
    this.#io.world.log.write("warn", `${error.message}; trying again in ${delayMs} ms`, {
      code: error.code,
    });
  }

  #tellProblem(problem: Problem): void {
    this.#io.event("problem", { ...problem });
    const { side, path, operation, errno } = problem;
    this.#io.world.log.write("warn", `${side}: ${operation} ${path}: ${errno}`);
  }

  #progress(status: SourceStatus | undefined): void {
    if (status === undefined) return;
    if (this.#state === "retrying" && status.live) this.#state = "live";
    const seconds = (this.#io.world.clock.monotonicUs() - this.#startedUs) / 1e6;
    const megabytes = (status.bytesSent / 1e6).toFixed(1);
    if (!status.live) {
      this.#io.event("progress", {
        state: this.#state,
        files: status.filesScanned,
        bytes: status.bytesSent,
        seconds,
      });
      const rate = (status.bytesSent / 1e6 / seconds).toFixed(1);
      this.#io.progress(`seeding: ${status.filesScanned} files, ${megabytes} MB, ${rate} MB/s`);
    } else {
      const lagMs = (status.lagUs / 1000).toFixed(2);
      const waiting = status.dirtyNodes + status.dirtyNames;
      this.#io.progress(
        `live: ${status.ackedEpoch} epochs, ${megabytes} MB, lag ${lagMs} ms, ${waiting} waiting`,
      );
    }
  }

  #describe(mirror: Mirror): Record<string, unknown> {
    return {
      command: "sync",
      source: this.#source,
      target: this.#target.text,
      backend: this.#backend.name,
      state: this.#state,
      halts: shownHalts(this.#rootHalt ?? mirror.halt),
      problems: this.#problems.count,
      problemKinds: this.#problems.kinds,
      recentProblems: this.#problems.kept.slice(-10),
      ...mirror.status(),
    };
  }
}

/** What was told with one path and concerned more. */
function problemSummary({ side, operation, errno, path, count }: ProblemKind): string[] {
  if (count === 1) return [];
  return [`${side}: ${operation}: ${errno}: ${count} times, first ${path}`];
}

/** Addresses to try, in order: the one in the target's URL, else those of the peer. */
function addressesOf(target: RemoteTarget, stateDir: string, io: CommandIo): readonly Address[] {
  if (target.address !== undefined) return [target.address];
  const trust = TrustStore.open({ stateDir, clock: io.world.clock });
  const peer = trust.find(target.peerId);
  if (peer === undefined) {
    throw new SyncError("PEER_UNTRUSTED", `device ${target.peerId} is not paired with this one`);
  }
  return peer.addresses.map((text) => parseAddress(text));
}
