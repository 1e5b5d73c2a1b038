/**
 * `RemoteTree`: a target that is looked at by questions. Each has one answer of bounded size, so
 * nobody has to keep more than what was asked for. Paths are relative to the target's root, the
 * empty one is the root; a result that is a number is a negative errno.
 *
 * `TreeReader` answers for a folder of this machine; in between may be a link.
 */
import { SyncError } from "../base/index.ts";
import { Stat } from "../world/index.ts";
import { parseAttributes } from "./metadata.ts";
import type { Sha256 } from "./part-hasher.ts";

/** Bytes of a path, at most. */
export const remotePathBytesMax = 262_144;

export interface RemoteEntry {
  /** Latin-1, as a DirectoryReader's; empty when it was asked for by its path. */
  readonly name: string;
  /** Its `mount` is 0 on the root's mount and filesystem, else 1. Or the errno of the look. */
  readonly stat: Float64Array | number;
  /** Target of a symbolic link; empty for all else. */
  readonly link: Uint8Array | number;
  /** By hashedAttributes. */
  readonly attributes: Uint8Array | number;
}

export interface RemotePage {
  /** In the order of the bytes of their names. */
  readonly entries: readonly RemoteEntry[];
  /** There are names after the last one. */
  readonly hasMore: boolean;
}

export interface PartRun {
  readonly end: number;
  /** Of the one part up to `end`; undefined when all up to there is zeros. */
  readonly hash: Uint8Array | undefined;
}

export interface RemoteParts {
  /** Of the file that was read; inode, device, ctime and size only. */
  readonly stat: Float64Array;
  /** It is the same after its parts were read. */
  readonly isUnchanged: boolean;
  readonly runs: readonly PartRun[];
}

export interface RemoteTree {
  readonly sha256: Sha256;
  /** What all hashes begin with. */
  readonly salt: Uint8Array;
  /** How much its clock is ahead of this machine's. */
  readonly aheadMs: number;
  /** Entries of a folder whose names come after `after`. */
  list(path: Uint8Array, after: string): Promise<RemotePage | number>;
  look(path: Uint8Array): Promise<RemoteEntry | number>;
  /** Of a regular file, from a multiple of `partBytes` on: at least one part if there is any. */
  parts(path: Uint8Array, from: number, partBytes: number): Promise<RemoteParts | number>;
}

/** A list of attributes with a hash in place of each value, in the same form. */
export function hashedAttributes(
  list: Uint8Array,
  { sha256, salt }: Pick<RemoteTree, "sha256" | "salt">,
): Uint8Array {
  if (list.length === 0) return list;
  const parts: Uint8Array[] = [];
  for (const [name, value] of parseAttributes(list)) {
    const hash = sha256(salt, value);
    const head = Buffer.alloc(2 + name.length + 4);
    head.writeUInt16LE(name.length, 0);
    head.write(name, 2, "latin1");
    head.writeUInt32LE(hash.length, 2 + name.length);
    parts.push(head, hash);
  }
  return Buffer.concat(parts);
}

/** What a target may not say: it would have the comparison go back, or on for ever. */
export function refuseAnswer(what: string): never {
  throw new SyncError("PEER_MALFORMED", `the target's answer ${what}`);
}

/** Slots of a stat record that say whether a file is the one that was seen. */
export const identitySlots: readonly number[] = [
  Stat.ino,
  Stat.dev,
  Stat.ctimeSec,
  Stat.ctimeNsec,
  Stat.size,
];
