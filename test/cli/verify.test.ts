/** `verify` of the real program: exit codes, output, interruption. */
import assert from "node:assert/strict";
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { eventsOf, makeHome, runProgram, Running, scratchFolder } from "./program.ts";

interface Pair {
  readonly home: string;
  readonly source: string;
  readonly target: string;
}

/** Two equal folders, old enough that nothing waits for them to settle. */
function makePair(context: TestContext): Pair {
  const folder = scratchFolder(context);
  const pair = {
    home: makeHome(folder, "home"),
    source: join(folder, "a"),
    target: join(folder, "b"),
  };
  for (const root of [pair.source, pair.target]) {
    mkdirSync(join(root, "below"), { recursive: true });
    writeFileSync(join(root, "below/file"), "same");
    for (const path of ["below/file", "below", ""]) age(join(root, path));
  }
  return pair;
}

function age(path: string): void {
  utimesSync(path, 1_000_000_000, 1_000_000_000);
}

test("equal folders give code 0", async (t) => {
  const { home, source, target } = makePair(t);
  const { exit, stdout, stderr } = await runProgram(t, ["verify", source, target], { home });
  assert.deepEqual([exit, stderr], [0, ""]);
  assert.equal(stdout, "3 entries, 0.0 MB compared: no difference\n");
});

test("differences give code 1 and one line each; --json one event each", async (t) => {
  const { home, source, target } = makePair(t);
  writeFileSync(join(source, "new"), "1");
  writeFileSync(join(target, "below/file"), "diff");
  for (const path of ["below/file", "below", ""]) age(join(target, path));
  age(source);
  const plain = await runProgram(t, ["verify", source, target, "-q"], { home });
  assert.equal(plain.exit, 1);
  const lines = ["missing new: file", "content below/file: first difference at byte 0"];
  assert.deepEqual(plain.stdout.trimEnd().split("\n").sort(), lines.sort());
  const json = await runProgram(t, ["verify", source, target, "--json"], { home });
  const events = eventsOf(json.stdout);
  const end = events.pop();
  assert.deepEqual(
    events.map(({ event, kind, path }) => [event, kind, path]),
    [
      ["difference", "missing", "new"],
      ["difference", "content", "below/file"],
    ],
  );
  assert.deepEqual([end?.["exit"], end?.["clean"], end?.["differences"]], [1, false, 2]);
});

test("--no-content leaves the bytes out", async (t) => {
  const { home, source, target } = makePair(t);
  writeFileSync(join(target, "below/file"), "diff");
  for (const path of ["below/file", "below", ""]) age(join(target, path));
  const args = ["verify", source, target, "--no-content"];
  assert.equal((await runProgram(t, args, { home })).exit, 0);
});

test("a folder that is missing, or none, gives code 3", async (t) => {
  const { home, source } = makePair(t);
  for (const [path, code] of [
    [join(source, "nowhere"), "ROOT_MISSING"],
    [join(source, "below/file"), "ROOT_NOT_DIRECTORY"],
  ] as const) {
    const { exit, stdout, stderr } = await runProgram(t, ["verify", source, path], { home });
    assert.deepEqual([exit, stdout], [3, ""]);
    assert.ok(stderr.startsWith(`lockstep: ${code}: `), stderr);
  }
});

test("an interrupted comparison says so and never gives code 0", async (t) => {
  const { home, source, target } = makePair(t);
  // Files whose difference is fresh: each is waited for.
  writeFileSync(join(source, "new"), "1");
  const running = new Running(t, ["verify", source, target, "--json"], { home, stdin: "" });
  await running.opens(source);
  running.kill("SIGINT");
  const { exit, stdout } = await running.end();
  assert.equal(exit, 1);
  const end = eventsOf(stdout).at(-1);
  assert.deepEqual([end?.["cancelled"], end?.["clean"]], [true, false]);
});
