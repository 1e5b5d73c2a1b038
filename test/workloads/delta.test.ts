/**
 * Content that nobody can tell the change of costs what has changed, not the file: after edits
 * while nothing ran, on a backend that tells no extents, and when a file is replaced by a new one.
 * Bytes are compared with what rsync needs for the same pair.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventsOf, makeHome, runProgram, Running, scratchFolder } from "../cli/program.ts";
import { isInstalled } from "./commands.ts";

const megabyte = 1_000_000;
const waitMs = 30_000;

/** Bytes that look random and are the same for the same seed. */
function noise(count: number, seed: number): Buffer {
  const bytes = Buffer.alloc(count);
  let state = (seed * 2654435761) >>> 0;
  for (let at = 0; at + 4 <= count; at += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes.writeUInt32LE(state >>> 0, at);
  }
  return bytes;
}

/** One percent of the bytes, in places all over the file. */
function scattered(bytes: Buffer, pieceBytes: number, seed: number): Buffer {
  const changed = Buffer.from(bytes);
  const count = Math.floor(bytes.length / 100 / pieceBytes);
  for (let i = 0; i < count; i++) {
    const at = ((i * 7919 + seed) * 104_729) % (bytes.length - pieceBytes);
    noise(pieceBytes, seed + i + 1).copy(changed, at);
  }
  return changed;
}

interface Pair {
  source: string;
  target: string;
  once: () => Promise<{ sent: number; received: number }>;
}

function pairFor(context: TestContext): Pair {
  const folder = scratchFolder(context);
  const home = makeHome(folder, "home");
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  mkdirSync(source);
  mkdirSync(target);
  const once = async (): Promise<{ sent: number; received: number }> => {
    const args = ["sync", "--once", "--json", source, target];
    const { exit, stdout, stderr } = await runProgram(context, args, { home });
    assert.equal(exit, 0, stderr);
    const live = eventsOf(stdout).find(({ event }) => event === "live");
    return { sent: Number(live!["bytes"]), received: Number(live!["bytesReceived"]) };
  };
  return { source, target, once };
}

/** What rsync sends and receives to make `old` into `fresh`. */
function rsyncBytes(context: TestContext, old: Buffer, fresh: Buffer): number {
  const folder = scratchFolder(context);
  const [from, to] = [join(folder, "new"), join(folder, "old")];
  for (const one of [from, to]) mkdirSync(one);
  writeFileSync(join(from, "file"), fresh);
  writeFileSync(join(to, "file"), old);
  const args = ["-a", "--no-whole-file", "--ignore-times", "--stats", `${from}/`, `${to}/`];
  const { stdout } = spawnSync("rsync", args, { encoding: "utf8", env: { LC_ALL: "C" } });
  const numbers = [...stdout.matchAll(/Total bytes (?:sent|received): ([\d,.]+)/g)];
  assert.equal(numbers.length, 2, stdout);
  return numbers.reduce((sum, [, digits]) => sum + Number(digits!.replaceAll(/[,.]/g, "")), 0);
}

const edits: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  "in scattered pages": (bytes) => scattered(bytes, 4096, 1),
  "in scattered words": (bytes) => scattered(bytes, 64, 2),
  "by an insertion at the beginning": (bytes) => Buffer.concat([noise(1001, 3), bytes]),
  "by taking out a part": (bytes) =>
    Buffer.concat([bytes.subarray(0, 3 * megabyte), bytes.subarray(4 * megabyte + 17)]),
  "by swapping its halves": (bytes) =>
    Buffer.concat([bytes.subarray(bytes.length / 2), bytes.subarray(0, bytes.length / 2)]),
};

for (const [how, edit] of Object.entries(edits)) {
  test(`a file changed ${how} while nothing ran costs about what rsync sends`, async (context) => {
    if (!isInstalled("rsync")) return context.skip("rsync is not installed");
    const { source, target, once } = pairFor(context);
    const old = noise(16 * megabyte, 7);
    writeFileSync(join(source, "file"), old);
    await once();
    const fresh = edit(old);
    writeFileSync(join(source, "file"), fresh);
    const { sent, received } = await once();
    assert.ok(readFileSync(join(target, "file")).equals(fresh), "the target has the new content");
    const theirs = rsyncBytes(context, old, fresh);
    // Where nothing new is to be sent there is little but the signatures, theirs and ours.
    assert.ok(
      sent + received <= 1.3 * theirs + 8192,
      `${sent} + ${received} bytes, rsync ${theirs}`,
    );
  });
}

test("files moved and copied while nothing ran cost no content", async (context) => {
  const { source, target, once } = pairFor(context);
  mkdirSync(join(source, "a/b"), { recursive: true });
  for (let i = 0; i < 20; i++) writeFileSync(join(source, `a/b/f${i}`), noise(200_000 + i, i));
  // To the guard of deletions what has moved is gone: more stays than moves.
  for (let i = 0; i < 40; i++) writeFileSync(join(source, `stays${i}`), "x");
  await once();
  renameSync(join(source, "a"), join(source, "moved"));
  renameSync(join(source, "moved/b/f3"), join(source, "elsewhere"));
  cpSync(join(source, "moved/b/f4"), join(source, "copy"), { preserveTimestamps: true });
  const { sent, received } = await once();
  for (const name of ["elsewhere", "copy", "moved/b/f0", "moved/b/f19"]) {
    const wanted = readFileSync(join(source, name));
    assert.ok(readFileSync(join(target, name)).equals(wanted), name);
  }
  assert.ok(sent + received < 400_000, `${sent} + ${received} bytes for 4.2 MB that moved`);
});

/** How a program saves a file of 3 MB in which a line was inserted. */
const saves: Readonly<Record<string, (path: string, fresh: Buffer) => void>> = {
  "by renaming a new file over it": (path, fresh) => {
    writeFileSync(`${path}.new`, fresh);
    renameSync(`${path}.new`, path);
  },
  "after moving the old one to a backup": (path, fresh) => {
    // Whole at once: what is seen while it is written is new content to everybody.
    const aside = join(path, "../../aside");
    writeFileSync(aside, fresh);
    renameSync(path, `${path}~`);
    renameSync(aside, path);
  },
};

for (const [how, save] of Object.entries(saves)) {
  for (const backend of ["auto", "inotify"]) {
    test(`a large file saved ${how} costs what is new in it (${backend})`, async (context) => {
      const folder = scratchFolder(context);
      const home = makeHome(folder, "home");
      const [source, target] = [join(folder, "source"), join(folder, "target")];
      mkdirSync(source);
      mkdirSync(target);
      const old = noise(3 * megabyte, 5);
      writeFileSync(join(source, "file"), old);
      const args = ["sync", "--json", "--backend", backend, source, target];
      const running = new Running(context, args, { home });
      await running.said(/"event":"live"/);
      const sentBefore = await sentBy(context, home);
      const fresh = Buffer.concat([old.subarray(0, 1000), noise(300, 6), old.subarray(1000)]);
      save(join(source, "file"), fresh);
      await until(() => has(join(target, "file"), fresh));
      const bytes = (await sentBy(context, home)) - sentBefore;
      running.kill("SIGTERM");
      assert.equal((await running.end()).exit, 0);
      // A new file goes over while it is written: it is new content then, some of it read twice.
      const limit = how.includes("backup") ? megabyte : 7 * megabyte;
      assert.ok(bytes < limit, `${bytes} bytes for a save of 3 MB`);
    });
  }
}

test("without extents a change in a large file costs its blocks", async (context) => {
  const folder = scratchFolder(context);
  const home = makeHome(folder, "home");
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  mkdirSync(source);
  mkdirSync(target);
  const old = noise(8 * megabyte, 9);
  writeFileSync(join(source, "file"), old);
  const args = ["sync", "--json", "--backend", "inotify", source, target];
  const running = new Running(context, args, { home });
  await running.said(/"event":"live"/);
  const sentBefore = await sentBy(context, home);
  const fresh = Buffer.concat([old, noise(5000, 10)]);
  writeFileSync(join(source, "file"), noise(5000, 10), { flag: "a" });
  await until(() => has(join(target, "file"), fresh));
  const bytes = (await sentBy(context, home)) - sentBefore;
  running.kill("SIGTERM");
  assert.equal((await running.end()).exit, 0);
  assert.ok(bytes < 100_000, `${bytes} bytes for 5000 that were appended`);
});

async function sentBy(context: TestContext, home: string): Promise<number> {
  const { stdout } = await runProgram(context, ["status", "--json"], { home });
  const sent = /"bytesSent":(\d+)/.exec(stdout);
  assert.ok(sent, stdout);
  return Number(sent[1]);
}

/** Whether the file is there and has this content. */
function has(path: string, content: Buffer): boolean {
  try {
    return readFileSync(path).equals(content);
  } catch {
    return false; // the old one has just been moved away
  }
}

async function until(holds: () => boolean): Promise<void> {
  const limit = performance.now() + waitMs;
  while (!holds()) {
    assert.ok(performance.now() < limit, "the change arrives");
    await sleep(20);
  }
}
