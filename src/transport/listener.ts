/**
 * Accepts peers on one TCP port. Each connection must pass admission (bounds on half-open
 * connections), TLS 1.3 with a client certificate, the judgement of its key and the preamble, all
 * within one deadline; only then is it a link. Protocols share the port by ALPN: normal links, and
 * pairing while a ticket is out.
 * Invariants: a peer that is not trusted gets no application byte and costs one socket until the
 * deadline at most; every connection is in exactly one of admitted, link, gone.
 * Limits: ListenLimits. A full listener refuses the newcomer; as one party (address or /64) may
 * hold only a part of the places and every place is freed by the deadline, a flood from one network
 * cannot keep others out.
 */
import { createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";

import { assert, SyncError } from "../base/index.ts";
import type { NetworkWorld, Timer } from "../world/index.ts";
import { formatAddress, partyOf } from "./address.ts";
import type { Identity } from "./identity.ts";
import { ALPN_LINK } from "./limits.ts";
import type { LinkLimits, ListenLimits } from "./limits.ts";
import { judgePeer, secureContextOf } from "./peer-judge.ts";
import { RefusalLog } from "./refusal-log.ts";
import type { RefusalCounters, RefusalReason } from "./refusal-log.ts";
import { errnoOf } from "./state-file.ts";
import { TlsLink } from "./tls-link.ts";
import { type TlsFailure, TlsSocket } from "./tls-socket.ts";

/** What happens to connections that ask for one ALPN protocol. */
export interface LinkService {
  /** Asked once per connection; throwing refuses. */
  readonly isTrusted: (peerId: string) => boolean;
  /** Owns the link from here on; it must be started or destroyed. */
  readonly onLink: (link: TlsLink) => void;
}

export interface ListenOptions extends LinkService {
  readonly world: NetworkWorld;
  readonly identity: Identity;
  /** `::` is every address, IPv4 too. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** What `isTrusted` and `onLink` serve; `lockstep/1` when absent. */
  readonly alpn?: string;
  readonly limits: ListenLimits;
  readonly linkLimits: LinkLimits;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  readonly refusals: Readonly<RefusalCounters>;
  /** Connections that are not links yet. */
  readonly halfOpenCount: number;
  readonly linkCount: number;
  /** Serves one more ALPN protocol on this port; returns what ends it. Errors: USAGE if served. */
  serve(alpn: string, service: LinkService): () => void;
  /** Stops listening and drops what is half open; links stay with their owners. Idempotent. */
  close(): void;
}

/**
 * Resolves when the port is open.
 * Errors: PEER_UNREACHABLE when the address cannot be bound; those of secureContextOf.
 */
export function listen(options: ListenOptions): Promise<Listener> {
  return new Promise((resolve, reject) => {
    // Said now, not at the first connection.
    secureContextOf(options.identity, options.world.network);
    const acceptor = new Acceptor(options);
    acceptor.begin(resolve, (error) => {
      const text = `cannot listen on ${formatAddress(options)}: ${errnoOf(error)}`;
      reject(new SyncError("PEER_UNREACHABLE", text, { cause: error }));
    });
  });
}

/** A connection between accept and link, or a link: what it holds is given back on its close. */
interface Admission {
  readonly remoteAddress: string;
  readonly path: string;
  readonly party: string;
  readonly deadline: Timer;
  state: "handshake" | "greeting" | "refused" | "link";
  socket: TlsSocket | undefined;
  link: TlsLink | undefined;
}

class Acceptor implements Listener {
  readonly #options: ListenOptions;
  readonly #log: RefusalLog;
  readonly #tcp: Server;
  readonly #services = new Map<string, LinkService>();
  readonly #admissions = new Set<Admission>();
  readonly #halfOpenByParty = new Map<string, number>();
  #halfOpenCount = 0;
  #linkCount = 0;
  #address: Pick<AddressInfo, "address" | "port"> = { address: "", port: 0 };
  #isClosed = false;

  constructor(options: ListenOptions) {
    this.#options = options;
    this.#log = new RefusalLog(options.world);
    this.#services.set(options.alpn ?? ALPN_LINK, options);
    // Paused, so that node reads no byte of what the TLS socket takes over.
    this.#tcp = createServer({ pauseOnConnect: true }, (raw) => this.#admit(raw));
  }

  begin(onListening: (listener: Listener) => void, onError: (error: Error) => void): void {
    this.#tcp.once("error", onError);
    this.#tcp.listen({ host: this.#options.host, port: this.#options.port }, () => {
      this.#tcp.off("error", onError);
      this.#tcp.on("error", (error) => {
        const fields = { errno: errnoOf(error) };
        this.#options.world.log.write("error", "listening socket failed", fields);
      });
      const address = this.#tcp.address();
      assert(address !== null && typeof address !== "string", "a TCP server has an address");
      this.#address = address;
      onListening(this);
    });
  }

  get host(): string {
    return this.#address.address;
  }

  get port(): number {
    return this.#address.port;
  }

  get refusals(): Readonly<RefusalCounters> {
    return this.#log.counters;
  }

  get halfOpenCount(): number {
    return this.#halfOpenCount;
  }

  get linkCount(): number {
    return this.#linkCount;
  }

  serve(alpn: string, service: LinkService): () => void {
    if (this.#services.has(alpn)) throw new SyncError("USAGE", `${alpn} is served here already`);
    this.#services.set(alpn, service);
    return () => {
      if (this.#services.get(alpn) === service) this.#services.delete(alpn);
    };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#tcp.close();
    for (const admission of this.#admissions) {
      if (admission.state !== "link") admission.socket?.destroy();
    }
  }

  #admit(raw: Socket): void {
    const { limits, world } = this.#options;
    // Errors reach us as the close of the socket; without this listener they would be thrown.
    raw.on("error", () => undefined);
    const { remoteAddress, remotePort } = raw;
    if (remoteAddress === undefined || remotePort === undefined) {
      raw.destroy();
      return;
    }
    const party = partyOf(remoteAddress);
    const ofParty = this.#halfOpenByParty.get(party) ?? 0;
    const isFull =
      this.#halfOpenCount >= limits.halfOpenCountMax ||
      ofParty >= limits.halfOpenPerAddressMax ||
      this.#linkCount >= limits.linkCountMax;
    if (isFull) {
      this.#log.add("flood", remoteAddress, "too many connections");
      raw.destroy();
      return;
    }
    this.#halfOpenCount += 1;
    this.#halfOpenByParty.set(party, ofParty + 1);
    const admission: Admission = {
      remoteAddress,
      path: `tcp ${formatAddress({ host: remoteAddress, port: remotePort })}`,
      party,
      deadline: world.clock.after(limits.handshakeMs, () => this.#expire(admission)),
      state: "handshake",
      socket: undefined,
      link: undefined,
    };
    this.#admissions.add(admission);
    this.#secure(admission, raw);
  }

  #secure(admission: Admission, raw: Socket): void {
    const { identity, world } = this.#options;
    const { network, clock } = world;
    const socket: TlsSocket = new TlsSocket(raw, {
      network,
      clock,
      context: secureContextOf(identity, network),
      isServer: true,
      protocols: [...this.#services.keys()],
      handlers: {
        onSecure: () => this.#onSecure(admission, socket),
        onData: (bytes) => admission.link?.receive(bytes),
        onFlushed: () => admission.link?.onFlushed(),
        onEnd: () => admission.link?.onPeerEnd(),
        onClose: (failure) => this.#onGone(admission, failure),
      },
    });
    admission.socket = socket;
  }

  #onSecure(admission: Admission, socket: TlsSocket): void {
    const { identity, world, linkLimits } = this.#options;
    if (this.#isClosed) return socket.destroy();
    const alpn = socket.alpnProtocol;
    const service = this.#services.get(alpn);
    if (service === undefined) {
      this.#refuse(admission, socket, "handshake", "no application protocol");
      return;
    }
    let peerId: string;
    try {
      peerId = judgePeer(socket, { ownId: identity.id, alpn, accepts: service.isTrusted });
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      this.#refuse(admission, socket, "untrusted", error.message);
      return;
    }
    admission.state = "greeting";
    const link: TlsLink = new TlsLink({
      socket,
      peerId,
      path: admission.path,
      clock: world.clock,
      limits: linkLimits,
      onGreeted: (error) => {
        if (error === undefined) {
          this.#leaveHalfOpen(admission, "link");
          service.onLink(link);
        } else if (admission.state === "greeting") {
          this.#log.add("handshake", admission.remoteAddress, error.message);
        }
      },
    });
    admission.link = link;
  }

  /**
   * Ends a connection in order, so that the peer learns that it was refused and not cut; it keeps
   * its half-open place and its deadline until it is gone.
   */
  #refuse(admission: Admission, socket: TlsSocket, reason: RefusalReason, detail: string): void {
    admission.state = "refused";
    this.#log.add(reason, admission.remoteAddress, detail);
    // What the peer sends meanwhile is read and thrown away: it has no link to go to.
    socket.end();
  }

  #expire(admission: Admission): void {
    const { handshakeMs } = this.#options.limits;
    if (admission.state !== "refused") {
      this.#log.add("timeout", admission.remoteAddress, `no link in ${handshakeMs} ms`);
      admission.state = "refused";
    }
    admission.socket?.destroy();
  }

  #onGone(admission: Admission, failure: TlsFailure | undefined): void {
    this.#admissions.delete(admission);
    if (admission.state === "handshake" && failure !== undefined && !this.#isClosed) {
      this.#log.add("handshake", admission.remoteAddress, failure.reason);
    }
    if (admission.state === "link") this.#linkCount -= 1;
    else this.#leaveHalfOpen(admission, "refused");
    admission.link?.onSocketClose(failure);
  }

  #leaveHalfOpen(admission: Admission, state: "link" | "refused"): void {
    admission.state = state;
    admission.deadline.cancel();
    this.#halfOpenCount -= 1;
    const ofParty = (this.#halfOpenByParty.get(admission.party) ?? 1) - 1;
    if (ofParty === 0) this.#halfOpenByParty.delete(admission.party);
    else this.#halfOpenByParty.set(admission.party, ofParty);
    if (state === "link") this.#linkCount += 1;
  }
}
