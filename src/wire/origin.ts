/**
 * The origin of a node: what the source's inode was when the target was told of the state that it
 * has. The target remembers it (apply/origin-index.ts), so that after a restart the source knows
 * without reading what has not changed, and what has moved.
 *
 * As bytes: f64 inode, u32 generation, f64 and u32 time of the last change (ctime).
 */
import { SyncError } from "../base/index.ts";
import { f64, u32 } from "./little-endian.ts";

export interface Origin {
  /** 0 when the origin is unknown. */
  readonly ino: number;
  readonly gen: number;
  /** Both 0 when unknown: for what is no regular file, and when nobody can vouch for it. */
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
}

export const noOrigin: Origin = { ino: 0, gen: 0, ctimeSec: 0, ctimeNsec: 0 };

/** Bytes of an origin. */
export const originBytes = 24;
/** Bytes of its ctime, at its end; and of a TIMES payload that has none. */
export const ctimeBytes = 12;
export const timesBytes = 16;

export function putOrigin(view: DataView, at: number, origin: Origin): void {
  view.setFloat64(at, origin.ino, true);
  view.setUint32(at + 8, origin.gen, true);
  view.setFloat64(at + 12, origin.ctimeSec, true);
  view.setUint32(at + 20, origin.ctimeNsec, true);
}

/** The caller has checked that there are `originBytes`. Throws PEER_MALFORMED. */
export function decodeOrigin(bytes: Uint8Array, at: number): Origin {
  const ino = f64(bytes, at);
  if (!Number.isSafeInteger(ino) || ino < 0) malformed();
  const ctimeSec = checkedSeconds(f64(bytes, at + 12));
  const ctimeNsec = u32(bytes, at + 20);
  if (ctimeNsec >= 1_000_000_000) malformed();
  return { ino, gen: u32(bytes, at + 8), ctimeSec, ctimeNsec };
}

function checkedSeconds(value: number): number {
  if (!Number.isSafeInteger(value)) malformed();
  return value;
}

function malformed(): never {
  throw new SyncError("PEER_MALFORMED", "an origin does not have its form");
}
