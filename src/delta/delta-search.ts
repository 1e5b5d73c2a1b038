/**
 * Source side of a delta: finds which ranges of a new file the basis has.
 *
 * In: a descriptor, which stays the caller's, and a signature. Out: runs. The loops are in
 * native/addon/delta.c; here are the table's size, the bounds and the list of runs.
 *
 * At each position the block of the same offset is tried, then the one behind the last match, then
 * the table; a position is hashed only when a weak sum fits. A step reads at most `stepBytesMax`
 * and hashes a few MiB. Memory: some 50 bytes a block, 16 a run, and the buffer.
 * Positions whose weak sum fits and whose strong one does not are counted: after
 * `falseHitsPerBlockMax` for each block of the file, bytes are no longer rolled over, and only
 * blocks at their own offset, or behind the last match, are still found. So crafted files cost a
 * few times their hash (six), and no more.
 * Source: A. Tridgell's thesis, chapter 3; docs/adr/0021-delta.md.
 */
import { assert } from "../base/index.ts";
import { Delta, deltaSlots, type Files } from "../world/index.ts";
import { blockCountOf, strongBytes } from "./block-length.ts";
import { Runs } from "./runs.ts";
import { saltBytes, type Signature } from "./signature.ts";
import { stepBytesMax } from "./signature-writer.ts";

/** Hashes of positions that turn out not to match, for each block of the file. */
const falseHitsPerBlockMax = 4;
/** Runs beyond two for each block of the basis: moved and repeated blocks. */
const runCountExtraMax = 65536;
/** Blocks put into the table in one step. */
const indexStepBlockCount = 65536;

export class DeltaSearch {
  readonly runs: Runs;
  readonly #files: Files;
  readonly #fd: number;
  readonly #signature: Signature;
  readonly #state: Float64Array = new Float64Array(deltaSlots);
  readonly #table: Uint32Array;
  readonly #buffer: Uint8Array;
  readonly #out: Float64Array;
  /** Whole blocks of the basis: those that can be anywhere. */
  readonly #wholeCount: number;
  #indexed = 0;
  #done = false;

  constructor(files: Files, fd: number, fileBytes: number, signature: Signature) {
    const { blockBytes, fileBytes: basisBytes, salt, weak, strong } = signature;
    const blockCount = blockCountOf(basisBytes, blockBytes);
    assert(weak.length === blockCount, "a signature has a weak sum for each block");
    assert(strong.length === blockCount * strongBytes, "a signature has all strong sums");
    assert(salt.length === saltBytes, "a signature has a salt");
    this.#files = files;
    this.#fd = fd;
    this.#signature = signature;
    this.#wholeCount = Math.floor(basisBytes / blockBytes);
    this.runs = new Runs(2 * blockCount + runCountExtraMax);
    const bucketBits = Math.max(6, Math.ceil(Math.log2(Math.max(1, this.#wholeCount))) + 1);
    const buckets = 2 ** bucketBits;
    const isEmpty = blockCount === 0 || fileBytes === 0;
    this.#table = new Uint32Array(isEmpty ? 0 : 2 * buckets + blockCount);
    this.#buffer = new Uint8Array(isEmpty ? 0 : Math.min(fileBytes, stepBytesMax + blockBytes));
    this.#out = new Float64Array(3 * (Math.ceil(this.#buffer.length / blockBytes) + 2));
    const state = this.#state;
    state[Delta.blockBytes] = blockBytes;
    state[Delta.basisBytes] = basisBytes;
    state[Delta.end] = fileBytes;
    state[Delta.falseHits] = falseHitsPerBlockMax * blockCountOf(fileBytes, blockBytes);
    state[Delta.multiplier] = multiplierOf(salt);
    state[Delta.bucketBits] = bucketBits;
    // Nothing to find: not a byte is read.
    if (isEmpty) this.#finish();
  }

  /**
   * Goes on; true when all runs are there, false when there is more to do, a negative errno when
   * reading failed. A file that shrank meanwhile ends at its end; what it grew by is not looked at.
   */
  step(): boolean | number {
    if (this.#done) return true;
    const { weak, strong, salt } = this.#signature;
    const state = this.#state;
    if (this.#indexed < this.#wholeCount) {
      const to = Math.min(this.#wholeCount, this.#indexed + indexStepBlockCount);
      const made = this.#files.deltaIndex(state, weak, strong, this.#table, this.#indexed, to);
      if (made < 0) return made;
      this.#indexed = to;
      if (to < this.#wholeCount) return false;
    }
    const count = this.#files.deltaSearch(
      this.#fd,
      state,
      weak,
      strong,
      this.#table,
      salt,
      this.#buffer,
      this.#out,
    );
    if (count < 0) return count;
    for (let i = 0; i < count * 3; i += 3) {
      this.runs.match(this.#out[i]!, this.#out[i + 1]!, this.#out[i + 2]!);
    }
    if (state[Delta.done] === 1) this.#finish();
    return this.#done;
  }

  /** Up to here the file has been searched. */
  get searchedTo(): number {
    return Math.min(this.#state[Delta.at]!, this.#state[Delta.end]!);
  }

  /** Whether crafted or unlucky content has ended the search for moved blocks. */
  get isCutShort(): boolean {
    return this.#state[Delta.falseHits]! <= 0;
  }

  #finish(): void {
    this.#done = true;
    this.runs.finish(this.#state[Delta.end]!);
  }
}

/** An odd number that whoever writes the files cannot know. */
function multiplierOf(salt: Uint8Array): number {
  return (new DataView(salt.buffer, salt.byteOffset).getUint32(0, true) | 1) >>> 0;
}
