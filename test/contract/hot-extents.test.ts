/**
 * Cuts under writers that never rest, with the real capture: of pages that programs overwrite in
 * turn as fast as they can, the target never has, at the end of a clean epoch, a later one that is
 * newer than an earlier one. Of the one write that was under way at that moment, which nobody can
 * rely on yet, a part may be there, as on a disk. And what is told to be hot was needed.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runPython } from "../workloads/python.ts";
import { until } from "./transport-fixture.ts";
import { watchedMirror } from "./watched-mirror.ts";

const skip = process.getuid?.() === 0 ? false : "needs root, for the ebpf backend";
const secondCount = 3;
const pageBytes = 8192;
const pageCount = 4;
const hotCountMin = 5;
const pairs = [
  ["a", "b"],
  ["c", "d"],
] as const;

/**
 * The numbers of all pages of two files, in the order in which they are written; one and a half for
 * a page that begins with a two and ends with a one.
 */
function numbersIn(fds: readonly number[]): number[] {
  const page = Buffer.alloc(pageBytes);
  return Array.from({ length: pageCount * 2 }, (_, turn) => {
    fs.readSync(fds[turn % 2]!, page, 0, pageBytes, (turn >> 1) * pageBytes);
    const [first, last] = [page.readDoubleLE(0), page.readDoubleLE(pageBytes - 8)];
    return (first + last) / 2;
  });
}

/** All are the same, or from some page on one less; the page between may be on its way. */
function isMoment(numbers: readonly number[]): boolean {
  const least = Math.ceil(numbers[0]!) - 1;
  const isInOrder = numbers.every((n, turn) => n >= least && n <= (numbers[turn - 1] ?? n));
  return isInOrder && numbers.filter((n) => !Number.isInteger(n)).length <= 1;
}

test("pages that are overwritten without rest are of one moment", { skip }, async (context) => {
  const wrong: string[] = [];
  const numbersOf = (copies: readonly number[]): number[][] =>
    pairs.map((_, index) => numbersIn(copies.slice(index * 2, index * 2 + 2)));
  const watched = await watchedMirror(context, {
    names: pairs.flat(),
    bytes: pageCount * pageBytes,
    look: (copies) => {
      for (const numbers of numbersOf(copies)) {
        if (!isMoment(numbers)) wrong.push(numbers.join(" "));
      }
    },
  });
  if (watched === undefined) return;
  const { source, folder, copies, mirror, stop } = watched;
  const counts = await Promise.all(
    pairs.map((names) => {
      const paths = names.map((name) => join(source, name));
      const args = [`${secondCount}`, `${pageCount}`, ...paths];
      return runPython("hot-pages.py", args, { prefix: [], cwd: folder });
    }),
  );
  const isEqual = (): boolean =>
    numbersOf(copies).every((own, index) => own.every((n) => n === Number(counts[index])));
  await until(isEqual, "equal");
  const { epochs, hotEpochs, fuzzyEpochs } = mirror.status()!;
  const about = `${epochs} epochs, ${hotEpochs} hot, ${fuzzyEpochs} fuzzy, ${wrong.length} wrong`;
  context.diagnostic(about);
  await stop();
  assert.ok(hotEpochs >= hotCountMin, about);
  assert.ok(wrong.length <= fuzzyEpochs, `${about}: ${wrong.slice(0, 3).join("; ")}`);
});
