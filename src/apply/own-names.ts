/**
 * Names that a target keeps for itself in its root (hold-name.ts), when nobody has use for them any
 * more.
 */
import { DirectoryEntries } from "../descriptors/index.ts";
import { type Files, Open, Stat, statSlots } from "../world/index.ts";
import { isHoldName } from "./hold-name.ts";
import { removeTree } from "./remove-tree.ts";

const noName: Uint8Array = new Uint8Array(0);

/** Removes those that are `unused`; the root keeps its time. What cannot be removed stays. */
export function removeOwnNames(
  files: Files,
  rootFd: number,
  unused: (name: Uint8Array) => boolean,
): void {
  const stat = new Float64Array(statSlots);
  const known = files.statAt(rootFd, noName, stat);
  const names: Uint8Array[] = [];
  // A descriptor of its own, at the directory's beginning.
  const fd = files.openBeneath(rootFd, noName, Open.read | Open.directory, 0);
  if (fd < 0) return;
  const entries = new DirectoryEntries(files);
  while (
    entries.next(fd, (name) => {
      if (isHoldName(name) && unused(name)) names.push(name.slice());
    }) > 0
  );
  files.close(fd);
  for (const name of names) removeTree(files, rootFd, rootFd, name);
  if (known < 0 || names.length === 0) return;
  files.setTimes(rootFd, noName, stat[Stat.mtimeSec]!, stat[Stat.mtimeNsec]!);
}
