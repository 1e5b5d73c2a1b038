/** Which folders there are journals of, in one state directory. */
import { DirectoryEntries } from "../descriptors/index.ts";
import { type Files, type Hashes, Open } from "../world/index.ts";
import { JournalFile, journalPrefix } from "./journal-file.ts";

const noName: Uint8Array = new Uint8Array(0);

/** Their paths; a journal that says nothing is passed over. */
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
      const file = JournalFile.openExisting({ files, dirFd, name, path: "", hashes, bootId: "" });
      const path = file?.header.path ?? "";
      file?.close();
      return path === "" ? [] : [path];
    });
}
