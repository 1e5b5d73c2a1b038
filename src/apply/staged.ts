/** `Staged`: a node that CREATE announced and PLACE has not named yet, as the applier knows it. */
import { Errno, type Files, Mode } from "../world/index.ts";

const noName: Uint8Array = new Uint8Array(0);

export interface Staged {
  /** Of a regular file from its first content or metadata on, else -1. */
  fd: number;
  /** A name in the root: on a filesystem without unnamed files, or if it is kept. */
  name: Uint8Array | undefined;
  /** It stays when the link ends, so that the next one can go on with it. */
  isKept: boolean;
  mode: number;
  rdev: number;
  symlinkTarget: Uint8Array;
  /** What was refused so far, by operation: told when it has a path. */
  refused: Map<string, number> | undefined;
}

export function stagedNode(mode: number, rdev: number, symlinkTarget: Uint8Array): Staged {
  return {
    fd: -1,
    name: undefined,
    isKept: false,
    mode,
    rdev,
    symlinkTarget,
    refused: undefined,
  };
}

export function isRegular(staged: Staged): boolean {
  return (staged.mode & Mode.typeMask) === Mode.regular;
}

/**
 * Gives the node a name that nothing has. Without CAP_MKNOD an empty file keeps the name of a
 * device, and `refused` is told.
 */
export function makeStaged(
  files: Files,
  staged: Staged,
  at: { dirFd: number; name: Uint8Array },
  refused: (result: number) => void,
): number {
  const { dirFd, name } = at;
  switch (staged.mode & Mode.typeMask) {
    case Mode.regular:
      return files.link(staged.fd, noName, dirFd, name);
    case Mode.directory:
      return files.mkdir(dirFd, name, 0o700);
    case Mode.symlink:
      return files.symlink(dirFd, name, staged.symlinkTarget);
    default: {
      const result = files.mknod(dirFd, name, staged.mode, staged.rdev);
      if (result !== -Errno.EPERM) return result;
      refused(result);
      return files.mknod(dirFd, name, Mode.regular | 0o600, 0);
    }
  }
}
