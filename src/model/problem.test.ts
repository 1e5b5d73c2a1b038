import assert from "node:assert/strict";
import { test } from "node:test";
import { type Problem, problemCountMax, ProblemLog } from "./problem.ts";

const problem = (index: number, errno: string): Problem => ({
  side: "target",
  path: `f${index}`,
  operation: "chown",
  errno,
});

test("many problems are counted, few are kept and told", () => {
  const told: Problem[] = [];
  const log = new ProblemLog((one) => told.push(one));
  for (let i = 0; i < 1000; i++) log.add(problem(i, "EIO"));
  assert.equal(log.count, 1000);
  assert.equal(log.kept.length, problemCountMax);
  assert.equal(told.length, problemCountMax);
});

test("what is refused is told once a kind, also after many other problems", () => {
  const told: string[] = [];
  const log = new ProblemLog((one) => told.push(one.errno));
  for (let i = 0; i < 50; i++) log.add(problem(i, "EPERM"));
  assert.deepEqual(told, ["EPERM"]);
  for (let i = 0; i < 500; i++) log.add(problem(i, "EIO"));
  told.length = 0;
  for (let i = 0; i < 5; i++) log.add(problem(i, "EOPNOTSUPP"));
  assert.deepEqual(told, ["EOPNOTSUPP"]);
});
