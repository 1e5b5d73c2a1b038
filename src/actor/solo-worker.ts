/**
 * The worker's side of a solo actor: runSolo() is the whole program of the worker file.
 *
 * In: frames in the rings that it receives, the words of the vote. Out: frames, votes, a report
 * when the behaviour crashed. The loop is synchronous and sleeps on the bell when nothing is to do,
 * so the worker's own event loop does not run: a solo actor computes, it does not do async I/O.
 * Its timers (context.after) are deadlines of that sleep. The rules of the step are those of a
 * troupe: the same Cell runs it. A crash ends the thread; the graph starts another, with new state.
 */
import { assert, AssertionError } from "../base/index.ts";
import type { Clock, ThreadSelf, Timer, World } from "../world/index.ts";
import type { Context } from "./behaviour.ts";
import { Bell } from "./bell.ts";
import { ByteChannel } from "./byte-ring.ts";
import type { ByteRx, ByteTx } from "./byte-ring.ts";
import type { CellHost, Supervised } from "./cell.ts";
import { Cell, describe } from "./cell.ts";
import { SoloMemory } from "./solo-memory.ts";
import type { SoloAssignment, SoloMessage } from "./solo-memory.ts";
import { RestartBudget } from "./supervisor.ts";

/** The ends of a solo actor, in the order of the wiring, and what the wiring passed as `data`. */
export interface SoloEnds {
  readonly receives: readonly ByteRx[];
  readonly sends: readonly ByteTx[];
  readonly data: unknown;
}

export interface SoloProgram<S> {
  readonly world: World;
  /** The thread that this program is, from the real world. */
  readonly thread: ThreadSelf;
  readonly state: (ends: SoloEnds) => S;
  step(state: S, context: Context): void;
  mayStop?(state: S, context: Context): true | string;
  onStop?(state: S): void;
}

/** Longest sleep without a look; bounds the harm of a lost wake, which is not known to occur. */
const SLEEP_MS_MAX = 1000;

/** Timers that wait in one worker. */
const WORKER_TIMERS_MAX = 256;

/** Runs this worker until the graph stops it. Call it last in the worker file. */
export function runSolo<S>(program: SoloProgram<S>): void {
  const { thread } = program;
  const assignment = thread.data as SoloAssignment;
  const clock = new SleepClock(program.world.clock);
  const host = new SoloHost({ ...program.world, clock });
  const receives = assignment.receives.map((ring) => {
    const channel = new ByteChannel(ring.memory, clock);
    channel.rx.farBell = openBell(thread, ring.farBell);
    return channel;
  });
  const sends = assignment.sends.map((ring) => {
    const channel = new ByteChannel(ring.memory, clock);
    channel.tx.farBell = openBell(thread, ring.farBell);
    return channel;
  });
  const ends: SoloEnds = {
    receives: receives.map((ring) => ring.rx),
    sends: sends.map((ring) => ring.tx),
    data: assignment.data,
  };
  const cell = makeCell(program, assignment.name, ends, host);
  try {
    cell.start();
    loop(new SoloMemory(assignment.shared), cell, host, {
      clock,
      rings: [...receives, ...sends],
      graphBell: openBell(thread, assignment.graphBell),
    });
  } catch (cause) {
    host.crash ??= { cause };
  }
  host.crash ??= cell.stop();
  if (host.crash !== undefined) report(thread, host.crash.cause);
}

interface LoopParts {
  readonly clock: SleepClock;
  readonly rings: readonly ByteChannel[];
  readonly graphBell: Bell;
}

function loop(memory: SoloMemory, cell: Cell, host: SoloHost, parts: LoopParts): void {
  const { clock, rings, graphBell } = parts;
  let refreshedAt: number | undefined;
  while (host.isRunning && !memory.stopWanted) {
    const seenCount = memory.bell.count;
    clock.fireDue();
    // Only when the bell was rung: a step that waits for more must not be repeated without end.
    if (seenCount !== refreshedAt) for (const ring of rings) ring.refresh();
    refreshedAt = seenCount;
    if (memory.voteOpen && !host.isStopping) {
      host.isStopping = true;
      cell.party.wake();
    }
    if (cell.party.ready) {
      const busyBeforeUs = cell.busyUs;
      if (cell.visit()) memory.addStep(cell.busyUs - busyBeforeUs);
    } else if (memory.voteOpen) {
      memory.writeAnswer(cell.vote());
      graphBell.ring();
    } else {
      memory.bell.sleep(seenCount, clock.sleepMs(SLEEP_MS_MAX));
      refreshedAt = undefined;
    }
  }
}

/** What the cell finds in a worker: a crash ends the loop; the graph decides what follows. */
class SoloHost implements CellHost {
  readonly world: World;
  isStopping = false;
  crash: { readonly cause: unknown } | undefined = undefined;

  constructor(world: World) {
    this.world = world;
  }

  get isRunning(): boolean {
    return this.crash === undefined;
  }

  onReady(): void {
    // The loop looks at the mark itself.
  }

  runNow(cell: Cell): void {
    cell.party.wake();
  }

  supervise(_subject: Supervised, cause: unknown): boolean {
    this.crash ??= { cause };
    return false;
  }
}

function makeCell<S>(program: SoloProgram<S>, name: string, ends: SoloEnds, host: CellHost): Cell {
  const { receives, sends } = ends;
  const budget = new RestartBudget({ restartsMax: 0, restartWindowMs: 1 });
  const behaviour = {
    step: (state: unknown, context: Context) => {
      program.step(state as S, context);
    },
    mayStop: (state: unknown, context: Context) => program.mayStop?.(state as S, context) ?? true,
    onStop: (state: unknown) => {
      program.onStop?.(state as S);
    },
  };
  const state = (): unknown => program.state(ends);
  return new Cell({ name, troupe: name, state, receives, sends, behaviour }, host, budget);
}

function openBell(thread: ThreadSelf, shared: SharedArrayBuffer): Bell {
  return new Bell(shared, () => {
    post(thread, { kind: "bell" });
  });
}

function report(thread: ThreadSelf, cause: unknown): void {
  post(thread, {
    kind: "crashed",
    isBug: cause instanceof AssertionError,
    message: describe(cause),
  });
}

function post(thread: ThreadSelf, message: SoloMessage): void {
  thread.post(message);
}

/** The clock of a thread whose event loop does not run: its timers fire between two sleeps. */
class SleepClock implements Clock {
  readonly #inner: Clock;
  readonly #timers: { readonly dueUs: number; readonly fire: () => void }[] = [];

  constructor(inner: Clock) {
    this.#inner = inner;
  }

  monotonicUs(): number {
    return this.#inner.monotonicUs();
  }

  wallMs(): number {
    return this.#inner.wallMs();
  }

  after(delayMs: number, fire: () => void): Timer {
    assert(this.#timers.length < WORKER_TIMERS_MAX, "too many timers in one worker");
    const timer = { dueUs: this.monotonicUs() + delayMs * 1000, fire };
    this.#timers.push(timer);
    return {
      cancel: () => {
        const index = this.#timers.indexOf(timer);
        if (index >= 0) this.#timers.splice(index, 1);
      },
    };
  }

  defer(fire: () => void): void {
    this.after(0, fire);
  }

  fireDue(): void {
    if (this.#timers.length === 0) return;
    const nowUs = this.monotonicUs();
    const due = this.#timers.filter((timer) => timer.dueUs <= nowUs);
    for (const timer of due) {
      // One that fired before may have cancelled it.
      const index = this.#timers.indexOf(timer);
      if (index < 0) continue;
      this.#timers.splice(index, 1);
      timer.fire();
    }
  }

  /** Milliseconds until the next timer, at most `capMs`. */
  sleepMs(capMs: number): number {
    let dueUs = Infinity;
    for (const timer of this.#timers) dueUs = Math.min(dueUs, timer.dueUs);
    return Math.min(capMs, Math.max(0, (dueUs - this.monotonicUs()) / 1000));
  }
}
