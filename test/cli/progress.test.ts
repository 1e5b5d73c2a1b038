/** Progress as the real program tells it with --json while a target is made equal. */
import assert from "node:assert/strict";
import { linkSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { eventsOf, makeHome, runProgram, Running, scratchFolder } from "./program.ts";

const largeBytes = 40 << 20;
const smallCount = 400;

/** 400 small files, a large one, one of two names, and one that is ignored. */
function fill(source: string): { files: number; contentBytes: number } {
  for (let i = 0; i < smallCount; i++) {
    const folder = join(source, `d${i % 7}/e`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `f${i}`), Buffer.alloc(1000, i));
  }
  writeFileSync(join(source, "large"), Buffer.alloc(largeBytes, 1));
  linkSync(join(source, "large"), join(source, "d1/link"));
  writeFileSync(join(source, "not.log"), "ignored");
  return { files: smallCount + 2, contentBytes: smallCount * 1000 + largeBytes };
}

type Progress = Readonly<Record<"files" | "contentBytes" | "seconds" | "bytes", number>> & {
  readonly state: string;
  readonly filesTotal?: number;
  readonly contentBytesTotal?: number;
  readonly secondsLeft?: number;
};

test("amounts rise to the totals, which are known after a while", async (t) => {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const source = join(folder, "source");
  const whole = fill(source);
  const target = join(folder, "target");
  mkdirSync(target);
  // No disk is that empty: it waits, so that there is time to count, until a person says go on.
  const args = ["sync", source, target, "--json", "--ignore", "*.log", "--min-free", "100%"];
  const running = new Running(t, args, { home });
  await running.said(/"filesTotal":/);
  assert.equal((await runProgram(t, ["resume"], { home })).exit, 0);
  await running.said(/"event":"live"/);
  running.kill("SIGTERM");
  const { exit, stdout } = await running.end();
  assert.equal(exit, 0);
  const events = eventsOf(stdout);
  const told = events.filter(({ event }) => event === "progress") as unknown as Progress[];
  const first = told[0]!;
  assert.deepEqual([first.filesTotal, first.secondsLeft], [undefined, undefined]);
  let before = { files: 0, contentBytes: 0, seconds: 0, bytes: 0 };
  for (const now of told) {
    for (const key of ["files", "contentBytes", "seconds", "bytes"] as const) {
      assert.ok(now[key] >= before[key], `${key}: ${before[key]}, then ${now[key]}`);
    }
    before = now;
    if (now.filesTotal === undefined) continue;
    assert.deepEqual([now.filesTotal, now.contentBytesTotal], [whole.files, whole.contentBytes]);
    assert.ok(now.files <= whole.files && now.contentBytes <= whole.contentBytes);
  }
  const last = told.at(-1)!;
  assert.deepEqual(
    [last.state, last.files, last.contentBytes, last.secondsLeft],
    ["live", whole.files, whole.contentBytes, 0],
  );
  assert.ok(last.bytes > largeBytes);
  const names = events.map(({ event }) => event);
  assert.ok(names.lastIndexOf("progress") < names.indexOf("live"));

  // Nothing of a restart takes long enough to be told.
  const again = await runProgram(t, [...args.slice(0, 6), "--once"], { home });
  const restart = eventsOf(again.stdout);
  assert.equal(restart.find(({ event }) => event === "live")?.["operations"], 0);
});
