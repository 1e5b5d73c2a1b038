/**
 * `Heartbeat`: looks at a link every `pingMs` and says when the peer has been silent for too long.
 *
 * Silence is counted in looks, not in time: what the peer said while this side was at work waits in
 * the socket, and is heard before the next look.
 */
import type { Context } from "../actor/index.ts";
import type { Timer } from "../world/index.ts";
import { pingMs, silenceMsMax, timerEarlyUs } from "./limits.ts";

export class Heartbeat {
  #silentCount = 0;
  #nextLookUs = 0;
  #timer: Timer | undefined;

  /** The peer has said something, or cannot say anything because we do not listen. */
  heard(): void {
    this.#silentCount = 0;
  }

  /** Whether a look is due; if so the actor is woken for the next one. */
  isDue(context: Context): boolean {
    const now = context.world.clock.monotonicUs();
    if (now < this.#nextLookUs - timerEarlyUs) return false;
    this.#nextLookUs = now + pingMs * 1000;
    this.#timer?.cancel();
    this.#timer = context.after(pingMs);
    return true;
  }

  /** One look: whether the peer is to be taken for lost. */
  isLost(): boolean {
    return ++this.#silentCount * pingMs > silenceMsMax;
  }
}
