/**
 * Seeded numbers for the simulation: integers only, the same on every machine.
 *
 * One stream for each concern (`fork`), so that one more question about the network does not
 * change what the application does. Source: splitmix32, sfc32's seeding is not needed here.
 */

export class Chance {
  readonly #seed: number;
  #state: number;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    this.#state = mix(this.#seed ^ 0x9e3779b9);
  }

  /** A stream of its own; it takes nothing from this one. */
  fork(concern: string): Chance {
    let hash = mix(this.#seed + 0x1234567);
    for (let i = 0; i < concern.length; i++) hash = mix(hash ^ concern.charCodeAt(i));
    return new Chance(hash);
  }

  /** A whole number in [0, count). */
  below(count: number): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    const high = mix(this.#state);
    return Math.floor((high / 2 ** 32) * count);
  }

  /** A whole number in [from, to]. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** True in `count` of `outOf` cases. */
  is(count: number, outOf: number): boolean {
    return this.below(outOf) < count;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  bytes(count: number): Uint8Array {
    const out = new Uint8Array(count);
    for (let i = 0; i < count; i++) out[i] = this.below(256);
    return out;
  }
}

function mix(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97) >>> 0;
  return (x ^ (x >>> 15)) >>> 0;
}

/** A running hash of all that happens: two runs of one seed must end with the same. */
export class Trace {
  #high = 0x243f6a88;
  #low = 0x85a308d3;
  count = 0;
  /** Hears each entry, for printing. */
  listen: ((entry: string) => void) | undefined;

  number(value: number): void {
    const whole = Math.trunc(value);
    this.#low = mix(this.#low ^ (whole >>> 0)) ^ Math.imul(this.#high, 31);
    this.#high = mix(this.#high + Math.floor(whole / 2 ** 32) + 0x9e3779b9) ^ this.#low;
  }

  text(value: string): void {
    for (let i = 0; i < value.length; i++) this.number(value.charCodeAt(i));
    this.number(value.length);
  }

  bytes(value: Uint8Array): void {
    this.number(hashOf(value));
    this.number(value.length);
  }

  /** One thing that happened. */
  say(entry: string): void {
    this.count++;
    this.text(entry);
    this.listen?.(entry);
  }

  get digest(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return `${hex(this.#high)}${hex(this.#low)}`;
  }
}

/** 32 bits of FNV-1a, finished by a mix. */
export function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return mix(hash);
}
