/** What is mounted below a source just now, and what of it a sync with `--cross-mounts` follows. */
import { readFileSync } from "node:fs";
import { MountTable, parseMountTable } from "../model/index.ts";
import { type Files, Stat, statSlots } from "../world/index.ts";

/** `path` is real; `fd` is the folder's, `targetFds` those of local targets. */
export function mountsBelow(
  files: Files,
  path: string,
  fd: number,
  targetFds: readonly number[],
): MountTable {
  const stat = new Float64Array(statSlots);
  const mountOf = (of: number): number => (files.fstat(of, stat) < 0 ? -1 : stat[Stat.mount]!);
  return new MountTable(parseMountTable(readFileSync("/proc/self/mountinfo", "latin1")), {
    path: Buffer.from(path).toString("latin1"),
    mount: mountOf(fd),
    avoided: targetFds.map(mountOf),
  });
}

/** Numbers of the mounts that are followed. */
export function followedIn(table: MountTable): ReadonlySet<number> {
  const followed = [...table.below].filter(({ leftOut }) => leftOut === undefined);
  return new Set(followed.map(({ id }) => id));
}
