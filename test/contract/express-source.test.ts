/**
 * What the express lane sends is a moment of the source: of two files that a program writes one
 * after the other, the target never has, at the end of an epoch, more in the second than in the
 * first, nor the first more than one ahead. Source and target are real sessions behind real TLS.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ExpressSlot } from "../../src/world/index.ts";
import { native } from "../../src/world/node/index.ts";
import { runPython } from "../workloads/python.ts";
import { until } from "./transport-fixture.ts";
import { watchedMirror } from "./watched-mirror.ts";

const skip = process.getuid?.() === 0 ? false : "needs root, for the ebpf backend";
const files = native();
const secondCount = 3;
const pauseUs = 40;
const aheadCountMin = 5;

function counter(fd: number): number {
  const bytes = Buffer.alloc(8);
  fs.readSync(fd, bytes, 0, 8, 0);
  return bytes.readDoubleLE(0);
}

/** Much happens between the addon's first look and its reading. */
const openSlow: typeof files.expressOpen = (poll, capture, tls, slots, bytes) => {
  slots[ExpressSlot.pauseUs] = pauseUs;
  return files.expressOpen(poll, capture, tls, slots, bytes);
};

test("a write that ran ahead is a moment of the source", { skip }, async (context) => {
  const torn: string[] = [];
  const watched = await watchedMirror(context, {
    names: ["a", "b"],
    bytes: 8,
    express: { ...files, expressOpen: openSlow },
    look: (copies) => {
      const [a, b] = [counter(copies[0]!), counter(copies[1]!)];
      if (a !== b && a !== b + 1) torn.push(`${a} ${b}`);
    },
  });
  if (watched === undefined) return;
  const { source, folder, copies, mirror, stop } = watched;
  const both = ["a", "b"].map((name) => join(source, name));
  const options = { prefix: [], cwd: folder };
  const count = Number(await runPython("two-counters.py", [`${secondCount}`, ...both], options));
  await until(() => counter(copies[1]!) === count, "equal");
  const { epochsAhead, fuzzyEpochs } = mirror.status()!;
  const about = `${count} pairs, ${epochsAhead} epochs ahead, ${fuzzyEpochs} fuzzy`;
  context.diagnostic(about);
  await stop();
  assert.ok(epochsAhead >= aheadCountMin, about);
  assert.ok(torn.length <= fuzzyEpochs, `${about}: ${torn.slice(0, 5).join("; ")}`);
});
