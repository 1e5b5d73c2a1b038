/**
 * Writes of the simulated application that are under way: what they write is there, and the kernel
 * tells of them when they return, some calls of others later.
 *
 * One at a time, and told before anything else of the same file. While it is under way nobody can
 * say whether it was before or after what others do meanwhile: a source without it is as true as
 * one with it (`stepped`). Nor whether all of it is there: a target may have any part of one that
 * was read meanwhile (`parts`), as a disk may.
 */
import type { CallsUnderWay, ChangeSink, WasRead } from "../../src/capture/index.ts";
import type { Chance } from "./chance.ts";
import type { Content } from "./content.ts";
import type { SimClock } from "./sim-clock.ts";
import type { Inode, SimDisk } from "./sim-disk.ts";

/** What of a capture decides about a call that begins. */
export interface Looks {
  readonly nextLook: number;
}

interface Snapshot {
  readonly hash: number;
  readonly bytes: Uint8Array;
}

interface Held {
  readonly inode: Inode;
  readonly from: number;
  /** The content without what it has written, and with it. */
  readonly before: Snapshot;
  readonly after: Snapshot;
  readonly capture: Looks | undefined;
  readonly look: number;
  readonly tell: () => void;
  stepsLeft: number;
}

export class HeldCalls {
  #held: Held | undefined;
  readonly #disk: SimDisk;
  readonly #clock: SimClock;
  readonly #chance: Chance;
  readonly #capture: () => Looks | undefined;
  /** Of each file, as it was after the last call. */
  readonly #files: WeakMap<Inode, Snapshot> = new WeakMap();
  /** All that there were, the latest last. */
  readonly #all: Held[] = [];
  readonly #percent: number;

  constructor(options: {
    disk: SimDisk;
    clock: SimClock;
    chance: Chance;
    capture: () => Looks | undefined;
  }) {
    this.#disk = options.disk;
    this.#clock = options.clock;
    this.#chance = options.chance;
    this.#capture = options.capture;
    this.#percent = options.chance.pick([0, 20, 60]);
  }

  /** What the application's calls tell: passes on to `sink`, some of it later. */
  hold(sink: ChangeSink): ChangeSink {
    const told = new Proxy(sink, {
      get: (of, name: keyof ChangeSink) => {
        const tell = of[name] as (...args: unknown[]) => void;
        return (...args: unknown[]): void => {
          if (args[0] === this.#held?.inode.ino) this.end();
          tell(...args);
        };
      },
    });
    const written: ChangeSink["written"] = (ino, gen, from, to, timeUs, shared, mapped) => {
      if (!this.#begin(ino, from, () => sink.written(ino, gen, from, to, timeUs, shared, mapped))) {
        told.written(ino, gen, from, to, timeUs, shared, mapped);
      }
    };
    return new Proxy(told, {
      get: (of, name: keyof ChangeSink) => (name === "written" ? written : of[name]),
    });
  }

  #begin(ino: number, from: number, tell: () => void): boolean {
    if (this.#held !== undefined || !this.#chance.is(this.#percent, 100)) return false;
    for (const inode of this.#disk.inodes) {
      const before = inode.ino === ino ? this.#files.get(inode) : undefined;
      if (before === undefined) continue;
      const after = snapshotOf(inode.content!);
      const capture = this.#capture();
      const look = (capture?.nextLook ?? 0) - 1;
      const held = { inode, from, before, after, capture, look, tell, stepsLeft: 1 };
      held.stepsLeft += this.#chance.below(8);
      this.#held = held;
      this.#all.push(held);
      this.#clock.after(this.#chance.between(1, 5000), () => {
        if (this.#held === held) this.end();
      });
      return true;
    }
    return false;
  }

  /** It returns. */
  end(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.tell();
  }

  /** Another call has been made; what is different from now on if the one under way is later. */
  stepped(): Without | undefined {
    const held = this.#held;
    if (held !== undefined && held.stepsLeft-- === 0) this.end();
    for (const inode of this.#disk.inodes) {
      const { content } = inode;
      if (content === undefined || this.#files.get(inode)?.hash === content.hash) continue;
      this.#files.set(inode, snapshotOf(content));
    }
    return this.#held && { inode: this.#held.inode, hash: this.#held.before.hash };
  }

  /**
   * Of a target's files those that may have a part of a write: as they are with all of it. What was
   * done before the write has to be there as well.
   */
  *parts(root: Inode): Generator<Without> {
    for (const inode of filesBelow(root)) {
      const { bytes } = snapshotOf(inode.content!);
      for (const { before, after } of this.#all.toReversed()) {
        if (isBetween(bytes, before.bytes, after.bytes)) yield { inode, hash: after.hash };
      }
    }
  }

  /** As the capture knows it, which has to be asked once before it does. */
  underWay(looks: Looks & { look(): void }): CallsUnderWay {
    let knownFrom = Infinity;
    return {
      get nextLook() {
        return looks.nextLook;
      },
      mayBeRead: (since: number, wasRead: WasRead): boolean => {
        looks.look();
        if (knownFrom === Infinity) knownFrom = looks.nextLook;
        if (since < knownFrom) return true;
        const held = this.#held;
        if (held === undefined || held.capture !== looks || held.look < since) return false;
        return wasRead(held.inode.ino, held.inode.gen, held.from);
      },
      rest: () => {
        knownFrom = Infinity;
      },
    };
  }
}

/** A state in which this file's content is another one. */
export interface Without {
  readonly inode: Inode;
  readonly hash: number;
}

function snapshotOf(content: Content): Snapshot {
  const bytes = new Uint8Array(content.size);
  content.read(bytes, 0, bytes.length, 0);
  return { hash: content.hash, bytes };
}

/** Each byte is of the one or the other; where neither is that long yet it may be a hole. */
function isBetween(bytes: Uint8Array, before: Uint8Array, after: Uint8Array): boolean {
  if (bytes.length < before.length || bytes.length > after.length) return false;
  return bytes.every((byte, i) => byte === after[i] || byte === (before[i] ?? 0));
}

function* filesBelow(directory: Inode): Generator<Inode> {
  for (const { inode } of directory.entries!.values()) {
    if (inode.isDirectory) yield* filesBelow(inode);
    else if (inode.content !== undefined) yield inode;
  }
}
