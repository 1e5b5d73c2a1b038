/**
 * `Mirror`: keeps one target in lockstep with the source for as long as it is wanted, over as many
 * links as that takes. Capture starts before anything is scanned and stays open between links.
 *
 * A link that is lost, or a target that diverged, is tried again after a growing pause, and each
 * new link begins with a comparison of everything. Anything that trying again cannot mend ends it.
 */
import { SyncError } from "../base/index.ts";
import { type CaptureBackend, deafSink } from "../capture/index.ts";
import type { ProblemLog } from "../model/index.ts";
import type { Link } from "../transport/index.ts";
import {
  Errno,
  type Files,
  Open,
  Stat,
  statSlots,
  type Timer,
  type World,
} from "../world/index.ts";
import { SourceSession, type SourceStatus } from "./source-session.ts";

/** Pause before a lost link is tried again: doubles up to the longest. */
export const retryMsMin = 250;
export const retryMsMax = 30_000;
/** The source's path is looked at this often. */
export const rootCheckMs = 1000;
/** Times a target may diverge in a row before the user has to look. */
export const divergedCountMax = 5;
/** Sessions that a bug of the target may end before trying again is given up. */
export const failedCountMax = 5;

export interface MirrorOptions {
  world: World;
  files: Files;
  backend: CaptureBackend;
  rootFd: number;
  /** Absolute and real. */
  rootPath: Uint8Array;
  problems: ProblemLog;
  share: string;
  subpath: string;
  device: string;
  /** Makes a link to the target. Rejects with a SyncError. */
  connect: () => Promise<Link>;
  onLive: () => void;
  onRetry: (error: SyncError, delayMs: number) => void;
}

export class Mirror {
  readonly #options: MirrorOptions;
  #session: SourceSession | undefined;
  #isStopping = false;
  #wakeRetry: () => void = () => {};
  #diverged = 0;
  #failed = 0;

  constructor(options: MirrorOptions) {
    this.#options = options;
    options.backend.start(() => {
      if (this.#session !== undefined) this.#session.kernelReadable();
      // Between links events are of no use: the next link compares everything.
      else while (options.backend.drain(deafSink));
    });
  }

  /** Status of the present session; undefined between links. */
  status(): SourceStatus | undefined {
    return this.#session?.status();
  }

  /**
   * Runs until stopped; rejects with the SyncError that trying again cannot mend, and with
   * ROOT_REPLACED when the source's path no longer leads to the folder that is mirrored.
   */
  async run(): Promise<void> {
    this.#watchRoot();
    try {
      await this.#mirror();
    } finally {
      this.#rootTimer?.cancel();
    }
    if (this.#rootError !== undefined) throw this.#rootError;
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
    const what = isThere ? "is another folder now" : "is not there any more";
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
        });
      } catch (thrown) {
        if (!(thrown instanceof SyncError)) throw thrown;
        error = thrown;
      }
      if (error === undefined) return;
      if (this.#isStopping) return;
      if (error.kind !== "retry") throw error;
      if (error.code === "TARGET_DIVERGED" && ++this.#diverged > divergedCountMax) throw error;
      if (error.code === "SESSION_FAILED" && ++this.#failed > failedCountMax) throw error;
      this.#options.onRetry(error, delayMs);
      await this.#pause(delayMs);
      delayMs = Math.min(retryMsMax, delayMs * 2);
    }
  }

  /** Sends what has happened so far, then lets `run` return. */
  stop(): void {
    this.#isStopping = true;
    this.#session?.stop();
    this.#wakeRetry();
  }

  async #once(onLive: () => void): Promise<SyncError | undefined> {
    const link = await this.#options.connect();
    const session = new SourceSession({
      ...this.#options,
      link,
      onLive: () => {
        onLive();
        this.#options.onLive();
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

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.world.clock.after(delayMs, resolve);
      this.#wakeRetry = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}
