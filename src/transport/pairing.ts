/**
 * Pairing by a one-time ticket, `ID-SECRET` or `ID-SECRET@host:port,…`: the joiner pins the
 * inviter's ID, and both prove that they know the secret, inside that TLS session.
 *
 *   joiner                                   inviter
 *     | -- link, ALPN lockstep-pair/1, ID pinned -- |
 *     | -- name, proof("join") ------------------>  |  verified: the ticket is spent
 *     | <------------------ name, proof("invite") - |
 *     | -- 0x06 --------------------------------->  |  done
 *
 * proof(role) = HMAC-SHA-256(secret, label, role, joiner's ID, inviter's ID, key exported from the
 * TLS session, name): so it is worth nothing in another session, from another device or in the
 * other direction. Message: u8 length of the name, the name in UTF-8, 32 bytes of proof.
 * Invariants: a ticket serves one joiner, until it expires or PAIR_WRONG_PROOFS_MAX wrong proofs
 * have burnt it; the secret is in no log line and no error; nothing about it is sent before the
 * other side has proven it.
 * Source: RFC 5705 and RFC 8446 section 7.5 (exporters), RFC 2104.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

import { assert, SyncError } from "../base/index.ts";
import type { NetworkWorld, Timer, World } from "../world/index.ts";
import { parseAddress } from "./address.ts";
import type { Address } from "./address.ts";
import { decodeBase32, encodeBase32 } from "./base32.ts";
import { DEVICE_ID_CHARS, isDeviceId } from "./device-id.ts";
import { dial } from "./dialler.ts";
import type { Identity } from "./identity.ts";
import {
  ALPN_PAIR,
  DEVICE_NAME_BYTES_MAX,
  linkLimits,
  listenLimits,
  PAIR_EXCHANGE_MS,
  PAIR_WRONG_PROOFS_MAX,
  PEER_ADDRESSES_MAX,
} from "./limits.ts";
import { listen } from "./listener.ts";
import type { Listener } from "./listener.ts";
import type { TlsLink } from "./tls-link.ts";
import { isDeviceName } from "./trust-store.ts";

const LABEL = "lockstep-pair/1";
const EXPORTER_LABEL = "EXPORTER-lockstep-pair";
const EXPORTED_BYTES = 32;
const PROOF_BYTES = 32;
const SECRET_BYTES = 16;
const SECRET_CHARS = 26;
const MESSAGE_BYTES_MAX = 1 + DEVICE_NAME_BYTES_MAX + PROOF_BYTES;
const ACKNOWLEDGED = 0x06;

export interface Paired {
  readonly peerId: string;
  /** What the peer calls itself; valid as a name, not unique. */
  readonly name: string;
}

export interface InviteOptions {
  readonly world: NetworkWorld;
  readonly identity: Identity;
  /** This device's name, told to the joiner. */
  readonly name: string;
  /** How joiners reach this device, written into the ticket; may be empty. */
  readonly addresses: readonly string[];
  readonly expiresMs: number;
  /** Either a listener to share the port of, or where to listen for this ticket alone. */
  readonly on: { readonly listener: Listener } | Address;
}

export interface Invitation {
  /** Secret until used: show it, never log it. */
  readonly ticket: string;
  readonly port: number;
  /** Errors: PAIRING_FAILED when the ticket expired, was burnt or was cancelled. */
  readonly done: Promise<Paired>;
  cancel(): void;
}

export interface JoinOptions {
  readonly world: NetworkWorld;
  readonly identity: Identity;
  readonly name: string;
  readonly ticket: string;
  /** Where to find the inviter; absent, the ticket's addresses are tried in turn. */
  readonly address?: Address;
  /** For each address. */
  readonly timeoutMs: number;
}

/** Opens a ticket. Errors: USAGE for a bad name; PEER_UNREACHABLE when the port is taken. */
export async function invite(options: InviteOptions): Promise<Invitation> {
  const { on, world, identity } = options;
  requireName(options.name);
  for (const address of options.addresses) parseAddress(address);
  if (options.addresses.length > PEER_ADDRESSES_MAX) {
    throw new SyncError("USAGE", `more than ${PEER_ADDRESSES_MAX} addresses`);
  }
  const inviting = new Inviting(options);
  const service = {
    // Anyone may try: the proof decides.
    isTrusted: () => true,
    onLink: (link: TlsLink) => inviting.meet(link),
  };
  try {
    let { port } = "listener" in on ? on.listener : on;
    if ("listener" in on) {
      inviting.begin(on.listener.serve(ALPN_PAIR, service));
    } else {
      const limits = listenLimits;
      const place = { world, identity, host: on.host, port, limits, linkLimits };
      const listener = await listen({ ...place, ...service, alpn: ALPN_PAIR });
      port = listener.port;
      inviting.begin(() => listener.close());
    }
    const { ticket, done } = inviting;
    return { ticket, port, done, cancel: () => inviting.end("cancelled") };
  } catch (error) {
    inviting.end("cannot listen");
    throw error;
  }
}

/**
 * Pairs with the inviter of `ticket`.
 * Errors: USAGE for a malformed ticket or no address; PAIRING_FAILED when the inviter refuses
 * (wrong, spent or expired ticket) or cannot prove the secret; dial's errors otherwise.
 */
export async function join(options: JoinOptions): Promise<Paired> {
  requireName(options.name);
  const ticket = parseTicket(options.ticket);
  const addresses = options.address === undefined ? ticket.addresses : [options.address];
  if (addresses.length === 0) throw new SyncError("USAGE", "the ticket has no address: name one");
  let failure: unknown;
  for (const { host, port } of addresses) {
    try {
      const link = await dial({
        world: options.world,
        identity: options.identity,
        host,
        port,
        expectPeerId: ticket.peerId,
        timeoutMs: options.timeoutMs,
        alpn: ALPN_PAIR,
        limits: linkLimits,
      });
      return await joinOver(link, options, ticket.secret);
    } catch (error) {
      // A refusal is the inviter's answer; only an address that leads nowhere is worth the next.
      if (!(error instanceof SyncError) || error.code === "PAIRING_FAILED") throw error;
      failure = error;
    }
  }
  throw failure;
}

interface Ticket {
  readonly peerId: string;
  readonly secret: Uint8Array;
  readonly addresses: readonly Address[];
}

/** Reads a ticket in any case, with dashes and spaces anywhere. Errors: USAGE, never quoting it. */
export function parseTicket(text: string): Ticket {
  const [code = "", places, ...rest] = text.trim().split("@");
  const compact = code.replace(/[-\s]/g, "").toUpperCase();
  const wanted = DEVICE_ID_CHARS + SECRET_CHARS;
  if (compact.length !== wanted || rest.length > 0) {
    const found = `it has ${compact.length} characters, not ${wanted}`;
    throw new SyncError("USAGE", `not a pairing ticket: ${found}`);
  }
  const peerId = compact.slice(0, DEVICE_ID_CHARS);
  const secret = decodeBase32(compact.slice(DEVICE_ID_CHARS), SECRET_BYTES);
  if (!isDeviceId(peerId) || secret === undefined) {
    throw new SyncError("USAGE", "not a pairing ticket: there is a typing mistake in it");
  }
  const addresses = places === undefined ? [] : places.split(",");
  if (addresses.length > PEER_ADDRESSES_MAX) throw new SyncError("USAGE", "too many addresses");
  return { peerId, secret, addresses: addresses.map(parseAddress) };
}

/** One ticket: open until it is spent, burnt, expired or cancelled. */
class Inviting {
  readonly ticket: string;
  readonly done: Promise<Paired>;
  readonly #options: InviteOptions;
  readonly #secret: Uint8Array;
  readonly #endsUs: number;
  readonly #expiry: Timer;
  readonly #links = new Set<TlsLink>();
  #settle!: { resolve: (paired: Paired) => void; reject: (error: SyncError) => void };
  #stopListening: () => void = () => undefined;
  #wrongProofs = 0;
  #isSpent = false;
  #spentBy: Exchange | undefined;
  #isOver = false;

  constructor(options: InviteOptions) {
    const { world, expiresMs, identity, addresses } = options;
    this.#options = options;
    this.#secret = world.entropy.bytes(SECRET_BYTES);
    assert(this.#secret.length === SECRET_BYTES, "entropy gave the bytes asked for");
    const places = addresses.length === 0 ? "" : `@${addresses.join(",")}`;
    this.ticket = `${identity.id}-${encodeBase32(this.#secret)}${places}`;
    this.#endsUs = world.clock.monotonicUs() + expiresMs * 1_000;
    this.#expiry = world.clock.after(expiresMs, () => this.end("the ticket has expired"));
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // A caller that only cancels need not handle the rejection.
    this.done.catch(() => undefined);
  }

  begin(stopListening: () => void): void {
    this.#stopListening = stopListening;
    if (this.#isOver) stopListening();
  }

  meet(link: TlsLink): void {
    if (this.#isOver || this.#isSpent) return link.destroy();
    this.#links.add(link);
    const exchange = new Exchange(link, this.#options.world, (error) => {
      this.#links.delete(link);
      this.#onExchangeEnd(exchange, error);
    });
    exchange.receive(MESSAGE_BYTES_MAX, readMessage, (message) => {
      this.#onProof(exchange, link, message);
    });
  }

  end(why: string): void {
    if (this.#isOver) return;
    this.#finish();
    this.#settle.reject(new SyncError("PAIRING_FAILED", `pairing failed: ${why}`));
  }

  #onProof(exchange: Exchange, link: TlsLink, message: Message): void {
    const { identity, name, world } = this.#options;
    const ids = { joiner: link.peerId, inviter: identity.id };
    const expected = proofOf(this.#secret, "join", ids, exchange.exported, message.name);
    const isRight = timingSafeEqual(expected, message.proof);
    // The timer may be late: the clock decides.
    if (world.clock.monotonicUs() >= this.#endsUs) return this.end("the ticket has expired");
    if (this.#isSpent) return exchange.fail("the ticket is spent");
    if (!isRight) {
      this.#wrongProofs += 1;
      world.log.write("warn", "wrong pairing proof", { path: link.path, count: this.#wrongProofs });
      exchange.fail("wrong proof");
      if (this.#wrongProofs >= PAIR_WRONG_PROOFS_MAX) this.end("too many wrong proofs");
      return;
    }
    if (!isDeviceName(message.name)) return exchange.fail("the peer's name cannot be shown");
    this.#isSpent = true;
    this.#spentBy = exchange;
    this.#stopListening();
    const proof = proofOf(this.#secret, "invite", ids, exchange.exported, name);
    exchange.send(writeMessage(name, proof));
    exchange.receive(1, readByte, (byte) => {
      if (byte !== ACKNOWLEDGED) return exchange.fail("malformed acknowledgement");
      exchange.close(() => undefined);
      this.#finish();
      this.#settle.resolve({ peerId: link.peerId, name: message.name });
    });
  }

  /** The one joiner that proved the secret went away before it acknowledged: start anew. */
  #onExchangeEnd(exchange: Exchange, error: SyncError): void {
    if (exchange === this.#spentBy) this.end(error.message);
  }

  #finish(): void {
    this.#isOver = true;
    this.#expiry.cancel();
    this.#secret.fill(0);
    this.#stopListening();
    for (const link of this.#links) {
      // The one that succeeded is closing in order and must flush its last bytes.
      if (this.#spentBy?.link !== link) link.destroy();
    }
    if (this.#spentBy?.isOpen === true) this.#spentBy.link.destroy();
  }
}

/** The joiner's side. */
function joinOver(link: TlsLink, options: JoinOptions, secret: Uint8Array): Promise<Paired> {
  return new Promise((resolve, reject) => {
    const ids = { joiner: options.identity.id, inviter: link.peerId };
    const exchange = new Exchange(link, options.world, reject);
    const proof = proofOf(secret, "join", ids, exchange.exported, options.name);
    exchange.send(writeMessage(options.name, proof));
    exchange.receive(MESSAGE_BYTES_MAX, readMessage, ({ name, proof: theirs }) => {
      const expected = proofOf(secret, "invite", ids, exchange.exported, name);
      if (!timingSafeEqual(expected, theirs)) return exchange.fail("the inviter's proof is wrong");
      if (!isDeviceName(name)) return exchange.fail("the inviter's name cannot be shown");
      exchange.send(Uint8Array.of(ACKNOWLEDGED));
      // Its close is the inviter's word that it has the acknowledgement, or at least that it ended.
      exchange.close(() => resolve({ peerId: link.peerId, name }));
    });
  });
}

type Reader<T> = (bytes: Buffer) => { value: T; byteCount: number } | undefined;

/** The few bytes of a pairing over one link, under one deadline, ending in one call of `onEnd`. */
class Exchange {
  readonly link: TlsLink;
  readonly exported: Buffer;
  readonly #onEnd: (error: SyncError) => void;
  readonly #deadline: Timer;
  #received = Buffer.alloc(0);
  #onBytes: () => void = () => undefined;
  #onClosed: () => void = () => undefined;
  #isOver = false;

  constructor(link: TlsLink, world: World, onEnd: (error: SyncError) => void) {
    this.link = link;
    this.exported = link.exportKey(EXPORTER_LABEL, EXPORTED_BYTES);
    this.#onEnd = onEnd;
    this.#deadline = world.clock.after(PAIR_EXCHANGE_MS, () => this.fail("timed out"));
    link.start({
      onData: (bytes) => {
        this.#received = Buffer.concat([this.#received, bytes]);
        if (this.#received.length > MESSAGE_BYTES_MAX) this.fail("malformed message");
        else this.#onBytes();
      },
      onDrain: () => undefined,
      onClose: () => {
        this.fail("the other side ended it");
        this.#onClosed();
      },
    });
  }

  get isOpen(): boolean {
    return !this.#isOver;
  }

  send(bytes: Uint8Array): void {
    this.link.send(bytes);
  }

  /** Waits for one message of at most `bytesMax`; `use` gets it once. */
  receive<T>(bytesMax: number, read: Reader<T>, use: (value: T) => void): void {
    this.#onBytes = () => {
      if (this.#isOver) return;
      const found = read(this.#received);
      if (found === undefined) {
        if (this.#received.length >= bytesMax) this.fail("malformed message");
        return;
      }
      this.#received = this.#received.subarray(found.byteCount);
      this.#onBytes = () => undefined;
      use(found.value);
    };
    this.#onBytes();
  }

  fail(why: string): void {
    if (this.#isOver) return;
    this.#stop();
    this.link.close();
    this.#onEnd(new SyncError("PAIRING_FAILED", `pairing failed: ${why}`));
  }

  /** The orderly end of a pairing that succeeded. */
  close(onClosed: () => void): void {
    this.#stop();
    this.#onClosed = onClosed;
    this.link.close();
  }

  #stop(): void {
    this.#isOver = true;
    this.#deadline.cancel();
  }
}

interface Message {
  readonly name: string;
  readonly proof: Buffer;
}

function writeMessage(name: string, proof: Uint8Array): Buffer {
  const nameBytes = Buffer.from(name);
  return Buffer.concat([Uint8Array.of(nameBytes.length), nameBytes, proof]);
}

function readMessage(bytes: Buffer): { value: Message; byteCount: number } | undefined {
  const nameBytes = bytes[0];
  if (nameBytes === undefined || nameBytes > DEVICE_NAME_BYTES_MAX) return undefined;
  const byteCount = 1 + nameBytes + PROOF_BYTES;
  if (bytes.length < byteCount) return undefined;
  const name = bytes.toString("utf8", 1, 1 + nameBytes);
  return { value: { name, proof: bytes.subarray(1 + nameBytes, byteCount) }, byteCount };
}

function readByte(bytes: Buffer): { value: number; byteCount: number } | undefined {
  const value = bytes[0];
  return value === undefined ? undefined : { value, byteCount: 1 };
}

function proofOf(
  secret: Uint8Array,
  role: "join" | "invite",
  ids: { readonly joiner: string; readonly inviter: string },
  exported: Uint8Array,
  name: string,
): Buffer {
  return createHmac("sha256", secret)
    .update(`${LABEL} ${role} ${ids.joiner} ${ids.inviter} `)
    .update(exported)
    .update(name)
    .digest();
}

function requireName(name: string): void {
  if (isDeviceName(name)) return;
  const text = `not a device name: ${JSON.stringify(name)}; 1 to ${DEVICE_NAME_BYTES_MAX} bytes`;
  throw new SyncError("USAGE", text);
}
