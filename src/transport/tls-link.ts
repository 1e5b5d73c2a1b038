/**
 * A link over TLS 1.3 on TCP, after the peer has been judged (peer-judge.ts). It begins with a
 * preamble of 8 bytes from each side, sent once that side has accepted the other: TLS tells the
 * client that it is connected before the server has judged it, so only the peer's preamble means
 * that there is a link. Layout: "LOCKST", then the version of the link layer as u16 little-endian.
 * Flows in: bytes from the socket (`receive`); out: the handlers' calls.
 * Invariants: one onClose; nothing is delivered before start, while paused or after close; what
 * arrives at such a time is copied and held, at most one read of the socket (it is paused).
 * An orderly end is the peer's authenticated word; a crash or a forged FIN is LINK_LOST.
 * */
import { assert, SyncError } from "../base/index.ts";
import type { Clock, Timer } from "../world/index.ts";
import type { LinkLimits } from "./limits.ts";
import type { DirectAccess, Link, LinkCounters, LinkHandlers, ReadAhead } from "./link.ts";
import type { TlsFailure, TlsSocket } from "./tls-socket.ts";

const VERSION = 1;
const PREAMBLE = Buffer.from([0x4c, 0x4f, 0x43, 0x4b, 0x53, 0x54, VERSION & 255, VERSION >> 8]);
const MAGIC_BYTES = 6;

export interface TlsLinkOptions {
  readonly socket: TlsSocket;
  readonly peerId: string;
  readonly path: string;
  readonly clock: Clock;
  readonly limits: LinkLimits;
  /** Called once: with no error when the link is up, else with the reason why it never will be. */
  readonly onGreeted: (error: SyncError | undefined) => void;
}

type Phase = "greeting" | "open" | "closing" | "destroyed";

export class TlsLink implements Link {
  readonly peerId: string;
  readonly path: string;
  readonly counters: LinkCounters = { bytesSent: 0, bytesReceived: 0 };
  readonly #socket: TlsSocket;
  readonly #clock: Clock;
  readonly #limits: LinkLimits;
  readonly #onGreeted: (error: SyncError | undefined) => void;
  readonly #greeting = Buffer.alloc(PREAMBLE.length);
  #greetingBytes = 0;
  #phase: Phase = "greeting";
  #handlers: LinkHandlers | undefined;
  #paused = true;
  readonly #held: Uint8Array[] = [];
  #releasing = false;
  #delivering = false;
  #blocked = false;
  #peerEnded = false;
  #socketClosed = false;
  #closeReported = false;
  #error: SyncError | undefined;
  #linger: Timer | undefined;

  constructor(options: TlsLinkOptions) {
    this.peerId = options.peerId;
    this.path = options.path;
    this.#socket = options.socket;
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#onGreeted = options.onGreeted;
    const { socket } = options;
    socket.write(PREAMBLE);
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedBytes;
  }

  /** As TlsSocket's. */
  exportKey(label: string, count: number): Buffer {
    return this.#socket.exportKey(label, count);
  }

  start(handlers: LinkHandlers): void {
    assert(this.#handlers === undefined, "a link is started once");
    assert(this.#phase !== "greeting", "a link is started when it is up");
    this.#handlers = handlers;
    this.#paused = false;
    this.#scheduleRelease();
  }

  /** Only bytes that are sent while the link is open are counted and looked after here. */
  get direct(): DirectAccess {
    const wrote = (bytes: Uint8Array, result: number): boolean => this.#wrote(bytes, result);
    const socket = this.#socket;
    const listen = (read: ReadAhead): void => void (socket.readAhead = read);
    return { handle: socket.handle, poll: socket.poll, listen, wrote };
  }

  send(bytes: Uint8Array): boolean {
    if (this.#phase !== "open" || this.#peerEnded || this.#socket.isClosed) return false;
    if (bytes.length === 0) return !this.#blocked;
    const bufferedBytes = this.#socket.bufferedBytes + bytes.length;
    assert(bufferedBytes <= this.#limits.bufferedBytesMax, "sender ignores backpressure");
    return this.#wrote(bytes, undefined);
  }

  #wrote(bytes: Uint8Array, result: number | undefined): boolean {
    if (this.#phase !== "open") return false;
    this.counters.bytesSent += bytes.length;
    this.#socket.write(bytes, result);
    if (this.#socket.bufferedBytes > this.#limits.highWaterBytes) this.#blocked = true;
    return !this.#blocked;
  }

  pause(): void {
    this.#paused = true;
    if (this.#phase === "open") this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused || this.#handlers === undefined) return;
    this.#paused = false;
    this.#scheduleRelease();
  }

  close(): void {
    if (this.#phase !== "open") return;
    this.#phase = "closing";
    this.#held.length = 0;
    this.#socket.end();
    // Reading goes on, into nothing: closing with unread data would reset the connection, and the
    // peer would lose what it has not read yet.
    this.#socket.resume();
    this.#linger = this.#clock.after(this.#limits.lingerMs, () => {
      this.#fail(`${this.path}: the peer did not take what was buffered`, undefined);
      this.#socket.destroy();
    });
  }

  destroy(): void {
    if (this.#phase === "destroyed") return;
    const wasGreeting = this.#phase === "greeting";
    this.#phase = "destroyed";
    this.#held.length = 0;
    this.#error = undefined;
    this.#socket.destroy();
    if (wasGreeting) this.#onGreeted(new SyncError("LINK_LOST", `${this.path}: given up`));
  }

  /** Takes bytes from the socket; `bytes` may be reused when this returns. */
  receive(bytes: Uint8Array): void {
    if (this.#phase === "closing" || this.#phase === "destroyed") return;
    const rest = this.#phase === "greeting" ? this.#takeGreeting(bytes) : bytes;
    if (rest.length === 0) return;
    this.counters.bytesReceived += rest.length;
    const handlers = this.#handlers;
    const mustHold = this.#paused || this.#releasing || this.#delivering || this.#held.length > 0;
    if (handlers === undefined || mustHold) {
      this.#held.push(new Uint8Array(rest));
      this.#socket.pause();
      return;
    }
    this.#deliver(handlers, rest);
  }

  #takeGreeting(bytes: Uint8Array): Uint8Array {
    const count = Math.min(bytes.length, PREAMBLE.length - this.#greetingBytes);
    this.#greeting.set(bytes.subarray(0, count), this.#greetingBytes);
    this.#greetingBytes += count;
    const soFar = Math.min(this.#greetingBytes, MAGIC_BYTES);
    if (!this.#greeting.subarray(0, soFar).equals(PREAMBLE.subarray(0, soFar))) {
      this.#refuse(new SyncError("PEER_MALFORMED", `${this.path}: not a Lockstep preamble`));
      return bytes.subarray(bytes.length);
    }
    if (this.#greetingBytes === PREAMBLE.length) {
      const version = this.#greeting.readUInt16LE(MAGIC_BYTES);
      if (version === VERSION) {
        this.#phase = "open";
        this.#socket.pause();
        this.#onGreeted(undefined);
      } else {
        const text = `${this.path}: link version ${version}, this device has ${VERSION}`;
        this.#refuse(new SyncError("PEER_VERSION", text));
        return bytes.subarray(bytes.length);
      }
    }
    return bytes.subarray(count);
  }

  #refuse(error: SyncError): void {
    this.#phase = "destroyed";
    this.#socket.destroy();
    this.#onGreeted(error);
  }

  #deliver(handlers: LinkHandlers, bytes: Uint8Array): void {
    this.#delivering = true;
    try {
      handlers.onData(bytes);
    } finally {
      this.#delivering = false;
    }
  }

  /** On a later turn, so that no handler runs inside the caller's start or resume. */
  #scheduleRelease(): void {
    if (this.#releasing) return;
    this.#releasing = true;
    this.#clock.defer(() => this.#release());
  }

  #release(): void {
    this.#releasing = false;
    const handlers = this.#handlers;
    if (handlers === undefined) return;
    while (this.#held.length > 0 && !this.#paused && this.#phase === "open") {
      this.#deliver(handlers, this.#held.shift() as Uint8Array);
    }
    if (this.#socketClosed) this.#reportClose();
    else if (!this.#paused) this.#socket.resume();
  }

  onFlushed(): void {
    if (!this.#blocked || this.#phase !== "open") return;
    if (this.#socket.bufferedBytes > this.#limits.highWaterBytes / 2) return;
    this.#blocked = false;
    this.#handlers?.onDrain();
  }

  #fail(message: string, cause: unknown): void {
    this.#error ??= new SyncError("LINK_LOST", message, { cause });
  }

  onPeerEnd(): void {
    this.#peerEnded = true;
  }

  onSocketClose(failure: TlsFailure | undefined): void {
    this.#socketClosed = true;
    if (failure !== undefined) this.#fail(`${this.path}: ${failure.reason}`, undefined);
    this.#linger?.cancel();
    if (this.#phase === "greeting") {
      this.#phase = "destroyed";
      // A peer that trusts us would have sent its preamble; an orderly end instead is its refusal.
      const refusal = new SyncError("PEER_UNTRUSTED", `${this.path}: the peer does not trust us`);
      this.#onGreeted(this.#error ?? refusal);
      return;
    }
    this.#reportClose();
  }

  /** Reports the end once, after all that came before it. */
  #reportClose(): void {
    const handlers = this.#handlers;
    if (handlers === undefined || this.#closeReported) return;
    const isWaiting = this.#held.length > 0 || this.#releasing;
    if (isWaiting && this.#phase === "open" && this.#error === undefined) return;
    this.#closeReported = true;
    this.#held.length = 0;
    handlers.onClose(this.#phase === "destroyed" ? undefined : this.#error);
  }
}
