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

export interface Ask {
  id: number;
  node: number;
  blockBytes: number;
  /** Of the basis, as the source knows it. */
  fileBytes: number;
  salt: Uint8Array;
}

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
  view.setUint32(0, ask.id, true);
  view.setUint8(4, AskKind.signature);
  view.setUint32(5, ask.node, true);
  view.setUint32(9, ask.blockBytes, true);
  view.setFloat64(13, ask.fileBytes, true);
  bytes.set(ask.salt, 21);
  return bytes;
}

export function decodeAsk(bytes: Uint8Array, start: number, end: number): Ask {
  if (end - start !== askBytes || bytes[start + 4] !== AskKind.signature) malformed();
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start);
  const fileBytes = view.getFloat64(13, true);
  if (!Number.isSafeInteger(fileBytes) || fileBytes < 0) malformed();
  return {
    id: view.getUint32(0, true),
    node: view.getUint32(5, true),
    blockBytes: view.getUint32(9, true),
    fileBytes,
    salt: new Uint8Array(bytes.subarray(start + 21, end)),
  };
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
