/**
 * What only tests switch, by the environment, so that they can be seen to fail (CONTRIBUTING.md).
 * Nothing else reads such a variable, and whoever sets one is told so, however quiet the program.
 */
import type { Log } from "../world/index.ts";

const noValidation = "LOCKSTEP_TEST_NO_VALIDATION";

/** Whether cuts are found as they should be. */
export function areCutsValidated(env: NodeJS.ProcessEnv, log: Log): boolean {
  if (env[noValidation] !== "1") return true;
  log.write("error", `cuts are not validated: for tests only (${noValidation}=1)`);
  return false;
}
