/**
 * What a first comparison must carry in one go, and random changes of every kind.
 *
 * The random ones are drawn from a seed that is printed: LOCKSTEP_WORKLOADS_SEED=7 draws the same
 * again, LOCKSTEP_WORKLOADS_OPERATIONS=20000 makes more of them. A change that fails (a folder
 * moved into itself, a name that is gone) is part of the mixture.
 */
import { randomInt } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
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

function list(root: string): [string[], string[]] {
  const files: string[] = [];
  const folders = [root];
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    (entry.isDirectory() ? folders : files).push(join(entry.parentPath, entry.name));
  }
  return [files, folders];
}

function change(random: Random, files: readonly string[], folders: readonly string[]): void {
  const file = random.pick(files) ?? "";
  const fresh = join(random.pick(folders) ?? "", `n${random.below(60)}`);
  const folder = random.pick(folders.slice(1)) ?? "";
  const changes: readonly (() => void)[] = [
    () => writeFileSync(fresh, Buffer.alloc(random.below(200_000), random.below(256))),
    () => writeFileSync(file, `${random.below(1e9)}`, { flag: "r+" }),
    () => appendFileSync(file, "more"),
    () => truncateSync(file, random.below(50_000)),
    () => renameSync(file, fresh),
    () => renameSync(folder, fresh),
    () => unlinkSync(file),
    () => mkdirSync(fresh),
    () => mkdirSync(fresh),
    () => linkSync(file, fresh),
    () => symlinkSync(`to/${random.below(1000)}`, fresh),
    () => chmodSync(file, random.pick([0o600, 0o644, 0o755, 0o4755]) ?? 0),
    () => utimesSync(file, 1, random.below(1e9)),
    () => save(file),
    () => replaceByFolder(file),
    () => random.below(3) === 0 && rmSync(folder, { recursive: true }),
  ];
  random.pick(changes)?.();
}

function save(file: string): void {
  writeFileSync(`${file}.new`, "saved");
  renameSync(`${file}.new`, file);
}

function replaceByFolder(file: string): void {
  unlinkSync(file);
  mkdirSync(file);
  writeFileSync(join(file, "k"), "k");
}

/** Integers from a seed. Source: Steele, Lea, Flood, "splitmix", here with 32 bits. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  below(end: number): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let bits = this.#state;
    bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad);
    bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
    return ((bits ^ (bits >>> 15)) >>> 0) % end;
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list.length === 0 ? undefined : list[this.below(list.length)];
  }
}
