/** `verify` of the real program: exit codes, output, interruption. */
import assert from "node:assert/strict";
import {
  mkdirSync,
  readdirSync,
  renameSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { eventsOf, makeHome, runProgram, Running, scratchFolder, stateDirOf } from "./program.ts";

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

/** Eight folders with a file of 1 MB; those named `differs` have another byte on the target. */
function makeLarge(context: TestContext, differing: readonly string[]): Pair {
  const pair = makePair(context);
  for (const root of [pair.source, pair.target]) {
    for (let i = 0; i < 8; i++) {
      const folder = join(root, `d${i}`);
      mkdirSync(folder);
      const bytes = Buffer.alloc(1_000_000, 7);
      if (root === pair.target && differing.includes(`d${i}`)) bytes[999_999] = 8;
      writeFileSync(join(folder, "file"), bytes);
      for (const path of [join(folder, "file"), folder]) age(path);
    }
    age(root);
  }
  return pair;
}

async function interrupted(t: TestContext, { home, source, target }: Pair): Promise<void> {
  const args = ["verify", source, target, "--json", "--rate", "1M"];
  const running = new Running(t, args, { home, stdin: "" });
  const compared = (): number =>
    eventsOf(running.stdout.slice(0, running.stdout.lastIndexOf("\n") + 1))
      .filter(({ event }) => event === "progress")
      .reduce((most, { bytes }) => Math.max(most, Number(bytes)), 0);
  await running.until("is in the middle", () => compared() > 2_000_000);
  running.kill("SIGINT");
  const { exit, stdout } = await running.end();
  assert.equal(exit, 1);
  const end = eventsOf(stdout).at(-1) ?? {};
  assert.equal(end["cancelled"], true);
  assert.ok(Number(end["bytes"]) < 8_000_000);
}

test("an interrupted verify is gone on with, and counts what it found before", async (t) => {
  const pair = makeLarge(t, ["d0", "d7"]);
  const { home, source, target } = pair;
  await interrupted(t, pair);
  const args = ["verify", source, target, "--json", "--resume"];
  const { exit, stdout } = await runProgram(t, args, { home });
  assert.equal(exit, 1);
  const events = eventsOf(stdout);
  const [resume] = events;
  assert.deepEqual([resume?.["event"], resume?.["resumed"]], ["resume", true]);
  assert.ok(Number(resume?.["bytes"]) >= 1_000_000);
  const found = events.filter(({ event }) => event === "difference").map(({ path }) => path);
  assert.deepEqual(found, ["d7/file"], "what was found before is not looked at again");
  const end = events.at(-1) ?? {};
  assert.deepEqual(end["counts"], { content: 2 });
  assert.equal(end["resumed"], true);
  const whole = eventsOf((await runProgram(t, args.slice(0, 4), { home })).stdout).at(-1) ?? {};
  assert.equal(end["entries"], whole["entries"]);
  // A young difference is read once more.
  assert.ok(Number(end["bytes"]) >= Number(whole["bytes"]));
  const again = await runProgram(t, ["verify", source, target, "--resume"], { home });
  assert.match(again.stdout, /^starting at the beginning: no interrupted comparison/);
});

test("a place that does not fit is told, and all is compared", async (t) => {
  const pair = makeLarge(t, []);
  const { home, source, target } = pair;
  const kept = join(stateDirOf(home), "verify");
  const resumed = (...more: string[]): ReturnType<typeof runProgram> =>
    runProgram(t, ["verify", source, target, "--resume", ...more], { home });
  await interrupted(t, pair);
  const [name] = readdirSync(kept);
  const other = await resumed("--no-content");
  assert.match(other.stdout, /^starting at the beginning: no interrupted comparison/);
  truncateSync(join(kept, name ?? ""), 20);
  const damaged = await resumed();
  assert.match(damaged.stdout, /^starting at the beginning: what was kept of it is damaged/);
  assert.equal(damaged.exit, 0);
  await interrupted(t, pair);
  renameSync(target, `${target}.old`);
  mkdirSync(target);
  const replaced = await resumed();
  assert.match(replaced.stdout, /^starting at the beginning: one of the two is another folder now/);
  assert.equal(replaced.exit, 1);
});

test("a rate that is none is a usage error", async (t) => {
  const { home, source, target } = makePair(t);
  for (const rate of ["fast", "-1", "1.5.2M", ""]) {
    const { exit } = await runProgram(t, ["verify", source, target, `--rate=${rate}`], { home });
    assert.equal(exit, 2, rate);
  }
});
