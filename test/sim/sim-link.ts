/**
 * A pair of links over a simulated network: what TLS over TCP looks like from above. Bytes arrive
 * in order and whole or not at all; what the network does shows as delay, stalls and cuts.
 *
 * Faults: `stall` holds up one direction for a time (loss, reordering and a partition that heals);
 * `cut` ends both sides, what is under way being lost, each hearing of it when it does, or never
 * (half-open); `lose` is the end of one side's process or host.
 */
import { assert, SyncError } from "../../src/base/index.ts";
import { type Link, type LinkHandlers, linkLimits } from "../../src/transport/index.ts";
import type { Timer } from "../../src/world/index.ts";
import type { Chance, Trace } from "./chance.ts";
import type { SimClock } from "./sim-clock.ts";

export interface NetworkOptions {
  readonly clock: SimClock;
  readonly chance: Chance;
  readonly trace: Trace;
  /** One way, at least and at most. */
  readonly delayUsMin: number;
  readonly delayUsMax: number;
}

export class SimWire {
  readonly near: SimLink;
  readonly far: SimLink;
  readonly options: NetworkOptions;

  /** The arguments tell whether the process of that side lives. */
  constructor(options: NetworkOptions, isNearAlive: () => boolean, isFarAlive: () => boolean) {
    this.options = options;
    this.near = new SimLink(this, "near", isNearAlive);
    this.far = new SimLink(this, "far", isFarAlive);
    this.near.other = this.far;
    this.far.other = this.near;
  }

  get isOver(): boolean {
    return this.near.isOver && this.far.isOver;
  }

  /** Nothing of this direction, or of both, arrives before then; later all of it does. */
  stall(untilUs: number, which: "toNear" | "toFar" | "both"): void {
    if (which !== "toFar") this.near.stall(untilUs);
    if (which !== "toNear") this.far.stall(untilUs);
  }

  /** What is under way is lost. A side that does not hear must find out by silence. */
  cut(hears: { near: boolean; far: boolean }): void {
    for (const side of [this.near, this.far]) side.sever();
    if (hears.near) this.near.endSoon(new SyncError("LINK_LOST", "the network has gone"));
    if (hears.far) this.far.endSoon(new SyncError("LINK_LOST", "the network has gone"));
  }
}

class SimLink implements Link {
  readonly peerId = "peer";
  readonly path: string;
  readonly counters = { bytesSent: 0, bytesReceived: 0 };
  other!: SimLink;
  readonly #wire: SimWire;
  readonly #isAlive: () => boolean;
  #handlers: LinkHandlers | undefined;
  /** What has arrived, or is on its way, in order. */
  readonly #inbox: { bytes: Uint8Array | undefined; dueUs: number }[] = [];
  #inboxBytes = 0;
  #lastDueUs = 0;
  #stalledUntilUs = 0;
  #isPaused = false;
  #isBlocked = false;
  #isSevered = false;
  #isClosing = false;
  #isEnded = false;
  #linger: Timer | undefined;
  #armed: Timer | undefined;

  constructor(wire: SimWire, path: string, isAlive: () => boolean) {
    this.#wire = wire;
    this.path = path;
    this.#isAlive = isAlive;
  }

  get isOver(): boolean {
    return this.#isEnded || !this.#isAlive();
  }

  get bufferedBytes(): number {
    return this.other.#inboxBytes;
  }

  start(handlers: LinkHandlers): void {
    assert(this.#handlers === undefined, "a link is started once");
    this.#handlers = handlers;
    this.#arm();
  }

  send(bytes: Uint8Array): boolean {
    if (this.#isEnded || this.#isClosing || !this.#isAlive()) return false;
    this.counters.bytesSent += bytes.length;
    if (bytes.length > 0 && !this.other.#isSevered) this.other.#take(bytes.slice());
    assert(this.bufferedBytes <= linkLimits.bufferedBytesMax, "sender ignores backpressure");
    if (this.bufferedBytes > linkLimits.highWaterBytes) this.#isBlocked = true;
    return !this.#isBlocked;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#arm();
  }

  close(): void {
    if (this.#isClosing || this.#isEnded || !this.#isAlive()) return;
    this.#isClosing = true;
    this.#inbox.length = 0;
    this.#inboxBytes = 0;
    if (!this.other.#isSevered) this.other.#take(undefined);
    this.#linger = this.#wire.options.clock.after(linkLimits.lingerMs * 1000, () => {
      this.endSoon(new SyncError("LINK_LOST", "the peer did not take what was buffered"));
      this.sever();
      this.other.endSoon(new SyncError("LINK_LOST", "the peer has closed the link"));
    });
  }

  destroy(): void {
    this.endSoon(undefined);
    this.other.endSoon(new SyncError("LINK_LOST", "the other side destroyed the link"));
  }

  /** The process of this side is dead: its kernel tells the other side, if the host lives. */
  lose(hears: boolean): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (!hears) this.sever();
    else if (this.#wire.options.chance.is(1, 2)) this.other.#take(undefined);
    else this.other.endSoon(new SyncError("LINK_LOST", "connection reset by peer"));
  }

  stall(untilUs: number): void {
    this.#stalledUntilUs = Math.max(this.#stalledUntilUs, untilUs);
  }

  /** Nothing arrives at either side any more. */
  sever(): void {
    for (const side of [this, this.other]) {
      side.#isSevered = true;
      side.#inbox.length = 0;
      side.#inboxBytes = 0;
    }
  }

  /** Ends this side, after what its network takes. */
  endSoon(error: SyncError | undefined): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#linger?.cancel();
    this.#inbox.length = 0;
    this.#inboxBytes = 0;
    const { clock, trace } = this.#wire.options;
    clock.after(this.#delayUs(), () => {
      if (!this.#isAlive()) return;
      trace.say(`${this.path} ends: ${error?.code ?? "in order"}`);
      this.#handlers?.onClose(error);
    });
  }

  #delayUs(): number {
    const { chance, delayUsMin, delayUsMax } = this.#wire.options;
    return chance.between(delayUsMin, delayUsMax);
  }

  /** Without bytes it is the end. */
  #take(bytes: Uint8Array | undefined): void {
    const { clock, chance } = this.#wire.options;
    const dueUs = Math.max(this.#lastDueUs, clock.nowUs + this.#delayUs());
    this.#lastDueUs = dueUs;
    // A stream has no messages: what was sent at once may come in pieces.
    if (bytes !== undefined && bytes.length > 1 && chance.is(1, 8)) {
      const at = chance.between(1, bytes.length - 1);
      this.#inbox.push({ bytes: bytes.subarray(0, at), dueUs });
      this.#inbox.push({ bytes: bytes.subarray(at), dueUs: dueUs + chance.below(2000) });
      this.#lastDueUs = this.#inbox.at(-1)!.dueUs;
    } else {
      this.#inbox.push({ bytes, dueUs });
    }
    this.#inboxBytes += bytes?.length ?? 0;
    this.#arm();
  }

  #arm(): void {
    const next = this.#inbox[0];
    if (next === undefined || this.#armed !== undefined || this.isOver) return;
    if (this.#isPaused && next.bytes !== undefined) return;
    if (this.#handlers === undefined) return;
    const dueUs = Math.max(next.dueUs, this.#stalledUntilUs);
    this.#armed = this.#wire.options.clock.at(dueUs, () => {
      this.#armed = undefined;
      this.#deliver();
      this.#arm();
    });
  }

  #deliver(): void {
    const { clock, trace } = this.#wire.options;
    if (this.#isEnded || !this.#isAlive()) return;
    if (clock.nowUs < this.#stalledUntilUs) return;
    const next = this.#inbox[0];
    if (next === undefined || (this.#isPaused && next.bytes !== undefined)) return;
    this.#inbox.shift();
    if (next.bytes === undefined) {
      this.#isEnded = true;
      this.#linger?.cancel();
      trace.say(`${this.path} is closed`);
      this.other.endSoon(undefined);
      this.#handlers!.onClose(undefined);
      return;
    }
    this.#inboxBytes -= next.bytes.length;
    // Whoever has closed hears no more; what comes until the end does is dropped.
    if (this.#isClosing) return;
    this.counters.bytesReceived += next.bytes.length;
    trace.say(`${this.path} receives ${next.bytes.length}`);
    trace.bytes(next.bytes);
    this.other.#drainSoon();
    this.#handlers!.onData(next.bytes);
  }

  #drainSoon(): void {
    if (!this.#isBlocked || this.bufferedBytes > linkLimits.highWaterBytes / 2) return;
    this.#isBlocked = false;
    this.#wire.options.clock.after(this.#delayUs(), () => {
      if (this.#isEnded || this.#isClosing || !this.#isAlive()) return;
      this.#handlers?.onDrain();
    });
  }
}
