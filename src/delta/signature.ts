/**
 * A signature, what the target tells of a file that it has, and its form on the wire.
 *
 * Pieces: the first is the header: u8 version (1), u8 bytes of a strong sum, u16 zero, u32 bytes of
 * a block, f64 bytes of the basis, 16 bytes of salt. Each further one has the sums of some blocks:
 * all their weak sums (u32 each), then all their strong ones. Little-endian. The order of pieces is
 * their meaning; nothing follows the last block.
 *
 * The reader believes nothing: sizes are bounded before memory is taken for them.
 */
import { assert, SyncError } from "../base/index.ts";
import {
  basisBytesMax,
  blockBytesMax,
  blockBytesMin,
  blockCountOf,
  blockSumBytes,
  signatureHeaderBytes,
  strongBytes,
} from "./block-length.ts";

export const saltBytes = 16;
/** Bytes of one piece. */
export const signaturePieceBytesMax: number = 64 * 1024;
/** Blocks of one signature: those of the largest basis. */
const blockCountMax = 4 * 1024 * 1024;

export const pieceBlockCount: number = Math.floor(signaturePieceBytesMax / blockSumBytes);

const version = 1;

export interface Signature {
  readonly blockBytes: number;
  /** Bytes of the basis. */
  readonly fileBytes: number;
  readonly salt: Uint8Array;
  /** The weak sum of each block. */
  readonly weak: Uint32Array;
  /** `strongBytes` of each block. */
  readonly strong: Uint8Array;
}

export interface SignatureHeader {
  readonly blockBytes: number;
  readonly fileBytes: number;
  readonly salt: Uint8Array;
}

export function encodeSignatureHeader(header: SignatureHeader): Uint8Array {
  const bytes = new Uint8Array(signatureHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, version);
  view.setUint8(1, strongBytes);
  view.setUint32(4, header.blockBytes, true);
  view.setFloat64(8, header.fileBytes, true);
  bytes.set(header.salt, 16);
  return bytes;
}

function decodeHeader(piece: Uint8Array): SignatureHeader {
  if (piece.length !== signatureHeaderBytes) malformed("its header has another length");
  const view = new DataView(piece.buffer, piece.byteOffset, piece.length);
  if (view.getUint8(0) !== version || view.getUint8(1) !== strongBytes) malformed("unknown form");
  if (view.getUint16(2, true) !== 0) malformed("unknown form");
  const blockBytes = view.getUint32(4, true);
  const fileBytes = view.getFloat64(8, true);
  if (blockBytes < blockBytesMin || blockBytes > blockBytesMax || blockBytes % 64 !== 0) {
    malformed("a block has no such length");
  }
  const isSize = Number.isSafeInteger(fileBytes) && fileBytes >= 0 && !Object.is(fileBytes, -0);
  if (!isSize || fileBytes > basisBytesMax) malformed("a basis has no such size");
  if (blockCountOf(fileBytes, blockBytes) > blockCountMax) malformed("too many blocks");
  // Not slice(): that of a Buffer, which is what a socket gives, is a view.
  return { blockBytes, fileBytes, salt: new Uint8Array(piece.subarray(16)) };
}

/** Collects the pieces of one signature. Keeps nothing of a piece that it was given. */
export class SignatureReader {
  #header: SignatureHeader | undefined;
  #weak: Uint32Array = new Uint32Array(0);
  #strong: Uint8Array = new Uint8Array(0);
  #blockCount = 0;
  #have = 0;

  /** Takes the next piece. Throws PEER_MALFORMED for what no writer makes. */
  push(piece: Uint8Array): void {
    if (this.#header === undefined) {
      this.#header = decodeHeader(piece);
      this.#blockCount = blockCountOf(this.#header.fileBytes, this.#header.blockBytes);
      return;
    }
    const count = piece.length / blockSumBytes;
    if (!Number.isInteger(count) || count === 0 || piece.length > signaturePieceBytesMax) {
      malformed("a piece has another length");
    }
    if (count > this.#blockCount - this.#have) malformed("it has more blocks than its basis");
    this.#makeRoom(this.#have + count);
    // Both processors that Lockstep runs on are little-endian, as the wire is.
    const weak = new Uint8Array(this.#weak.buffer, this.#have * 4, count * 4);
    weak.set(piece.subarray(0, count * 4));
    this.#strong.set(piece.subarray(count * 4), this.#have * strongBytes);
    this.#have += count;
  }

  get done(): boolean {
    return this.#header !== undefined && this.#have === this.#blockCount;
  }

  /** The signature, once `done`; its arrays are the caller's. */
  take(): Signature {
    assert(this.#header !== undefined && this.done, "a signature is taken when it is whole");
    const { blockBytes, fileBytes, salt } = this.#header;
    const weak = this.#weak.subarray(0, this.#have);
    const strong = this.#strong.subarray(0, this.#have * strongBytes);
    return { blockBytes, fileBytes, salt, weak, strong };
  }

  /** Memory follows what has come, so that a header alone costs a peer's victim nothing. */
  #makeRoom(count: number): void {
    if (count <= this.#weak.length) return;
    const capacity = Math.min(this.#blockCount, Math.max(count, this.#weak.length * 2, 1024));
    const weak = new Uint32Array(capacity);
    weak.set(this.#weak);
    const strong = new Uint8Array(capacity * strongBytes);
    strong.set(this.#strong);
    this.#weak = weak;
    this.#strong = strong;
  }
}

function malformed(what: string): never {
  throw new SyncError("PEER_MALFORMED", `a signature does not have its form: ${what}`);
}
