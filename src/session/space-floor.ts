/**
 * `SpaceFloor`: keeps some of the target's filesystem free. Data that would take it below the floor
 * waits, and everything behind it, until there is space again or a person says that it may.
 *
 * In: how many bytes are about to be written. Out: whether they may be, and a word when it becomes
 * low and when it is over. Operations without data are never asked about: deletions make space.
 * Cost: one addition for a small write; a statfs(2) for each `lookBytes`, and once a second at most
 * while it is low or somebody asks. Other programs fill the disk too, so `tick` looks now and then.
 * A filesystem that does not say how large it is has no floor.
 */
import { type Clock, type Files, statfsSlots } from "../world/index.ts";

/** How much is to stay free. */
export interface FreeLimit {
  /** As the user wrote it, for messages. */
  readonly text: string;
  /** Bytes, and a share of the filesystem between 0 and 1: the smaller of the two. */
  readonly bytes: number;
  readonly share: number;
}

export const freeLimitDefault: FreeLimit = {
  text: "1% or 256M",
  bytes: 256 << 20,
  share: 0.01,
};

/** While it is low, space is looked at this often. */
export const lowLookMs = 2000;
const lookUs = 1e6;
const lookBytes = 1 << 20;

export class SpaceFloor {
  readonly #files: Files;
  readonly #rootFd: number;
  readonly #clock: Clock;
  readonly #limit: FreeLimit | undefined;
  readonly #tell: (message: string) => void;
  readonly #statfs: Float64Array = new Float64Array(statfsSlots);
  /** Bytes that may have been written since the last look. */
  #unseenBytes = Infinity;
  #lookedUs = -Infinity;
  /** Bytes above the floor, at the last look. */
  #roomBytes = Infinity;
  #freeBytes = Infinity;
  #isConfirmed = false;
  /** What waits, while something does. */
  #wantedBytes = 0;
  isLow = false;

  /** Without a limit everything passes. `tell` hears what is low, and "" when it is over. */
  constructor(options: {
    files: Files;
    rootFd: number;
    clock: Clock;
    minFree?: FreeLimit;
    tell: (message: string) => void;
  }) {
    this.#files = options.files;
    this.#rootFd = options.rootFd;
    this.#clock = options.clock;
    this.#limit = options.minFree;
    this.#tell = options.tell;
  }

  /** The quick answer for a few bytes. False: ask `holds`. */
  passes(bytes: number): boolean {
    if (this.#limit === undefined) return true;
    const unseenBytes = this.#unseenBytes + bytes;
    if (this.isLow || unseenBytes > lookBytes || unseenBytes > this.#roomBytes) return false;
    this.#unseenBytes = unseenBytes;
    return true;
  }

  /** Whether these bytes have to wait. While they do it is low. */
  holds(bytes: number): boolean {
    if (this.#limit === undefined) return false;
    const nowUs = this.#clock.monotonicUs();
    const isKnownLow = this.isLow && nowUs - this.#lookedUs < lookUs;
    if (!isKnownLow) this.#look(nowUs);
    // Once low it stays so until what waits has room and some more: not to stop again at once.
    if (!this.isLow) this.#wantedBytes = bytes;
    else this.#wantedBytes = Math.max(bytes, this.#wantedBytes);
    const slackBytes = this.isLow ? lookBytes : 0;
    const isLow = this.#roomBytes < this.#wantedBytes + slackBytes && !this.#isConfirmed;
    if (!isLow) this.#unseenBytes += bytes;
    if (isLow === this.isLow) return isLow;
    this.isLow = isLow;
    this.#tell(isLow ? this.#describe(bytes) : "");
    return isLow;
  }

  /** Looks again when it is low; to be called every `lowLookMs` then. True while it stays so. */
  isStillLow(): boolean {
    return this.isLow && this.holds(this.#wantedBytes);
  }

  /** A person wants to go on without the floor; it counts again when there has been space. */
  confirm(): void {
    if (!this.isLow) return;
    this.#isConfirmed = true;
    this.#lookedUs = -Infinity;
  }

  /** To be called now and then: what others write counts as well. */
  tick(): void {
    const nowUs = this.#clock.monotonicUs();
    if (this.#limit !== undefined && nowUs - this.#lookedUs >= lookUs) this.#look(nowUs);
  }

  /** Bytes that may be taken besides what is asked about, looked at now. */
  roomBytes(): number {
    if (this.#limit === undefined || this.#isConfirmed) return Infinity;
    this.#look(this.#clock.monotonicUs());
    return this.#roomBytes;
  }

  #look(nowUs: number): void {
    const [, blockBytes = 0, blocks = 0, , available = 0] = this.#statfsOf();
    this.#lookedUs = nowUs;
    this.#unseenBytes = 0;
    const limit = this.#limit!;
    const floorBytes = Math.min(limit.bytes, limit.share * blocks * blockBytes);
    this.#freeBytes = available * blockBytes;
    this.#roomBytes = blocks === 0 ? Infinity : this.#freeBytes - floorBytes;
    if (this.#roomBytes >= this.#wantedBytes + lookBytes) this.#isConfirmed = false;
  }

  #statfsOf(): Float64Array {
    if (this.#files.statfs(this.#rootFd, this.#statfs) < 0) this.#statfs.fill(0);
    return this.#statfs;
  }

  #describe(bytes: number): string {
    const free = Math.max(0, Math.floor(this.#freeBytes / 1e6));
    const wanted = (bytes / 1e6).toFixed(1);
    return (
      `the target has ${free} MB free; ${wanted} MB more would leave less than ` +
      `--min-free ${this.#limit!.text}`
    );
  }
}
