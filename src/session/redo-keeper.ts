/**
 * What keeps in `--backup-dir` the names that a crash has left to be taken away, as the session
 * that died would have. Content that its epoch overwrites was kept before that was recorded.
 */
import { Backup, type BackupPlace } from "../apply/index.ts";
import type { RecoverOptions } from "../journal/index.ts";
import type { Clock } from "../world/index.ts";

/** For `recover`; nothing is kept without a place. */
export function redoKeeper(
  options: Pick<RecoverOptions, "files" | "rootFd" | "problems">,
  clock: Clock,
  place: BackupPlace | undefined,
): Pick<RecoverOptions, "keeper"> {
  if (place === undefined) return {};
  const rest = { clock, place, roomBytes: () => Infinity, mounts: () => [] };
  return {
    keeper: (tree) => {
      const backup = new Backup({ ...options, ...rest, tree });
      backup.goLive();
      return backup;
    },
  };
}
