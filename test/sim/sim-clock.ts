/**
 * Time of the simulated world, and the order of all that happens in it: one queue of events by
 * (time, sequence). Every process has its own view, which dies with it.
 *
 * Time moves when an event is due and, a little, with each call of a process (`spend`): so what is
 * timed by the engine passes, and events of others come late, as on a busy machine.
 */
import type { Clock, Timer } from "../../src/world/index.ts";

interface Event {
  dueUs: number;
  sequence: number;
  fire: (() => void) | undefined;
}

/** 2026-01-01, in µs. */
const wallStartUs = 1_767_225_600_000_000;

export class SimClock {
  nowUs = 1_000_000;
  #sequence = 0;
  readonly #heap: Event[] = [];
  /** Moves the wall clock, which may jump. */
  wallOffsetUs = 0;

  get wallUs(): number {
    return wallStartUs + this.nowUs + this.wallOffsetUs;
  }

  spend(us: number): void {
    this.nowUs += us;
  }

  at(dueUs: number, fire: () => void): Timer {
    const event: Event = { dueUs: Math.max(dueUs, this.nowUs), sequence: this.#sequence++, fire };
    this.#push(event);
    return { cancel: () => (event.fire = undefined) };
  }

  after(us: number, fire: () => void): Timer {
    return this.at(this.nowUs + us, fire);
  }

  /** Lets the next event happen. False when there is none. */
  step(): boolean {
    for (;;) {
      const next = this.#pop();
      if (next === undefined) return false;
      if (next.fire === undefined) continue;
      this.nowUs = Math.max(this.nowUs, next.dueUs);
      next.fire();
      return true;
    }
  }

  /** A process' own clock: nothing of it fires when `isAlive` has become false. */
  view(isAlive: () => boolean): Clock {
    const alive = (fire: () => void) => (): void => {
      if (isAlive()) fire();
    };
    return {
      monotonicUs: () => this.nowUs,
      wallMs: () => Math.floor(this.wallUs / 1000),
      after: (delayMs, fire) => this.after(Math.ceil(delayMs * 1000), alive(fire)),
      defer: (fire) => void this.after(1, alive(fire)),
    };
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const above = (index - 1) >> 1;
      if (isBefore(heap[above]!, event)) break;
      heap[index] = heap[above]!;
      index = above;
    }
    heap[index] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below++;
      if (isBefore(last, heap[below]!)) break;
      heap[index] = heap[below]!;
      index = below;
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(one: Event, other: Event): boolean {
  return one.dueUs === other.dueUs ? one.sequence < other.sequence : one.dueUs < other.dueUs;
}
