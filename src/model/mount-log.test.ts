import assert from "node:assert/strict";
import { test } from "node:test";
import { mountCountMax, MountLog } from "./mount-log.ts";

test("each mount point is told once, and not without end", () => {
  const told: string[] = [];
  const log = new MountLog((path) => told.push(path));
  for (const path of ["a", "b/c", "a"]) log.add(path);
  assert.deepEqual(told, ["a", "b/c"]);
  for (let i = 0; i < 1000; i++) log.add(`m${i}`);
  assert.deepEqual([told.length, log.paths.length], [mountCountMax, mountCountMax]);
});
