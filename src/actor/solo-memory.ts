/**
 * The shared memory of one solo actor: its bell, the words of the shutdown vote, its counters.
 *
 * Layout (little-endian words): 0 the worker's bell; 4 stop; 5 vote asked; 6 vote answered;
 * 7 agreed; 8 length of the veto text. Doubles from byte 64: steps, busy time. Veto text from byte
 * 128. The graph's thread writes stop and asked, the worker all else. The answer is valid when
 * "answered" equals "asked", which is stored last.
 */
import { Bell } from "./bell.ts";
import type { ByteRingMemory } from "./byte-ring.ts";

const STOP = 4;
const ASKED = 5;
const ANSWERED = 6;
const AGREED = 7;
const VETO_BYTES = 8;
const STEP_COUNT = 0;
const BUSY_US = 1;
const COUNTERS_OFFSET = 64;
const VETO_OFFSET = 128;
const VETO_BYTES_MAX = 384;

/** What one thread tells the other about a ring: its memory and the bell at its far end. */
export interface RingAssignment {
  readonly memory: ByteRingMemory;
  readonly farBell: SharedArrayBuffer;
}

/** What the worker gets as workerData. */
export interface SoloAssignment {
  readonly name: string;
  readonly shared: SharedArrayBuffer;
  /** Of the graph's thread. */
  readonly graphBell: SharedArrayBuffer;
  readonly receives: readonly RingAssignment[];
  readonly sends: readonly RingAssignment[];
  readonly data: unknown;
}

/** What the worker sends through its port; the rest goes through shared memory. */
export type SoloMessage =
  | { readonly kind: "bell" }
  | { readonly kind: "crashed"; readonly isBug: boolean; readonly message: string };

export class SoloMemory {
  readonly shared: SharedArrayBuffer;
  /** The worker sleeps on it. */
  readonly bell: Bell;
  readonly #words: Int32Array;
  readonly #counters: Float64Array;

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.bell = new Bell(shared);
    this.#words = new Int32Array(shared, 0, COUNTERS_OFFSET / 4);
    this.#counters = new Float64Array(shared, COUNTERS_OFFSET, 2);
  }

  static make(): SoloMemory {
    return new SoloMemory(new SharedArrayBuffer(VETO_OFFSET + VETO_BYTES_MAX));
  }

  get stopWanted(): boolean {
    return Atomics.load(this.#words, STOP) === 1;
  }

  get voteOpen(): boolean {
    return Atomics.load(this.#words, ASKED) !== Atomics.load(this.#words, ANSWERED);
  }

  get stepCount(): number {
    return this.#counters[STEP_COUNT] ?? 0;
  }

  get busyUs(): number {
    return this.#counters[BUSY_US] ?? 0;
  }

  askStop(): void {
    Atomics.store(this.#words, STOP, 1);
    this.bell.ring();
  }

  askVote(): void {
    Atomics.add(this.#words, ASKED, 1);
    this.bell.ring();
  }

  /** The worker's answer; only while the vote is not open. */
  answer(): true | string {
    if (Atomics.load(this.#words, AGREED) === 1) return true;
    const text = new Uint8Array(this.shared, VETO_OFFSET, this.#words[VETO_BYTES] ?? 0);
    // Copied: TextDecoder does not read shared memory.
    return new TextDecoder().decode(text.slice());
  }

  writeAnswer(answer: true | string): void {
    if (answer !== true) {
      const text = new TextEncoder().encode(answer).subarray(0, VETO_BYTES_MAX);
      new Uint8Array(this.shared, VETO_OFFSET, VETO_BYTES_MAX).set(text);
      this.#words[VETO_BYTES] = text.length;
    }
    Atomics.store(this.#words, AGREED, answer === true ? 1 : 0);
    Atomics.store(this.#words, ANSWERED, Atomics.load(this.#words, ASKED));
  }

  addStep(busyUs: number): void {
    this.#counters[STEP_COUNT] = this.stepCount + 1;
    this.#counters[BUSY_US] = this.busyUs + busyUs;
  }
}
