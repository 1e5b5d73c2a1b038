/**
 * How many new files a target holds open without a name: a large epoch's files are written while
 * the source still sends it, and wait as descriptors until it is whole.
 *
 * In: what the kernel allows this process. Out: a share of that, so that a burst of new files
 * leaves descriptors to everything else (links, directories, other targets).
 * Source: man 5 proc, /proc/pid/limits.
 */
import { type Files, Open } from "../world/index.ts";

/** New files of one target open without a name. */
export const stagedOpenCountMax = 16384;
/** Where the process may not have as many: this share of what it may have. */
const shareOfAll = 8;
/** Descriptors that every process may have. */
const openCountMin = 1024;

/** The count for this process, `openCountMin / shareOfAll` at least. */
export function stagedCountMax(files: Files): number {
  const fd = files.openPath(Buffer.from("/proc/self/limits"), Open.read);
  const bytes = new Uint8Array(4096);
  const length = fd < 0 ? 0 : Math.max(0, files.pread(fd, bytes, 0, bytes.length, 0));
  if (fd >= 0) files.close(fd);
  const text = Buffer.from(bytes.subarray(0, length)).toString("latin1");
  // The soft limit, in force: digits, or "unlimited".
  const soft = /^Max open files +(\w+)/m.exec(text)?.[1] ?? "";
  const openCount = soft === "unlimited" ? Infinity : Number(soft) || openCountMin;
  return Math.min(stagedOpenCountMax, Math.floor(Math.max(openCount, openCountMin) / shareOfAll));
}
