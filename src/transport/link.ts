/**
 * `Link`: an authenticated, ordered, reliable byte stream between two devices. The one interface
 * that every transport implements (memory, direct TCP with TLS; later ssh, relay, punched paths).
 * It moves bytes and knows nothing of frames.
 *
 * Rules, checked by the contract suite test/contract/transport.test.ts for every implementation:
 * - Bytes arrive in the order sent, each exactly once, until one `onClose`.
 * - `send` never blocks and never drops. It returns false when `bufferedBytes` has passed the high
 *   water mark: the caller stops until `onDrain`. The bytes are taken: the caller may use their
 *   memory again as soon as `send` returns.
 * - `onData` gets a view that is valid only during the call: copy what outlives it.
 * - `pause`/`resume` stop and restart `onData`; a paused link makes the peer's `send` return false.
 * - `close` sends what is buffered and then ends; `destroy` ends at once. Both are idempotent and
 *   lead to exactly one `onClose`, on both sides. After either the caller gets no more `onData`,
 *   and `send` on an ended link returns false and sends nothing: onClose tells.
 * - No handler is called inside the same side's `start`, `send`, `resume`, `close` or `destroy`.
 * - An end without an error is not the peer's word that all is said: a crashed peer's kernel ends
 * the
 *   stream in order too. What must be complete says so inside the stream.
 */
import type { SyncError } from "../base/index.ts";

export interface LinkHandlers {
  /** Received bytes; the view is reused after the call returns. */
  onData(bytes: Uint8Array): void;
  /** Room again after `send` returned false. */
  onDrain(): void;
  /**
   * The link has ended; `error` when neither by an orderly close nor by our destroy. Called once.
   */
  onClose(error: SyncError | undefined): void;
}

export interface LinkCounters {
  bytesSent: number;
  bytesReceived: number;
}

/** A link that the addon may use by itself, while JavaScript does not run. */
export interface DirectAccess {
  /** The addon's, of the connection and of waiting for it. */
  readonly handle: unknown;
  readonly poll: unknown;
  /** From now on the addon may have read: what tells of that is called then. */
  listen(read: ReadAhead): void;
  /** The addon has given it these bytes, with this result of `tlsWrite`. What `send` returns. */
  wrote(bytes: Uint8Array, result: number): boolean;
}

/** What the addon has read of a connection, when it says so. */
export interface ReadAhead {
  readonly bytes: Uint8Array;
  /** Of `tlsRead`. */
  readonly result: number;
}

export interface Link {
  /** Device ID of the authenticated peer; undefined for an in-process link. */
  readonly peerId: string | undefined;
  /** Human-readable path, for example `tcp 127.0.0.1:7420` or `memory`. */
  readonly path: string;
  readonly counters: Readonly<LinkCounters>;
  /** Bytes accepted by send() and not yet handed to the kernel. */
  readonly bufferedBytes: number;
  /** Absent where there is no such thing. */
  readonly direct?: DirectAccess;
  /** Must be called exactly once; nothing is delivered before. */
  start(handlers: LinkHandlers): void;
  send(bytes: Uint8Array): boolean;
  pause(): void;
  resume(): void;
  close(): void;
  destroy(): void;
}
