/** `flush` of the real program: what was written before it is at the target when it returns. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { publishStatus } from "../../src/cli/index.ts";
import { linkPair } from "../workloads/link-pair.ts";
import { eventsOf, makeHome, runProgram, Running, scratchFolder, stateDirOf } from "./program.ts";

interface Pair {
  home: string;
  source: string;
  targets: readonly string[];
  sync: Running;
}

/** A sync into two folders, live at both. */
async function localPair(t: TestContext, ...more: string[]): Promise<Pair> {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const source = join(folder, "a");
  const targets = [join(folder, "b"), join(folder, "c")];
  mkdirSync(source);
  for (let i = 0; i < 20; i++) writeFileSync(join(source, `old${i}`), "old");
  const sync = new Running(t, ["sync", source, ...targets, "--json", ...more], { home, stdin: "" });
  for (const target of targets) await sync.said(new RegExp(`"event":"live","target":"${target}"`));
  return { home, source, targets, sync };
}

test("without a sync, or with another one, it says so and waits for nothing", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  const none = await runProgram(t, ["flush"], { home });
  assert.deepEqual([none.exit, /NO_SYNC: no sync is running/.test(none.stderr)], [3, true]);
  const targets = [{ target: "/b", state: "live" }];
  const published = publishStatus(stateDirOf(home), () => ({
    command: "sync",
    source: "/a",
    targets,
  }));
  t.after(() => published.close());
  const target = await runProgram(t, ["flush", "/c"], { home });
  assert.deepEqual([target.exit, /the target \/c; of: \/b/.test(target.stderr)], [3, true]);
  const source = await runProgram(t, ["flush", "--source", "/x"], { home });
  assert.deepEqual([source.exit, /has the source \/x/.test(source.stderr)], [3, true]);
  // It knows of no flush, as an earlier version.
  const mute = await runProgram(t, ["flush"], { home });
  assert.deepEqual([mute.exit, /FLUSH_BROKEN: .* does not answer/.test(mute.stderr)], [4, true]);
  for (const timeout of ["0", "-1", "1e3", "soon"]) {
    const { exit, stderr } = await runProgram(t, ["flush", `--timeout=${timeout}`], { home });
    assert.deepEqual([exit, /expected seconds/.test(stderr)], [2, true], timeout);
  }
});

test("what was written before is at every target, or at the one that is named", async (t) => {
  const { home, source, targets } = await localPair(t);
  for (let turn = 0; turn < 5; turn++) {
    const text = `${turn}`.repeat(1 + 40_000 * turn);
    writeFileSync(join(source, `new${turn}`), text);
    const args = turn % 2 === 0 ? ["flush", "--json"] : ["flush", "--json", "../b"];
    const { exit, stdout } = await runProgram(t, args, { home, cwd: home });
    assert.equal(exit, 0);
    const wanted = turn % 2 === 0 ? targets : targets.slice(0, 1);
    const flushed = eventsOf(stdout).filter(({ event }) => event === "flushed");
    assert.deepEqual(new Set(flushed.map(({ target }) => target)), new Set(wanted));
    assert.equal(flushed.length, wanted.length);
    for (const target of wanted) {
      assert.ok(readFileSync(join(target, `new${turn}`), "utf8") === text);
    }
  }
  const quiet = await runProgram(t, ["flush", "-q"], { home });
  assert.deepEqual([quiet.exit, quiet.stdout, quiet.stderr], [0, "", ""]);
});

test("it waits for a halted target and says why, and goes on when that is resumed", async (t) => {
  const { home, source, targets, sync } = await localPair(t, "--max-delete", "5");
  for (let i = 0; i < 12; i++) rmSync(join(source, `old${i}`));
  await sync.said(/"event":"halt"/);
  const expired = await runProgram(t, ["flush", "--timeout", "0.3"], { home });
  assert.equal(expired.exit, 1);
  assert.match(expired.stderr, /FLUSH_EXPIRED: .*\/b does not have everything yet: it is halted/);
  writeFileSync(join(source, "new"), "new");
  const flush = new Running(t, ["flush", "--json"], { home });
  await flush.said(/"event":"waiting".*TOO_MANY_DELETES/);
  assert.equal((await runProgram(t, ["resume"], { home })).exit, 0);
  const { exit, stdout } = await flush.end();
  assert.equal(exit, 0, stdout);
  for (const target of targets) assert.equal(readFileSync(join(target, "new"), "utf8"), "new");
});

test("a target that is held up, or away, is waited for by each that flushes", async (t) => {
  const { source, target, serve, sync, near } = await linkPair(t);
  const first = await serve();
  const running = sync();
  await running.said(/"event":"live"/);
  first.kill("SIGSTOP");
  writeFileSync(join(source, "held"), "held");
  const expired = await runProgram(t, ["flush", "--timeout", "0.5"], { home: near });
  assert.deepEqual([expired.exit, /FLUSH_EXPIRED/.test(expired.stderr)], [1, true]);
  const both = [0, 1].map(() => new Running(t, ["flush", "--json"], { home: near }));
  for (const flush of both) await flush.said(/"event":"waiting"/);
  first.kill("SIGCONT");
  for (const flush of both) assert.equal((await flush.end()).exit, 0);
  assert.equal(readFileSync(join(target, "held"), "utf8"), "held");
  first.kill("SIGKILL");
  await first.end();
  writeFileSync(join(source, "away"), "away");
  const flush = new Running(t, ["flush", "--json"], { home: near });
  await flush.said(/"event":"waiting".*"state":"retrying","reason":"it is out of reach/);
  await serve();
  assert.equal((await flush.end()).exit, 0);
  assert.equal(readFileSync(join(target, "away"), "utf8"), "away");
});

test("a sync that ends takes what waits with it; asked to end it sends it first", async (t) => {
  const { source, target, serve, sync, near } = await linkPair(t);
  const server = await serve();
  const killed = sync();
  await killed.said(/"event":"live"/);
  server.kill("SIGSTOP");
  writeFileSync(join(source, "a"), "a");
  const lost = new Running(t, ["flush", "--json"], { home: near });
  await lost.said(/"event":"waiting"/);
  killed.kill("SIGKILL");
  const { exit, stderr } = await lost.end();
  assert.deepEqual([exit, /FLUSH_BROKEN: .* has ended/.test(stderr)], [4, true], stderr);
  server.kill("SIGCONT");
  const second = sync();
  await second.said(/"event":"live"/);
  server.kill("SIGSTOP");
  writeFileSync(join(source, "b"), "b");
  const kept = new Running(t, ["flush", "--json"], { home: near });
  await kept.said(/"event":"waiting"/);
  second.kill("SIGTERM");
  await kept.said(/"state":"stopping"/);
  server.kill("SIGCONT");
  assert.equal((await kept.end()).exit, 0);
  assert.equal(readFileSync(join(target, "b"), "utf8"), "b");
});

test("one that goes away while it waits leaves nothing behind; too many are refused", async (t) => {
  const { home, source, sync } = await localPair(t, "--max-delete", "5");
  for (let i = 0; i < 12; i++) rmSync(join(source, `old${i}`));
  await sync.said(/"event":"halt"/);
  const path = join(stateDirOf(home), "run", `${sync.pid}.sock`);
  const ask = (text: string): Promise<{ line: string; close: () => void }> =>
    new Promise((resolve, reject) => {
      const socket = connect(path);
      let answer = "";
      socket.on("error", reject);
      socket.write(`${text}\n`);
      socket.on("data", (part) => {
        answer += part.toString();
        const lines = answer.split("\n");
        if (lines.length > 2) resolve({ line: lines[1]!, close: () => socket.destroy() });
      });
    });
  const many = await Promise.all(Array.from({ length: 64 }, () => ask("flush {}")));
  for (const { line } of many) assert.match(line, /"waiting"/);
  assert.match((await ask("flush {}")).line, /"end":"refused".*are waited for already/);
  assert.match((await runProgram(t, ["status"], { home })).stdout, /halted/);
  for (const { close } of many) close();
  for (let isFree = false; !isFree;) isFree = (await ask("flush {}")).line.includes("waiting");
  assert.match((await ask('flush {"targets":["/x"]}')).line, /"end":"refused".*no target \/x/);
  assert.match((await ask("flush nonsense")).line, /"end":"refused".*not understood/);
});
