/**
 * Every number of the transport room that is a limit or part of a protocol, in one place, so that
 * LIMITS.md can name it. Callers pass capacities and timeouts; `linkLimits` and `listenLimits` are
 * the values that the daemon passes, tests pass smaller ones.
 */

/** What one link may hold and how long it may take; passed to dial, listen and memoryLinkPair. */
export interface LinkLimits {
  /** `send` returns false above this many unsent bytes; `onDrain` comes at half of it. */
  readonly highWaterBytes: number;
  /** Above this many unsent bytes the caller has ignored `send` returning false: an assertion. */
  readonly bufferedBytesMax: number;
  /** How long `close` waits for the peer to take what is buffered before the link is cut. */
  readonly lingerMs: number;
}

/** What strangers may cost a listener before they have proven who they are. */
export interface ListenLimits {
  /** TCP accept to link up, TLS handshake and preamble included. */
  readonly handshakeMs: number;
  readonly halfOpenCountMax: number;
  /** Per IPv4 address or IPv6 /64 network. */
  readonly halfOpenPerAddressMax: number;
  readonly linkCountMax: number;
}

export const linkLimits: LinkLimits = {
  highWaterBytes: 1 << 18,
  bufferedBytesMax: 256 << 20,
  lingerMs: 5_000,
};

export const listenLimits: ListenLimits = {
  handshakeMs: 10_000,
  halfOpenCountMax: 64,
  halfOpenPerAddressMax: 8,
  linkCountMax: 1_024,
};

/** TCP keepalive: the first probe after this much silence. */
export const KEEPALIVE_MS = 15_000;
/** One receive buffer for all links of a thread. */
export const RECEIVE_BUFFER_BYTES = 256 << 10;
/** Reads of one link before it yields to the event loop. */
export const READS_PER_TURN_MAX = 16;
/** Reads of a paused link whose peer has hung up, to learn whether its end was orderly. */
export const PAUSED_READS_MAX = 4;
/** At most one refusal line per listener in this time; the rest is counted in the next line. */
export const REFUSAL_LOG_INTERVAL_MS = 10_000;
/** Deliveries in one run of a memory link before it yields to the event loop. */
export const MEMORY_DELIVERIES_MAX = 256;

export const ALPN_LINK = "lockstep/1";
export const ALPN_PAIR = "lockstep-pair/1";

/** Wrong proofs that burn a pairing ticket. */
export const PAIR_WRONG_PROOFS_MAX = 3;
/** From a joiner's link to its last message. */
export const PAIR_EXCHANGE_MS = 10_000;
export const DEVICE_NAME_BYTES_MAX = 64;

export const KEY_FILE_BYTES_MAX = 4_096;
export const TRUST_FILE_BYTES_MAX = 4 << 20;
export const PEERS_MAX = 1_000;
export const PEER_ADDRESSES_MAX = 16;
export const PEER_GRANTS_MAX = 256;
export const SHARE_NAME_CHARS_MAX = 128;
/** Tries, 5 ms apart, to get the trust file's lock. */
export const TRUST_LOCK_TRIES_MAX = 40;
