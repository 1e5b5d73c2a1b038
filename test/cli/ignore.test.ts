/** Ignore rules on the command line: `sync --once`, `verify`, and what they say of bad rules. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { makeHome, type Outcome, runProgram, scratchFolder } from "./program.ts";

interface Setting {
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly run: (...args: string[]) => Promise<Outcome>;
}

function makeSetting(context: TestContext): Setting {
  const folder = scratchFolder(context);
  const home = makeHome(folder, "home");
  const [source, target] = [join(folder, "a"), join(folder, "b")];
  for (const root of [source, target]) mkdirSync(root);
  const run = (...args: string[]): Promise<Outcome> => runProgram(context, args, { home });
  return { folder, source, target, run };
}

test("sync --once and verify agree on what is ignored", async (t) => {
  const { folder, source, target, run } = makeSetting(t);
  for (const name of ["a", "b.log", "c.tmp", "d.o", "é"]) writeFileSync(join(source, name), name);
  for (const name of ["t.log", "u.tmp", "v.o", "w"]) writeFileSync(join(target, name), name);
  writeFileSync(join(source, ".lockstepignore"), "*.log\n");
  writeFileSync(join(folder, "patterns"), "*.tmp\r\n# nothing else\n");
  const rules = ["--ignore", "*.o", "--ignore", "é", "--ignore-from", join(folder, "patterns")];
  const synced = await run("sync", source, target, "--once", ...rules);
  assert.deepEqual([synced.exit, synced.stderr.includes("warn")], [0, false], synced.stderr);
  const there = ["a", "b.log", "c.tmp", "d.o", "é", "t.log", "u.tmp", "v.o", "w"];
  assert.deepEqual(
    there.map((name) => existsSync(join(target, name))),
    [true, false, false, false, false, true, true, true, false],
  );
  assert.equal((await run("verify", source, target, ...rules)).exit, 0);
  const strict = await run("verify", source, target, "-q", "--no-ignore-files", ...rules);
  assert.deepEqual(strict.stdout.trimEnd().split("\n").sort(), [
    "extra t.log: file",
    "missing b.log: file",
  ]);
});

test("--no-ignore-files takes a rule file for a file", async (t) => {
  const { source, target, run } = makeSetting(t);
  writeFileSync(join(source, ".lockstepignore"), "*\n");
  writeFileSync(join(source, "a"), "");
  assert.equal((await run("sync", source, target, "--once", "--no-ignore-files")).exit, 0);
  assert.ok(existsSync(join(target, "a")));
});

test("rules that cannot be used are refused before anything is done", async (t) => {
  const { folder, source, target, run } = makeSetting(t);
  const bad = join(folder, "bad");
  writeFileSync(bad, "fine\nnot[fine\n");
  const large = join(folder, "large");
  writeFileSync(large, "a\n".repeat(40_000));
  writeFileSync(join(source, "a"), "");
  const cases: readonly [number, RegExp, ...string[]][] = [
    [2, /--ignore 'a\[': a bracket/, "--ignore", "a["],
    [2, /--ignore '': it names nothing/, "--ignore", ""],
    [2, /--ignore '#a'/, "--ignore", "#a"],
    [3, /RULES_UNUSABLE.*nowhere.*ENOENT/, "--ignore-from", join(folder, "nowhere")],
    [3, /RULES_UNUSABLE.*EISDIR/, "--ignore-from", folder],
    [3, /RULES_UNUSABLE.*bad, line 2, 'not\[fine'/, "--ignore-from", bad],
    [3, /RULES_UNUSABLE.*65536 bytes/, "--ignore-from", large],
  ];
  for (const [exit, pattern, ...args] of cases) {
    for (const command of ["sync", "verify"]) {
      const outcome = await run(command, source, target, ...args);
      assert.equal(outcome.exit, exit, `${command} ${args.join(" ")}`);
      assert.match(outcome.stderr, pattern);
    }
  }
  assert.equal(existsSync(join(target, "a")), false);
});

test("a rule file that cannot be used is told, and its folder is left alone", async (t) => {
  const { source, target, run } = makeSetting(t);
  mkdirSync(join(source, "d"));
  writeFileSync(join(source, "d/.lockstepignore"), "a\n".repeat(40_000));
  writeFileSync(join(source, "d/x"), "");
  writeFileSync(join(source, "y"), "");
  const { exit, stderr } = await run("sync", source, target, "--once");
  assert.equal(exit, 1);
  assert.match(stderr, /d\/\.lockstepignore.*65536 bytes/);
  assert.deepEqual(
    ["y", "d/x"].map((name) => existsSync(join(target, name))),
    [true, false],
  );
  const verified = await run("verify", source, target, "-q");
  assert.equal(verified.exit, 1);
  assert.match(verified.stdout, /^unreadable d\/\.lockstepignore: .*too large/);
});
