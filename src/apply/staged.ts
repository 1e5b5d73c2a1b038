/** `Staged`: a node that CREATE announced and PLACE has not named yet, as the applier knows it. */
import { Mode } from "../world/index.ts";

export interface Staged {
  /** Of a regular file from its first content or metadata on, else -1. */
  fd: number;
  /** The staging name, on a filesystem without unnamed files. */
  named: boolean;
  mode: number;
  rdev: number;
  symlinkTarget: Uint8Array;
  /** What was refused so far, by operation: told when it has a path. */
  refused: Map<string, number> | undefined;
}

export function stagedNode(mode: number, rdev: number, symlinkTarget: Uint8Array): Staged {
  return { fd: -1, named: false, mode, rdev, symlinkTarget, refused: undefined };
}

export function isRegular(staged: Staged): boolean {
  return (staged.mode & Mode.typeMask) === Mode.regular;
}
