/**
 * The restart budget of one actor: at most `restartsMax` restarts within any `restartWindowMs`.
 * In: one call per crash with the current time. Out: restart or escalate. The times are kept in a
 * ring of restartsMax, so memory is bounded. Source: Erlang/OTP supervisor, "intensity and period".
 */
import { assert } from "../base/index.ts";

export interface RestartLimits {
  readonly restartsMax: number;
  readonly restartWindowMs: number;
}

export class RestartBudget {
  readonly #timesUs: Float64Array;
  readonly #windowUs: number;
  #restartCount = 0;

  constructor(limits: RestartLimits) {
    const { restartsMax, restartWindowMs } = limits;
    assert(Number.isInteger(restartsMax) && restartsMax >= 0, "restartsMax is a count");
    assert(restartWindowMs > 0, "restartWindowMs is positive");
    this.#timesUs = new Float64Array(restartsMax);
    this.#windowUs = restartWindowMs * 1000;
  }

  get restartCount(): number {
    return this.#restartCount;
  }

  /** Takes one restart out of the budget; false when it is used up. */
  take(nowUs: number): boolean {
    const restartsMax = this.#timesUs.length;
    if (restartsMax === 0) return false;
    const index = this.#restartCount % restartsMax;
    const oldestUs = this.#timesUs[index] ?? 0;
    if (this.#restartCount >= restartsMax && nowUs - oldestUs < this.#windowUs) return false;
    this.#timesUs[index] = nowUs;
    this.#restartCount += 1;
    return true;
  }
}
