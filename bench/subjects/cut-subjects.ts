/**
 * Lockstep as the subject of the scenario `cuts`: over a link, in one process, and with the ways of
 * capture that know less. What it counts is read from `lockstep status --json`.
 */
import type { Pair } from "../workspace.ts";
import { type LiveSync, lockstepUnavailable, prepareLink, syncLocal } from "./lockstep.ts";

/** Since the start of the sync. */
export interface CutCounts {
  readonly epochs: number;
  readonly fuzzyEpochs: number;
  /** Closed by reading what is hot. */
  readonly hotEpochs: number;
  readonly rounds: number;
  readonly bytesSent: number;
}

export interface CutSubject {
  readonly name: string;
  unavailable(): Promise<string | undefined>;
  /** Resolves when it is live. */
  start(pair: Pair): Promise<{ counts(): Promise<CutCounts>; stop(): Promise<void> }>;
}

export const cutSubjects: readonly CutSubject[] = [
  {
    name: "link",
    unavailable: lockstepUnavailable,
    start: async (pair) => {
      const link = await prepareLink(pair);
      try {
        const live = await link.sync();
        return {
          counts: () => countsOf(live),
          stop: async () => {
            await live.end();
            await link.stop();
          },
        };
      } catch (error) {
        await link.stop();
        throw error;
      }
    },
  },
  local("local ebpf", ["--backend", "ebpf"]),
  local("local fanotify", ["--backend", "fanotify"]),
  local("local inotify", ["--backend", "inotify"]),
];

function local(name: string, options: readonly string[]): CutSubject {
  return {
    name,
    unavailable: lockstepUnavailable,
    start: async (pair) => {
      const live = await syncLocal(pair, options);
      return { counts: () => countsOf(live), stop: () => live.end() };
    },
  };
}

async function countsOf(live: LiveSync): Promise<CutCounts> {
  const status = await live.status();
  const count = (name: string): number => Number(status[name] ?? 0);
  return {
    epochs: count("epochs"),
    fuzzyEpochs: count("fuzzyEpochs"),
    hotEpochs: count("hotEpochs"),
    rounds: count("rounds"),
    bytesSent: count("bytesSent"),
  };
}
