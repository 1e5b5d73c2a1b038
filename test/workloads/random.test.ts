/**
 * What a first comparison must carry in one go, and random changes of every kind.
 *
 * The random ones are drawn from a seed that is printed: LOCKSTEP_WORKLOADS_SEED=7 draws the same
 * again, LOCKSTEP_WORKLOADS_OPERATIONS=20000 makes more of them.
 */
import { randomInt } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { change, list, Random } from "./random-changes.ts";
import { workload } from "./workload.ts";

const operationCount = Number(process.env["LOCKSTEP_WORKLOADS_OPERATIONS"] ?? 3000);
const wantedSeed = process.env["LOCKSTEP_WORKLOADS_SEED"];
/** Paths are listed anew after so many changes: meanwhile many have become stale. */
const listEvery = 20;

/** More than the pieces of a link, the window and the files that may be open at once. */
const largeBytes = 40 * 1024 * 1024;
const entryCount = 600;

function fill(folder: string): void {
  writeFileSync(join(folder, "large"), Buffer.alloc(largeBytes, "lockstep"));
  mkdirSync(join(folder, "many"));
  for (let i = 0; i < entryCount; i++) writeFileSync(join(folder, "many", `entry-${i}`), `${i}`);
}

workload(
  "a large file and a folder of many, there before the start",
  { size: "small", needs: [], prepare: ({ source }) => Promise.resolve(fill(source)) },
  () => Promise.resolve(),
);

workload(
  "a large file and a folder of many, made at once",
  { size: "small", needs: [] },
  (mirror) => Promise.resolve(fill(mirror.source)),
);

workload("random changes", { size: "small", needs: [] }, async (mirror, t) => {
  const seed = wantedSeed === undefined ? randomInt(2 ** 31) : Number(wantedSeed);
  t.diagnostic(`LOCKSTEP_WORKLOADS_SEED=${seed}`);
  const random = new Random(seed);
  let files: string[] = [];
  let folders: string[] = [mirror.source];
  for (let i = 0; i < operationCount; i++) {
    if (i % listEvery === 0) {
      [files, folders] = list(mirror.source);
      await breathe();
    }
    try {
      change(random, files, folders);
    } catch (error) {
      if (!(error instanceof Error && "code" in error)) throw error;
    }
  }
});
