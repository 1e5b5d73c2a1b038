/**
 * Indexes of targets that are no more: the state directory keeps those used last. What is dropped
 * costs its target, should it come back, a comparison by size and time.
 */
import { DirectoryEntries } from "../descriptors/index.ts";
import { type Files, Open, Stat } from "../world/index.ts";

/** Indexes in one state directory. */
export const indexCountMax = 256;
/** What the names of indexes begin with. */
export const indexPrefix = "index-";

const noName: Uint8Array = new Uint8Array(0);

/** To be called when there is a new one, `kept`. One that is open stays usable without its name. */
export function dropOldIndexes(files: Files, dirFd: number, kept: string): void {
  // A descriptor of its own, at the directory's beginning.
  const fd = files.openBeneath(dirFd, noName, Open.read | Open.directory, 0);
  if (fd < 0) return;
  const found: { name: string; usedSec: number }[] = [];
  const entries = new DirectoryEntries(files);
  while (
    entries.next(fd, (bytes, stat) => {
      const name = Buffer.from(bytes).toString("latin1");
      if (name.startsWith(indexPrefix) && name !== kept) {
        found.push({ name, usedSec: stat[Stat.mtimeSec]! });
      }
    }) > 0
  );
  found.sort((a, b) => b.usedSec - a.usedSec);
  for (const { name } of found.slice(indexCountMax - 1)) {
    files.unlink(fd, Buffer.from(name, "latin1"), 0);
  }
  files.close(fd);
}
