/**
 * Scenario 6: the first copy of 100,000 files of 2 to 64 KiB (3.3 GB), and two restarts with
 * nothing changed, against `rsync -a` to a daemon on loopback; what each side uses. See phases.ts.
 */
import { makeMixedTree } from "../programs.ts";
import { measureTrees } from "./phases.ts";
import type { Scenario } from "./scenario.ts";

const bytesMin = 2 * 1024;
const bytesMax = 64 * 1024;

/** Runs scenario 6; see the file's header. */
export const seed: Scenario = (settings) => {
  const files = settings.quick ? 5000 : 100_000;
  return measureTrees(settings, {
    scenario: "seed",
    title: `first copy of ${files} files of 2 to 64 KiB, and restarts with nothing changed`,
    files,
    rounds: settings.rounds ?? 3,
    restarts: 2,
    notes: ["Goals for 100,000 files: the seed takes less time than rsync's, a restart under 2 s."],
    makeSource: (folder) => makeMixedTree(folder, { files, bytesMin, bytesMax }),
  });
};
