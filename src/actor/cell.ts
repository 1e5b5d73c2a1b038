/**
 * One actor at run time: when it may run, one supervised step, its vote.
 *
 * In: marks on its party (set by channels, wakes, timers). Out: calls of the behaviour.
 * Invariants: never re-entered; a step that throws leaves its inputs uncommitted and (see
 * ActorOptions.onCrash) its unsettled sends withdrawn; the state lives here and outlives a crash.
 * An actor that could run but moved nothing is not run again until something about its channels
 * changes, so waiting for more input or room costs nothing and cannot spin.
 * The host is the troupe of a graph, or the loop of a solo actor in its own thread.
 */
import { assert } from "../base/index.ts";
import type { Timer, World } from "../world/index.ts";
import type { ActorHandle, ActorOptions, Context } from "./behaviour.ts";
import { Party } from "./port.ts";
import type { RestartBudget } from "./supervisor.ts";

/** Timers that one actor may have pending. */
export const TIMERS_MAX = 64;

/** One step in this many is timed, as long as steps are short. */
const TIMED_EVERY = 16;
/** After a step longer than this each is timed: then reading the clock is cheap in comparison. */
const LONG_STEP_US = 20;

export interface CellHost {
  readonly world: World;
  readonly isRunning: boolean;
  readonly isStopping: boolean;
  onReady(): void;
  /** Runs this cell and its like to quiescence, unless that is going on already. */
  runNow(cell: Cell): void;
  /** Takes note of a crash; true when the cell is to be restarted. */
  supervise(subject: Supervised, cause: unknown): boolean;
}

/** Who can be restarted: a cell, or the worker of a solo actor. */
export interface Supervised {
  readonly name: string;
  readonly budget: RestartBudget;
  lastError: unknown;
}

/** The handle of a cell; a class, so that pull() can find the cell without a map. */
export class CellHandle implements ActorHandle {
  readonly cell: Cell;

  constructor(cell: Cell) {
    this.cell = cell;
  }

  get name(): string {
    return this.cell.name;
  }

  wake(): void {
    this.cell.party.wake();
  }

  wakeNow(): void {
    this.cell.host.runNow(this.cell);
  }
}

export class Cell implements Supervised {
  readonly name: string;
  readonly budget: RestartBudget;
  readonly party: Party;
  readonly host: CellHost;
  readonly options: ActorOptions<unknown>;
  readonly handle: CellHandle;
  stepCount = 0;
  busyUs = 0;
  lastError: unknown = undefined;
  readonly #context: Context;
  readonly #timers = new Set<Timer>();
  readonly #withdraws: boolean;
  readonly #waitsForRoom: boolean;
  #state: unknown = undefined;
  #stepping = false;
  #timedIn = 1;
  #timedEvery = 1;

  constructor(options: ActorOptions<unknown>, host: CellHost, budget: RestartBudget) {
    this.name = options.name;
    this.budget = budget;
    this.options = options;
    this.host = host;
    this.party = new Party(() => {
      host.onReady();
    });
    for (const rx of options.receives) rx.joint.bindConsumer(this.party);
    for (const tx of options.sends) {
      tx.joint.bindProducer(this.party);
      this.party.outputs.push(tx.joint);
    }
    const onCrash = options.onCrash ?? (options.receives.length > 0 ? "withdraw" : "keep");
    this.#withdraws = onCrash === "withdraw";
    this.#waitsForRoom = options.runsWithoutRoom !== true;
    this.handle = new CellHandle(this);
    this.#context = this.#makeContext();
  }

  /** Makes the state; once, before the first step. */
  start(): void {
    this.#state = this.options.state();
    this.party.wake();
  }

  /** A look: runs one step if it may run. True when a step was run. */
  visit(): boolean {
    const party = this.party;
    party.ready = false;
    if (!party.woken) {
      if (this.#waitsForRoom && !this.#hasRoom()) return false;
      if (!party.wantsRoom && !this.#hasInput()) return false;
    }
    this.#step();
    return true;
  }

  /** One step on behalf of another actor. True when it ran without a crash. */
  pullOnce(by: Cell): boolean {
    if (this.#stepping || !this.host.isRunning) return false;
    if (!this.#hasRoom()) return false;
    // What the puller sent to this actor is about to be used, so it can no longer be withdrawn.
    for (const rx of this.options.receives) {
      if (rx.joint.producer === by.party) rx.joint.settle();
    }
    const done = this.#step();
    if (!this.host.isRunning) throw new GraphOver();
    return done;
  }

  /** Why this actor may not stop now, or true. A crash of the vote is supervised and a veto. */
  vote(): true | string {
    for (const rx of this.options.receives) {
      const count = rx.available();
      if (count > 0) return `${count} messages wait in ${rx.name}`;
    }
    try {
      return this.options.behaviour.mayStop?.(this.#state, this.#context) ?? true;
    } catch (cause) {
      this.crashed(cause);
      return `the vote crashed: ${describe(cause)}`;
    }
  }

  cancelTimers(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  /** Lets the behaviour release its state. A throw is kept as lastError and returned. */
  stop(): { readonly cause: unknown } | undefined {
    try {
      this.options.behaviour.onStop?.(this.#state);
      return undefined;
    } catch (cause) {
      this.lastError = cause;
      return { cause };
    }
  }

  #step(): boolean {
    const party = this.party;
    const wasWoken = party.woken || party.wantsRoom;
    party.woken = false;
    party.wantsRoom = false;
    party.blocked = false;
    party.moved = false;
    // What an edge sent in this actor's name, outside of a step, stands.
    party.settle();
    this.#stepping = true;
    this.stepCount += 1;
    this.#timedIn -= 1;
    const startUs = this.#timedIn === 0 ? this.host.world.clock.monotonicUs() : 0;
    let done = true;
    try {
      this.options.behaviour.step(this.#state, this.#context);
      party.settle();
    } catch (cause) {
      done = false;
      if (this.#withdraws) for (const output of party.outputs) output.withdraw();
      else party.settle();
      this.crashed(cause);
    }
    this.#stepping = false;
    if (this.#timedIn === 0) this.#timed(startUs);
    if (done) this.#afterStep(wasWoken);
    return done;
  }

  #afterStep(wasWoken: boolean): void {
    const party = this.party;
    const hasRoom = this.#hasRoom();
    // A woken actor may have more to bring in than it had room for, and only it knows. It counts
    // what the step saw: another thread may have made room since.
    if (party.blocked && wasWoken) party.wantsRoom = true;
    if (!hasRoom) {
      // One that runs without room goes on with its input.
      if (!this.#waitsForRoom && party.moved && this.#hasInput()) party.mark();
    } else if (this.#hasInput()) {
      if (party.moved) party.mark();
      else this.#armRoom();
    }
  }

  /** It may wait for more room than there is: the next commit of an output is worth a look. */
  #armRoom(): void {
    for (const output of this.party.outputs) if (output.armRoom()) this.party.mark();
  }

  /** Takes note of a throw and, when the supervisor agrees, repairs the state. */
  crashed(cause: unknown): void {
    // The graph is over because of an actor that this one pulled: that one was reported already.
    if (cause instanceof GraphOver) return;
    if (!this.host.supervise(this, cause)) return;
    try {
      this.options.behaviour.onRestart?.(this.#state, cause);
    } catch (repairCause) {
      // The repair is given one more chance by the next crash; without it, the step is.
      if (!this.host.supervise(this, repairCause)) return;
    }
    this.party.wake();
  }

  #timed(startUs: number): void {
    const elapsedUs = this.host.world.clock.monotonicUs() - startUs;
    this.busyUs += elapsedUs * this.#timedEvery;
    this.#timedEvery = elapsedUs > LONG_STEP_US ? 1 : TIMED_EVERY;
    this.#timedIn = this.#timedEvery;
  }

  #hasInput(): boolean {
    const receives = this.options.receives;
    for (let index = 0; index < receives.length; index += 1) {
      if ((receives[index]?.available() ?? 0) > 0) return true;
    }
    return false;
  }

  #hasRoom(): boolean {
    const sends = this.options.sends;
    for (let index = 0; index < sends.length; index += 1) {
      if (sends[index]?.vacant() === 0) return false;
    }
    return true;
  }

  #makeContext(): Context {
    const { host, party, name } = this;
    return {
      name,
      world: host.world,
      get stopping(): boolean {
        return host.isStopping;
      },
      wake: () => {
        party.wake();
      },
      settle: () => {
        party.settle();
      },
      after: (delayMs) => this.#after(delayMs),
      pull: (actor) => this.#pull(actor),
    };
  }

  #after(delayMs: number): Timer {
    assert(this.#timers.size < TIMERS_MAX, `actor ${this.name} has too many timers`);
    const inner = this.host.world.clock.after(delayMs, () => {
      this.#timers.delete(timer);
      this.handle.wakeNow();
    });
    const timer: Timer = {
      cancel: () => {
        this.#timers.delete(timer);
        inner.cancel();
      },
    };
    this.#timers.add(timer);
    return timer;
  }

  #pull(actor: ActorHandle): boolean {
    assert(actor instanceof CellHandle, "pull() takes a handle that graph.actor returned");
    assert(actor.cell.host === this.host, "pull() reaches actors of the same troupe only");
    return actor.cell.pullOnce(this);
  }
}

/** Unwinds the steps below a pull in which the graph failed. Never leaves this file. */
class GraphOver extends Error {}

export function describe(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
