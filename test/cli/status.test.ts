/** `status` of the real program, and the control socket behind it. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { collectStatuses, publishStatus } from "../../src/cli/index.ts";
import { eventsOf, makeHome, runProgram, Running, scratchFolder, stateDirOf } from "./program.ts";

test("nothing running is no error", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  const { exit, stdout } = await runProgram(t, ["status"], { home });
  assert.deepEqual([exit, stdout], [0, "nothing is running\n"]);
});

test("what a process publishes is shown, by nobody else's leave, until it closes", async (t) => {
  // Longer than the path of a socket may be.
  const home = makeHome(scratchFolder(t), "x".repeat(150));
  const stateDir = stateDirOf(home);
  let lagUs = 1_500;
  const describe = (): unknown => ({ command: "sync", source: "/a", target: "/b", lagUs });
  const published = publishStatus(stateDir, describe);
  t.after(() => published.close());
  assert.equal(statSync(join(stateDir, "run")).mode & 0o777, 0o700);
  const table = await runProgram(t, ["status"], { home });
  assert.match(table.stdout, new RegExp(`^${process.pid} +sync +/a +/b +- +1\\.50 ms`, "m"));
  lagUs = 7;
  const [status] = eventsOf((await runProgram(t, ["status", "--json"], { home })).stdout);
  assert.deepEqual([status?.["pid"], status?.["lagUs"]], [process.pid, 7]);
  published.close();
  published.close();
  assert.deepEqual(await collectStatuses(stateDir), []);
});

test("who says nothing, or too much, is told the status; resume is answered", async (t) => {
  const stateDir = stateDirOf(makeHome(scratchFolder(t), "home"));
  const resume = (): { resumed: string[] } => ({ resumed: ["HALT"] });
  const published = publishStatus(stateDir, () => ({ told: "status" }), undefined, resume);
  t.after(() => published.close());
  const path = join(stateDir, "run", `${process.pid}.sock`);
  const said = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      let answer = "";
      const socket = connect(path);
      if (text !== "") socket.write(text);
      socket.on("data", (part) => (answer += part.toString()));
      socket.on("error", reject);
      socket.on("end", () => {
        socket.end();
        resolve(answer);
      });
    });
  for (const text of ["", "status\n", "x".repeat(5000)]) {
    assert.match(await said(text), /"told":"status"/, text.slice(0, 9));
  }
  assert.match(await said("resume\n"), /"resumed":\["HALT"\]/);
});

test("a sync with several targets has a row for each", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  const targets = [
    {
      ...{ target: "/b", state: "live", lagUs: 10, ackedEpoch: 3, fuzzyEpochs: 1 },
      ...{ ackedWallMs: Date.now() - 3_725_000, bytesSent: 1000, problems: 0 },
    },
    { target: "/c", state: "retrying", problems: 2 },
  ];
  const whole = { command: "sync", source: "/a", target: "/b, /c", backend: "ebpf", targets };
  const published = publishStatus(stateDirOf(home), () => whole);
  t.after(() => published.close());
  const { stdout } = await runProgram(t, ["status"], { home });
  const rows = stdout.split("\n").map((line) => line.split(/  +/).slice(1));
  assert.match(rows[1]?.[5] ?? "", /^1:0[2-9]:/, "the age of the newest cut");
  rows[1]?.splice(5, 1);
  assert.deepEqual(rows.slice(1, 3), [
    ["sync", "/a", "/b", "live", "0.01 ms", "3", "1", "-", "1.0 kB", "ebpf", "0"],
    ["sync", "/a", "/c", "retrying", "-", "-", "-", "-", "-", "-", "ebpf", "2"],
  ]);
});

test("a description that fails is told, and ends nothing", async (t) => {
  const stateDir = stateDirOf(makeHome(scratchFolder(t), "home"));
  const published = publishStatus(stateDir, () => {
    throw new Error("broken");
  });
  t.after(() => published.close());
  const [answer] = await collectStatuses(stateDir);
  assert.equal(answer?.pid, process.pid);
  assert.equal(answer.status?.["state"], "cannot be described: broken");
});

test("a state directory that cannot be used is logged and stops nothing", (t) => {
  const folder = scratchFolder(t);
  writeFileSync(join(folder, "file"), "");
  const lines: string[] = [];
  const log = { write: (_level: string, message: string) => void lines.push(message) };
  publishStatus(join(folder, "file"), () => ({}), log).close();
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /will not show this process: ENOTDIR/);
});

test("a live sync is shown; killed, its socket is removed", async (t) => {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const [source, target] = [join(folder, "a"), join(folder, "b")];
  mkdirSync(source);
  writeFileSync(join(source, "file"), "content");
  const args = ["sync", source, target, "--json", "--backend", "inotify"];
  const sync = new Running(t, args, { home, stdin: "" });
  await sync.said(/"event":"live"/);
  const [status] = eventsOf((await runProgram(t, ["status", "--json"], { home })).stdout);
  const { event, pid, command, state, backend } = status ?? {};
  const expected = ["status", sync.pid, "sync", "live", "inotify"];
  assert.deepEqual([event, pid, command, state, backend], expected);
  assert.equal(status?.["journalBytes"], 0);
  writeFileSync(join(source, "file"), "c");
  assert.equal((await runProgram(t, ["flush"], { home })).exit, 0);
  const [after] = eventsOf((await runProgram(t, ["status", "--json"], { home })).stdout);
  assert.ok(Number(after?.["journalBytes"]) > 50, "what was applied last is in the journal");
  const socket = join(stateDirOf(home), "run", `${sync.pid}.sock`);
  assert.ok(existsSync(socket));
  sync.kill("SIGKILL");
  await sync.end();
  assert.ok(existsSync(socket), "nobody has removed it yet");
  const { stdout } = await runProgram(t, ["status"], { home });
  assert.equal(stdout, "nothing is running\n");
  assert.deepEqual(readdirSync(join(stateDirOf(home), "run")), []);
});

test("the first signal drains with code 0 and removes the socket; a second one ends", async (t) => {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const [source, target] = [join(folder, "a"), join(folder, "b")];
  mkdirSync(source);
  const args = ["sync", source, target, "--json", "--backend", "inotify"];
  const first = new Running(t, args, { home, stdin: "" });
  await first.said(/"event":"live"/);
  first.kill("SIGTERM");
  const { exit, stdout } = await first.end();
  assert.equal(exit, 0);
  assert.equal(eventsOf(stdout).at(-1)?.["event"], "end");
  assert.deepEqual(readdirSync(join(stateDirOf(home), "run")), []);
  // The kernel may give the two signals to two threads; then the first may end it in between, so
  // this is tried a few times.
  let exitOfSecond: string | number = 0;
  for (let tries = 0; exitOfSecond === 0 && tries < 8; tries++) {
    const second = new Running(t, args, { home, stdin: "" });
    await second.said(/"event":"live"/);
    // Both wait for it when it goes on.
    second.kill("SIGSTOP");
    second.kill("SIGINT");
    second.kill("SIGTERM");
    second.kill("SIGCONT");
    exitOfSecond = (await second.end()).exit;
  }
  assert.ok([130, 143].includes(Number(exitOfSecond)));
});
