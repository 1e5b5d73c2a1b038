/**
 * `TlsSocket`: one TCP connection under TLS 1.3, driven by readiness: the kernel says that the
 * socket is readable or writable, OpenSSL reads or writes, and what came is delivered in the same
 * call. The addon does both (native/addon/tls.c); node's own TLS sockets cost three times as much
 * for a small message (docs/adr/0019-native-tls.md).
 * Flows in: a connected `net.Socket`, whose descriptor it takes over; `write`. Out: the handlers.
 * Invariants: no handler is called inside `write`, `pause`, `resume`, `end` or `destroy`; one
 * onClose, after which nothing; what the kernel does not take is copied and held, and bounded by
 * the caller, who is told (`bufferedBytes`).
 */
import { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";

import { assert, SyncError } from "../base/index.ts";
import { type Clock, Errno, errnoName, type Network } from "../world/index.ts";
import { PollEvent, tlsOwed, TlsResult } from "../world/index.ts";
import type { ReadAhead } from "./link.ts";
import {
  KEEPALIVE_MS,
  PAUSED_READS_MAX,
  READS_PER_TURN_MAX,
  RECEIVE_BUFFER_BYTES,
} from "./limits.ts";

/** Why a connection ended without the peer's word. */
export interface TlsFailure {
  /** `cut`: the stream just ended; `system`: an errno; `tls`: the peer's TLS or ours refused. */
  readonly kind: "cut" | "system" | "tls";
  /** Such as ECONNRESET or TLSV1_ALERT_NO_APPLICATION_PROTOCOL. */
  readonly reason: string;
}

export interface TlsSocketHandlers {
  /** The handshake is done: both ends hold the keys they showed, and nothing more is known. */
  onSecure(): void;
  /** Received bytes; the view is reused after the call returns. */
  onData(bytes: Uint8Array): void;
  /** Some of what was held has gone. */
  onFlushed(): void;
  /** The peer has said that it sends no more; onClose follows. */
  onEnd(): void;
  onClose(failure: TlsFailure | undefined): void;
}

export interface TlsSocketOptions {
  readonly network: Network;
  readonly clock: Clock;
  /** From `tlsContext`. */
  readonly context: unknown;
  readonly isServer: boolean;
  /** Application protocols: what a server serves, what a client asks for. */
  readonly protocols: readonly string[];
  readonly handlers: TlsSocketHandlers;
}

/** Calls are synchronous and do not nest, so all sockets of a thread read into one buffer. */
const received = new Uint8Array(RECEIVE_BUFFER_BYTES);

const noBytes: Uint8Array = new Uint8Array(0);

type Phase = "handshake" | "open" | "closed";

export class TlsSocket {
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #handlers: TlsSocketHandlers;
  readonly #handle: unknown;
  readonly #poll: unknown;
  #phase: Phase = "handshake";
  #events: number = PollEvent.readable;
  #isPaused = false;
  #isReading = false;
  /** OpenSSL may hold bytes that no poll tells of. */
  #hasMore = false;
  /** The peer's end was looked for while paused, and was not near. */
  #hasLooked = false;
  #handshakeWrites = false;
  readonly #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** Bytes that have been encrypted, and wait for the socket in the addon. */
  #owedBytes = 0;
  /** Less waits than the handlers know of: a write has found room for what came before it. */
  #hasDrained = false;
  #isEnding = false;
  #isEndTold = false;

  /** Takes the connection of `raw` over: that socket is destroyed, its descriptor lives on. */
  constructor(raw: Socket, options: TlsSocketOptions) {
    const { network, clock, context, isServer, protocols, handlers } = options;
    this.#network = network;
    this.#clock = clock;
    this.#handlers = handlers;
    raw.setNoDelay(true);
    raw.setKeepAlive(true, KEEPALIVE_MS);
    const fd = descriptorOf(raw);
    this.#handle = network.tlsOpen(context, fd, isServer ? 1 : 0, protocolList(protocols));
    raw.destroy();
    this.#poll = network.pollStart(network.tlsFd(this.#handle), (events) => this.#onReady(events));
    if (!isServer) clock.defer(() => this.#shake());
  }

  get alpnProtocol(): string {
    return this.#network.tlsProtocol(this.#handle);
  }

  getProtocol(): string {
    return this.#network.tlsVersion(this.#handle);
  }

  isSessionReused(): boolean {
    return this.#network.tlsIsResumed(this.#handle) !== 0;
  }

  getPeerX509Certificate(): X509Certificate | undefined {
    const der = this.#network.tlsCertificate(this.#handle);
    return der.length === 0 ? undefined : new X509Certificate(der);
  }

  /**
   * Bytes bound to this TLS session, the same at both ends (RFC 8446 section 7.5). LINK_LOST when
   * it has ended.
   */
  exportKey(label: string, count: number): Buffer {
    const out = Buffer.alloc(count);
    if (this.#network.tlsExport(this.#handle, Buffer.from(label), out) === 1) return out;
    throw new SyncError("LINK_LOST", "the connection has ended");
  }

  /** Bytes that were given to `write` and not yet taken by the kernel. */
  get bufferedBytes(): number {
    return this.#heldBytes + this.#owedBytes;
  }

  get isClosed(): boolean {
    return this.#phase === "closed";
  }

  /** What the addon may have read before it calls. */
  readAhead: ReadAhead | undefined;

  /** The addon's, of the connection. */
  get handle(): unknown {
    return this.#handle;
  }

  /** The addon's, of waiting for it. */
  get poll(): unknown {
    return this.#poll;
  }

  /**
   * Takes all of `bytes`, which is the caller's again on return. After `end` it is dropped.
   * `result`: of tlsWrite, when the addon has done that already.
   */
  write(bytes: Uint8Array, result?: number): void {
    if (this.#phase !== "open" || this.#isEnding) return;
    let taken = 0;
    if (this.#held.length === 0) {
      const before = this.#owedBytes;
      taken = result === undefined ? this.#give(bytes) : this.#given(result);
      if (taken < 0) {
        if (!isWaiting(taken)) return this.#failLater(taken);
        taken = 0;
      }
      if (this.#owedBytes < before) this.#hasDrained = true;
    }
    if (taken === bytes.length) {
      if (this.#owedBytes > 0 || this.#hasDrained) this.#listen();
      return;
    }
    this.#held.push(bytes.slice(taken));
    this.#heldBytes += bytes.length - taken;
    this.#listen();
  }

  /** Bytes of it that were taken, or a negative result. */
  #give(bytes: Uint8Array): number {
    const length = Math.min(bytes.length, tlsOwed - 1);
    return this.#given(this.#network.tlsWrite(this.#handle, bytes, 0, length));
  }

  #given(result: number): number {
    if (result < 0) return result;
    this.#owedBytes = result < tlsOwed ? 0 : Math.floor(result / tlsOwed);
    return result % tlsOwed;
  }

  pause(): void {
    this.#isPaused = true;
    this.#listen();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#hasLooked = false;
    this.#listen();
    if (this.#hasMore) this.#clock.defer(() => this.#read());
  }

  /** Says that nothing more comes once all is written; onClose when the peer has ended too. */
  end(): void {
    if (this.#phase === "closed" || this.#isEnding) return;
    this.#isEnding = true;
    if (this.#phase === "handshake") this.destroy();
    else this.#sayEnd();
  }

  /** Ends at once; onClose comes later. */
  destroy(): void {
    if (this.#phase === "closed") return;
    this.#release();
    this.#clock.defer(() => this.#handlers.onClose(undefined));
  }

  #listen(): void {
    if (this.#phase === "closed") return;
    const isOpen = this.#phase === "open";
    const reads = !isOpen || !this.#isPaused;
    const ends = this.#isEnding && !this.#isEndTold;
    const waits = this.#held.length > 0 || this.#owedBytes > 0 || this.#hasDrained;
    const writes = isOpen ? waits || ends : this.#handshakeWrites;
    // A reader that rests still wants to know that the peer has gone.
    const rests = this.#hasLooked ? 0 : PollEvent.hungUp;
    const events = (reads ? PollEvent.readable : rests) | (writes ? PollEvent.writable : 0);
    if (events === this.#events) return;
    this.#events = events;
    this.#network.pollSet(this.#poll, events);
  }

  #onReady(events: number): void {
    if (events < 0) return this.#onError(events);
    if (events === PollEvent.dealt) return this.#read(this.readAhead);
    if (this.#phase === "handshake") return this.#shake();
    if (events & PollEvent.writable) this.#flush();
    if (events & PollEvent.readable) this.#read();
    if (events & PollEvent.hungUp) this.#readRest();
  }

  /** The poll says EBADF of whatever became of the connection; to read tells what it was. */
  #onError(result: number): void {
    if (this.#phase === "handshake") this.#shake();
    else this.#read();
    this.#fail(result);
  }

  /** What came before the end, as far as it is little, so that the end is learnt while paused. */
  #readRest(): void {
    if (!this.#isPaused) return;
    this.#hasLooked = true;
    this.#readSome(PAUSED_READS_MAX, true);
    this.#listen();
  }

  #shake(): void {
    if (this.#phase !== "handshake") return;
    const result = this.#network.tlsHandshake(this.#handle);
    this.#handshakeWrites = result === TlsResult.wantsWrite;
    if (result === 1) {
      this.#phase = "open";
      this.#hasMore = true;
      this.#handlers.onSecure();
      this.#listen();
      this.#read();
    } else if (isWaiting(result)) {
      this.#listen();
    } else {
      this.#fail(result);
    }
  }

  #read(ahead?: ReadAhead): void {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      this.#readSome(READS_PER_TURN_MAX, false, ahead);
    } finally {
      this.#isReading = false;
    }
  }

  #readSome(countMax: number, evenPaused: boolean, ahead?: ReadAhead): void {
    for (let i = 0; i < countMax; i++) {
      if (this.#phase !== "open" || (this.#isPaused && !evenPaused)) return;
      const isAhead = i === 0 && ahead !== undefined;
      const bytes = isAhead ? ahead.bytes : received;
      const result = isAhead ? ahead.result : this.#network.tlsRead(this.#handle, bytes);
      this.#hasMore = result > 0 && (result & 1) === 1;
      if (result > 0) {
        this.#handlers.onData(bytes.subarray(0, (result - (result & 1)) / 2));
        if (!this.#hasMore) return;
      } else if (result === 0) {
        return this.#onPeerEnd();
      } else {
        if (!isWaiting(result)) this.#fail(result);
        return;
      }
    }
    // Others have their turn first.
    this.#clock.defer(() => this.#read());
  }

  #flush(): void {
    const before = this.bufferedBytes;
    if (this.#held.length === 0 && this.#owedBytes > 0) {
      const result = this.#give(noBytes);
      if (result < 0) return this.#fail(result);
    }
    while (this.#held.length > 0) {
      const bytes = this.#held[0]!;
      const taken = this.#give(bytes);
      if (taken < 0) {
        if (!isWaiting(taken)) return this.#fail(taken);
        break;
      }
      this.#heldBytes -= taken;
      if (taken === bytes.length) {
        this.#held.shift();
      } else {
        this.#held[0] = bytes.subarray(taken);
        break;
      }
    }
    const isLess = this.#hasDrained || this.bufferedBytes < before;
    this.#hasDrained = false;
    if (this.#isEnding) this.#sayEnd();
    this.#listen();
    if (isLess) this.#handlers.onFlushed();
  }

  #sayEnd(): void {
    if (this.#phase !== "open" || this.#isEndTold || this.#held.length > 0) return;
    const told = this.#network.tlsEnd(this.#handle);
    this.#isEndTold = told === 1;
    if (this.#isEndTold) this.#owedBytes = 0;
    if (told < 0 && !isWaiting(told)) this.#failLater(told);
    else this.#listen();
  }

  /** What we still hold is of no use to a peer that only waits for our end. */
  #onPeerEnd(): void {
    this.#handlers.onEnd();
    if (this.isClosed) return;
    if (!this.#isEndTold && this.#held.length === 0) this.#network.tlsEnd(this.#handle);
    this.#release();
    this.#handlers.onClose(undefined);
  }

  /** The failure of a write may stand behind the peer's last words: those are read first. */
  #failLater(result: number): void {
    this.#clock.defer(() => {
      this.#read();
      this.#fail(result);
    });
  }

  #fail(result: number): void {
    if (this.#phase === "closed") return;
    const failure = this.#failureOf(result);
    this.#release();
    this.#handlers.onClose(failure);
  }

  #failureOf(result: number): TlsFailure | undefined {
    // A peer that got our end need not say its own.
    if (result === TlsResult.cut) {
      return this.#isEndTold ? undefined : { kind: "cut", reason: "cut" };
    }
    if (result === TlsResult.broken) {
      return { kind: "tls", reason: this.#network.tlsReason(this.#handle) };
    }
    return { kind: "system", reason: errnoName(result) };
  }

  #release(): void {
    this.#phase = "closed";
    this.#held.length = 0;
    this.#heldBytes = 0;
    this.#owedBytes = 0;
    this.#network.pollStop(this.#poll);
    this.#network.tlsClose(this.#handle);
  }
}

function isWaiting(result: number): boolean {
  return result === -Errno.EAGAIN || result === TlsResult.wantsWrite;
}

/** Node has no public name for it; the field has had this one since Node 0.x. */
function descriptorOf(raw: Socket): number {
  const { _handle: handle } = raw as Socket & {
    readonly _handle?: { readonly fd?: number } | null;
  };
  assert(typeof handle?.fd === "number" && handle.fd >= 0, "a connected socket has a descriptor");
  return handle.fd;
}

/** In ALPN's form: a length byte and the name each. */
function protocolList(names: readonly string[]): Uint8Array {
  return Buffer.concat(names.map((name) => Buffer.from([name.length, ...Buffer.from(name)])));
}
