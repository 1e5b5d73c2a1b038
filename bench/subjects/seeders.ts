/**
 * The products that copy a whole tree and are then started again with nothing to do, each over its
 * own way to the target, and what each of their sides uses for it.
 *
 * In: a pair whose source is at rest. Out: one Phase for the first copy and one for each restart.
 * A restart is the whole process of the sending side; the receiving side goes on (`lockstep serve`;
 * an rsync daemon keeps nothing between two runs, so a new one does for each, to be measured).
 * The first restart follows the first copy at once.
 *
 * Lockstep's times run from the start of the process to its "live", rsync's from start to exit.
 * Usage is read at those moments. What Lockstep's receiving side does later (it writes its index)
 * counts in the next phase. For rsync the peak is that of the largest process of a side.
 */
import { exists } from "../processes.ts";
import { measureCommand } from "../programs.ts";
import { readUsage, resetPeaks, type Usage, usedBetween } from "../usage.ts";
import type { Pair } from "../workspace.ts";
import { lockstepLink, lockstepLocal, prepareLink, syncLocal } from "./lockstep.ts";
import { rsyncOptions, startMeasuredDaemon } from "./rsync-daemon.ts";
import type { Subject } from "./subject.ts";

const rsyncMs = 900_000;

export interface Phase {
  /** "seed", "restart", "restart 2", … */
  readonly name: string;
  readonly seconds: number;
  /** The monotonic moments between which that was. */
  readonly beganNs: number;
  readonly doneNs: number;
  readonly source: Usage;
  /** Undefined where one process is both sides: then `source` is both. */
  readonly target: Usage | undefined;
}

export interface Seeder extends Pick<Subject, "name" | "unavailable"> {
  /** Copies the pair's source and starts again `restarts` times; ends all that it has started. */
  run(pair: Pair, restarts: number): Promise<Phase[]>;
}

/** The first is the one that the others are compared with. */
export const seeders: readonly Seeder[] = [
  {
    name: "rsync -a (daemon)",
    unavailable: async () =>
      (await exists("rsync", ["--version"])) ? undefined : "rsync is not installed",
    run: (pair, restarts) => inPhases(restarts, () => runRsync(pair)),
  },
  {
    name: lockstepLink.name,
    unavailable: lockstepLink.unavailable,
    run: runLink,
  },
  {
    name: lockstepLocal.name,
    unavailable: lockstepLocal.unavailable,
    run: (pair, restarts) => inPhases(restarts, () => runLocal(pair)),
  },
];

type Run = Omit<Phase, "name">;

async function inPhases(restarts: number, runOnce: () => Promise<Run>): Promise<Phase[]> {
  const phases: Phase[] = [];
  for (let restart = 0; restart <= restarts; restart += 1) {
    phases.push({ name: phaseName(restart), ...(await runOnce()) });
  }
  return phases;
}

function phaseName(restart: number): string {
  if (restart === 0) return "seed";
  return restart === 1 ? "restart" : `restart ${restart}`;
}

async function runRsync(pair: Pair): Promise<Run> {
  const { url, server } = await startMeasuredDaemon(pair);
  try {
    const args = [...rsyncOptions, `${pair.source}/`, url];
    const began = now();
    const source = await measureCommand("rsync", args, rsyncMs);
    return { ...since(began), source, target: await server.end() };
  } finally {
    await server.process.end();
  }
}

async function runLink(pair: Pair, restarts: number): Promise<Phase[]> {
  const link = await prepareLink(pair);
  try {
    let before = await readUsage(link.serverPid);
    return await inPhases(restarts, async () => {
      const began = now();
      const live = await link.sync();
      const times = since(began);
      try {
        const source = await readUsage(live.pid);
        const after = await readUsage(link.serverPid);
        const target = usedBetween(before, after);
        before = after;
        await resetPeaks(link.serverPid);
        return { ...times, source, target };
      } finally {
        await live.end();
      }
    });
  } finally {
    await link.stop();
  }
}

async function runLocal(pair: Pair): Promise<Run> {
  const began = now();
  const live = await syncLocal(pair);
  const times = since(began);
  try {
    return { ...times, source: await readUsage(live.pid), target: undefined };
  } finally {
    await live.end();
  }
}

/** The clock that the judge's moments are of. */
function now(): bigint {
  return process.hrtime.bigint();
}

function since(began: bigint): Pick<Phase, "seconds" | "beganNs" | "doneNs"> {
  const done = now();
  return {
    seconds: Number(done - began) / 1e9,
    beganNs: Number(began),
    doneNs: Number(done),
  };
}
