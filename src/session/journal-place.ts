/** Where the journal of a target's folder is: a file of the state directory for each. */
import { type JournalPlace, journalPrefix } from "../journal/index.ts";
import type { World } from "../world/index.ts";
import type { SpoolPlace } from "./held-epoch.ts";

/** `path`: of the folder, real. */
export function journalPlace(
  path: string,
  { files, dirFd }: SpoolPlace,
  { hashes }: Pick<World, "hashes">,
  bootId: string,
): JournalPlace {
  const name = Buffer.from(hashes.sha256(Buffer.from(path))).toString("hex", 0, 16);
  return { files, dirFd, name: journalPrefix + name, path, hashes, bootId };
}
