/** What the rule file of one folder says, for those who read the source beside the cut. */
import { parsePatterns, ruleBytesMax, ruleFileName } from "../ignore/index.ts";
import { Errno, type Files, Open, statSlots } from "../world/index.ts";
import { isCounted } from "./content-share.ts";

const ruleName: Uint8Array = Buffer.from(ruleFileName);
/** All that a file says when it cannot be used: its folder is left alone. */
const everything: readonly string[] = ["*"];

export function isRuleFileName(name: Uint8Array): boolean {
  return name.length === ruleName.length && Buffer.compare(ruleName, name) === 0;
}

/** The patterns of the folder's own file; none when there is no file. */
export function rulesIn(files: Files, dirFd: number): readonly string[] {
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
