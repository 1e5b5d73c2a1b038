/**
 * Questions of the source about what the target has, and the answers. Neither is an operation: an
 * ask is answered when all that was sent before it, of whole epochs, has been applied; the parts of
 * an answer follow each other, those of several asks may alternate.
 * Layout: docs/protocol.md. Decoding checks all lengths and throws PEER_MALFORMED.
 */
import { SyncError } from "../base/index.ts";
import { u32 } from "./little-endian.ts";

export const AskKind = {
  /** The signature of a file's content, for a delta against it. */
  signature: 1,
  /** What is really there: metadata, and a hash of a range of the content or of the names. */
  digest: 2,
} as const;

/** Random bytes that the asker chooses, so that nobody can prepare content for the hash. */
export const saltBytes = 16;
/** Bytes of one part of an answer, at most. */
export const answerPartBytesMax = 65536;

export const AnswerStatus = {
  /** More parts follow. */
  part: 0,
  /** The last part. */
  end: 1,
  /** There is no answer: no such file, or it cannot be read. */
  refused: 2,
} as const;
export type AnswerStatus = (typeof AnswerStatus)[keyof typeof AnswerStatus];

/** Bytes of a file in one digest, at most: the target reads and hashes them in one step. */
export const digestRangeBytesMax = 262144;

export interface SignatureAsk {
  kind: typeof AskKind.signature;
  id: number;
  node: number;
  blockBytes: number;
  /** Of the basis, as the source knows it. */
  fileBytes: number;
  salt: Uint8Array;
}

export interface DigestAsk {
  kind: typeof AskKind.digest;
  id: number;
  node: number;
  /** Of the range; 0 for anything but a regular file. */
  length: number;
  from: number;
  salt: Uint8Array;
}

export type Ask = SignatureAsk | DigestAsk;

export interface Answer {
  id: number;
  status: AnswerStatus;
  /** A view, valid only during the call. */
  part: Uint8Array;
}

const askBytes = 21 + saltBytes;

export function encodeAsk(ask: Ask): Uint8Array {
  const bytes = new Uint8Array(askBytes);
  const view = new DataView(bytes.buffer);
  const isSignature = ask.kind === AskKind.signature;
  view.setUint32(0, ask.id, true);
  view.setUint8(4, ask.kind);
  view.setUint32(5, ask.node, true);
  view.setUint32(9, isSignature ? ask.blockBytes : ask.length, true);
  view.setFloat64(13, isSignature ? ask.fileBytes : ask.from, true);
  bytes.set(ask.salt, 21);
  return bytes;
}

export function decodeAsk(bytes: Uint8Array, start: number, end: number): Ask {
  if (end - start !== askBytes) malformed();
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start);
  const position = view.getFloat64(13, true);
  if (!Number.isSafeInteger(position) || position < 0) malformed();
  const id = view.getUint32(0, true);
  const node = view.getUint32(5, true);
  const length = view.getUint32(9, true);
  const salt = new Uint8Array(bytes.subarray(start + 21, end));
  const kind = bytes[start + 4];
  if (kind === AskKind.signature) {
    return { kind, id, node, blockBytes: length, fileBytes: position, salt };
  }
  if (kind !== AskKind.digest || length > digestRangeBytesMax) malformed();
  if (!Number.isSafeInteger(position + length)) malformed();
  return { kind, id, node, length, from: position, salt };
}

export function encodeAnswer(id: number, status: AnswerStatus, part: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + part.length);
  new DataView(bytes.buffer).setUint32(0, id, true);
  bytes[4] = status;
  bytes.set(part, 5);
  return bytes;
}

export function decodeAnswer(bytes: Uint8Array, start: number, end: number): Answer {
  const length = end - start;
  if (length < 5 || length > 5 + answerPartBytesMax) malformed();
  const status = bytes[start + 4]!;
  if (status !== AnswerStatus.part && status !== AnswerStatus.end) {
    if (status !== AnswerStatus.refused || length !== 5) malformed();
  }
  return {
    id: u32(bytes, start),
    status,
    part: bytes.subarray(start + 5, end),
  };
}

function malformed(): never {
  throw new SyncError("PEER_MALFORMED", "an ask or answer does not have its form");
}
