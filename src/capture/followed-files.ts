/**
 * `FollowedFiles`: the system calls on a source's files, with several filesystems below one root: a
 * path may lead across mount points, and inode numbers say which filesystem they are of
 * (inode-keys.ts). Everything else goes to the files below as it is.
 *
 * In: a function that knows the filesystem of a stat record. Out: `Files`.
 */
import { type Files, scanEntryFixedBytes, Stat, statSlots } from "../world/index.ts";
import { inodeKey } from "./inode-keys.ts";

/** `numberOf`: the filesystem that the stat record's inode is of. */
export function followedFiles(files: Files, numberOf: (stat: Float64Array) => number): Files {
  const fold = (stat: Float64Array): void => {
    stat[Stat.ino] = inodeKey(stat[Stat.ino]!, numberOf(stat));
  };
  const own: Partial<Files> = {
    openBeneath: (dirfd, path, flags, mode) => files.openBeneath(dirfd, path, flags, mode, 1),
    statAt: (dirfd, name, out) => {
      const result = files.statAt(dirfd, name, out);
      if (result === 0) fold(out);
      return result;
    },
    fstat: (fd, out) => {
      const result = files.fstat(fd, out);
      if (result === 0) fold(out);
      return result;
    },
    scanDirectory: (dirfd, out, brief) => {
      const used = files.scanDirectory(dirfd, out, brief);
      if (used <= 0) return used;
      const slots = new Float64Array(out.buffer, out.byteOffset, Math.floor(out.length / 8));
      for (let at = 0; at < used;) {
        const slot = at >>> 3;
        fold(slots.subarray(slot, slot + statSlots));
        const length = out[at + statSlots * 8]! + out[at + statSlots * 8 + 1]! * 256;
        at += (scanEntryFixedBytes + length + 7) & ~7;
      }
      return used;
    },
  };
  return Object.assign(Object.create(files) as Files, own);
}
