/**
 * Files that processes have mapped shared right now, by inode number, whatever filesystem they are
 * on. Their pages may have been stored to before capture began, and then the kernel says nothing
 * of further stores to them: the mirror cleans them when it gets to know them.
 *
 * In: /proc. Out: inode numbers; too many do no harm. Processes of others that we may not look at
 * are left out.
 * Source: man 5 proc_pid_maps.
 */
import { readdirSync, readFileSync } from "node:fs";

/** Processes that are looked at. */
const processCountMax = 32_768;

export function mappedInodes(): number[] {
  const inodes = new Set<number>();
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  for (const pid of pids.slice(0, processCountMax)) {
    if (Number(pid) !== process.pid) addMappedInodes(textOf(`/proc/${pid}/maps`), inodes);
  }
  return [...inodes];
}

/** Adds the inodes of shared mappings of files in the text of a `maps` file. */
export function addMappedInodes(maps: string, inodes: Set<number>): void {
  for (const [, ino] of maps.matchAll(/^\S+ ..[-x]s \S+ \S+ (\d+)/gm)) {
    if (ino !== "0") inodes.add(Number(ino));
  }
}

/** Empty for a process that has ended or that we may not look at. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
