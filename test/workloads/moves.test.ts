/**
 * Moved while nothing ran: what the target remembers of the source's inodes tells the next start
 * that a file has moved, so that the target moves its own instead of copying it.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { eventsOf, makeHome, runProgram } from "../cli/program.ts";

interface Pair {
  readonly source: string;
  readonly target: string;
  readonly home: string;
}

/** Enough entries for digests to pay. */
function pairFor(t: TestContext): Pair {
  const base = fs.mkdtempSync(join(tmpdir(), "lockstep-moves-"));
  t.after(() => fs.rmSync(base, { recursive: true, force: true }));
  const [source, target] = [join(base, "source"), join(base, "target")];
  for (const folder of [source, target]) fs.mkdirSync(folder);
  for (const folder of ["one/deep", "two", "three/deep/er", "log"]) {
    fs.mkdirSync(join(source, folder), { recursive: true });
    for (let i = 0; i < 80; i++) {
      fs.writeFileSync(join(source, folder, `file-${i}`), `${folder} ${i} `.repeat(200));
    }
  }
  return { source, target, home: makeHome(base, "home") };
}

async function run(t: TestContext, { source, target, home }: Pair): Promise<number> {
  const args = ["sync", source, target, "--once", "--json"];
  const { exit, stdout, stderr } = await runProgram(t, args, { home });
  assert.equal(exit, 0, `${stdout}\n${stderr}`);
  const live = eventsOf(stdout).find(({ event }) => event === "live");
  return Number(live?.["bytes"]);
}

/** The target's inode by the source's, of regular files and directories. */
function pairsOf({ source, target }: Pair): Map<number, number> {
  const pairs = new Map<number, number>();
  for (const name of fs.readdirSync(source, { recursive: true, encoding: "utf8" })) {
    pairs.set(fs.lstatSync(join(source, name)).ino, fs.lstatSync(join(target, name)).ino);
  }
  return pairs;
}

/** Everything that the source still has is the same file of the target as before. */
async function check(
  t: TestContext,
  change: (source: string) => void,
  bytesMax = 60_000,
): Promise<void> {
  const pair = pairFor(t);
  await run(t, pair);
  const before = pairsOf(pair);
  change(pair.source);
  const bytes = await run(t, pair);
  assert.ok(bytes < bytesMax, `${bytes} bytes were sent`);
  const verified = await runProgram(t, ["verify", pair.source, pair.target], { home: pair.home });
  assert.equal(verified.exit, 0, verified.stdout);
  for (const [own, replica] of pairsOf(pair)) {
    if (before.has(own)) assert.equal(replica, before.get(own), `of the source's inode ${own}`);
  }
  const again = await run(t, pair);
  assert.ok(again < 3000, `${again} bytes to find that nothing has changed`);
}

const changes: Record<string, (at: (path: string) => string) => void> = {
  "a file to another folder": (at) => fs.renameSync(at("one/deep/file-1"), at("two/moved")),
  "a folder, and with it most of the tree": (at) => {
    fs.mkdirSync(at("new"));
    for (const folder of ["one", "two", "three"]) fs.renameSync(at(folder), at(`new/${folder}`));
  },
  "folders that changed places": (at) => {
    fs.renameSync(at("one"), at("x"));
    fs.renameSync(at("two"), at("one"));
    fs.renameSync(at("x"), at("two"));
  },
  "a folder that is now in what was in it": (at) => {
    fs.renameSync(at("three/deep"), at("deep"));
    fs.renameSync(at("three"), at("deep/er/three"));
  },
  "logs that were rotated": (at) => {
    // Before the last one frees its inode, whose number it would get.
    fs.writeFileSync(at("log/new"), "new");
    for (let i = 78; i >= 0; i--) fs.renameSync(at(`log/file-${i}`), at(`log/file-${i + 1}`));
    fs.renameSync(at("log/new"), at("log/file-0"));
  },
  "a log that was moved to another folder, and begun anew": (at) => {
    fs.renameSync(at("log/file-5"), at("one/file-5.old"));
    fs.writeFileSync(at("log/file-5"), "new");
    fs.renameSync(at("two/file-5"), at("three/file-5.old"));
    fs.writeFileSync(at("two/file-5"), "new");
  },
  "files out of a folder that is gone": (at) => {
    for (let i = 0; i < 20; i++) fs.renameSync(at(`two/file-${i}`), at(`log/kept-${i}`));
    fs.rmSync(at("two"), { recursive: true });
  },
  "chains and circles of files": (at) => {
    const files = Array.from({ length: 30 }, (_, i) => at(`two/file-${i}`));
    fs.renameSync(files[0]!, at("x"));
    for (let i = 1; i < 30; i++) fs.renameSync(files[i]!, files[i - 1]!);
    fs.renameSync(at("x"), files[29]!);
    fs.renameSync(at("one/deep/file-0"), at("x"));
    fs.renameSync(at("log/file-0"), at("one/deep/file-0"));
    fs.renameSync(at("three/deep/er/file-0"), at("log/file-0"));
    fs.renameSync(at("x"), at("three/deep/er/file-0"));
  },
  "a file and its directory, to each other's level": (at) => {
    fs.renameSync(at("three/deep/er/file-1"), at("three/file-1"));
    fs.renameSync(at("three/deep/er"), at("er"));
    fs.renameSync(at("three/deep"), at("er/deep"));
    fs.renameSync(at("three"), at("er/deep/three"));
  },
  "a file that was changed too": (at) => {
    fs.renameSync(at("one/deep/file-2"), at("three/changed"));
    fs.appendFileSync(at("three/changed"), "more");
  },
  "a folder in which something changed, and its old name is a file": (at) => {
    fs.renameSync(at("one"), at("two/one"));
    fs.writeFileSync(at("one"), "a file");
    fs.writeFileSync(at("two/one/deep/file-3"), "changed");
    fs.rmSync(at("two/one/deep/file-4"));
  },
};

for (const [what, change] of Object.entries(changes)) {
  test(`moved offline: ${what}`, async (t) => {
    await check(t, (source) => change((path) => join(source, path)));
  });
}
