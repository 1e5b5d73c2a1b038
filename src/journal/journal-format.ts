/**
 * The journal's layout on disk (docs/adr/0035-redo-journal.md has the reasons).
 *
 *   two headers, written in turn | record | record | … | whatever was there before
 *
 * A record is: head (magic, bytes of the payload, generation, number in it), payload, tail
 * (magic, generation, number, hash). Records of one generation follow each other; the first that is
 * not whole, or not of it, ends the journal. Little-endian.
 */
import { SyncError } from "../base/index.ts";
import { type Commit, CommitFlag } from "../wire/index.ts";
import type { Hashes } from "../world/index.ts";

export const headerSlotBytes = 8192;
export const headerBytes: number = 2 * headerSlotBytes;
export const recordHeadBytes = 32;
export const recordTailBytes = 24;
const headMagic = 0x4a534c31;
const tailMagic = 0x314c534a;
const hashBytes = 8;

/** What a record holds besides operations and their COMMIT; each is framed like them. */
export const NoteType = { node: 1, name: 2, staged: 3, end: 4, attributes: 5, mark: 6 } as const;

export interface RecordHead {
  generation: number;
  number: number;
  /** Of the payload. */
  bytes: number;
}

export function putRecordHead(into: DataView, at: number, head: RecordHead): void {
  into.setUint32(at, headMagic, true);
  into.setUint32(at + 4, 0, true);
  into.setFloat64(at + 8, head.bytes, true);
  into.setUint32(at + 16, head.generation, true);
  into.setUint32(at + 20, head.number, true);
  into.setFloat64(at + 24, 0, true);
}

/** Undefined for bytes that are no head. */
export function recordHeadOf(from: DataView): RecordHead | undefined {
  if (from.getUint32(0, true) !== headMagic) return undefined;
  const bytes = from.getFloat64(8, true);
  if (!Number.isSafeInteger(bytes) || bytes < 0) return undefined;
  return { bytes, generation: from.getUint32(16, true), number: from.getUint32(20, true) };
}

/** `hash`: 8 bytes over the payload, or none where only the process can die. */
export function putRecordTail(
  into: DataView,
  at: number,
  { generation, number }: RecordHead,
  hash: Uint8Array | undefined,
): void {
  into.setUint32(at, tailMagic, true);
  into.setUint32(at + 4, generation, true);
  into.setUint32(at + 8, number, true);
  into.setUint32(at + 12, hash === undefined ? 0 : 1, true);
  for (let i = 0; i < hashBytes; i++) into.setUint8(at + 16 + i, hash?.[i] ?? 0);
}

/** Whether the tail belongs to the head; `hash` gives that of the payload, if it is asked. */
export function isTailOf(
  from: DataView,
  { generation, number }: RecordHead,
  hash: () => Uint8Array,
): boolean {
  if (from.getUint32(0, true) !== tailMagic || from.getUint32(4, true) !== generation) return false;
  if (from.getUint32(8, true) !== number) return false;
  if (from.getUint32(12, true) === 0) return true;
  const wanted = hash();
  for (let i = 0; i < hashBytes; i++) {
    if (from.getUint8(16 + i) !== wanted[i]) return false;
  }
  return true;
}

/** The death of the process, or of the machine. */
export type Durability = "process" | "power";

/** A moment of the source, as the target has it. */
export interface Cut {
  readonly epoch: number;
  /** The source's wall clock. */
  readonly wallMs: number;
  /** Not proved to be of one moment. */
  readonly isFuzzy: boolean;
}

export function cutOf({ epoch, wallMs, flags }: Commit): Cut {
  return { epoch, wallMs, isFuzzy: (flags & CommitFlag.fuzzy) !== 0 };
}

export interface JournalHeader {
  /** Of the target's folder, for people. */
  readonly path: string;
  /** The state that the target has without the records; undefined while it is of no one moment. */
  readonly cut: Cut | undefined;
  /** Wall clock at which it was promoted: no source writes to it any more. */
  readonly promotedMs: number | undefined;
  /** Of the records that count. */
  readonly generation: number;
  /** What the records survive. */
  readonly durability: Durability;
  /** Of the machine's run in which it was written. */
  readonly bootId: string;
  /** The target and this are on the disk, and nothing was changed since. */
  readonly isSynced: boolean;
}

interface HeaderText extends JournalHeader {
  readonly serial: number;
}

/** One slot: u32 length, 8 bytes of hash, JSON. */
export function encodeHeader(header: JournalHeader, serial: number, hashes: Hashes): Uint8Array {
  const slot = new Uint8Array(headerSlotBytes);
  // A path may have characters that JSON writes as six.
  const path = Buffer.from(header.path).toString("base64");
  const text = Buffer.from(JSON.stringify({ ...header, path, serial }));
  if (text.length + 12 > headerSlotBytes) {
    throw new SyncError("STATE_UNUSABLE", "the target's path is too long for its journal");
  }
  new DataView(slot.buffer).setUint32(0, text.length, true);
  slot.set(hashes.sha256(text).subarray(0, hashBytes), 4);
  slot.set(text, 12);
  return slot;
}

export function decodeHeader(slot: Uint8Array, hashes: Hashes): HeaderText | undefined {
  const length = new DataView(slot.buffer, slot.byteOffset).getUint32(0, true);
  if (length === 0 || length + 12 > slot.length) return undefined;
  const text = slot.subarray(12, 12 + length);
  const hash = hashes.sha256(text);
  for (let i = 0; i < hashBytes; i++) if (slot[4 + i] !== hash[i]) return undefined;
  const header = JSON.parse(Buffer.from(text).toString("utf8")) as HeaderText;
  return { ...header, path: Buffer.from(header.path, "base64").toString("utf8") };
}
