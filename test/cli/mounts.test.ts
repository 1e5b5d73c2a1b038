/** Other filesystems below the source and below the target: left out, told once, never entered. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { eventsOf, makeHome, runProgram, Running, scratchFolder } from "./program.ts";

const skip = process.getuid?.() === 0 ? false : "needs root, to mount";

interface Folders {
  readonly source: string;
  readonly target: string;
  readonly home: string;
  /** Mounts a filesystem at a new folder; false, and a skip, when that is refused here. */
  readonly mountAt: (path: string) => boolean;
}

function foldersFor(t: TestContext): Folders {
  const mounted: string[] = [];
  // Before the folders go: hooks run in the order in which they are added.
  t.after(() => {
    // Lazily, as a program that has failed may still be there.
    for (const path of mounted) execFileSync("umount", ["-l", path], { stdio: "ignore" });
  });
  const folder = scratchFolder(t);
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  for (const path of [source, target]) mkdirSync(path);
  const mountAt = (path: string): boolean => {
    mkdirSync(path);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", path], { stdio: "ignore" });
    } catch {
      t.skip("mounting is refused here");
      return false;
    }
    mounted.push(path);
    return true;
  };
  return { source, target, home: makeHome(folder, "home"), mountAt };
}

const noticesOf = (stdout: string): unknown[] =>
  eventsOf(stdout)
    .filter(({ event }) => event === "notice")
    .map(({ notice, side, path }) => [notice, side, path]);

test("a mount point below the source is left out and told once", { skip }, async (t) => {
  const { source, target, home, mountAt } = foldersFor(t);
  mkdirSync(join(source, "folder"));
  const mount = join(source, "folder/mount");
  if (!mountAt(mount)) return;
  writeFileSync(join(mount, "inside"), "of another filesystem");
  const sync = new Running(t, ["sync", source, target, "--json"], { home, stdin: "" });
  await sync.said(/"event":"live"/);
  // Its folder is looked at again, and is scanned by its new name.
  writeFileSync(join(source, "folder/file"), "beside it");
  await sync.until("mirrors the file", () => existsSync(join(target, "folder/file")));
  writeFileSync(join(mount, "later"), "of another filesystem");
  writeFileSync(join(source, "last"), "");
  await sync.until("mirrors the last", () => existsSync(join(target, "last")));
  const status = await runProgram(t, ["status", "--json"], { home });
  assert.deepEqual(eventsOf(status.stdout)[0]?.["mounts"], ["folder/mount"]);
  sync.kill("SIGTERM");
  const { exit, stdout, stderr } = await sync.end();
  assert.equal(exit, 0, stderr);
  assert.deepEqual(noticesOf(stdout), [["mount", "source", mount]]);
  assert.equal(stderr.split(`${mount} is on another filesystem`).length, 2, stderr);
  assert.deepEqual(readdirSync(join(target, "folder")), ["file"]);
});

test("a mount point below the target is told and stays, or ends it", { skip }, async (t) => {
  const { source, target, home, mountAt } = foldersFor(t);
  writeFileSync(join(source, "file"), "");
  const mount = join(target, "mount");
  if (!mountAt(mount)) return;
  writeFileSync(join(mount, "inside"), "of another filesystem");
  const args = ["sync", source, target, "--json", "--once"];
  const first = await runProgram(t, args, { home });
  assert.equal(first.exit, 0, first.stderr);
  assert.deepEqual(noticesOf(first.stdout), [["mount", "target", mount]]);
  mkdirSync(join(source, "other"));
  renameSync(join(source, "other"), join(source, "mount"));
  const second = await runProgram(t, args, { home });
  assert.equal(second.exit, 3);
  assert.match(second.stderr, /TARGET_MOUNT: .*mounted in the target at mount\n.*unmount/);
  assert.deepEqual(readdirSync(mount), ["inside"]);
});
