/** A world that stands still and options for a graph in it: the ground of the actor tests. */
import { Graph } from "../../src/actor/index.ts";
import type { GraphFailure, GraphOptions } from "../../src/actor/index.ts";
import { FakeClock } from "../../src/world/index.ts";
import type { World } from "../../src/world/index.ts";

export interface Rig {
  readonly clock: FakeClock;
  readonly world: World;
  readonly options: GraphOptions;
  readonly failures: GraphFailure[];
  readonly logLines: string[];
}

export function makeRig(changes: Partial<GraphOptions> = {}): Rig {
  const clock = new FakeClock({ startUs: 1_000_000, wallStartMs: 0, eventsMax: 100_000 });
  const logLines: string[] = [];
  const world: World = {
    clock,
    entropy: { bytes: (count) => new Uint8Array(count) },
    hashes: { sha256: () => new Uint8Array(32) },
    log: {
      write: (level, message) => {
        logLines.push(`${level} ${message}`);
      },
    },
  };
  const failures: GraphFailure[] = [];
  const options: GraphOptions = {
    world,
    stepsPerTurnMax: 10_000,
    restarts: { restartsMax: 3, restartWindowMs: 1000 },
    failed: (failure) => {
      failures.push(failure);
    },
    ...changes,
  };
  return { clock, world, options, failures, logLines };
}

export function makeGraph(changes: Partial<GraphOptions> = {}): Rig & { readonly graph: Graph } {
  const rig = makeRig(changes);
  return { ...rig, graph: new Graph(rig.options) };
}
