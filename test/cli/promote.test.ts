/**
 * `lockstep promote` of the real program: whoever has the target, and when nobody has; what sources
 * are told afterwards; what `--durability` and `--consistency` do on the way there.
 */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { linkPair } from "../workloads/link-pair.ts";
import {
  eventsOf,
  makeHome,
  type Outcome,
  runProgram,
  Running,
  scratchFolder,
  stateDirOf,
} from "./program.ts";

interface Local {
  readonly home: string;
  readonly source: string;
  readonly target: string;
  readonly run: (...args: string[]) => Promise<Outcome>;
  readonly sync: (...args: string[]) => Running;
}

function local(t: TestContext): Local {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const [source, target] = [join(folder, "a"), join(folder, "b")];
  mkdirSync(source);
  for (let i = 0; i < 5; i++) writeFileSync(join(source, `f${i}`), "0");
  const run = (...args: string[]): Promise<Outcome> => runProgram(t, args, { home });
  const sync = (...args: string[]): Running =>
    new Running(t, ["sync", source, target, "--json", ...args], { home, stdin: "" });
  return { home, source, target, run, sync };
}

function codeOf({ stdout }: Outcome): unknown {
  return eventsOf(stdout).find(({ event }) => event === "end")?.["code"];
}

function promoted({ exit, stdout, stderr }: Outcome): Record<string, unknown> {
  assert.equal(exit, 0, stdout + stderr);
  const said = eventsOf(stdout).find(({ event }) => event === "promoted");
  assert.ok(said !== undefined, stdout);
  return said;
}

/** Each file has the same number, which one of the source's cuts had. */
function stateOf(target: string): string {
  const states = new Set(
    readdirSync(target).map((name) => readFileSync(join(target, name), "utf8")),
  );
  assert.equal(states.size, 1, `a mixture: ${[...states].join(" ")}`);
  return [...states][0]!;
}

test("what no source has mirrored into is not promoted", async (t) => {
  const { target, run } = local(t);
  const missing = await run("promote", target, "--json");
  assert.ok(missing.exit !== 0 && codeOf(missing) !== undefined, missing.stdout);
  mkdirSync(target);
  for (const more of [[], ["--force"], ["--undo"]]) {
    const outcome = await run("promote", target, "--json", ...more);
    assert.notEqual(outcome.exit, 0);
    assert.equal(codeOf(outcome), "NO_TARGET", outcome.stdout);
  }
});

test("after a kill a target is promoted at a cut; sources halt until that is undone", async (t) => {
  const { source, target, run, sync } = local(t);
  for (const durability of ["process", "power"]) {
    const killed = sync("--durability", durability, "--consistency", "strict");
    await killed.said(/"event":"live"/);
    for (let turn = 1; turn <= 40; turn++) {
      for (let i = 0; i < 5; i++) writeFileSync(join(source, `f${i}`), `${durability}${turn}`);
    }
    const flushed = await run("flush");
    assert.equal(flushed.exit, 0, flushed.stderr);
    killed.kill("SIGKILL");
    await killed.end();
    const said = promoted(await run("promote", target, "--json"));
    assert.equal(stateOf(target), `${durability}40`);
    assert.equal(said["path"], target);
    assert.ok(Number(said["epoch"]) > 0 && said["fuzzy"] === false, JSON.stringify(said));
    assert.equal(new Date(Number(said["cutWallMs"])).toISOString(), said["cut"]);
    // The same once more says the same.
    const again = promoted(await run("promote", target, "--json"));
    assert.deepEqual({ ...again, redone: said["redone"] }, said);
    writeFileSync(join(source, "f0"), "later");
    const refused = sync();
    await refused.said(/TARGET_PROMOTED/);
    assert.equal(stateOf(target), `${durability}40`);
    const undone = await run("promote", target, "--undo", "--json");
    assert.equal(undone.exit, 0, undone.stdout + undone.stderr);
    assert.match(undone.stdout, /"was":true/);
    refused.kill("SIGKILL");
    await refused.end();
    const next = sync();
    await next.said(/"event":"live"/);
    assert.equal(readFileSync(join(target, "f0"), "utf8"), "later");
    next.kill("SIGTERM");
    await next.end();
    assert.match((await run("promote", target, "--undo", "--json")).stdout, /"was":false/);
  }
});

test("a running sync lets go of its target", async (t) => {
  const { source, target, run, sync } = local(t);
  const running = sync();
  await running.said(/"event":"live"/);
  for (let i = 0; i < 5; i++) writeFileSync(join(source, `f${i}`), "1");
  assert.equal((await run("flush")).exit, 0);
  const said = promoted(await run("promote", target, "--json"));
  assert.equal(said["path"], target);
  await running.said(/TARGET_PROMOTED/);
  for (let i = 0; i < 5; i++) writeFileSync(join(source, `f${i}`), "2");
  assert.equal(stateOf(target), "1");
  running.kill("SIGTERM");
  await running.end();
  assert.equal(stateOf(target), "1");
});

test("so does serve, and the source at the other end halts", async (t) => {
  const { source, target, serve, sync, far, near } = await linkPair(t);
  for (let i = 0; i < 5; i++) writeFileSync(join(source, `f${i}`), "0");
  const server = await serve();
  const running = sync("--durability", "power");
  await running.said(/"event":"live"/);
  for (let i = 0; i < 5; i++) writeFileSync(join(source, `f${i}`), "1");
  assert.equal((await runProgram(t, ["flush"], { home: near })).exit, 0);
  assert.match(journalsOf(far), /"durability":"power"/);
  promoted(await runProgram(t, ["promote", target, "--json"], { home: far }));
  await running.said(/"event":"halt".*TARGET_PROMOTED/);
  for (let i = 0; i < 5; i++) writeFileSync(join(source, `f${i}`), "2");
  assert.equal(stateOf(target), "1");
  const undo = ["promote", target, "--undo"];
  assert.equal((await runProgram(t, undo, { home: far })).exit, 0);
  assert.equal((await runProgram(t, ["resume"], { home: near })).exit, 0);
  await running.until("mirrored again", () => readFileSync(join(target, "f4"), "utf8") === "2");
  for (const one of [running, server]) {
    one.kill("SIGTERM");
    await one.end();
  }
});

test("what serve finishes after a kill is kept as what it would have taken away", async (t) => {
  const { source, target, serve, sync, near } = await linkPair(t);
  for (const name of ["stays", "f0"]) writeFileSync(join(source, name), "0");
  const backup = join(target, "../backup");
  mkdirSync(backup);
  const keeping = ["--backup-dir", `x=${backup}`];
  const server = await serve(...keeping);
  const running = sync();
  await running.said(/"event":"live"/);
  rmSync(join(source, "f0"));
  assert.equal((await runProgram(t, ["flush"], { home: near })).exit, 0);
  const kept = (): string[] =>
    readdirSync(backup).flatMap((each) =>
      readdirSync(join(backup, each)).map((name) => join(backup, each, name)),
    );
  assert.equal(kept().length, 1, "the deleted file is not in the backup");
  server.kill("SIGKILL");
  await server.end();
  running.kill("SIGKILL");
  await running.end();
  // As if it had died just before: the same file is where it was.
  renameSync(kept()[0]!, join(target, "f0"));
  const again = await serve(...keeping);
  await again.until("finished it", () => !existsSync(join(target, "f0")));
  assert.deepEqual(
    kept().map((path) => readFileSync(path, "utf8")),
    ["0"],
  );
  again.kill("SIGTERM");
  await again.end();
});

/** The headers of the journals of a device. */
function journalsOf(home: string): string {
  const folder = stateDirOf(home);
  const names = readdirSync(folder).filter((name) => name.startsWith("journal-"));
  assert.ok(names.length > 0, "there is no journal");
  return names.map((name) => readFileSync(join(folder, name), "latin1").slice(0, 16384)).join();
}

test("a target that was never equal is promoted by force only", async (t) => {
  const { target, run, sync } = local(t);
  const running = sync("--min-free", "100%");
  await running.said(/TARGET_LOW/);
  const refused = await run("promote", target, "--json");
  assert.notEqual(refused.exit, 0);
  assert.equal(codeOf(refused), "TARGET_INCOMPLETE", refused.stdout);
  running.kill("SIGKILL");
  await running.end();
  const offline = await run("promote", target, "--json");
  assert.equal(codeOf(offline), "TARGET_INCOMPLETE", offline.stdout);
  const said = promoted(await run("promote", target, "--force", "--json"));
  assert.equal(said["epoch"], undefined);
  const next = sync();
  await next.said(/TARGET_PROMOTED/);
  assert.equal(existsSync(join(target, "f0")), false);
  next.kill("SIGTERM");
  await next.end();
  assert.equal((await run("promote", target, "--undo")).exit, 0);
  rmSync(target, { recursive: true });
});
