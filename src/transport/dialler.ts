/**
 * Dials a peer: direct TCP, then TLS 1.3 as its client, then the preamble of the link.
 * The dialling end is the TLS client and receives into one reused buffer (`onread`, which Node
 * offers only to a socket that connects itself): measured, that saves a seventh of its CPU and some
 * 10 µs of 80 at this end; which end has which TLS role makes no difference by itself.
 * Limits: one deadline for everything; the socket is gone when the promise is rejected.
 */
import type { OnReadOpts } from "node:net";
import { connect } from "node:tls";
import type { ConnectionOptions, TLSSocket } from "node:tls";

import { assert, SyncError } from "../base/index.ts";
import type { World } from "../world/index.ts";
import { formatAddress } from "./address.ts";
import type { Identity } from "./identity.ts";
import { ALPN_LINK, RECEIVE_BUFFER_BYTES } from "./limits.ts";
import type { LinkLimits } from "./limits.ts";
import { judgePeer, secureContextOf } from "./peer-judge.ts";
import { errnoOf } from "./state-file.ts";
import { TlsLink } from "./tls-link.ts";

export interface DialOptions {
  readonly world: World;
  readonly identity: Identity;
  readonly host: string;
  readonly port: number;
  /** The one peer that may answer; and/or `isTrusted`. One of the two is needed. */
  readonly expectPeerId?: string;
  readonly isTrusted?: (peerId: string) => boolean;
  /** For everything: name look-up, TCP, TLS and preamble. */
  readonly timeoutMs: number;
  /** `lockstep/1` when absent. */
  readonly alpn?: string;
  readonly limits: LinkLimits;
  /** Gives the attempt up, for racing several ways. */
  readonly signal?: AbortSignal;
}

/**
 * Resolves to a link that both ends have accepted; the caller owns it and must start or destroy it.
 * Errors: PEER_UNREACHABLE (no connection in time; retry), PEER_UNTRUSTED (either end refuses the
 * other's key), PEER_VERSION, PEER_MALFORMED, LINK_LOST (cut before it was up; retry).
 */
export function dial(options: DialOptions): Promise<TlsLink> {
  return new Promise((resolve, reject) => {
    new Dialling(options, resolve, reject).begin();
  });
}

class Dialling {
  readonly #options: DialOptions;
  readonly #resolve: (link: TlsLink) => void;
  readonly #reject: (error: SyncError) => void;
  readonly #path: string;
  #socket: TLSSocket | undefined;
  #link: TlsLink | undefined;
  #settled = false;
  #stopWaiting: () => void = () => undefined;

  constructor(
    options: DialOptions,
    resolve: (link: TlsLink) => void,
    reject: (error: SyncError) => void,
  ) {
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#path = `tcp ${formatAddress(options)}`;
  }

  begin(): void {
    const { expectPeerId, isTrusted, signal, world, timeoutMs, identity } = this.#options;
    assert(expectPeerId !== undefined || isTrusted !== undefined, "dial needs a trust decision");
    const timer = world.clock.after(timeoutMs, () => {
      this.#fail(new SyncError("PEER_UNREACHABLE", `${this.#path}: no link in ${timeoutMs} ms`));
    });
    const onAbort = () => this.#fail(new SyncError("PEER_UNREACHABLE", `${this.#path}: given up`));
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#stopWaiting = () => {
      timer.cancel();
      signal?.removeEventListener("abort", onAbort);
    };
    if (signal?.aborted === true) return onAbort();
    const settings: ConnectionOptions & { readonly onread: OnReadOpts } = {
      host: this.#options.host,
      port: this.#options.port,
      secureContext: secureContextOf(identity),
      ALPNProtocols: [this.#options.alpn ?? ALPN_LINK],
      // The chain means nothing here: judgePeer compares the key instead.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      onread: {
        buffer: Buffer.allocUnsafeSlow(RECEIVE_BUFFER_BYTES),
        callback: (count: number, buffer: Uint8Array) => {
          this.#link?.receive(buffer.subarray(0, count));
          return true;
        },
      },
    };
    const socket = connect(settings);
    this.#socket = socket;
    socket.on("error", (error: Error) => this.#fail(this.#errorOf(error)));
    socket.once("close", () => {
      // With a link, the link judges the end itself.
      if (this.#link === undefined) this.#fail(this.#unreachable("closed"));
    });
    socket.once("secureConnect", () => this.#onSecure(socket));
  }

  #onSecure(socket: TLSSocket): void {
    const { identity, expectPeerId, isTrusted, alpn, world, limits } = this.#options;
    if (this.#settled) return;
    try {
      const peerId = judgePeer(socket, {
        ownId: identity.id,
        alpn: alpn ?? ALPN_LINK,
        accepts: (id) => (expectPeerId ?? id) === id && (isTrusted?.(id) ?? true),
      });
      this.#link = new TlsLink({
        socket,
        peerId,
        path: this.#path,
        clock: world.clock,
        limits,
        onGreeted: (error) => (error === undefined ? this.#succeed() : this.#fail(error)),
      });
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      this.#fail(new SyncError(error.code, `${this.#path}: ${error.message}`, { cause: error }));
    }
  }

  #succeed(): void {
    if (this.#settled || this.#link === undefined) return;
    this.#settled = true;
    this.#stopWaiting();
    this.#resolve(this.#link);
  }

  #fail(error: SyncError): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#stopWaiting();
    this.#socket?.destroy();
    this.#reject(error);
  }

  #unreachable(why: string, cause?: unknown): SyncError {
    return new SyncError("PEER_UNREACHABLE", `${this.#path}: ${why}`, { cause });
  }

  /** Errors of the connecting socket: TLS ones will not go away by trying again. */
  #errorOf(error: Error): SyncError {
    const code = errnoOf(error);
    if (this.#link !== undefined) {
      return new SyncError("LINK_LOST", `${this.#path}: ${code}`, { cause: error });
    }
    if (/APPLICATION_PROTOCOL|PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/.test(code)) {
      return new SyncError("PEER_VERSION", `${this.#path}: ${code}`, { cause: error });
    }
    if (code.startsWith("ERR_SSL_")) {
      return new SyncError("PEER_MALFORMED", `${this.#path}: ${code}`, { cause: error });
    }
    return this.#unreachable(code, error);
  }
}
