/**
 * TLS 1.3 on connected sockets and waiting for them, as the addon offers it (native/addon/tls.c).
 * Results are counts, or negative: an errno, or one of `TlsResult`.
 */
import type { Kernel } from "./files.ts";
import type { World } from "./ports.ts";

/** The same numbers stand in native/addon/tls.c. */
export const TlsResult = {
  /** Call again when the socket is writable. */
  wantsWrite: -4096,
  /** The stream ended without the peer's word: its process or the network died. */
  cut: -4097,
  /** TLS itself failed; `tlsReason` says why. */
  broken: -4098,
} as const;

/** See `tlsWrite`. */
export const tlsOwed = 16777216;

/** What `pollSet` waits for, as bits; `dealt`: the addon has taken what was readable. */
export const PollEvent = { readable: 1, writable: 2, hungUp: 4, priority: 8, dealt: 16 } as const;

export interface Tls {
  /** Settings of one identity: both in DER, the key as PKCS #8. Throws an Error. */
  tlsContext(certificate: Uint8Array, key: Uint8Array): unknown;
  /**
   * One connection, on a duplicate of `fd`. `protocols` in ALPN's form: a length byte and a name
   * each. Ends with tlsClose, or with its handle.
   */
  tlsOpen(context: unknown, fd: number, isServer: 0 | 1, protocols: Uint8Array): unknown;
  tlsFd(handle: unknown): number;
  /** 1 when done; -EAGAIN: call again when readable. */
  tlsHandshake(handle: unknown): number;
  /**
   * Twice the bytes read, plus 1 when there is more to read already, of which no poll tells; 0 when
   * the peer has said that it sends no more; -EAGAIN when there is nothing.
   */
  tlsRead(handle: unknown, into: Uint8Array): number;
  /**
   * The bytes taken, plus `tlsOwed` times the bytes, encrypted, that the socket has yet to take:
   * call again when it is writable, if only with nothing. Fewer than `tlsOwed` bytes are given at
   * once; what was not taken must be given again, the same bytes from there on.
   */
  tlsWrite(handle: unknown, from: Uint8Array, offset: number, length: number): number;
  /** Tells the peer that nothing more comes; 1 when told. */
  tlsEnd(handle: unknown): number;
  tlsClose(handle: unknown): void;
  /** The peer's certificate in DER; empty when it showed none. */
  tlsCertificate(handle: unknown): Buffer;
  tlsProtocol(handle: unknown): string;
  tlsVersion(handle: unknown): string;
  tlsIsResumed(handle: unknown): number;
  tlsReason(handle: unknown): string;
  tlsExport(handle: unknown, label: Uint8Array, into: Uint8Array): number;
}

export type Network = Tls & Pick<Kernel, "pollStart" | "pollSet" | "pollStop">;

/** A world with peers in it. */
export interface NetworkWorld extends World {
  readonly network: Network;
}
