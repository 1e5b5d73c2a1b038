import assert from "node:assert/strict";
import { test } from "node:test";
import { streamRow, type StreamTurn } from "./stream.ts";

const turn = (subject: string, round: number, seconds: number | undefined): StreamTurn => ({
  ...{ subject, round, seconds, writeSeconds: 1 },
});

test("a stream is measured against cp and the link of its own round, one after the other", () => {
  const turns = [
    ...[turn("cp", 0, 1), turn("tls loopback", 0, 3), turn("x", 0, 8)],
    // The machine was ten times slower in the second round, for all alike.
    ...[turn("cp", 1, 10), turn("tls loopback", 1, 30), turn("x", 1, 80)],
  ];
  const [row] = streamRow(turns, "x", 16e6);
  assert.deepEqual(row?.slice(0, 2), ["x", "2"]);
  assert.equal(row?.[5], "8.00x (8.00..8.00, 2 rounds)");
  assert.equal(row?.[6], "2.67x (2.67..2.67, 2 rounds)");
  assert.equal(row?.[7], "2.00x (2.00..2.00, 2 rounds)");
});

test("a round in which the link could not be measured has no sum", () => {
  const turns = [turn("cp", 0, 1), turn("tls loopback", 0, undefined), turn("x", 0, 8)];
  const [row] = streamRow(turns, "x", 16e6);
  assert.equal(row?.[5], "8.00x (8.00..8.00, 1 round)");
  assert.equal(row?.[7], "-");
});

test("who never had a turn has no row, and who never became equal has no ratio", () => {
  assert.deepEqual(streamRow([], "x", 1), []);
  const [row] = streamRow([turn("cp", 0, 1), turn("x", 0, undefined)], "x", 1);
  assert.equal(row?.[3], "never");
  assert.equal(row?.[5], "-");
});
