/**
 * A git repository under continuous commits, repacks and pruning is mirrored, and the target's
 * process dies at random moments, or the source's. What is promoted then passes `git fsck --full`;
 * its HEAD is a commit that the source had, and the newest that it had made before the cut, or a
 * later one.
 *
 * Variables: kill-moments.ts. 100 moments: LOCKSTEP_WORKLOADS_KILLS=100.
 */
import { gitLedger, whyNoGit } from "./ledger-git.ts";
import { sourceDies, targetDies } from "./kill-deaths.ts";

const git = { whyNot: whyNoGit(), make: gitLedger };

targetDies("git", { few: 2, ...git });
sourceDies("git", { few: 0, ...git });
targetDies("git, strict", { few: 0, ...git, isStrict: true });
