import assert from "node:assert/strict";
import { test } from "node:test";
import { addMappedInodes, mappedInodes } from "./mapped-files.ts";

test("inodes of shared mappings of files, and of no others, are found", () => {
  const maps = [
    "55d0c8a00000-55d0c8a21000 r-xp 00000000 fe:00 100               /usr/bin/python3",
    "7f0000000000-7f0000040000 rw-s 00000000 fe:00 4711                       /a file (deleted)",
    "7f0000040000-7f0000080000 r--s 00001000 00:2a 4712                       /srv/b",
    "7f0000080000-7f00000c0000 rw-s 00000000 00:01 0                          /dev/zero",
    "7f00000c0000-7f0000100000 rw-p 00000000 00:00 0                          [heap]",
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
  ].join("\n");
  const inodes = new Set<number>();
  addMappedInodes(maps, inodes);
  assert.deepEqual([...inodes], [4711, 4712]);
});

test("the processes of this machine can be looked at", () => {
  assert.ok(mappedInodes().every((ino) => Number.isSafeInteger(ino) && ino > 0));
});
