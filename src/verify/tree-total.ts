/**
 * How much there is to compare below a folder, for the time that is left: entries, and bytes that
 * files have allocated. An estimate: what cannot be read, or is deeper than a path can say, is left
 * out, and nothing is locked meanwhile.
 */
import type { Clock, Files } from "../world/index.ts";
import { Mode, Open, Stat, statSlots } from "../world/index.ts";
import { DirectoryReader, nameBytes } from "./directory-reader.ts";

const pathBytesMost = 3800;
const turnUs = 2000;
const flags = Open.read | Open.directory | Open.noFollow;

export interface TreeTotal {
  readonly entryCount: number;
  readonly contentBytes: number;
}

/** In turns of some milliseconds; undefined when `signal` has ended it. `followed`: mounts. */
export async function totalOf(
  files: Files,
  rootFd: number,
  clock: Clock,
  signal: AbortSignal,
  followed: ReadonlySet<number> = new Set(),
): Promise<TreeTotal | undefined> {
  const reader = new DirectoryReader(files);
  const root = new Float64Array(statSlots);
  files.fstat(rootFd, root);
  const pending = [""];
  let entryCount = 1;
  let contentBytes = 0;
  let turnStartedUs = clock.monotonicUs();
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const fd = files.openBeneath(rootFd, nameBytes(path), flags, 0, followed.size > 0 ? 1 : 0);
    if (fd < 0) continue;
    reader.start(fd);
    while (reader.next()) {
      const { name, stat } = reader;
      const mount = stat[Stat.mount]!;
      if (mount !== root[Stat.mount] && !followed.has(mount)) continue;
      entryCount++;
      const kind = stat[Stat.mode]! & Mode.typeMask;
      if (kind === Mode.regular) {
        contentBytes += Math.min(stat[Stat.size]!, stat[Stat.blocks]! * 512);
      }
      const below = path === "" ? name : `${path}/${name}`;
      if (kind === Mode.directory && below.length < pathBytesMost) pending.push(below);
      if (clock.monotonicUs() - turnStartedUs < turnUs) continue;
      await new Promise<void>((resolve) => clock.defer(resolve));
      turnStartedUs = clock.monotonicUs();
      if (signal.aborted) break;
    }
    files.close(fd);
    if (signal.aborted) return undefined;
  }
  return { entryCount, contentBytes };
}
