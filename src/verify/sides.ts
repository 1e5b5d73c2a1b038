/**
 * `Sides`: the two trees of a comparison as the walk needs them, one folder at a time. Both are
 * folders of this machine (local-sides.ts), or the target is at the other end of a link
 * (remote-sides.ts); the judge is the same.
 *
 * Invariant: everything is about the folder on top, or a name in it; the empty name is that folder.
 */
import { Errno, errnoName, type Files, Stat, statSlots } from "../world/index.ts";
import type { Pause } from "./content.ts";
import { DifferenceKind } from "./difference.ts";
import type { Frame, Side, StackError } from "./directory-stack.ts";
import { type Finding, isGone } from "./metadata.ts";
import type { WalkCursor } from "./walk-cursor.ts";

/** What an entry is on a side: its stat record, absent, or the errno of the look. */
export type Seen = Float64Array | "absent" | number;

export interface SeenPair {
  readonly name: string;
  readonly source: Seen;
  readonly target: Seen;
}

/** What the walk lends to the sides. */
export interface SidesContext {
  readonly pause: Pause;
  /** Bytes of files are compared. */
  readonly content: boolean;
  /** Folders of the source may be mount points. */
  readonly crosses: boolean;
  readonly cursor: WalkCursor;
  /** What counts of both sides of a name in the folder on top. */
  readonly see: (name: string, source: Seen, target: Seen) => [Seen, Seen];
}

type Soon<T> = T | Promise<T>;

export interface Sides {
  readonly top: Frame | undefined;
  /** How much the clock of the target's times is ahead of this machine's. */
  readonly targetAheadMs: number;
  enterRoots(): StackError | undefined;
  /** Enters folder `name` of the one on top. */
  enter(name: string): StackError | undefined;
  /** On an error the new top must be left as well. */
  leave(): StackError | undefined;
  closeAll(): void;
  /** Path of entry `name` in the folder on top; `.` for the roots. */
  pathOf(name: string): Uint8Array;
  /**
   * Every name of the folder on top that one of the sides has, once; then why it could not be read
   * to its end. A record is valid until the next one is asked for.
   */
  names(): AsyncGenerator<SeenPair, StackError | undefined, undefined>;
  look(name: string): Soon<[Seen, Seen]>;
  /** Compares the targets of two symbolic links. True when an entry vanished meanwhile. */
  compareLinks(
    name: string,
    source: Float64Array,
    target: Float64Array,
    out: Finding[],
  ): Soon<boolean>;
  /** Compares extended attributes. True when an entry vanished meanwhile. */
  compareAttributes(
    name: string,
    source: Float64Array,
    target: Float64Array,
    out: Finding[],
  ): Soon<boolean>;
  /** Compares content, if it is to be, and holes. True when an entry moved meanwhile. */
  examineFile(
    name: string,
    source: Float64Array,
    target: Float64Array,
    out: Finding[],
  ): Promise<boolean>;
}

export function isStat(seen: Seen): seen is Float64Array {
  return typeof seen === "object";
}

/** Whether two looks saw the same inode without a change between them. */
export function isSame(before: Seen, after: Seen): boolean {
  if (!isStat(before) || !isStat(after)) return before === after;
  return [Stat.ino, Stat.dev, Stat.ctimeSec, Stat.ctimeNsec, Stat.size].every(
    (slot) => before[slot] === after[slot],
  );
}

/** What has this name in an open directory. */
export function lookAt(files: Files, directory: number, name: Uint8Array): Seen {
  const stat = new Float64Array(statSlots);
  const result = files.statAt(directory, name, stat);
  if (isGone(result)) return "absent";
  return result < 0 ? result : stat;
}

/** Whether the open file is the one that was seen, and has not changed since. */
export function isStill(files: Files, fd: number, seen: Float64Array): boolean {
  const now = new Float64Array(statSlots);
  return files.fstat(fd, now) >= 0 && isSame(seen, now);
}

export function unreadable(side: Side, errno: number): Finding {
  return { kind: DifferenceKind.unreadable, detail: `${side}: ${errnoName(errno)}` };
}

/** True when the failure says that the entry moved; else it becomes a finding. */
export function openFailed(side: Side, errno: number, out: Finding[]): boolean {
  if (isGone(errno) || errno === -Errno.ELOOP || errno === -Errno.EXDEV) return true;
  out.push(unreadable(side, errno));
  return false;
}

/** Holes of the source that the target does not have. */
export function holesFinding(source: Float64Array, target: Float64Array): Finding {
  const detail = `source ${blocksText(source)} allocated, target ${blocksText(target)}`;
  return { kind: DifferenceKind.holes, detail };
}

function blocksText(stat: Float64Array): string {
  return `${(stat[Stat.blocks] ?? 0) * 512} bytes`;
}
