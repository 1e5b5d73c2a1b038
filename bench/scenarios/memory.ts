/**
 * Scenario 7: memory. 1,000,000 empty files in folders of 1000 are copied, and copied again with
 * nothing changed; the peak of each side, beside `rsync -a` to a daemon on loopback. See phases.ts.
 *
 * Empty files, because what costs memory in a synchronizer is the number of names, not content.
 */
import { makeEmptyTree } from "../programs.ts";
import { measureTrees } from "./phases.ts";
import type { Scenario } from "./scenario.ts";

/** Runs scenario 7; see the file's header. */
export const memory: Scenario = (settings) => {
  const files = settings.quick ? 100_000 : 1_000_000;
  return measureTrees(settings, {
    scenario: "memory",
    title: `peak memory: first copy of ${files} empty files, and a restart with nothing changed`,
    files,
    rounds: settings.rounds ?? 1,
    restarts: 1,
    notes: [
      "Goal for 1,000,000 files: less than 600 MiB on each side. rsync keeps nothing between runs.",
    ],
    makeSource: (folder) => makeEmptyTree(folder, files),
  });
};
