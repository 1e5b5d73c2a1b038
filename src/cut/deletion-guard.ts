/**
 * `DeletionGuard`: stops a cut that is about to take more from the target than a person would want
 * unasked: the source's folder was emptied, or is the wrong one, or somebody runs `rm -rf` in it.
 *
 * In: nodes that leave the tree because the source no longer has them (not those that are replaced
 * or moved). Out: nothing, or a SyncError of kind `halt`, thrown before the target hears of it.
 * While the target is made equal (until the first live epoch) the planner holds deletions back
 * until it knows them all; `checkAll` judges the sum. From then on an epoch is applied whole or not
 * at all, so that it is enough to judge it at its COMMIT: `checkEpoch`.
 *
 * What is judged then is a window of `windowUs`, because `rm -rf` takes a while and is spread over
 * many epochs. Only nodes count that are older than the window, against how many there were when it
 * began: what is made and removed again is nobody's loss, and however many files come and go in a
 * day, no sum grows for ever.
 */
import { SyncError } from "../base/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { type Files, Stat, statSlots } from "../world/index.ts";

/** How much of the target may go. */
export interface DeletionLimit {
  /** As the user wrote it, for messages. */
  readonly text: string;
  /** Nodes, or a share of all of them between 0 and 1. */
  readonly kind: "count" | "share";
  readonly value: number;
  /** Fewer never exceed a share. */
  readonly countMin: number;
}

export const deletionLimitDefault: DeletionLimit = {
  text: "50%",
  kind: "share",
  value: 0.5,
  countMin: 10,
};

const sampleUs = 5e6;
const windowUs = 300e6;
/** An emptied root halts only if this many went: the last file of a folder may be deleted. */
const emptiedCountMin = 2;

interface Sample {
  readonly atUs: number;
  readonly nodeCount: number;
  readonly birthCount: number;
  /** Older nodes removed since, up to the next sample. */
  removedCount: number;
}

export class DeletionGuard {
  readonly #files: Files;
  readonly #rootFd: number;
  readonly #rootPath: Uint8Array;
  readonly #tree: Tree;
  readonly #limit: DeletionLimit | undefined;
  /** Oldest first; the first is where the window begins. */
  readonly #samples: Sample[] = [];
  #nextSampleUs = Infinity;
  #phase: "off" | "reconciling" | "live" = "off";
  /** Nodes that the target had at the start. */
  #startCount = 0;
  #startBirths = 0;
  /** Of these the ones that went before they were live. */
  #agreedCount = 0;
  readonly #confirmed: boolean;
  /** Something was removed since the last epoch that went out. */
  hasRemoved = false;

  constructor(options: {
    files: Files;
    rootFd: number;
    rootPath: Uint8Array;
    tree: Tree;
    /** Everything may go when absent. */
    maxDelete?: DeletionLimit;
    /** A person has agreed to what goes until the target is live. */
    deletionsConfirmed?: boolean;
  }) {
    this.#files = options.files;
    this.#rootFd = options.rootFd;
    this.#rootPath = options.rootPath;
    this.#tree = options.tree;
    this.#limit = options.maxDelete;
    this.#confirmed = options.deletionsConfirmed ?? false;
  }

  /** The target is being made equal, and its deletions are to be held back until `checkAll`. */
  get holdsBack(): boolean {
    return this.#phase === "reconciling";
  }

  /** Everything is going to be compared; the tree is what the target has. */
  begin(): void {
    if (this.#limit === undefined || this.#confirmed) return;
    this.#phase = "reconciling";
    this.#startCount = this.#tree.nodeCount - 1;
    this.#startBirths = this.#tree.birthCount;
  }

  /** The target equals the source: the window begins. */
  live(nowUs: number): void {
    this.hasRemoved = false;
    this.#phase = "live";
    this.#samples.length = 0;
    this.#nextSampleUs = 0;
    this.tick(nowUs);
  }

  /** To be called every few seconds. */
  tick(nowUs: number): void {
    if (nowUs < this.#nextSampleUs) return;
    this.#nextSampleUs = nowUs + sampleUs;
    const { nodeCount, birthCount } = this.#tree;
    const samples = this.#samples;
    samples.push({ atUs: nowUs, nodeCount, birthCount, removedCount: 0 });
    while (samples.length > 1 && samples[0]!.atUs < nowUs - windowUs) samples.shift();
  }

  /** The node leaves the tree because the source does not have it any more. */
  removed(node: number): void {
    if (this.#phase !== "live") return;
    this.hasRemoved = true;
    const samples = this.#samples;
    if (this.#tree.birth[node]! <= samples[0]!.birthCount) samples.at(-1)!.removedCount++;
  }

  /** Before an epoch goes out that has removed something. */
  checkEpoch(): void {
    this.hasRemoved = false;
    let removedCount = 0;
    for (const sample of this.#samples) removedCount += sample.removedCount;
    const isEmptied = this.#tree.firstChild[rootId] === 0;
    if (isEmptied) this.#checkRoot();
    this.#judge(removedCount, this.#samples[0]!.nodeCount - 1, isEmptied, emptiedCountMin);
  }

  /** Before what was held back goes: that many nodes, perhaps all that the target had. */
  checkAll(count: number, isAll: boolean): void {
    const isEmptied = isAll && this.#tree.birthCount === this.#startBirths;
    this.#judge(this.#agreedCount + count, this.#startCount, isEmptied, 1);
    this.#agreedCount += count;
  }

  /** Whether that many more would be too many. */
  exceeds(count: number): boolean {
    const limit = this.#limit;
    if (limit === undefined) return false;
    return isTooMany(limit, this.#agreedCount + count, this.#startCount);
  }

  /** `rm -rf` has come to the folder itself: no path leads there any more. */
  #checkRoot(): void {
    const stat = new Float64Array(statSlots);
    if (this.#files.fstat(this.#rootFd, stat) === 0 && stat[Stat.nlink] !== 0) return;
    const path = Buffer.from(this.#rootPath).toString();
    throw new SyncError("ROOT_REPLACED", `${path} is not there any more`);
  }

  #judge(count: number, ofCount: number, isEmptied: boolean, emptiedMin: number): void {
    const limit = this.#limit;
    if (limit === undefined || count === 0) return;
    if (isEmptied && count >= emptiedMin) {
      const message = `the source is empty now; ${count} entries of the target would be deleted`;
      throw new SyncError("ROOT_EMPTIED", message);
    }
    if (!isTooMany(limit, count, ofCount)) return;
    throw new SyncError(
      "TOO_MANY_DELETES",
      `${count} of ${ofCount} entries of the target would be deleted, ` +
        `more than --max-delete ${limit.text} allows`,
    );
  }
}

function isTooMany(limit: DeletionLimit, count: number, ofCount: number): boolean {
  if (limit.kind === "count") return count > limit.value;
  return count >= limit.countMin && count > limit.value * ofCount;
}
