/**
 * A big tree moved into the source is one epoch. While the target applies it, whoever asks for its
 * state is answered, and it ends when it is told to.
 *
 * With LOCKSTEP_WORKLOADS=all only, and as many files as other large workloads (workload.ts).
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { runProgram } from "../cli/program.ts";
import { type LinkPair, linkPair } from "./link-pair.ts";
import { compareFolders } from "./mirror.ts";
import { fileCount } from "./workload.ts";

const isLarge = process.env["LOCKSTEP_WORKLOADS"] === "all";

const filesPerFolder = 200;

/** Beside the source, where nobody looks. */
function makeTree({ source }: LinkPair): string {
  const tree = join(dirname(source), "tree");
  for (let i = 0; i < fileCount; i++) {
    const folder = join(tree, `d${Math.floor(i / filesPerFolder)}`);
    if (i % filesPerFolder === 0) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `f${i}`), `${i} `.repeat(1 + (i % 200)));
  }
  return tree;
}

/** Files of it that the target has so far. */
function arrivedCount({ target }: LinkPair): number {
  const tree = join(target, "tree");
  if (!existsSync(tree)) return 0;
  return readdirSync(tree).reduce((sum, name) => sum + readdirSync(join(tree, name)).length, 0);
}

const isAmid = (pair: LinkPair): boolean => {
  const count = arrivedCount(pair);
  return count > 0 && count < fileCount;
};

test("the target answers while it applies a large epoch", { skip: !isLarge }, async (t) => {
  const pair = await linkPair(t);
  const tree = makeTree(pair);
  await pair.serve();
  const sync = pair.sync();
  await sync.said(/"event":"live"/);
  renameSync(tree, join(pair.source, "tree"));
  await sync.until("applies", () => isAmid(pair));
  const tookMs: number[] = [];
  for (let i = 0; i < 100 && isAmid(pair); i++) {
    const startMs = performance.now();
    const { exit, stdout } = await runProgram(t, ["status", "--json"], { home: pair.far });
    if (!isAmid(pair)) break;
    tookMs.push(Math.round(performance.now() - startMs));
    assert.equal(exit, 0, stdout);
  }
  assert.ok(tookMs.length > 0, "answered in the middle of it");
  t.diagnostic(`status took ${tookMs.join(", ")} ms`);
});

test("a target that is told to end in a large epoch does", { skip: !isLarge }, async (t) => {
  const pair = await linkPair(t);
  const tree = makeTree(pair);
  const first = await pair.serve();
  const sync = pair.sync();
  await sync.said(/"event":"live"/);
  renameSync(tree, join(pair.source, "tree"));
  await first.until("applies", () => isAmid(pair));
  const startMs = performance.now();
  first.kill("SIGTERM");
  const { exit, stderr } = await first.end();
  t.diagnostic(`ended after ${Math.round(performance.now() - startMs)} ms`);
  assert.equal(exit, 0, stderr);
  const second = await pair.serve();
  await sync.said(/("event":"live"[^]*){2}/);
  const { differenceCount } = await compareFolders(pair);
  assert.equal(differenceCount, 0);
  second.kill("SIGTERM");
  await second.end();
});
