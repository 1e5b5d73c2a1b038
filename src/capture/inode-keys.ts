/**
 * Inode numbers of several filesystems as one kind of number: the number of the filesystem above
 * the inode's, so that everything that finds nodes by inode and generation goes on as it is. The
 * root's filesystem is 0: its inodes keep their numbers. Exact up to 2^43 inode numbers a
 * filesystem; larger ones are folded, as those above 2^53 always are (the generation differs then).
 * The same numbers stand in native/addon/capture_names.c.
 */

const inodeSpan = 2 ** 43;
const foldFactor = 2654435761;

/** Whatever is mounted and not followed: equal to no node. */
export const foreignFilesystem = 1023;
/** Numbers given to filesystems: 1 to this. */
export const filesystemNumberMax = 1022;

/** `ino` as the addon gives it: an integer below 2^53. */
export function inodeKey(ino: number, filesystem: number): number {
  const low = ino % inodeSpan;
  const folded = low === ino ? ino : (low + Math.floor(ino / inodeSpan) * foldFactor) % inodeSpan;
  return folded + filesystem * inodeSpan;
}

export function filesystemOf(key: number): number {
  return Math.floor(key / inodeSpan);
}

export function inodeIn(key: number): number {
  return key % inodeSpan;
}

/** The key of the same inode, were it of another filesystem. */
export function withFilesystem(key: number, filesystem: number): number {
  return (key % inodeSpan) + filesystem * inodeSpan;
}
