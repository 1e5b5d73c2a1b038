/**
 * `FrameReader`: cuts a byte stream into frames.
 *
 * In: pieces of any size, valid only during `push`. Out: `onFrame(type, bytes, start, end)` for
 * each whole frame, in order; `bytes` is valid only during the call. The length is checked before
 * anything is kept, so a hostile peer makes us hold at most one frame.
 * Errors: a frame that is empty or too long throws PEER_MALFORMED; the caller closes the link.
 */
import { SyncError } from "../base/index.ts";
import { u32 } from "./little-endian.ts";
import { frameBytesMax } from "./protocol.ts";

export type FrameHandler = (type: number, bytes: Uint8Array, start: number, end: number) => void;

export class FrameReader {
  #kept: Uint8Array = new Uint8Array(65536);
  #keptBytes = 0;
  readonly #onFrame: FrameHandler;

  constructor(onFrame: FrameHandler) {
    this.#onFrame = onFrame;
  }

  /** Nothing of an unfinished frame is kept. */
  get isEmpty(): boolean {
    return this.#keptBytes === 0;
  }

  push(piece: Uint8Array): void {
    let at = 0;
    while (this.#keptBytes > 0 && at < piece.length) {
      const want = this.#wanted();
      const take = Math.min(want - this.#keptBytes, piece.length - at);
      this.#keep(piece, at, at + take, want);
      at += take;
      if (this.#keptBytes === 4) {
        this.#wanted();
        continue;
      }
      if (this.#keptBytes === this.#wanted()) {
        const end = this.#keptBytes;
        this.#keptBytes = 0;
        this.#onFrame(this.#kept[4]!, this.#kept, 5, end);
      }
    }
    while (piece.length - at >= 4) {
      const end = at + 4 + bodyBytes(piece, at);
      if (end > piece.length) break;
      this.#onFrame(piece[at + 4]!, piece, at + 5, end);
      at = end;
    }
    if (at < piece.length) this.#keep(piece, at, piece.length, 0);
  }

  /** Bytes that the frame being kept will have, as far as they are known. */
  #wanted(): number {
    return this.#keptBytes < 4 ? 4 : 4 + bodyBytes(this.#kept, 0);
  }

  #keep(piece: Uint8Array, from: number, to: number, want: number): void {
    const need = Math.max(want, this.#keptBytes + to - from);
    if (need > this.#kept.length) {
      const larger = new Uint8Array(need * 2);
      larger.set(this.#kept.subarray(0, this.#keptBytes));
      this.#kept = larger;
    }
    this.#kept.set(piece.subarray(from, to), this.#keptBytes);
    this.#keptBytes += to - from;
  }
}

function bodyBytes(bytes: Uint8Array, at: number): number {
  const length = u32(bytes, at);
  if (length === 0 || length > frameBytesMax) {
    throw new SyncError("PEER_MALFORMED", `a frame of ${length} bytes is not allowed`);
  }
  return length;
}
