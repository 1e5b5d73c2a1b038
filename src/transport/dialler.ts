/**
 * Dials a peer: direct TCP, then TLS 1.3 as its client, then the preamble of the link.
 * Limits: one deadline for everything; the socket is gone when the promise is rejected.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";

import { assert, SyncError } from "../base/index.ts";
import type { NetworkWorld } from "../world/index.ts";
import { formatAddress } from "./address.ts";
import type { Identity } from "./identity.ts";
import { ALPN_LINK } from "./limits.ts";
import type { LinkLimits } from "./limits.ts";
import { judgePeer, secureContextOf } from "./peer-judge.ts";
import { errnoOf } from "./state-file.ts";
import { TlsLink } from "./tls-link.ts";
import { type TlsFailure, TlsSocket } from "./tls-socket.ts";

export interface DialOptions {
  readonly world: NetworkWorld;
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
 * other's key), PEER_VERSION, PEER_MALFORMED, LINK_LOST (cut before it was up; retry), and those
 * of secureContextOf.
 */
export function dial(options: DialOptions): Promise<TlsLink> {
  return new Promise((resolve, reject) => {
    secureContextOf(options.identity, options.world.network);
    new Dialling(options, resolve, reject).begin();
  });
}

class Dialling {
  readonly #options: DialOptions;
  readonly #resolve: (link: TlsLink) => void;
  readonly #reject: (error: SyncError) => void;
  readonly #path: string;
  #raw: Socket | undefined;
  #socket: TlsSocket | undefined;
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
    const { expectPeerId, isTrusted, signal, world, timeoutMs, host, port } = this.#options;
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
    const raw = connect({ host, port });
    this.#raw = raw;
    // Node reads no byte of what the TLS socket takes over.
    raw.pause();
    raw.on("error", (error: Error) => this.#fail(this.#unreachable(errnoOf(error), error)));
    raw.once("connect", () => this.#secure(raw));
  }

  #secure(raw: Socket): void {
    if (this.#settled) return;
    const { identity, alpn, world } = this.#options;
    const { network, clock } = world;
    const socket: TlsSocket = new TlsSocket(raw, {
      network,
      clock,
      context: secureContextOf(identity, network),
      isServer: false,
      protocols: [alpn ?? ALPN_LINK],
      handlers: {
        onSecure: () => this.#onSecure(socket),
        onData: (bytes) => this.#link?.receive(bytes),
        onFlushed: () => this.#link?.onFlushed(),
        onEnd: () => this.#link?.onPeerEnd(),
        onClose: (failure) => this.#onClose(failure),
      },
    });
    this.#socket = socket;
  }

  #onClose(failure: TlsFailure | undefined): void {
    // With a link, the link judges the end itself.
    if (this.#link === undefined) this.#fail(this.#errorOf(failure));
    else this.#link.onSocketClose(failure);
  }

  #onSecure(socket: TlsSocket): void {
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
    this.#raw?.destroy();
    this.#socket?.destroy();
    this.#reject(error);
  }

  #unreachable(why: string, cause?: unknown): SyncError {
    return new SyncError("PEER_UNREACHABLE", `${this.#path}: ${why}`, { cause });
  }

  /** Before there is a link. TLS errors will not go away by trying again. */
  #errorOf(failure: TlsFailure | undefined): SyncError {
    const reason = failure?.reason ?? "closed";
    const text = `${this.#path}: ${reason}`;
    if (failure?.kind !== "tls") return this.#unreachable(reason);
    const isVersion = /APPLICATION_PROTOCOL|PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/.test(reason);
    return new SyncError(isVersion ? "PEER_VERSION" : "PEER_MALFORMED", text);
  }
}
