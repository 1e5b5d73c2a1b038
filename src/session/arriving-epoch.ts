/**
 * `ArrivingEpoch`: what has come so far of the epoch that is on its way, and, when its COMMIT
 * comes, whether that is all of it and whether the target may show it by itself.
 */
import { SyncError } from "../base/index.ts";
import { type Commit, CommitFlag, mixChecksum } from "../wire/index.ts";
import type { Consistency } from "./target-options.ts";

export class ArrivingEpoch {
  readonly #isStrict: boolean;
  #count = 0;
  #checksum = 0;
  /** The source has said that the target equals it. */
  #isEqual = false;

  constructor(consistency: Consistency) {
    this.#isStrict = consistency === "strict";
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** An operation's frame; `start` is behind its type. */
  add(bytes: Uint8Array, start: number, end: number): void {
    this.#count++;
    this.#checksum = mixChecksum(this.#checksum, bytes, start - 1, end);
  }

  /** The next one begins. Throws PEER_MALFORMED when this one is not as its COMMIT says. */
  end({ epoch, operationCount, checksum }: Commit): void {
    if (this.#count !== operationCount || this.#checksum !== checksum) {
      throw new SyncError("PEER_MALFORMED", `epoch ${epoch} did not arrive whole`);
    }
    this.#count = 0;
    this.#checksum = 0;
  }

  /** The target would not be of one moment of the source then: the next epoch joins this one. */
  isPartOfNext({ flags }: Commit): boolean {
    this.#isEqual ||= (flags & CommitFlag.live) !== 0;
    return !this.#isEqual || (this.#isStrict && (flags & CommitFlag.fuzzy) !== 0);
  }
}
