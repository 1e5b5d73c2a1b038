/**
 * Who is at the other end of a finished TLS handshake, and may it have a link. OpenSSL has proven
 * that the peer holds the private key of the certificate it showed; the certificate itself is
 * nobody's word, so everything hangs on the comparisons made here.
 * Also the room's TLS settings, the same for both ends and both protocols.
 * Traps (measured): on a resumed session the client's peer certificate is empty, so null is refused
 * and sessions are neither offered nor kept.
 */
import { X509Certificate } from "node:crypto";

import { SyncError } from "../base/index.ts";
import type { Network } from "../world/index.ts";
import { deviceIdOf } from "./device-id.ts";
import type { Identity } from "./identity.ts";

/** The part of a TlsSocket that a judgement rests on. */
export interface SecuredPeer {
  readonly alpnProtocol: string;
  getProtocol(): string;
  isSessionReused(): boolean;
  getPeerX509Certificate(): X509Certificate | undefined;
}

export interface JudgeOptions {
  readonly ownId: string;
  /** The ALPN protocol that both ends must have agreed on. */
  readonly alpn: string;
  /** The trust decision; an error that it throws refuses the peer. */
  readonly accepts: (peerId: string) => boolean;
}

/**
 * Returns the ID of a peer that may have a link.
 * Errors: PEER_UNTRUSTED for no certificate, a resumed session, another kind of key, our own key,
 * or an ID that `accepts` refuses; PEER_VERSION for another TLS or application protocol.
 */
export function judgePeer(socket: SecuredPeer, options: JudgeOptions): string {
  if (socket.getProtocol() !== "TLSv1.3") {
    throw new SyncError("PEER_VERSION", `the peer speaks ${socket.getProtocol()}, not TLSv1.3`);
  }
  if (socket.alpnProtocol !== options.alpn) {
    throw new SyncError("PEER_VERSION", `the peer does not speak ${options.alpn}`);
  }
  if (socket.isSessionReused()) {
    throw new SyncError("PEER_UNTRUSTED", "the peer resumed a session instead of proving its key");
  }
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) {
    throw new SyncError("PEER_UNTRUSTED", "the peer showed no certificate");
  }
  const key = certificate.publicKey;
  if (key.asymmetricKeyType !== "ed25519") {
    throw new SyncError("PEER_UNTRUSTED", `the peer has a ${key.asymmetricKeyType} key`);
  }
  const id = deviceIdOf(key.export({ type: "spki", format: "der" }));
  if (id === options.ownId) {
    throw new SyncError("PEER_UNTRUSTED", "the peer has this device's own key");
  }
  if (!options.accepts(id)) throw new SyncError("PEER_UNTRUSTED", `not a trusted device: ${id}`);
  return id;
}

const contexts = new WeakMap<Identity, unknown>();

/**
 * What both ends of every connection share, made once for an identity: TLS 1.3 only, Ed25519 only,
 * the peer's certificate demanded, no session kept (native/addon/tls.c).
 * Errors: NATIVE_MISSING when this node carries no OpenSSL; KEY_UNUSABLE.
 */
export function secureContextOf(identity: Identity, network: Network): unknown {
  let context = contexts.get(identity);
  if (context === undefined) {
    const certificate = new X509Certificate(identity.certificatePem).raw;
    const key = identity.privateKey.export({ type: "pkcs8", format: "der" });
    try {
      context = network.tlsContext(certificate, key);
    } catch (cause) {
      throw contextError(cause);
    } finally {
      key.fill(0);
    }
    contexts.set(identity, context);
  }
  return context;
}

function contextError(cause: unknown): SyncError {
  const { code, message } = cause as { readonly code?: string; readonly message: string };
  if (code === "TLS_MISSING") return new SyncError("NATIVE_MISSING", message, { cause });
  return new SyncError("KEY_UNUSABLE", `TLS refuses this device's key: ${message}`, { cause });
}
