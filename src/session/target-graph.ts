/**
 * The whole of the target, wired: three actors, two channels, and the shortcut past them.
 *
 *   link -> receive --(epochs)--> apply --(acks)--> send -> link
 *       \------------ quick: one whole epoch ----------/
 *
 * What each does is in `TargetSession`; here is only who runs when, and what waits where.
 */
import {
  type ActorHandle,
  type Channel,
  type Context,
  Graph,
  type Shortcut,
} from "../actor/index.ts";
import type { World } from "../world/index.ts";
import type { HeldEpoch } from "./held-epoch.ts";
import { epochCountMax, heldBytesMax } from "./limits.ts";

/** What the actors do in one step; each is called by one actor alone. */
export interface TargetSteps {
  receive(context: Context): void;
  apply(context: Context): void;
  send(): void;
  /** The work of all three for bytes that are one whole epoch. False: they have to do it. */
  quick(bytes: Uint8Array): boolean;
  failed(cause: unknown): void;
  /** Some actor is going to step. */
  marked(): void;
}

export interface TargetGraph {
  readonly graph: Graph;
  readonly epochs: Channel<HeldEpoch>;
  /** Numbers of applied epochs. */
  readonly acks: Channel<number>;
  readonly receive: ActorHandle;
  readonly apply: ActorHandle;
  readonly send: ActorHandle;
  readonly quick: Shortcut<Uint8Array>;
}

export function wireTarget(world: World, steps: TargetSteps): TargetGraph {
  const graph = new Graph({
    world,
    stepsPerTurnMax: 64,
    // A step that throws has lost what it had in hand: only a new comparison makes that good.
    restarts: { restartsMax: 0, restartWindowMs: 10000 },
    failed: (failure) => steps.failed(failure.cause),
    marked: () => steps.marked(),
  });
  const epochs = graph.channel<HeldEpoch>({
    name: "epochs",
    capacity: epochCountMax,
    sampleEvery: 64,
    weigh: (epoch) => Math.min(epoch.bytes, heldBytesMax),
    weightMax: heldBytesMax,
  });
  const acks = graph.channel<number>({ name: "acks", capacity: 64, sampleEvery: 64 });
  const receive = graph.actor({
    name: "receive",
    troupe: "target",
    state: () => steps,
    receives: [],
    sends: [epochs.tx],
    runsWithoutRoom: true,
    behaviour: { step: (_, context) => steps.receive(context) },
  });
  const apply = graph.actor({
    name: "apply",
    troupe: "target",
    state: () => steps,
    receives: [epochs.rx],
    sends: [acks.tx],
    behaviour: { step: (_, context) => steps.apply(context) },
  });
  const send = graph.actor({
    name: "send",
    troupe: "target",
    state: () => steps,
    receives: [acks.rx],
    sends: [],
    behaviour: { step: () => steps.send() },
  });
  const quick = graph.shortcut<Uint8Array>({
    past: [receive, apply, send],
    run: (bytes) => steps.quick(bytes),
  });
  return { graph, epochs, acks, receive, apply, send, quick };
}
