/**
 * The temporary folders of the bench. Everything that it and the measured products write is below
 * one folder, which is removed at the end, after a failure and on Ctrl-C.
 */
import { copyFile, mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { run } from "./processes.ts";

const made = new Set<string>();
const fillChunkBytes = 1 << 20;
const removeMs = 900_000;

/** A fresh source and target on the same filesystem, and a folder for a product's own state. */
export interface Pair {
  readonly root: string;
  readonly source: string;
  readonly target: string;
  readonly scratch: string;
}

/** Makes a fresh pair below `parent`. The caller removes it with removePair(). */
export async function makePair(parent: string): Promise<Pair> {
  const root = await mkdtemp(join(parent, "lockstep-bench-"));
  made.add(root);
  const pair = {
    root,
    source: join(root, "source"),
    target: join(root, "target"),
    scratch: join(root, "scratch"),
  };
  for (const folder of [pair.source, pair.target, pair.scratch]) await mkdir(folder);
  return pair;
}

export async function removePair(pair: Pair): Promise<void> {
  // Not by Node alone: for two million files that takes 2 GiB in the process of the bench.
  await run("rm", ["-rf", "--", pair.root], { timeoutMs: removeMs, exitCodes: [0, 1] });
  // Tries again what somebody else was removing, too, and says what cannot be removed.
  await rm(pair.root, { recursive: true, force: true, maxRetries: 5 });
  made.delete(pair.root);
}

/** Runs `work` with a fresh pair and removes it afterwards, whatever happens. */
export async function withPair<T>(parent: string, work: (pair: Pair) => Promise<T>): Promise<T> {
  const pair = await makePair(parent);
  try {
    return await work(pair);
  } finally {
    await removePair(pair);
  }
}

/** Removes all pairs at once, synchronously. For the way out of the bench only. */
export function removeAllPairs(): void {
  for (const root of made) rmSync(root, { recursive: true, force: true });
  made.clear();
}

/** Makes a file of `bytes`: one hole if `sparse`, else filled with a pattern. */
export async function makeFile(path: string, bytes: number, sparse: boolean): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.truncate(bytes);
    if (sparse) return;
    const chunk = Buffer.alloc(Math.min(bytes, fillChunkBytes));
    for (let offset = 0; offset < bytes; offset += chunk.length) {
      for (let i = 0; i < chunk.length; i += 1) chunk[i] = (offset + i * 31) & 0xff;
      await file.write(chunk, 0, Math.min(chunk.length, bytes - offset), offset);
    }
  } finally {
    await file.close();
  }
}

/** Gives the target the same one file, for products that are no seeders (the floor). */
export async function copyToTarget(pair: Pair, name: string, bytes: number): Promise<void> {
  const isLarge = bytes > 64 * fillChunkBytes;
  if (isLarge) await makeFile(join(pair.target, name), bytes, true);
  else await copyFile(join(pair.source, name), join(pair.target, name));
}
