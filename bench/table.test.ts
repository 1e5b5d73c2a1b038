import assert from "node:assert/strict";
import { test } from "node:test";
import { renderTable } from "./table.ts";

test("columns are as wide as their widest cell, numbers flush right", () => {
  const table = renderTable(["name", "p50"], [["floor", "50 µs"], ["a"]]);
  assert.equal(table, ["name     p50", "-----  -----", "floor  50 µs", "a"].join("\n"));
});

test("a surplus cell is a bug", () => {
  assert.throws(() => renderTable(["one"], [["1", "2"]]), RangeError);
});

test("a table without rows still shows its head", () => {
  assert.equal(renderTable(["one"], []), "one\n---");
});
