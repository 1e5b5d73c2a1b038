/** Which folders there are journals of, in one state directory. */
import { SyncError } from "../base/index.ts";
import { DirectoryEntries } from "../descriptors/index.ts";
import { type Files, type Hashes, Open } from "../world/index.ts";
import { JournalFile, type JournalPlace, journalPrefix } from "./journal-file.ts";

const noName: Uint8Array = new Uint8Array(0);

/** Their paths; a journal that says nothing, or cannot be read, is passed over. */
export function knownTargets(files: Files, dirFd: number, hashes: Hashes): string[] {
  const names: string[] = [];
  // A descriptor of its own, at the directory's beginning.
  const fd = files.openBeneath(dirFd, noName, Open.read | Open.directory, 0);
  if (fd < 0) return [];
  const entries = new DirectoryEntries(files);
  while (entries.next(fd, (name) => void names.push(Buffer.from(name).toString("latin1"))) > 0);
  files.close(fd);
  return names
    .filter((name) => name.startsWith(journalPrefix))
    .flatMap((name) => {
      const path = pathIn({ files, dirFd, name, path: "", hashes, bootId: "" });
      return path === "" ? [] : [path];
    });
}

/** Whoever mirrors into the target of a broken one is told by its session. */
function pathIn(place: JournalPlace): string {
  try {
    const file = JournalFile.openExisting(place);
    file?.close();
    return file?.header.path ?? "";
  } catch (error) {
    if (!(error instanceof SyncError)) throw error;
    return "";
  }
}
