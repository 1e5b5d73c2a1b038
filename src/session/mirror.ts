/**
 * `Mirror`: keeps one target in lockstep with the source for as long as it is wanted, over as many
 * links as that takes. Capture starts before anything is scanned and stays open between links.
 *
 * A link that is lost, or a target that diverged, is tried again after a growing pause, and each
 * new link begins with a comparison of everything. Anything that trying again cannot mend ends it.
 * A safety halt leaves the target as it is, without a link, until `resume`; and ends it if it is
 * asked to stop meanwhile, or when it is the source's folder that is not the same any more.
 */
import type { TargetPromises } from "./target-options.ts";
import { SyncError } from "../base/index.ts";
import type { CaptureBackend, FollowedMounts, Listener } from "../capture/index.ts";
import { type DeletionLimit, type DigestUse, UnknownStores } from "../cut/index.ts";
import type { IgnoreSettings } from "../ignore/index.ts";
import type { MountLog, ProblemLog } from "../model/index.ts";
import type { Link } from "../transport/index.ts";
import {
  Errno,
  type ExpressPort,
  type Files,
  Open,
  Stat,
  statSlots,
  type Timer,
  type World,
} from "../world/index.ts";
import type { Barrier } from "./barriers.ts";
import { HaltState } from "./halt.ts";
import type { Scrub } from "./scrub.ts";
import type { SourceStatus } from "./source-options.ts";
import { SourceSession } from "./source-session.ts";

/** Pause before a lost link is tried again: doubles up to the longest. */
export const retryMsMin = 250;
export const retryMsMax = 30_000;
/** Pause before a target that was full is tried again: doubles up to the longest. */
const fullRetryMsMin = 5000;
const fullRetryMsMax = 60_000;
/** The source's path is looked at this often. */
export const rootCheckMs = 1000;
/** Times a target may diverge in a row before the user has to look. */
export const divergedCountMax = 5;
/** Sessions that a bug of the target may end before trying again is given up. */
export const failedCountMax = 5;
/** A target that does not know yet that an earlier link is dead gives it up within this. */
export const busyMsMax = 30_000;

export interface MirrorOptions {
  world: World;
  files: Files;
  backend: CaptureBackend;
  rootFd: number;
  /** Absolute and real. */
  rootPath: Uint8Array;
  problems: ProblemLog;
  /** What is neither sent nor removed; nothing when absent. */
  ignore?: IgnoreSettings;
  /** Hears of mount points below the source, which are left out. */
  mounts?: MountLog;
  /** Filesystems below the source that are mirrored, too; its `files` are this one's. */
  followed?: FollowedMounts;
  share: string;
  subpath: string;
  device: string;
  /** Makes a link to the target. Rejects with a SyncError. */
  connect: () => Promise<Link>;
  onLive: () => void;
  onRetry: (error: SyncError, delayMs: number) => void;
  /** How much may be deleted without asking; everything when absent. */
  maxDelete?: DeletionLimit;
  /** A person has agreed to what is deleted until the target is live. */
  deletionsConfirmed?: boolean;
  /** All content is read on both sides until the target has first been equal to the source. */
  checksum?: boolean;
  /** What the target is held to; the least when absent. */
  promises?: TargetPromises;
  /** False only in tests that are to find it out. */
  validatesCuts?: boolean;
  /** Compares what the target has with the source while it is live; absent for never. */
  scrub?: Scrub;
  /** It waits for a person; or, with TARGET_FULL and TARGET_LOW, for space. */
  onHalt?: (halt: SyncError) => void;
  onResume?: (halt: SyncError) => void;
  express?: ExpressPort;
  /** Where digests pay; for tests. */
  digestUse?: DigestUse;
  /** Files that are mapped already. */
  unknownStores?: UnknownStores;
  /** Whether to try again after an error that of itself is not worth it; never when absent. */
  isRetried?: (error: SyncError) => boolean;
}

export class Mirror {
  readonly #options: MirrorOptions;
  #session: SourceSession | undefined;
  #isStopping = false;
  #wakeRetry: () => void = () => {};
  #diverged = 0;
  #failed = 0;
  readonly #halts: HaltState;
  #deletionsConfirmed: boolean;
  #isChecksumWanted: boolean;
  #fullDelayMs = fullRetryMsMin;

  constructor(options: MirrorOptions) {
    this.#options = options;
    this.#halts = new HaltState(options);
    this.#unknownStores = options.unknownStores ?? new UnknownStores();
    this.#deletionsConfirmed = options.deletionsConfirmed ?? false;
    this.#isChecksumWanted = options.checksum ?? false;
    options.backend.start((isDealt) => {
      if (this.#session !== undefined) this.#session.kernelReadable(isDealt);
      // Between links the rest is of no use: the next link compares everything.
      else while (options.backend.drain(this.#unknownStores.sink));
    });
    // The cut has heard of it by then.
    const { clock } = options.world;
    options.followed?.listen(() => clock.defer(() => this.#session?.kernelReadable()));
    if (options.backend.tellsExtents) options.backend.share?.attach(this.#listenWithoutLink());
  }

  readonly #unknownStores: UnknownStores;

  #listenWithoutLink(): Listener {
    const { sink } = this.#unknownStores;
    return { sink, wake: () => {}, unfinished: () => {}, cleaned: () => {} };
  }

  /** Status of the present session; undefined between links. */
  status(): SourceStatus | undefined {
    return this.#session?.status();
  }

  /**
   * `reached` is called when the target has everything that was written before this call, over as
   * many links as that takes; never, when the mirror ends before. Gives how to wait no longer.
   */
  barrier(barrier: Barrier): () => void {
    const own: Barrier = {
      ...barrier,
      reached: (cut) => {
        if (this.#barriers.delete(own)) barrier.reached(cut);
      },
    };
    this.#barriers.add(own);
    this.#session?.barrier(own);
    return () => this.#barriers.delete(own);
  }

  readonly #barriers: Set<Barrier> = new Set();

  /** What it waits for, if it is halted. */
  get halt(): SyncError | undefined {
    return this.#halts.current;
  }

  /** A person has looked and wants to go on: what was to be deleted is deleted now. */
  resume(): void {
    const halt = this.#halts.current;
    if (halt === undefined) return;
    if (this.#session?.targetHalt !== undefined) return this.#session.resumeTarget();
    this.#deletionsConfirmed ||= halt.code === "ROOT_EMPTIED" || halt.code === "TOO_MANY_DELETES";
    this.#halts.leave();
    this.#wakeRetry();
  }

  /**
   * Runs until stopped; rejects with the SyncError that trying again cannot mend, with the halt
   * that it was stopped in, and with ROOT_REPLACED when the source's path no longer leads to the
   * folder that is mirrored.
   */
  async run(): Promise<void> {
    this.#watchRoot();
    try {
      await this.#mirror();
    } finally {
      this.#rootTimer?.cancel();
    }
    const halt = this.#rootError ?? this.#halts.current;
    if (halt !== undefined) throw halt;
  }

  #rootTimer: Timer | undefined;
  #rootError: SyncError | undefined;

  /** No event tells reliably that a folder above the root was renamed or mounted over. */
  #watchRoot(): void {
    const { files, rootFd, rootPath, world } = this.#options;
    const fd = files.openPath(rootPath, Open.path);
    const there = new Float64Array(statSlots);
    const own = new Float64Array(statSlots);
    const isThere = fd >= 0 && files.fstat(fd, there) === 0;
    if (fd >= 0) files.close(fd);
    const isSame =
      isThere &&
      files.fstat(rootFd, own) === 0 &&
      there[Stat.ino] === own[Stat.ino] &&
      there[Stat.dev] === own[Stat.dev];
    if (isSame || fd === -Errno.EACCES) {
      this.#rootTimer = world.clock.after(rootCheckMs, () => this.#watchRoot());
      return;
    }
    const isElsewhere = isThere && there[Stat.dev] !== own[Stat.dev];
    const what = isElsewhere
      ? "is on another filesystem now"
      : isThere
        ? "is another folder now"
        : "is not there any more";
    this.#rootError = new SyncError("ROOT_REPLACED", `${Buffer.from(rootPath).toString()} ${what}`);
    this.stop();
  }

  async #mirror(): Promise<void> {
    let delayMs = retryMsMin;
    while (!this.#isStopping) {
      let error: SyncError | undefined;
      try {
        error = await this.#once(() => {
          delayMs = retryMsMin;
          this.#diverged = 0;
          this.#busySinceUs = undefined;
          this.#deletionsConfirmed = false;
          this.#fullDelayMs = fullRetryMsMin;
          this.#halts.leave();
        });
      } catch (thrown) {
        if (!(thrown instanceof SyncError)) throw thrown;
        error = thrown;
      }
      if (error === undefined) return;
      if (error.kind === "halt" && error.code !== "ROOT_REPLACED") {
        this.#halts.enter(error);
        await this.#untilResumed(error);
        continue;
      }
      if (this.#isStopping) return;
      // The target was lost while it waited for space: it says so again if it still does.
      if (this.#halts.current?.code === "TARGET_LOW") this.#halts.leave();
      const isRetried = error.kind === "retry" || this.#options.isRetried?.(error) === true;
      if (!isRetried) throw error;
      if (error.code === "TARGET_DIVERGED" && ++this.#diverged > divergedCountMax) throw error;
      if (error.code === "SESSION_FAILED" && ++this.#failed > failedCountMax) throw error;
      if (this.#isBusyTooLong(error)) throw error;
      this.#options.onRetry(error, delayMs);
      await this.#pause(delayMs);
      delayMs = Math.min(retryMsMax, delayMs * 2);
    }
  }

  #busySinceUs: number | undefined;

  #isBusyTooLong({ code }: SyncError): boolean {
    const now = this.#options.world.clock.monotonicUs();
    this.#busySinceUs = code === "TARGET_BUSY" ? (this.#busySinceUs ?? now) : undefined;
    return this.#busySinceUs !== undefined && now - this.#busySinceUs > busyMsMax * 1000;
  }

  async #untilResumed(halt: SyncError): Promise<void> {
    if (this.#isStopping) return;
    if (halt.code !== "TARGET_FULL") return await this.#pause(undefined);
    await this.#pause(this.#fullDelayMs);
    this.#fullDelayMs = Math.min(fullRetryMsMax, this.#fullDelayMs * 2);
  }

  /** Sends what has happened so far, then lets `run` return. */
  stop(): void {
    this.#isStopping = true;
    this.#session?.stop();
    this.#wakeRetry();
    this.#giveUpLink();
  }

  #giveUpLink: () => void = () => {};

  /** A link; or undefined when asked to stop meanwhile, as making one takes a while. */
  #connect(): Promise<Link | undefined> {
    const connecting = this.#options.connect();
    const givenUp = new Promise<undefined>((resolve) => {
      this.#giveUpLink = () => {
        resolve(undefined);
        // Whether it comes or fails, nobody wants it any more.
        connecting.then(
          (link) => link.destroy(),
          () => {},
        );
      };
    });
    return Promise.race([connecting, givenUp]);
  }

  async #once(onLive: () => void): Promise<SyncError | undefined> {
    const link = await this.#connect();
    this.#giveUpLink = () => {};
    if (link === undefined) return undefined;
    const session = new SourceSession({
      ...this.#options,
      deletionsConfirmed: this.#deletionsConfirmed,
      checksum: this.#isChecksumWanted,
      onTargetHalt: (halt) => {
        if (halt === undefined) this.#halts.leave();
        else this.#halts.enter(halt);
      },
      unknownStores: this.#unknownStores,
      link,
      onLive: () => {
        this.#isChecksumWanted = false;
        onLive();
        this.#options.onLive();
        for (const barrier of this.#barriers) session.barrier(barrier);
      },
    });
    this.#session = session;
    session.start();
    if (this.#isStopping) session.stop();
    const error = await session.done;
    this.#session = undefined;
    if (session.bug !== undefined) throw session.bug;
    return error;
  }

  /** Without a delay it lasts until it is woken. */
  #pause(delayMs: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const { clock } = this.#options.world;
      const timer = delayMs === undefined ? undefined : clock.after(delayMs, resolve);
      this.#wakeRetry = () => {
        timer?.cancel();
        resolve();
      };
    });
  }
}
