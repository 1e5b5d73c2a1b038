/**
 * The control of tests with real programs: a cut that forgets what it has read, so that nothing
 * conflicts with it and every epoch is called clean. What is mirrored like that is a mixture of
 * moments; a test that does not find it out is worth nothing.
 */
import type { DirtySet } from "./dirty-set.ts";

/** Never for a mirror that anybody needs. */
export function forgetReads(dirty: DirtySet): void {
  dirty.noteRead = () => {};
  dirty.noteNamesRead = () => {};
}
