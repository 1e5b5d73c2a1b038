/** `doctor` of the real program: as this user, as nobody, on good and bad folders and peers. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { eventsOf, makeHome, programPath, runProgram, Running, scratchFolder } from "./program.ts";
import type { Launch } from "./program.ts";

type Checks = ReadonlyMap<string, Record<string, unknown>>;

/** The checks by topic, and how it ended; every bad one has advice. */
async function examine(context: TestContext, args: readonly string[], launch: Launch) {
  const outcome = await runProgram(context, ["doctor", ...args, "--json"], launch);
  const events = eventsOf(outcome.stdout);
  const end = events.pop();
  assert.equal(end?.["event"], "end", outcome.stderr);
  assert.equal(end["exit"], outcome.exit);
  for (const check of events) {
    assert.equal(check["event"], "check");
    if (check["level"] !== "OK") assert.equal(typeof check["advice"], "string");
  }
  const checks: Checks = new Map(events.map((check) => [String(check["topic"]), check]));
  const failed = events.some((check) => check["level"] === "FAIL");
  assert.equal(outcome.exit, failed ? 1 : 0);
  return { checks, exit: outcome.exit, end };
}

function levelOf(checks: Checks, topic: string): unknown {
  const check = checks.get(topic);
  assert.ok(check !== undefined, `${topic} is not among ${[...checks.keys()].join(", ")}`);
  return check["level"];
}

test("on good folders all is well, and nothing is written into them", async (t) => {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const [source, target] = [join(folder, "a"), join(folder, "b")];
  for (const path of [source, target]) mkdirSync(path);
  const before = [source, target].map((path) => statSync(path, { bigint: true }));
  const { checks, exit, end } = await examine(t, [source, target], { home });
  assert.equal(exit, 0);
  assert.equal(end["works"], true);
  for (const topic of ["node", "addon", "kernel", `source ${source}`, `target ${target}`]) {
    assert.equal(levelOf(checks, topic), "OK");
  }
  assert.equal(levelOf(checks, "backend inotify"), "OK");
  for (const topic of ["abilities of state", "abilities of target"]) {
    const detail = String(checks.get(topic)?.["detail"]);
    assert.match(detail, /^(unnamed files, |no unnamed files: EOPNOTSUPP)/);
  }
  for (const [index, path] of [source, target].entries()) {
    const after = statSync(path, { bigint: true });
    assert.deepEqual(
      [after.mtimeNs, after.ctimeNs],
      [before[index]?.mtimeNs, before[index]?.ctimeNs],
    );
    assert.deepEqual(readdirSync(path), []);
  }
});

test("folders that a sync would refuse give FAIL and code 1", async (t) => {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const source = join(folder, "a");
  mkdirSync(join(source, "below"), { recursive: true });
  const inside = await examine(t, [source, join(source, "below")], { home });
  assert.equal(levelOf(inside.checks, "overlap"), "FAIL");
  const deep = join(folder, "no/such/parent");
  const nowhere = join(folder, "nowhere");
  const orphan = await examine(t, [nowhere, deep], { home });
  assert.equal(levelOf(orphan.checks, `source ${nowhere}`), "FAIL");
  assert.equal(levelOf(orphan.checks, `target ${deep}`), "FAIL");
});

test("without --json each line begins with its level", async (t) => {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const { exit, stdout } = await runProgram(t, ["doctor", join(folder, "nowhere")], { home });
  assert.equal(exit, 1);
  const lines = stdout.trimEnd().split("\n");
  assert.match(lines.pop() ?? "", /^a sync would not work/);
  for (const line of lines) assert.match(line, /^(OK {2}|WARN|FAIL| {4}) {2}\S/);
});

const whyNotNobody = ((): string | false => {
  if (process.getuid?.() !== 0) return "needs root, to become another user";
  if (spawnSync("setpriv", ["--version"]).status !== 0) return "needs setpriv";
  const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
  const readable = spawnSync("setpriv", [...nobody, "test", "-r", programPath]).status === 0;
  return readable ? false : "another user cannot read this checkout";
})();

test(
  "a user without privileges gets inotify, and is told why",
  { skip: whyNotNobody },
  async (t) => {
    const folder = scratchFolder(t);
    chmodSync(folder, 0o755);
    const home = makeHome(folder, "home");
    chownSync(home, 65_534, 65_534);
    const source = join(folder, "a");
    mkdirSync(source);
    const prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const { checks, exit, end } = await examine(t, [source], { home, prefix });
    assert.equal(exit, 0);
    assert.equal(end["backend"], "inotify");
    const levels = ["backend ebpf", "backend fanotify", "privilege to capture", "backend inotify"];
    assert.deepEqual(
      levels.map((topic) => levelOf(checks, topic)),
      ["WARN", "WARN", "WARN", "OK"],
    );
    chmodSync(source, 0o700);
    const closed = await examine(t, [source], { home, prefix });
    assert.equal(levelOf(closed.checks, `source ${source}`), "FAIL");
  },
);

test("peers are dialled: one that serves is OK, one that does not is WARN or FAIL", async (t) => {
  const folder = scratchFolder(t);
  const [home, otherHome] = [makeHome(folder, "source"), makeHome(folder, "target")];
  const share = join(folder, "share");
  mkdirSync(share);
  const run = async (device: string, line: string): Promise<string> => {
    const { exit, stdout, stderr } = await runProgram(t, line.split(" "), { home: device });
    assert.equal(exit, 0, `${line}: ${stderr}`);
    return stdout.trim();
  };
  const [id, otherId] = await Promise.all([run(home, "id"), run(otherHome, "id")]);
  const [address, closedAddress] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);
  assert.ok(address !== undefined && closedAddress !== undefined);
  await run(home, `peers add ${otherId} --name target --address ${address}`);
  await run(home, `peers add ${otherId} --address ${closedAddress}`);
  await run(otherHome, `peers add ${id}`);
  const args = ["serve", "--listen", address, "--share", `site=${share}`, "--json"];
  const server = new Running(t, args, { home: otherHome, stdin: "" });
  await server.said(/"event":"listening"/);
  const url = (place: string): string => `lockstep://${otherId}@${place}/site`;
  const { checks, exit } = await examine(t, [share, url(address)], { home });
  assert.equal(exit, 0);
  assert.equal(levelOf(checks, `peer target at ${address}`), "OK");
  assert.equal(levelOf(checks, `peer target at ${closedAddress}`), "WARN");
  // Without a source nothing is said about peers that is not true with one, and sooner.
  const nowhere = join(folder, "nowhere");
  const needed = await examine(t, [nowhere, url(closedAddress)], { home });
  assert.equal(levelOf(needed.checks, `peer target at ${closedAddress}`), "FAIL");
  await run(home, "peers remove target");
  const stranger = await examine(t, [nowhere, url(address)], { home });
  assert.equal(levelOf(stranger.checks, `peer ${otherId}`), "FAIL");
});

/** All at once, or one that has been given back may be given again. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(servers.map(portOf));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function portOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}
