/**
 * Counts what a listener refuses and writes a bounded log of it: anyone can connect as often as
 * they like, so they must not be able to fill the disk.
 */
import type { World } from "../world/index.ts";
import { REFUSAL_LOG_INTERVAL_MS } from "./limits.ts";

/** Why a connection got no link. */
export const refusalReasons = ["flood", "handshake", "untrusted", "timeout"] as const;
export type RefusalReason = (typeof refusalReasons)[number];

export type RefusalCounters = Record<RefusalReason, number>;

export class RefusalLog {
  readonly counters: RefusalCounters = { flood: 0, handshake: 0, untrusted: 0, timeout: 0 };
  readonly #world: World;
  #nextUs = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Counts one refusal; `detail` is shown if a line is due. */
  add(reason: RefusalReason, remoteAddress: string, detail: string): void {
    this.counters[reason] += 1;
    const nowUs = this.#world.clock.monotonicUs();
    if (nowUs < this.#nextUs) {
      this.#unlogged += 1;
      return;
    }
    this.#nextUs = nowUs + REFUSAL_LOG_INTERVAL_MS * 1_000;
    const fields = { reason, remoteAddress, detail, unlogged: this.#unlogged };
    this.#world.log.write("warn", "connection refused", fields);
    this.#unlogged = 0;
  }
}
