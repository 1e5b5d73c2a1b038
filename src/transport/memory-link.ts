/**
 * A pair of links inside one process, under the same rules as a network link. `send` calls the
 * other side's `onData` at once when that side is idle and not paused, so a local-to-local sync
 * has no event-loop turn between capture and apply.
 * Invariants:
 * - A side is never called back inside its own `send`, `start`, `resume`, `close` or `destroy`, nor
 *   inside its own `onData`: what arrives then is queued and delivered when that call has returned,
 *   by the running delivery loop if there is one, else on a later turn (`clock.defer`). A network
 *   link behaves so by nature, and handlers are written for it.
 * - `onData` gets the sender's own bytes, or a copy when they had to wait: read only, valid during
 *   the call.
 * - One run of the delivery loop makes at most MEMORY_DELIVERIES_MAX calls, then yields, so two
 *   sides that answer each other for ever cannot starve the process.
 */
import { assert, SyncError } from "../base/index.ts";
import type { Clock, Timer } from "../world/index.ts";
import { MEMORY_DELIVERIES_MAX } from "./limits.ts";
import type { LinkLimits } from "./limits.ts";
import type { Link, LinkCounters, LinkHandlers } from "./link.ts";

export interface MemoryLinkOptions {
  readonly clock: Clock;
  readonly limits: LinkLimits;
}

/** Makes two joined links. Each side is started and closed on its own. */
export function memoryLinkPair(options: MemoryLinkOptions): readonly [Link, Link] {
  const wire = new MemoryWire(options);
  return [wire.near, wire.far];
}

/** The delivery loop shared by both sides. */
class MemoryWire {
  readonly near: MemoryLink;
  readonly far: MemoryLink;
  readonly clock: Clock;
  readonly limits: LinkLimits;
  #running = false;
  #deferred = false;

  constructor(options: MemoryLinkOptions) {
    this.clock = options.clock;
    this.limits = options.limits;
    this.near = new MemoryLink(this);
    this.far = new MemoryLink(this);
    this.near.other = this.far;
    this.far.other = this.near;
  }

  /** Delivers all that can be delivered now; the rest on a later turn. */
  run(): void {
    if (this.#running) return;
    this.#running = true;
    try {
      for (let count = 0; count < MEMORY_DELIVERIES_MAX; count += 1) {
        if (!this.near.step() && !this.far.step()) break;
      }
    } finally {
      this.#running = false;
    }
    if (this.near.hasWork || this.far.hasWork) this.defer();
  }

  defer(): void {
    if (this.#deferred || this.#running) return;
    this.#deferred = true;
    this.clock.defer(() => {
      this.#deferred = false;
      this.run();
    });
  }
}

type Ending = "none" | "closing" | "closed";

class MemoryLink implements Link {
  readonly peerId = undefined;
  readonly path = "memory";
  readonly counters: LinkCounters = { bytesSent: 0, bytesReceived: 0 };
  other!: MemoryLink;
  readonly #wire: MemoryWire;
  readonly #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  #handlers: LinkHandlers | undefined;
  #paused = false;
  /** Depth of the caller's own calls into this side: no callback may happen inside them. */
  #callDepth = 0;
  #blocked = false;
  #ending: Ending = "none";
  #error: SyncError | undefined;
  #reported = false;
  #linger: Timer | undefined;

  constructor(wire: MemoryWire) {
    this.#wire = wire;
  }

  get bufferedBytes(): number {
    return this.other.#inboxBytes;
  }

  start(handlers: LinkHandlers): void {
    assert(this.#handlers === undefined, "a link is started once");
    this.#handlers = handlers;
    this.#wire.defer();
  }

  send(bytes: Uint8Array): boolean {
    const { other } = this;
    if (this.#ending !== "none" || other.#ending !== "none") return false;
    if (bytes.length > 0) {
      this.counters.bytesSent += bytes.length;
      other.#inbox.push(bytes);
      other.#inboxBytes += bytes.length;
      assert(
        other.#inboxBytes <= this.#wire.limits.bufferedBytesMax,
        "sender ignores backpressure",
      );
      this.#callDepth += 1;
      try {
        this.#wire.run();
      } finally {
        this.#callDepth -= 1;
      }
      // What had to wait is the caller's memory still.
      const last = other.#inbox.length - 1;
      if (last >= 0 && other.#inbox[last] === bytes) other.#inbox[last] = bytes.slice();
    }
    if (other.#inboxBytes > this.#wire.limits.highWaterBytes) this.#blocked = true;
    return !this.#blocked;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#wire.defer();
  }

  close(): void {
    if (this.#ending !== "none") return;
    this.#ending = "closing";
    this.#dropInbox();
    this.#linger = this.#wire.clock.after(this.#wire.limits.lingerMs, () => {
      this.#cut("the peer did not take what was buffered");
    });
    this.#wire.defer();
  }

  destroy(): void {
    if (this.#ending === "closed") return;
    this.#end(undefined);
    this.other.#end(new SyncError("LINK_LOST", "the other side destroyed the link"));
    this.#wire.defer();
  }

  /** True when step would do something, now or when the caller's call has returned. */
  get hasWork(): boolean {
    if (this.#handlers === undefined) return this.#canClose();
    if (this.#ending === "closed") return !this.#reported;
    if (this.#canClose()) return true;
    const canDrain = this.#blocked && this.#isDrained();
    return canDrain || (this.#inbox.length > 0 && !this.#paused);
  }

  /** Makes at most one callback on this side; false when there is nothing to do now. */
  step(): boolean {
    if (this.#callDepth > 0 || !this.hasWork) return false;
    if (this.#ending !== "closed" && this.#canClose()) {
      this.#end(undefined);
      this.other.#end(undefined);
    }
    const handlers = this.#handlers;
    if (handlers === undefined) return false;
    if (this.#ending === "closed") {
      if (this.#reported) return false;
      this.#reported = true;
      handlers.onClose(this.#error);
    } else if (this.#inbox.length > 0 && !this.#paused) {
      const bytes = this.#inbox.shift() as Uint8Array;
      this.#inboxBytes -= bytes.length;
      this.counters.bytesReceived += bytes.length;
      handlers.onData(bytes);
    } else {
      this.#blocked = false;
      handlers.onDrain();
    }
    return true;
  }

  #isDrained(): boolean {
    return this.other.#inboxBytes <= this.#wire.limits.highWaterBytes / 2;
  }

  /** A closing side ends when the other has taken everything that was sent before. */
  #canClose(): boolean {
    return this.#ending === "closing" && this.other.#inboxBytes === 0;
  }

  #cut(why: string): void {
    if (this.#ending === "closed") return;
    this.#end(new SyncError("LINK_LOST", why));
    this.other.#end(new SyncError("LINK_LOST", why));
    this.#wire.defer();
  }

  #end(error: SyncError | undefined): void {
    if (this.#ending === "closed") return;
    this.#ending = "closed";
    this.#error = error;
    this.#linger?.cancel();
    this.#dropInbox();
  }

  #dropInbox(): void {
    this.#inbox.length = 0;
    this.#inboxBytes = 0;
  }
}
