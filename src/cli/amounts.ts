/** Amounts as people write them on the command line: how many deletions, how much free space. */
import { SyncError } from "../base/index.ts";
import { type DeletionLimit } from "../session/index.ts";

/** `N%`, or a count `N`; undefined, which is no limit, for 100%. Throws USAGE. */
export function parseDeletionLimit(text: string): DeletionLimit | undefined {
  const match = /^(\d{1,12})(?:\.(\d{1,6}))?(%?)$/.exec(text);
  const isCount = match?.[3] === "";
  const value = Number(isCount ? text : text.slice(0, -1));
  if (match === null || (isCount && match[2] !== undefined) || (!isCount && value > 100)) {
    const message = `--max-delete ${text}: expected a count or a percentage, such as 1000 or 50%`;
    throw new SyncError("USAGE", message);
  }
  if (!isCount && value === 100) return undefined;
  // Whoever says how much means it, also of few.
  return isCount
    ? { text, kind: "count", value, countMin: 0 }
    : { text, kind: "share", value: value / 100, countMin: 0 };
}
