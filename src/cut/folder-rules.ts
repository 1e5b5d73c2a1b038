/** The ignore rules that hold in a folder, for those who read the source beside the cut. */
import {
  type IgnoreSettings,
  parsePatterns,
  type RuleChain,
  ruleBytesMax,
  ruleFileName,
} from "../ignore/index.ts";
import { Errno, type Files, Open, statSlots } from "../world/index.ts";
import { isCounted } from "./content-share.ts";
import { latin1 } from "./dirty-set.ts";

const ruleName: Uint8Array = Buffer.from(ruleFileName);
/** All that a file says when it cannot be used: its folder is left alone. */
const everything: readonly string[] = ["*"];

export function isRuleFileName(name: Uint8Array): boolean {
  return name.length === ruleName.length && Buffer.compare(ruleName, name) === 0;
}

export interface FolderRules {
  readonly chain: RuleChain;
  /** Of the folder: Latin-1, with a slash at its end; empty for the root, and without rules. */
  readonly path: string;
}

/** The rules of a folder that is open. `above`: those that hold without its own file. */
export function folderRules(
  files: Files,
  dirFd: number,
  above: RuleChain,
  ignore: IgnoreSettings | undefined,
  components: () => readonly Uint8Array[],
): FolderRules {
  const patterns = ignore?.readsFiles === true ? patternsIn(files, dirFd) : [];
  if (patterns.length === 0 && above.isEmpty) return { chain: above, path: "" };
  const path = components()
    .map((name) => `${latin1(name)}/`)
    .join("");
  return { chain: above.below(path, patterns), path };
}

/** Whether a name of the folder is ignored. Rule files are mirrored, as the cut has it. */
export function isIgnoredIn(
  { chain, path }: FolderRules,
  ignore: IgnoreSettings | undefined,
  name: Uint8Array,
  isFolder: boolean,
): boolean {
  if (chain.isEmpty) return false;
  if (!isFolder && ignore?.readsFiles === true && isRuleFileName(name)) return false;
  return chain.ignores(path + latin1(name) + (isFolder ? "/" : ""));
}

/** The patterns of the folder's own file; none when there is no file. */
function patternsIn(files: Files, dirFd: number): readonly string[] {
  const flags = Open.read | Open.noFollow | Open.nonBlock;
  const fd = files.openBeneath(dirFd, ruleName, flags, 0);
  if (fd === -Errno.ENOENT) return [];
  if (fd < 0) return everything;
  const stat = new Float64Array(statSlots);
  const isFile = files.fstat(fd, stat) === 0 && isCounted(stat);
  const bytes = new Uint8Array(isFile ? ruleBytesMax + 1 : 0);
  const read = isFile ? files.pread(fd, bytes, 0, bytes.length, 0) : 0;
  files.close(fd);
  if (read < 0 || read > ruleBytesMax) return everything;
  return parsePatterns(bytes.subarray(0, read)).patterns;
}
