/**
 * The whole of the source, wired: three actors, two channels, and the shortcut past them.
 *
 *   kernel -> capture --(changes)--> cut --(frames)--> send -> link
 *        \------------ quick: one small write -----------/
 *
 * What each does is in `SourceSession`; here is only who runs when, and what waits where.
 */
import {
  type ActorHandle,
  type Channel,
  type Context,
  Graph,
  type Shortcut,
} from "../actor/index.ts";
import type { World } from "../world/index.ts";
import { frameCountMax, framesBytesMax } from "./limits.ts";

/** What the actors do in one step; each is called by one actor alone. */
export interface SourceSteps {
  capture(context: Context): void;
  cut(context: Context): void;
  mayStopCut(): true | string;
  send(context: Context): void;
  /** The work of all three for one small write. False: they have to do it. */
  quick(): boolean;
  failed(cause: unknown): void;
  /** Some actor is going to step. */
  marked(): void;
}

export interface SourceGraph {
  readonly graph: Graph;
  /** Tells the cut that the dirty set, which the two share, has something for it. */
  readonly changes: Channel<number>;
  readonly frames: Channel<Uint8Array>;
  readonly capture: ActorHandle;
  readonly cut: ActorHandle;
  readonly send: ActorHandle;
  readonly quick: Shortcut<undefined>;
}

export function wireSource(world: World, steps: SourceSteps): SourceGraph {
  const graph = new Graph({
    world,
    stepsPerTurnMax: 64,
    // A step that throws has lost what it had in hand: only a new comparison makes that good.
    restarts: { restartsMax: 0, restartWindowMs: 10000 },
    failed: (failure) => steps.failed(failure.cause),
    marked: () => steps.marked(),
  });
  // One message at a time is under way; the second place is never taken, because an actor whose
  // output is full cannot be pulled, and the cut must always be able to have capture drain.
  const changes = graph.channel<number>({ name: "changes", capacity: 2, sampleEvery: 64 });
  const frames = graph.channel<Uint8Array>({
    name: "frames",
    capacity: frameCountMax,
    sampleEvery: 64,
    weigh: (piece) => piece.length,
    weightMax: framesBytesMax,
  });
  const capture = graph.actor({
    name: "capture",
    troupe: "source",
    state: () => steps,
    receives: [],
    sends: [changes.tx],
    runsWithoutRoom: true,
    behaviour: { step: (_, context) => steps.capture(context) },
  });
  const cut = graph.actor({
    name: "cut",
    troupe: "source",
    state: () => steps,
    receives: [changes.rx],
    sends: [frames.tx],
    behaviour: { step: (_, context) => steps.cut(context), mayStop: () => steps.mayStopCut() },
  });
  const send = graph.actor({
    name: "send",
    troupe: "source",
    state: () => steps,
    receives: [frames.rx],
    sends: [],
    behaviour: { step: (_, context) => steps.send(context) },
  });
  const quick = graph.shortcut({ past: [capture, cut, send], run: () => steps.quick() });
  return { graph, changes, frames, capture, cut, send, quick };
}
