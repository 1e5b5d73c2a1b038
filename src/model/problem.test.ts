import assert from "node:assert/strict";
import { test } from "node:test";
import { type Problem, problemCountMax, problemKindCountMax, ProblemLog } from "./problem.ts";

const problem = (index: number, operation: string, errno: string): Problem => ({
  side: "target",
  path: `f${index}`,
  operation,
  errno,
});

test("many problems are counted, few are kept and told", () => {
  const told: Problem[] = [];
  const log = new ProblemLog((one) => told.push(one));
  for (let i = 0; i < 1000; i++) log.add(problem(i, "read", "EIO"));
  assert.equal(log.count, 1000);
  assert.equal(log.kept.length, problemCountMax);
  assert.equal(told.length, problemCountMax);
  assert.deepEqual(log.kinds, [{ ...problem(0, "read", "EIO"), count: 1000 }]);
});

test("what cannot be set is told once a kind, also after many other problems", () => {
  const told: string[] = [];
  const log = new ProblemLog(({ operation, errno }) => told.push(`${operation} ${errno}`));
  for (let i = 0; i < 50; i++) log.add(problem(i, "chown", "EPERM"));
  for (let i = 0; i < 50; i++) log.add(problem(i, "setxattr", "ENOSPC"));
  assert.deepEqual(told, ["chown EPERM", "setxattr ENOSPC"]);
  for (let i = 0; i < 500; i++) log.add(problem(i, "read", "EIO"));
  told.length = 0;
  for (let i = 0; i < 5; i++) log.add(problem(i, "setxattr", "EOPNOTSUPP"));
  assert.deepEqual(told, ["setxattr EOPNOTSUPP"]);
  assert.deepEqual(
    log.kinds.map(({ operation, errno, path, count }) => [operation, errno, path, count]),
    [
      ["read", "EIO", "f0", 500],
      ["chown", "EPERM", "f0", 50],
      ["setxattr", "ENOSPC", "f0", 50],
      ["setxattr", "EOPNOTSUPP", "f0", 5],
    ],
  );
});

test("how many more there were is told when asked for, and once", () => {
  const more: [string, number][] = [];
  const log = new ProblemLog(
    () => {},
    ({ operation }, count) => more.push([operation, count]),
  );
  log.add(problem(0, "chown", "EPERM"));
  assert.equal(log.hasUntold, false);
  for (let i = 0; i < 9; i++) log.add(problem(i, "chown", "EPERM"));
  for (let i = 0; i < 120; i++) log.add(problem(i, "read", "EIO"));
  log.flush();
  log.flush();
  assert.deepEqual(more, [
    ["chown", 9],
    ["read", 20],
  ]);
  // What a peer has counted is counted here.
  const other = new ProblemLog(() => {});
  other.add(problem(0, "chown", "EPERM"));
  other.add(problem(0, "chown", "EPERM"), 9);
  assert.deepEqual([other.count, other.kinds[0]?.count, other.kept.length], [10, 10, 1]);
});

test("kinds without end are neither kept nor told without end", () => {
  let told = 0;
  const log = new ProblemLog(() => told++);
  for (let i = 0; i < 10_000; i++) log.add(problem(i, `invented ${i}`, "EPERM"));
  assert.deepEqual(
    [log.count, log.kinds.length, told, log.kept.length],
    [10_000, problemKindCountMax, problemKindCountMax, problemKindCountMax],
  );
});
