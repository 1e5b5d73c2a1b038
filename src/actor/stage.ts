/**
 * The stage manager: tests a graph through its own wiring function, with simulated edges.
 *
 * Use: make a Stage, simulate() the edge actors by name, pass stage.graph to the wiring function,
 * start(), then send() from and expect() at the simulated actors. Everything is synchronous: after
 * each send the graph has come to rest before the call returns.
 * Source: the StageManager of steady_state (Rust).
 */
import { assert } from "../base/index.ts";
import type { Behaviour } from "./behaviour.ts";
import type { GraphOptions } from "./graph.ts";
import { Graph } from "./graph.ts";
import type { AnyRx, AnyTx, Rx, Tx } from "./port.ts";

export class Stage {
  readonly graph: Graph;

  constructor(options: GraphOptions) {
    this.graph = new Graph(options);
  }

  /** Has the actor of this name played by the test. Before the wiring. */
  simulate(name: string): SimulatedActor {
    const actor = new SimulatedActor(name, this);
    this.graph.replace(name, (ends) => actor.enter(ends.receives, ends.sends));
    return actor;
  }

  /** Starts the graph and lets it come to rest. */
  start(): void {
    this.graph.start();
    this.settle();
  }

  /** Runs all actors until none is ready; asserts that this is reached. */
  settle(): void {
    const isQuiet = this.graph.runNow();
    assert(isQuiet || !this.graph.isRunning, "the graph does not come to rest");
  }
}

export class SimulatedActor {
  readonly name: string;
  readonly #stage: Stage;
  #receives: readonly AnyRx[] = [];
  #sends: readonly AnyTx[] = [];

  constructor(name: string, stage: Stage) {
    this.name = name;
    this.#stage = stage;
  }

  /** Sends into one of the actor's outputs, then lets the graph come to rest. */
  send(channel: string, message: unknown): void {
    const tx = this.#sends.find((end) => end.name === channel) as Tx<unknown> | undefined;
    assert(tx !== undefined, `${this.name} does not send to ${channel}`);
    tx.send(message);
    tx.joint.settle();
    this.#stage.settle();
  }

  /** Messages that wait for this actor in one of its inputs. */
  waiting(channel: string): number {
    return this.#rx(channel).available();
  }

  /** Takes the next message of an input; asserts that there is one. */
  expect<T>(channel: string): T {
    const rx = this.#rx(channel);
    assert(rx.available() > 0, `${this.name} waits for a message from ${channel}`);
    const message = rx.peek(0) as T;
    rx.commit(1);
    this.#stage.settle();
    return message;
  }

  /** For Stage. */
  enter(receives: readonly AnyRx[], sends: readonly AnyTx[]): Behaviour<unknown> {
    this.#receives = receives;
    this.#sends = sends;
    return { step: () => undefined };
  }

  #rx(channel: string): Rx<unknown> {
    const rx = this.#receives.find((end) => end.name === channel);
    assert(rx !== undefined, `${this.name} does not receive from ${channel}`);
    return rx;
  }
}
