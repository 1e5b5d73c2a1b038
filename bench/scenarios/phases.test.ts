import assert from "node:assert/strict";
import { test } from "node:test";
import type { Phase } from "../subjects/index.ts";
import { phaseColumns, phaseRows, type TreeTurn } from "./phases.ts";

const mebibyte = 1024 * 1024;

function phase(name: string, seconds: number, changes: Partial<Phase> = {}): Phase {
  return {
    ...{ name, seconds, beganNs: 5e9, doneNs: (5 + seconds) * 1e9 },
    source: { cpuSeconds: seconds / 2, peakBytes: 80 * mebibyte },
    target: { cpuSeconds: seconds / 4, peakBytes: 40 * mebibyte },
    ...changes,
  };
}

function turn(subject: string, round: number, phases: readonly Phase[], wrong = 0): TreeTurn {
  return { subject, round, phases, equalNs: wrong === 0 ? 7e9 : undefined, wrong };
}

const cell = (row: readonly string[] | undefined, column: string) =>
  row?.[phaseColumns.indexOf(column)];

test("each phase has a row, with its time against the same phase of the same round", () => {
  const turns = [
    turn("base", 0, [phase("seed", 4), phase("restart", 1)]),
    turn("x", 0, [phase("seed", 2), phase("restart", 3)]),
    // The machine was ten times slower in the second round, for both sides alike.
    turn("base", 1, [phase("seed", 40), phase("restart", 10)]),
    turn("x", 1, [phase("seed", 20), phase("restart", 30)]),
  ];
  const [seed, restart, ...more] = phaseRows(turns, { name: "x", base: "base", files: 10 });
  assert.deepEqual(more, []);
  assert.deepEqual(seed?.slice(0, 3), ["x", "seed", "2"]);
  assert.deepEqual(restart?.slice(0, 3), ["", "restart", "2"]);
  assert.equal(cell(seed, "time / rsync"), "0.500x (0.500..0.500, 2 rounds)");
  assert.equal(cell(restart, "time / rsync"), "3.00x (3.00..3.00, 2 rounds)");
  assert.equal(cell(seed, "files/s"), "5.00");
  assert.equal(cell(seed, "equal s"), "2.00");
  assert.equal(seed?.length, phaseColumns.length);
});

test("what is compared with has no ratio", () => {
  const [row] = phaseRows([turn("base", 0, [phase("seed", 4)])], {
    ...{ name: "base", base: "base", files: 10 },
  });
  assert.equal(cell(row, "time / rsync"), "");
});

test("times are those of the middle round, peaks those of the worst", () => {
  const used = (cpuSeconds: number, mebibytes: number) => ({
    source: { cpuSeconds, peakBytes: mebibytes * mebibyte },
    target: { cpuSeconds: cpuSeconds * 2, peakBytes: 2 * mebibytes * mebibyte },
  });
  const turns = [
    turn("x", 0, [phase("seed", 1, used(1, 100))]),
    turn("x", 1, [phase("seed", 3, used(3, 300))]),
    turn("x", 2, [phase("seed", 2, used(2, 200))]),
  ];
  const [row] = phaseRows(turns, { name: "x", base: "base", files: 10 });
  assert.equal(cell(row, "time s"), "2.00");
  assert.equal(cell(row, "source cpu s"), "2.00");
  assert.equal(cell(row, "target cpu s"), "4.00");
  assert.equal(cell(row, "source MiB"), "300");
  assert.equal(cell(row, "target MiB"), "600");
});

test("one process that is both sides has no cells of a target", () => {
  const turns = [turn("x", 0, [phase("seed", 2, { target: undefined })])];
  const [row] = phaseRows(turns, { name: "x", base: "base", files: 10 });
  assert.equal(cell(row, "source MiB"), "80.0");
  assert.equal(cell(row, "target MiB"), "");
  assert.equal(cell(row, "target cpu s"), "");
});

test("files that are wrong are counted over all rounds, and their turn was never equal", () => {
  const turns = [turn("x", 0, [phase("seed", 2)], 3), turn("x", 1, [phase("seed", 2)], 4)];
  const [row] = phaseRows(turns, { name: "x", base: "base", files: 10 });
  assert.equal(cell(row, "wrong files"), "7");
  assert.equal(cell(row, "equal s"), "-");
});

test("who never had a turn has no row", () => {
  assert.deepEqual(phaseRows([], { name: "x", base: "base", files: 1 }), []);
});
