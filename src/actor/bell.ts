/**
 * A bell in shared memory: how a thread that has put something into shared memory wakes another.
 *
 * The sleeper reads the count, arms, looks for work once more, and sleeps until the count differs.
 * The ringer changes shared memory, then adds to the count, then disarms and notifies if it was
 * armed: so a busy sleeper costs the ringer two atomic operations and no system call, and no ring
 * is lost, because the count differs from the one that the sleeper read.
 * Source: futex(2), "the value is compared atomically with respect to other futex operations".
 */

/** Length in bytes of a bell. */
export const BELL_BYTES = 16;

const COUNT = 0;
const ARMED = 1;
/** 1: the sleeper cannot wait on memory; it gets a message through a port. */
const BY_PORT = 2;

export class Bell {
  readonly shared: SharedArrayBuffer;
  readonly #cells: Int32Array;
  readonly #ringByPort: (() => void) | undefined;

  /** `shared` holds the bell at offset 0. `ringByPort` serves sleepers without waitAsync. */
  constructor(shared: SharedArrayBuffer, ringByPort?: () => void) {
    this.shared = shared;
    this.#cells = new Int32Array(shared, 0, BELL_BYTES / 4);
    this.#ringByPort = ringByPort;
  }

  get count(): number {
    return Atomics.load(this.#cells, COUNT);
  }

  ring(): void {
    const cells = this.#cells;
    Atomics.add(cells, COUNT, 1);
    if (Atomics.load(cells, ARMED) === 0 || Atomics.exchange(cells, ARMED, 0) === 0) return;
    if (Atomics.load(cells, BY_PORT) === 1) this.#ringByPort?.();
    else Atomics.notify(cells, COUNT);
  }

  /** Blocks this thread until the bell's count differs from `seenCount`, or the time is over. */
  sleep(seenCount: number, timeoutMs: number): void {
    Atomics.store(this.#cells, ARMED, 1);
    Atomics.wait(this.#cells, COUNT, seenCount, timeoutMs);
    Atomics.store(this.#cells, ARMED, 0);
  }

  /** Arms, and calls `rung` once, not before the caller has returned, when the bell is rung. */
  listen(rung: () => void): void {
    const cells = this.#cells;
    const seenCount = Atomics.load(cells, COUNT);
    Atomics.store(cells, ARMED, 1);
    const wait = waitAsync?.(cells, COUNT, seenCount);
    if (wait === undefined) Atomics.store(cells, BY_PORT, 1);
    else void Promise.resolve(wait.value).then(rung);
  }
}

interface AsyncWait {
  readonly async: boolean;
  readonly value: string | Promise<string>;
}

/** ES2024, in V8 since 8.7; the compiler's library for ES2023 does not know it. */
const waitAsync = (
  Atomics as unknown as {
    waitAsync?: (cells: Int32Array, index: number, value: number) => AsyncWait;
  }
).waitAsync;
