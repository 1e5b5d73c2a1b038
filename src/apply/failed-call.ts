/** What the errno of a call on the target means that must succeed. */
import { SyncError } from "../base/index.ts";
import { Errno } from "../world/index.ts";

/** `mounts`: the mount points that the scan of the target has met, by their paths. */
export function failedCall(result: number, message: string, mounts: readonly string[]): SyncError {
  switch (-result) {
    case Errno.ENOSPC:
    case Errno.EDQUOT:
      return new SyncError("TARGET_FULL", message);
    case Errno.EROFS:
      return new SyncError("ROOT_UNWRITABLE", message);
    case Errno.EEXIST:
    case Errno.EBUSY:
    case Errno.EXDEV:
      if (mounts.length === 0) break;
      // Another comparison would end here again, as what is mounted is neither seen nor removed.
      return new SyncError(
        "TARGET_MOUNT",
        `${message}; other filesystems are mounted in the target at ${mounts.join(", ")}`,
      );
  }
  return new SyncError("TARGET_DIVERGED", message);
}

/** Whether setting metadata was refused, by the filesystem or for lack of privilege. */
export function isRefused(result: number): boolean {
  return (
    result === -Errno.EPERM ||
    result === -Errno.EACCES ||
    result === -Errno.EOPNOTSUPP ||
    result === -Errno.EINVAL ||
    result === -Errno.ERANGE
  );
}

/** An operation that no correct source sends. */
export function malformed(message: string): never {
  throw new SyncError("PEER_MALFORMED", message);
}
