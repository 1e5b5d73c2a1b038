/**
 * A clock that stands still until it is told to advance: for tests and the seeded simulation.
 *
 * In: after() and defer() from the code under test; advance() and runDue() from the test.
 * Invariants: events fire in order of (time, sequence of registration), so equal runs are equal to
 * the bit; time moves only inside advance/advanceTo; an event that is registered while events run
 * is taken in the same run when it is due. Every run is bounded by `eventsMax`: code that wakes
 * itself for ever fails the test instead of hanging it.
 * Units: monotonic time in whole microseconds. A binary heap, as a run may hold 100,000 timers.
 */
import { assert } from "../base/index.ts";
import type { Clock, Timer } from "./ports.ts";

interface Event {
  readonly dueUs: number;
  readonly sequence: number;
  fire: (() => void) | undefined;
}

export interface FakeClockOptions {
  /** Monotonic start. */
  readonly startUs: number;
  /** Wall clock at the start, milliseconds since 1970. */
  readonly wallStartMs: number;
  /** Most events that one advance() or runDue() may fire. */
  readonly eventsMax: number;
}

export class FakeClock implements Clock {
  #nowUs: number;
  #wallOffsetMs: number;
  #sequence = 0;
  #cancelledCount = 0;
  readonly #eventsMax: number;
  readonly #heap: Event[] = [];

  constructor(options: FakeClockOptions) {
    this.#nowUs = options.startUs;
    this.#wallOffsetMs = options.wallStartMs - options.startUs / 1000;
    this.#eventsMax = options.eventsMax;
  }

  monotonicUs(): number {
    return this.#nowUs;
  }

  wallMs(): number {
    return Math.floor(this.#nowUs / 1000 + this.#wallOffsetMs);
  }

  after(delayMs: number, fire: () => void): Timer {
    assert(delayMs >= 0, "a timer's delay is not negative");
    const event = this.#push(this.#nowUs + Math.ceil(delayMs * 1000), fire);
    return {
      cancel: () => {
        if (event.fire === undefined) return;
        event.fire = undefined;
        this.#cancelledCount += 1;
      },
    };
  }

  defer(fire: () => void): void {
    this.#push(this.#nowUs, fire);
  }

  /** Number of events that wait, deferred ones included. */
  get pendingCount(): number {
    return this.#heap.length - this.#cancelledCount;
  }

  /** Time of the next event, undefined when none waits. */
  get nextDueUs(): number | undefined {
    this.#dropCancelled();
    return this.#heap[0]?.dueUs;
  }

  /** Fires all that is due now, what becomes due meanwhile included. Returns the number fired. */
  runDue(): number {
    return this.advanceTo(this.#nowUs);
  }

  /** Moves time on by `delayMs`, firing what falls due in order. Returns the number fired. */
  advance(delayMs: number): number {
    return this.advanceTo(this.#nowUs + Math.ceil(delayMs * 1000));
  }

  /** Moves time to `untilUs`, firing what falls due in order. Returns the number fired. */
  advanceTo(untilUs: number): number {
    assert(untilUs >= this.#nowUs, "monotonic time never goes back");
    let firedCount = 0;
    for (;;) {
      this.#dropCancelled();
      const next = this.#heap[0];
      if (next === undefined || next.dueUs > untilUs) break;
      assert(firedCount < this.#eventsMax, "events without end: something wakes itself for ever");
      this.#pop();
      this.#nowUs = Math.max(this.#nowUs, next.dueUs);
      const fire = next.fire;
      next.fire = undefined;
      firedCount += 1;
      fire?.();
    }
    this.#nowUs = Math.max(this.#nowUs, untilUs);
    return firedCount;
  }

  /** Makes the wall clock jump, as an administrator or NTP may; monotonic time is untouched. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  #dropCancelled(): void {
    while (this.#heap.length > 0 && this.#heap[0]?.fire === undefined) {
      this.#pop();
      this.#cancelledCount -= 1;
    }
  }

  #push(dueUs: number, fire: () => void): Event {
    const event: Event = { dueUs, sequence: this.#sequence, fire };
    this.#sequence += 1;
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex];
      if (parent === undefined || !isBefore(event, parent)) break;
      heap[index] = parent;
      index = parentIndex;
    }
    heap[index] = event;
    return event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let childIndex = index * 2 + 1;
      let child = heap[childIndex];
      if (child === undefined) break;
      const right = heap[childIndex + 1];
      if (right !== undefined && isBefore(right, child)) {
        child = right;
        childIndex += 1;
      }
      if (!isBefore(child, last)) break;
      heap[index] = child;
      index = childIndex;
    }
    heap[index] = last;
  }
}

function isBefore(left: Event, right: Event): boolean {
  return left.dueUs === right.dueUs ? left.sequence < right.sequence : left.dueUs < right.dueUs;
}
