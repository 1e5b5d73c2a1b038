/**
 * The scrub of the real program: what somebody changes in the target behind Lockstep's back is
 * found, told and put right; and while programs work on the source nothing is found that is none.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventsOf, makeHome, runProgram, Running, scratchFolder } from "../cli/program.ts";

interface Place {
  readonly home: string;
  readonly source: string;
  readonly target: string;
}

function place(t: TestContext): Place {
  const folder = scratchFolder(t);
  const source = join(folder, "source");
  mkdirSync(join(source, "below"), { recursive: true });
  for (let i = 0; i < 8; i++) writeFileSync(join(source, `f${i}`), `${i}`.repeat(9000));
  writeFileSync(join(source, "below/large"), Buffer.alloc(3_000_000, "large"));
  return { home: makeHome(folder, "home"), source, target: join(folder, "target") };
}

function sync(t: TestContext, { home, source, target }: Place, rate: string): Running {
  const args = ["sync", source, target, "--json", "--scrub-rate", rate];
  return new Running(t, args, { home, stdin: "" });
}

function told(running: Running, event: string): Record<string, unknown>[] {
  const whole = running.stdout.slice(0, running.stdout.lastIndexOf("\n") + 1);
  return eventsOf(whole).filter((line) => line["event"] === event);
}

function toldOf(running: Running, path: string): string {
  const found = told(running, "problem").find((line) => line["path"] === path);
  const errno = found?.["errno"];
  return typeof errno === "string" ? errno : "";
}

async function status({ home }: Place, t: TestContext): Promise<Record<string, unknown>> {
  const { stdout } = await runProgram(t, ["status", "--json"], { home });
  return eventsOf(stdout)[0] ?? {};
}

async function untilPasses(where: Place, t: TestContext, count: number): Promise<void> {
  for (let look = 0; look < 200; look++) {
    if (Number((await status(where, t))["scrubPasses"]) >= count) return;
    await sleep(50);
  }
  assert.fail(`no ${count} passes`);
}

/** Another bit in one byte, with size and times as they were. */
function flip(path: string, position: number): void {
  const { atime, mtime } = statSync(path);
  const { mtimeNs } = statSync(path, { bigint: true });
  const fd = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, position);
  byte[0] = byte[0]! ^ 1;
  writeSync(fd, byte, 0, 1, position);
  closeSync(fd);
  utimesSync(path, atime, mtime);
  assert.equal(statSync(path, { bigint: true }).mtimeNs / 1_000_000n, mtimeNs / 1_000_000n);
}

test("flipped bytes, a mode, a short file: found, told and sent again", async (t) => {
  const where = place(t);
  const { source, target } = where;
  const second = new Date(1_700_000_000_000);
  for (const name of ["f1", "below/large"]) utimesSync(join(source, name), second, second);
  const running = sync(t, where, "200M");
  await running.said(/"event":"live"/);
  flip(join(target, "f1"), 5000);
  flip(join(target, "below/large"), 2_999_999);
  chmodSync(join(target, "f2"), 0o600);
  truncateSync(join(target, "f3"), 100);
  const paths = ["f1", "below/large", "f2", "f3"];
  await running.until("finds all", () => paths.every((path) => toldOf(running, path) !== ""));
  assert.match(toldOf(running, "f1"), /^differs \(content\); sent again$/);
  assert.match(toldOf(running, "below/large"), /^differs \(content\); sent again$/);
  assert.match(toldOf(running, "f2"), /^differs \(mode\); sent again$/);
  assert.match(toldOf(running, "f3"), /size/);
  const isEqual = (path: string): boolean =>
    readFileSync(join(source, path)).equals(readFileSync(join(target, path))) &&
    statSync(join(source, path)).mode === statSync(join(target, path)).mode;
  await running.until("mends all", () => paths.every(isEqual));
  const before = Number((await status(where, t))["scrubPasses"]);
  await untilPasses(where, t, before + 2);
  const after = await status(where, t);
  assert.equal(after["scrubDivergences"], paths.length, "what was mended is not found again");
  assert.ok(Number(after["scrubbedFiles"]) > 20);
  assert.ok(Number(after["scrubbedBytes"]) > 3_000_000);
  assert.equal(told(running, "live").length, 1, "the link was not ended for it");
  running.kill("SIGTERM");
  assert.equal((await running.end()).exit, 0);
});

test("a removed file and an extra one end the link, and the next compares all", async (t) => {
  const where = place(t);
  const { target } = where;
  const running = sync(t, where, "200M");
  await running.said(/"event":"live"/);
  unlinkSync(join(target, "f4"));
  await running.until("has it back", () => existsSync(join(target, "f4")));
  await running.until("is live again", () => told(running, "live").length === 2);
  writeFileSync(join(target, "below/extra"), "not from the source");
  await running.until("has removed it", () => !existsSync(join(target, "below/extra")));
  await running.until("is live again", () => told(running, "live").length === 3);
  assert.match(toldOf(running, "below"), /^differs \(.*names.*\); everything is compared anew$/);
  assert.equal((await status(where, t))["scrubDivergences"], 2);
  running.kill("SIGTERM");
  assert.equal((await running.end()).exit, 0);
});

/** Commits as SQLite does (a journal, pages in place, the journal gone), moves, replaces, modes. */
const load = `
const fs = require("node:fs");
const page = Buffer.alloc(4096);
const db = fs.openSync("below/large", "r+");
const until = Date.now() + 4000;
for (let round = 0; Date.now() < until; round++) {
  fs.writeFileSync("db-journal", page);
  page.fill(round);
  fs.writeSync(db, page, 0, page.length, (round % 700) * 4096);
  fs.rmSync("db-journal");
  const [from, to] = round % 2 === 0 ? ["f5", "f5-moved"] : ["f5-moved", "f5"];
  fs.renameSync(from, to);
  fs.writeFileSync("f4", String(round).repeat(20000));
  fs.writeFileSync("new", String(round));
  fs.renameSync("new", "f6");
  fs.chmodSync("f7", round % 2 === 0 ? 0o600 : 0o644);
  const pause = Date.now() + round % 4;
  while (Date.now() < pause);
}`;

test("nothing is found while programs write, rename and remove", async (t) => {
  const where = place(t);
  const { source } = where;
  const running = sync(t, where, "200M");
  await running.said(/"event":"live"/);
  const before = Number((await status(where, t))["scrubbedFiles"]);
  const program = spawn(process.execPath, ["-e", load], { cwd: source, stdio: "inherit" });
  t.after(() => program.kill("SIGKILL"));
  const [exit] = (await once(program, "exit")) as [number | null];
  assert.equal(exit, 0);
  const during = await status(where, t);
  assert.ok(Number(during["scrubbedFiles"]) > before, "it goes on meanwhile");
  await untilPasses(where, t, Number(during["scrubPasses"]) + 2);
  const after = await status(where, t);
  assert.equal(after["scrubDivergences"], 0, JSON.stringify(told(running, "problem")));
  assert.equal(told(running, "live").length, 1);
  running.kill("SIGTERM");
  assert.equal((await running.end()).exit, 0);
});

test("a file becomes shorter while it is looked at", async (t) => {
  const where = place(t);
  // A piece takes longer than a file has to rest after a change.
  const running = sync(t, where, "200k");
  await running.said(/"event":"live"/);
  const enoughBytes = 8 * 9000 + 200_000;
  for (let look = 0; Number((await status(where, t))["scrubbedBytes"]) < enoughBytes; look++) {
    assert.ok(look < 200, "it reads the large file");
    await sleep(20);
  }
  writeFileSync(join(where.source, "below/large"), "short");
  await untilPasses(where, t, 1);
  assert.equal((await status(where, t))["scrubDivergences"], 0);
  assert.equal(told(running, "live").length, 1);
  running.kill("SIGTERM");
  assert.equal((await running.end()).exit, 0);
});

test("a rate of 0 switches it off", async (t) => {
  const where = place(t);
  const running = sync(t, where, "0");
  await running.said(/"event":"live"/);
  chmodSync(join(where.target, "f2"), 0o600);
  await sleep(2500);
  assert.equal((await status(where, t))["scrubbedFiles"], 0);
  assert.equal(statSync(join(where.target, "f2")).mode & 0o777, 0o600);
  running.kill("SIGTERM");
  assert.equal((await running.end()).exit, 0);
});
