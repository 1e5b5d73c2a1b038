/**
 * A troupe: actors on one thread, run to completion.
 *
 * In: ready marks. The scheduler sweeps the actors in wiring order, while any is ready and the
 * budget of `stepsPerTurnMax`, and of time, lasts; then it defers to the event loop, so that I/O
 * can breathe.
 * Wired upstream first, a message passes the whole troupe in one sweep: no promise, no tick.
 * Invariant: one run of the graph at a time (Graph.busy): a wake from inside a step only marks.
 */
import type { World } from "../world/index.ts";
import type { Cell, CellHost, Supervised } from "./cell.ts";

/** A turn that lasts for longer is ended, whatever is left of its budget: I/O waits for it. */
const turnUsMax = 100_000;
/** Steps between two looks at the clock: most turns have fewer. */
const stepsPerLook = 4;

/** What a troupe needs of its graph. */
export interface TroupeHost {
  readonly world: World;
  readonly stepsPerTurnMax: number;
  readonly isRunning: boolean;
  readonly isStopping: boolean;
  /** A run or a vote is going on. */
  busy: boolean;
  supervise(subject: Supervised, cause: unknown): boolean;
  /** An actor is going to step. */
  onMark(): void;
  /** A run has ended. */
  onTurnEnd(): void;
}

export class Troupe implements CellHost {
  readonly name: string;
  readonly cells: Cell[] = [];
  readonly world: World;
  readonly #host: TroupeHost;
  #readyCount = 0;
  #deferred = false;
  #nextIndex = 0;

  constructor(name: string, host: TroupeHost) {
    this.name = name;
    this.world = host.world;
    this.#host = host;
  }

  get isRunning(): boolean {
    return this.#host.isRunning;
  }

  get isStopping(): boolean {
    return this.#host.isStopping;
  }

  get hasReady(): boolean {
    return this.#readyCount > 0;
  }

  supervise(subject: Supervised, cause: unknown): boolean {
    return this.#host.supervise(subject, cause);
  }

  onReady(): void {
    this.#readyCount += 1;
    this.#host.onMark();
    this.deferIfReady();
  }

  /** Has the ready actors run on a later turn, unless a run is going on or is deferred already. */
  deferIfReady(): void {
    const host = this.#host;
    if (this.#deferred || this.#readyCount === 0 || host.busy || !host.isRunning) return;
    this.#deferred = true;
    this.world.clock.defer(() => {
      this.#deferred = false;
      this.run();
    });
  }

  runNow(cell: Cell): void {
    const party = cell.party;
    party.woken = true;
    if (!party.ready) {
      // Not mark(): that would defer a turn, which this very call makes needless.
      party.ready = true;
      this.#readyCount += 1;
      this.#host.onMark();
    }
    this.run();
  }

  /** Takes the graph for a shortcut. False when it is not at rest. */
  enter(): boolean {
    const host = this.#host;
    if (host.busy || this.#readyCount > 0 || !host.isRunning || host.isStopping) return false;
    host.busy = true;
    return true;
  }

  leave(): void {
    const host = this.#host;
    host.busy = false;
    if (this.#readyCount > 0) host.onTurnEnd();
  }

  /** Runs the ready actors until none is ready or the budget is used up. */
  run(): void {
    const host = this.#host;
    if (host.busy || !host.isRunning) return;
    host.busy = true;
    const cells = this.cells;
    const { clock } = this.world;
    let budget = host.stepsPerTurnMax;
    let index = this.#nextIndex;
    let untilUs = 0;
    while (this.#readyCount > 0 && budget > 0 && host.isRunning) {
      const cell = cells[index];
      index = index + 1 < cells.length ? index + 1 : 0;
      if (cell === undefined || !cell.party.ready) continue;
      this.#readyCount -= 1;
      cell.visit();
      budget -= 1;
      if (budget % stepsPerLook !== 0) continue;
      const nowUs = clock.monotonicUs();
      if (untilUs === 0) untilUs = nowUs + turnUsMax;
      else if (nowUs > untilUs) break;
    }
    // A sweep that the budget cut short goes on where it stopped, or those at its end would starve.
    this.#nextIndex = this.#readyCount > 0 ? index : 0;
    host.busy = false;
    host.onTurnEnd();
  }
}
