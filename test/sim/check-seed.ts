/** Runs one seed twice, and once more with an explanation when it has failed. */
import type { FaultKind } from "./faults.ts";
import { Simulation, type SimulationResult } from "./simulation.ts";

export interface CheckOptions {
  readonly steps: number;
  readonly faults: readonly FaultKind[];
  readonly isTwice: boolean;
  readonly isCoarse?: boolean;
  readonly listen?: (entry: string) => void;
}

export interface Checked {
  readonly result: SimulationResult;
  readonly failure: string | undefined;
}

export async function checkSeed(seed: number, options: CheckOptions): Promise<Checked> {
  const { steps, faults, isTwice, listen } = options;
  const coarse = options.isCoarse === undefined ? {} : { isCoarse: options.isCoarse };
  const own = { seed, steps, faults, ...coarse };
  const told = listen === undefined ? {} : { listen };
  const result = await new Simulation({ ...own, ...told }).run();
  if (result.failure !== undefined) {
    const again = await new Simulation({ ...own, explains: true }).run();
    const isSame = again.failure?.split("\n")[0] === result.failure.split("\n")[0];
    const doubt = isSame ? "" : "(and another failure when it was run again)\n";
    return { result, failure: doubt + (isSame ? again.failure! : result.failure) };
  }
  if (!isTwice) return { result, failure: undefined };
  const second = await new Simulation(own).run();
  const isSame = second.digest === result.digest;
  const why = `the two runs of the seed differ: ${result.digest} ${second.digest}`;
  return { result, failure: isSame ? undefined : why };
}
