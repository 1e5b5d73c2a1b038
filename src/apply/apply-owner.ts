/** Sets owner and permissions of one node of the target. */
import { type Files, Mode, Stat, statSlots } from "../world/index.ts";

const stat: Float64Array = new Float64Array(statSlots);

/**
 * `spot`: a descriptor of the file, or of its directory and the file's name there. `refused` hears
 * of what could not be set. A symbolic link has no permissions of its own.
 */
export function applyOwner(
  files: Files,
  spot: { fd: number; name: Uint8Array; isNew: boolean },
  { mode, uid, gid }: { mode: number; uid: number; gid: number },
  refused: (operation: string, result: number) => void,
): void {
  const { fd, name } = spot;
  const permissions = mode & Mode.permissionMask;
  // A new file mostly has the owner and the permissions that it is to have.
  const isKnown = spot.isNew && files.fstat(fd, stat) === 0;
  const isOwned = isKnown && stat[Stat.uid] === uid && stat[Stat.gid] === gid;
  if (!isOwned) tell("chown", files.chown(fd, name, uid, gid));
  const isPermitted = isOwned && (stat[Stat.mode]! & Mode.permissionMask) === permissions;
  if (isPermitted || (mode & Mode.typeMask) === Mode.symlink) return;
  const isOwn = spot.isNew || name.length === 0;
  tell("chmod", isOwn ? files.chmod(fd, permissions) : files.chmodAt(fd, name, permissions));

  function tell(operation: string, result: number): void {
    if (result < 0) refused(operation, result);
  }
}
