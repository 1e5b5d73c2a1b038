/**
 * What only tests and benchmarks switch, by the environment, so that they can be seen to fail
 * (CONTRIBUTING.md). Nothing else reads such a variable, and whoever sets one is told so, however
 * quiet the program.
 */
import type { Log } from "../world/index.ts";

const noValidation = "LOCKSTEP_TEST_NO_VALIDATION";

const noJournal = "LOCKSTEP_TEST_NO_JOURNAL";

/** Whether cuts are found as they should be. */
export function areCutsValidated(env: NodeJS.ProcessEnv, log: Log): boolean {
  return isLeftOn(env, log, noValidation, "cuts are not validated");
}

/** Whether targets put down what they are about to do: its cost is what it costs more than this. */
export function areJournalsKept(env: NodeJS.ProcessEnv, log: Log): boolean {
  return isLeftOn(env, log, noJournal, "targets have no journal");
}

function isLeftOn(env: NodeJS.ProcessEnv, log: Log, name: string, off: string): boolean {
  if (env[name] !== "1") return true;
  log.write("error", `${off}: for tests only (${name}=1)`);
  return false;
}
