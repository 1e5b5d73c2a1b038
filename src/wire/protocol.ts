/**
 * The wire format: numbers that both sides agree on. Append-only; a change of meaning needs a new
 * protocol version. Byte tables and sequence diagrams: docs/protocol.md.
 *
 * A frame is: u32 length of what follows (little-endian), u8 type, payload.
 */

export const protocolVersion = 1;

/** Bytes of a frame after its length field, at most. A longer one is refused. */
export const frameBytesMax = 1114112;
/** Data bytes of one WRITE frame, at most. */
export const writeBytesMax = 131072;
/** Bytes of one CLONE, at most: the target copies them in one step. */
export const cloneBytesMax = 16777216;
/** Bytes of a name: NAME_MAX of Linux. */
export const nameBytesMax = 255;
/** Bytes of a symbolic link's target: PATH_MAX of Linux. */
export const symlinkBytesMax = 4096;
/** Bytes of all extended attributes of one node, serialised. */
export const attributesBytesMax = 1048576;
/** Bytes of a control message (JSON). */
export const controlBytesMax = 65536;

export const FrameType = {
  hello: 1,
  welcome: 2,
  bye: 3,
  ping: 4,
  pong: 5,
  ack: 6,
  credit: 7,
  manifestEntry: 8,
  manifestEnd: 9,
  problem: 10,
  ask: 11,
  answer: 12,
  halt: 13,
  resume: 14,
  manifestOrigin: 15,
  subtree: 16,
  expand: 17,
  expanded: 18,
  verifyAsk: 20,
  verifyAnswer: 21,
  create: 32,
  write: 33,
  zero: 34,
  truncate: 35,
  clone: 36,
  place: 37,
  rename: 38,
  link: 39,
  unlink: 40,
  remove: 41,
  detach: 42,
  meta: 43,
  times: 44,
  attributes: 45,
  commit: 46,
  keep: 47,
  origin: 48,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/** Frames of this type and above change the target: they are counted and checked by COMMIT. */
export const firstOperationType: number = FrameType.create;

/** Bytes of an ACK's payload: epoch and consumed bytes. */
export const ackBytes = 16;
/** Bytes of a COMMIT frame, its length field and type included. */
export const commitFrameBytes = 30;

export const CommitFlag = {
  /** Not proved to be a past state of the source as a whole. */
  fuzzy: 1,
  /** The target equals the source for the first time: from here on epochs are held until whole. */
  live: 2,
} as const;

export const RenameFlag = { exchange: 1 } as const;

/**
 * Mixes one frame into an epoch's checksum: its type, length and first bytes. It finds frames that
 * were lost, doubled or reordered by a bug; that bytes are unchanged is the link's promise (TLS).
 */
export function mixChecksum(
  checksum: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  let h = Math.imul(checksum ^ (end - start), 0x9e3779b1);
  const last = Math.min(end, start + 24);
  for (let at = start; at < last; at++) h = Math.imul(h ^ bytes[at]!, 0x01000193);
  return (h ^ (h >>> 15)) >>> 0;
}
