/**
 * What the user of the graph writes: a behaviour, and what it is given to work with.
 *
 * Rules of a behaviour:
 * - step() is synchronous and works in batches: all that is available, as far as there is room.
 * - It is called when an input has messages and every output has room, or when it was woken
 *   (wake, timer, restart, a closed input, the request to shut down), so it checks available().
 *   A woken step may find no room: check vacant(), hasRoom() or fits(); one that was told of no
 *   room is called again when there is some.
 * - Peek, work, send, commit, in this order. commit() settles what was sent before it. When step()
 *   throws, sends that are not settled are withdrawn and messages not committed are seen again.
 */
import type { Timer, World } from "../world/index.ts";
import type { AnyRx, AnyTx } from "./port.ts";
import type { RestartLimits } from "./supervisor.ts";

export interface Context {
  /** Name of the actor. */
  readonly name: string;
  readonly world: World;
  /** A shutdown was requested: finish what is in hand, start nothing new. */
  readonly stopping: boolean;
  /** Run this actor again, after the others that are ready have had their turn. */
  wake(): void;
  /** Wake this actor after `delayMs`. At most TIMERS_MAX pending per actor (asserted). */
  after(delayMs: number): Timer;
  /**
   * Runs one step of another actor of the same troupe, inside this step. True when the step ran;
   * false when it has no room in its outputs, when it crashed (it is restarted as usual), or when
   * it is in the middle of a step itself.
   */
  pull(actor: ActorHandle): boolean;
  /** What was sent so far stands, even if this step throws later. For sources of messages. */
  settle(): void;
}

export interface Behaviour<S> {
  step(state: S, context: Context): void;
  /** Vote on shutdown: true, or a veto that names its reason. Without it: agrees. */
  mayStop?(state: S, context: Context): true | string;
  /** The graph has stopped: release what the state holds. Called once. */
  onStop?(state: S): void;
  /** After a crash, before the next step: repair the state. */
  onRestart?(state: S, cause: unknown): void;
}

export interface ActorOptions<S> {
  readonly name: string;
  /** Actors of one troupe run to completion together, in wiring order. */
  readonly troupe: string;
  /** Makes the state, once, at start. It outlives restarts. */
  readonly state: () => S;
  readonly receives: readonly AnyRx[];
  readonly sends: readonly AnyTx[];
  readonly behaviour: Behaviour<S>;
  /** Run on input even when an output has no room. */
  readonly runsWithoutRoom?: boolean;
  /**
   * What happens to unsettled sends when step() throws. Without it: "withdraw" for an actor with
   * inputs (it sees its input again and would send twice), "keep" for one without.
   */
  readonly onCrash?: "withdraw" | "keep";
  /** In place of the limits of the graph. */
  readonly restarts?: RestartLimits;
}

/** An actor from outside: for edges (socket and kernel callbacks) and for pull(). */
export interface ActorHandle {
  readonly name: string;
  /** Runs the actor on a later turn of the event loop. */
  wake(): void;
  /**
   * Runs the actor and its troupe now, to quiescence, inside the calling callback. From inside a
   * step it only marks: the running scheduler takes it up before it ends.
   */
  wakeNow(): void;
}

export interface Veto {
  readonly actor: string;
  readonly reason: string;
}

export interface GraphFailure {
  readonly actor: string;
  readonly cause: unknown;
}

/** How the graph ended. `vetoes` are those that a deadline overruled. */
export interface StopReport {
  readonly how: "agreed" | "deadline" | "failed";
  readonly vetoes: readonly Veto[];
  readonly failure: GraphFailure | undefined;
}
