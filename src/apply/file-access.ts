/** Opening and filling files of the target where the simple call is refused. */
import { Errno, Fallocate, type Files, Mode, Open } from "../world/index.ts";

const zerosBytes = 1048576;

/** A descriptor of the regular file of this name and mode, or a negative errno. */
export function openOwn(
  files: Files,
  { dirFd, name }: { dirFd: number; name: Uint8Array },
  access: number,
  mode: number,
): number {
  const flags = access | Open.noFollow | Open.nonBlock;
  const fd = files.openBeneath(dirFd, name, flags, 0);
  if (fd !== -Errno.EACCES) return fd;
  // Our own file with a mode that forbids writing: as its owner we may lift that for a moment.
  const permissions = mode & Mode.permissionMask;
  if (files.chmodAt(dirFd, name, permissions | 0o600) < 0) return fd;
  const again = files.openBeneath(dirFd, name, flags, 0);
  files.chmodAt(dirFd, name, permissions);
  return again;
}

/** A hole, or zeros where the filesystem makes none. 0, or a negative errno. */
export function punchHole(files: Files, fd: number, position: number, length: number): number {
  const punch = Fallocate.punchHole | Fallocate.keepSize;
  const result = files.fallocate(fd, punch, position, length);
  return result === -Errno.EOPNOTSUPP ? writeZeros(files, fd, position, length) : result;
}

function writeZeros(files: Files, fd: number, position: number, length: number): number {
  const zeros = new Uint8Array(Math.min(length, zerosBytes));
  for (let at = 0; at < length; at += zeros.length) {
    const bytes = Math.min(zeros.length, length - at);
    const result = files.pwrite(fd, zeros, 0, bytes, position + at);
    if (result < 0) return result;
  }
  return 0;
}
