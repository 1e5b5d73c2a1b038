/**
 * A shortcut: the work of some actors for the most frequent message, done in one call instead of a
 * step of each, so that it costs neither passes of the scheduler nor channels.
 *
 * In: `take(input)`, called by an edge. Out: whether the work is done; if not, the edge wakes its
 * actor as ever, which does the same by the general way. It is tried only while the graph is at
 * rest: running, nobody in a step, no actor ready. That the channels on the way are empty is for
 * `run` to see. What happens inside is a step to everybody else: wakes only mark, a throw is
 * supervised as one of the first actor, and every actor that is passed counts a step.
 */
import { assert } from "../base/index.ts";
import type { ActorHandle } from "./behaviour.ts";
import { type Cell, CellHandle } from "./cell.ts";
import type { Troupe } from "./troupe.ts";

export interface ShortcutOptions<I> {
  /** The actors whose work it does, in the order of the messages; of one troupe. */
  readonly past: readonly ActorHandle[];
  /** True: done. False: nothing was done that their steps would not take up from there. */
  readonly run: (input: I) => boolean;
}

export class Shortcut<I> {
  readonly #troupe: Troupe;
  readonly #cells: readonly Cell[];
  readonly #run: (input: I) => boolean;

  /** `troupe` is the one of all `past`. */
  constructor(troupe: Troupe, options: ShortcutOptions<I>) {
    this.#troupe = troupe;
    this.#cells = options.past.map((handle) => cellOf(handle, troupe));
    assert(this.#cells.length > 0, "a shortcut leads past some actor");
    this.#run = options.run;
  }

  /** Does the work if it can. False: the actors have to. */
  take(input: I): boolean {
    const troupe = this.#troupe;
    if (!troupe.enter()) return false;
    let done = true;
    try {
      done = this.#run(input);
    } catch (cause) {
      this.#cells[0]!.crashed(cause);
    }
    if (done) for (let i = 0; i < this.#cells.length; i++) this.#cells[i]!.stepCount += 1;
    troupe.leave();
    return done;
  }
}

function cellOf(handle: ActorHandle, troupe: Troupe): Cell {
  assert(handle instanceof CellHandle, "a shortcut takes handles that graph.actor returned");
  assert(handle.cell.host === troupe, "a shortcut leads past actors of one troupe");
  return handle.cell;
}
