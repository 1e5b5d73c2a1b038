/**
 * `EarlyFiles`: writes new files as their frames arrive, before the epoch is whole.
 *
 * A new file has no name until PLACE, so nobody can see it, and nothing has to be undone when the
 * epoch never becomes whole: its bytes need not be held, spooled and copied. That other nodes are
 * announced shows nowhere either, and those after them have their ids only then. All else waits.
 * With a journal only large ones are, and get a hold name when their epoch is recorded.
 * How many is bounded by descriptors, of all epochs that are not applied yet.
 * An id can be taken early because the source does not use it again before the epoch in which it
 * was freed has been acknowledged.
 */
import type { Applier } from "../apply/index.ts";
import { decodeOperation, FrameType, u32 } from "../wire/index.ts";
import type { SpaceFloor } from "./space-floor.ts";

/** Of the new files that may be open without a name: room for those of epochs being applied. */
const earlyShare = 0.75;

/** Of its first frame: a new file that begins with as much is not written twice. */
const largeBytesMin = 65536;

const regularType = 0o100000;
const typeMask = 0o170000;

const ownOperations: ReadonlySet<number> = new Set([
  FrameType.write,
  FrameType.zero,
  FrameType.truncate,
  FrameType.meta,
  FrameType.attributes,
  FrameType.times,
  FrameType.keep,
]);

export class EarlyFiles {
  readonly #applier: Applier;
  /** New files of the present epoch: whether they are written early; undefined before that. */
  readonly #files: Map<number, boolean | undefined> = new Map();
  /** Files without a name, of all epochs; what exceeds that is held like everything else. */
  readonly #countMax: number;

  readonly #isJournaled: boolean;

  readonly #floor: Pick<SpaceFloor, "passes" | "holds">;
  /** There was no space for an operation: what follows it in the epoch waits, too. */
  #isOver = false;

  /** `isJournaled`: small files are held, because the journal is to have them whole. */
  constructor(applier: Applier, isJournaled: boolean, floor: Pick<SpaceFloor, "passes" | "holds">) {
    this.#applier = applier;
    this.#floor = floor;
    this.#isJournaled = isJournaled;
    this.#countMax = Math.floor(applier.stagedCountMax * earlyShare);
  }

  /** Applies the frame if it is about a new node alone. False when it has to be held. */
  take(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start < 8 || !this.#hasSpaceFor(type, end - start)) return false;
    const node = u32(bytes, start);
    if (type === FrameType.create) {
      // Ids are used in order: one that comes too early waits behind the nodes before it.
      if (node > this.#applier.endId) return false;
      decodeOperation(type, bytes, start, end, this.#applier);
      const isFile = (u32(bytes, start + 4) & typeMask) === regularType;
      if (isFile) this.#files.set(node, undefined);
      return true;
    }
    if (type === FrameType.clone && this.#files.has(node)) {
      // What it copies may be waiting to be written itself: this file is held from here on.
      this.#files.set(node, false);
      return false;
    }
    if (!ownOperations.has(type) || !this.#files.has(node)) return false;
    let isEarly = this.#files.get(node);
    if (isEarly === undefined) {
      // What is held of a file stays in order: all of it is, or nothing.
      const isLarge = type === FrameType.keep || end - start >= largeBytesMin;
      isEarly = this.#applier.stagedOpenCount < this.#countMax && (isLarge || !this.#isJournaled);
      this.#files.set(node, isEarly);
    }
    if (isEarly) decodeOperation(type, bytes, start, end, this.#applier);
    return isEarly;
  }

  #hasSpaceFor(type: number, bytes: number): boolean {
    if (type !== FrameType.write || this.#isOver) return !this.#isOver;
    this.#isOver = !this.#floor.passes(bytes) && this.#floor.holds(bytes);
    return !this.#isOver;
  }

  /** The epoch is whole: its files get their names now. */
  clear(): void {
    this.#files.clear();
    this.#isOver = false;
  }
}
