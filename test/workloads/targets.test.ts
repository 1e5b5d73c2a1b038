/**
 * One source, several targets, in one process: the real program, folders and a share over a link.
 *
 * What must hold: every target ends equal to the source; one that is stopped, killed or not there
 * at all holds up no other; it is brought up to date when it is back.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventsOf, makeHome, runProgram, Running, scratchFolder } from "../cli/program.ts";
import { isInstalled, runCommand } from "./commands.ts";

const isRoot = process.getuid?.() === 0;
const runsAll = process.env["LOCKSTEP_WORKLOADS"] === "all";
const onlyWithAll = runsAll ? false : "runs with LOCKSTEP_WORKLOADS=all";
const backends = (
  process.env["LOCKSTEP_WORKLOADS_BACKENDS"] ?? (runsAll ? "auto,inotify" : "auto")
).split(",");
const waitMs = 20_000;
let portCount = 0;

interface Stage {
  readonly source: string;
  /** The folders that the targets are: two here, one behind a link. */
  readonly near: readonly [string, string];
  readonly far: string;
  /** Arguments that name the three targets. */
  readonly targets: readonly string[];
  readonly remote: string;
  readonly home: string;
  serve(): Promise<Running>;
  sync(...args: readonly string[]): Running;
  /** The peer may send into the share, or may not. */
  grant(isGranted: boolean): Promise<void>;
  verify(): Promise<void>;
}

async function stage(t: TestContext): Promise<Stage> {
  const folder = scratchFolder(t);
  const [home, otherHome] = [makeHome(folder, "home"), makeHome(folder, "other")];
  const folders = ["source", "one", "two", "far"].map((name) => join(folder, name));
  const [source, one, two, far] = folders as [string, string, string, string];
  for (const path of [source, one, far]) mkdirSync(path);
  const succeed = async (launched: string, line: string): Promise<string> => {
    const { exit, stdout, stderr } = await runProgram(t, line.split(" "), { home: launched });
    assert.equal(exit, 0, `${line}: ${stdout}${stderr}`);
    return stdout.trim();
  };
  const [id, otherId] = [await succeed(home, "id"), await succeed(otherHome, "id")];
  await succeed(home, `peers add ${otherId} --name target`);
  await succeed(otherHome, `peers add ${id} --name source`);
  const grant = async (isGranted: boolean): Promise<void> => {
    await succeed(otherHome, `peers ${isGranted ? "grant" : "revoke"} ${id} site --send`);
  };
  await grant(true);
  const place = `127.0.0.1:${36_000 + (process.pid % 2_000) + 2_000 * portCount++}`;
  const remote = `lockstep://${otherId}@${place}/site`;
  const targets = [one, two, remote];
  return {
    source,
    near: [one, two],
    far,
    targets,
    remote,
    home,
    grant,
    serve: async () => {
      const args = ["serve", "--listen", place, "--share", `site=${far}`, "--json"];
      const serve = new Running(t, args, { home: otherHome, stdin: "" });
      await serve.said(/"event":"listening"/);
      return serve;
    },
    sync: (...args) =>
      new Running(t, ["sync", source, ...targets, "--json", ...args], { home, stdin: "" }),
    verify: async () => {
      for (const target of [one, two, far]) await succeed(home, `verify ${source} ${target}`);
    },
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const limit = performance.now() + waitMs;
  for (; !holds(); await sleep(5)) assert.ok(performance.now() < limit, `never: ${what}`);
}

function has(path: string, content: string): boolean {
  try {
    return readFileSync(path, "utf8") === content;
  } catch {
    return false;
  }
}

function eventsSoFar(running: Running): Record<string, unknown>[] {
  const { stdout } = running;
  return eventsOf(stdout.slice(0, stdout.lastIndexOf("\n") + 1));
}

function liveCount(running: Running, target: string): number {
  return eventsSoFar(running).filter(
    (told) => told["event"] === "live" && told["target"] === target,
  ).length;
}

async function allLive(running: Running, targets: readonly string[], count = 1): Promise<void> {
  await running.until("live everywhere", () =>
    targets.every((target) => liveCount(running, target) >= count),
  );
}

/** Writes, one after the other, each seen in both near targets before the next one. */
async function keepWriting({ source, near }: Stage, prefix: string): Promise<void> {
  for (let i = 0; i < 20; i++) {
    const content = `${prefix} ${i}`;
    writeFileSync(join(source, "turns"), content);
    writeFileSync(join(source, `${prefix}-${i}`), content);
    await until(`${content} arrives`, () =>
      near.every(
        (path) => has(join(path, "turns"), content) && has(join(path, `${prefix}-${i}`), content),
      ),
    );
  }
}

for (const backend of backends) {
  test(`workload: a target that is stopped, then killed, of three [${backend}]`, async (t) => {
    const all = await stage(t);
    for (let i = 0; i < 200; i++) writeFileSync(join(all.source, `seed-${i}`), `${i}`.repeat(i));
    mkdirSync(join(all.source, "folder"));
    writeFileSync(join(all.source, "folder", "inside"), "inside");
    const first = await all.serve();
    const sync = all.sync("--backend", backend);
    await allLive(sync, all.targets);
    await keepWriting(all, "equal");
    await until("it arrives behind the link", () => has(join(all.far, "turns"), "equal 19"));

    first.kill("SIGSTOP");
    await keepWriting(all, "stopped");
    assert.ok(has(join(all.far, "turns"), "equal 19"), "nothing can have arrived there");
    first.kill("SIGCONT");
    await until("what waited arrives", () => has(join(all.far, "turns"), "stopped 19"));

    first.kill("SIGKILL");
    await first.end();
    await keepWriting(all, "killed");
    renameSync(join(all.source, "folder"), join(all.source, "moved"));
    for (let i = 0; i < 100; i++) rmSync(join(all.source, `seed-${i}`));
    const { stdout } = await runProgram(t, ["status", "--json"], { home: all.home });
    const [status] = eventsOf(stdout);
    const targets = status?.["targets"];
    assert.ok(Array.isArray(targets), stdout);
    const states = (targets as Record<string, unknown>[]).map(({ target, state }) => [
      target,
      state,
    ]);
    assert.deepEqual(states, [
      [all.targets[0], "live"],
      [all.targets[1], "live"],
      [all.remote, "retrying"],
    ]);
    assert.equal(status?.["state"], "retrying");

    const second = await all.serve();
    await allLive(sync, [all.remote], 2);
    await keepWriting(all, "again");
    sync.kill("SIGTERM");
    const ended = await sync.end();
    assert.equal(ended.exit, 0, ended.stderr);
    await all.verify();
    const events = eventsOf(ended.stdout);
    assert.ok(events.every((told) => told["event"] !== "problem" || told["target"] === all.remote));
    const counts = all.targets.map((target) => liveCount(sync, target));
    assert.deepEqual(counts, [1, 1, 2]);
    second.kill("SIGTERM");
    await second.end();
  });
}

test("workload: one target is not there at the start; --once waits for it", async (t) => {
  const all = await stage(t);
  for (let i = 0; i < 50; i++) writeFileSync(join(all.source, `seed-${i}`), "x".repeat(i * 1000));
  const sync = all.sync("--once");
  await allLive(sync, all.targets.slice(0, 2));
  const told = /"event":"problem","target":"lockstep:[^\n]*"PEER_UNREACHABLE"[^\n]*"retryMs"/;
  await sync.said(told);
  // They are mirrored on until the third is equal, too.
  await keepWriting(all, "meanwhile");
  const serve = await all.serve();
  const { exit, stderr } = await sync.end();
  assert.equal(exit, 0, stderr);
  await all.verify();
  const again = await all.sync("--once").end();
  assert.equal(again.exit, 0, again.stderr);
  await all.verify();
  serve.kill("SIGTERM");
  await serve.end();
});

test("workload: a target that refuses is asked again, and ends --once with its code", async (t) => {
  const all = await stage(t);
  writeFileSync(join(all.source, "file"), "content");
  await all.grant(false);
  const serve = await all.serve();
  const refused = await all.sync("--once").end();
  assert.equal(refused.exit, 4, refused.stdout);
  for (const path of all.near) assert.ok(has(join(path, "file"), "content"));
  const problem = eventsOf(refused.stdout).find((told) => told["event"] === "problem");
  assert.deepEqual([problem?.["target"], problem?.["code"]], [all.remote, "PEER_REFUSED"]);
  assert.equal(eventsOf(refused.stdout).at(-1)?.["code"], "PEER_REFUSED");

  const sync = all.sync();
  await sync.said(/"code":"PEER_REFUSED"[^\n]*"retryMs"/);
  await allLive(sync, all.targets.slice(0, 2));
  await keepWriting(all, "refused");
  await all.grant(true);
  await allLive(sync, all.targets);
  sync.kill("SIGTERM");
  assert.equal((await sync.end()).exit, 0);
  await all.verify();
  serve.kill("SIGTERM");
  await serve.end();
});

// Takes all of the time that a stop has.
const stopping = { skip: onlyWithAll };
test("workload: a stop has an end while one target does not answer", stopping, async (t) => {
  const all = await stage(t);
  writeFileSync(join(all.source, "file"), "content");
  const serve = await all.serve();
  const sync = all.sync();
  await allLive(sync, all.targets);
  serve.kill("SIGSTOP");
  for (let i = 0; i < 20; i++) writeFileSync(join(all.source, `last-${i}`), "last");
  sync.kill("SIGTERM");
  const { exit, stderr } = await sync.end();
  serve.kill("SIGCONT");
  assert.equal(exit, 0, stderr);
  for (const path of all.near) assert.ok(has(join(path, "last-19"), "last"));
  serve.kill("SIGTERM");
  await serve.end();
});

const noStores = isRoot
  ? isInstalled("python3")
    ? false
    : "needs python3"
  : "needs root, for eBPF";

/** Stores through a shared mapping, without a system call that tells of them. */
const storing = `
import mmap, sys, time
with open(sys.argv[1], "r+b") as file:
    view = mmap.mmap(file.fileno(), 0)
    # Pages that write(2) has left dirty are stored to silently.
    file.seek(3 * 4096)
    file.write(b"written" * 100)
    file.flush()
    for turn in range(300):
        for page in range(0, 64, 7):
            at = page * 4096 + turn % 4000
            view[at:at + 4] = turn.to_bytes(4, "little")
        time.sleep(0.003)
    view[0:5] = b"ended"
    time.sleep(float(sys.argv[2]))
`;

test("workload: stores through a mapping reach all targets", { skip: noStores }, async (t) => {
  const all = await stage(t);
  const stored = join(all.source, "stored");
  writeFileSync(stored, Buffer.alloc(64 * 4096));
  const serve = await all.serve();
  const sync = all.sync();
  await allLive(sync, all.targets);
  // The file stays mapped: nothing but the stores themselves is there to be noticed.
  const program = runCommand("python3", ["-c", storing, stored, "3"], { cwd: all.source });
  const copies = [...all.near, all.far].map((path) => join(path, "stored"));
  const isEnded = (path: string): boolean =>
    readFileSync(path).toString("latin1", 0, 5) === "ended";
  await until("the last store is made", () => isEnded(stored));
  await until("it arrives", () => copies.every(isEnded));
  const isEqual = (path: string): boolean => readFileSync(path).equals(readFileSync(stored));
  await until("all stores have arrived", () => copies.every(isEqual));
  await program;
  sync.kill("SIGTERM");
  assert.equal((await sync.end()).exit, 0);
  await all.verify();
  serve.kill("SIGTERM");
  await serve.end();
});

test("targets in each other's way, or that are no folders, are refused at the start", async (t) => {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const [source, one, file] = [join(folder, "a"), join(folder, "b"), join(folder, "file")];
  mkdirSync(source);
  writeFileSync(file, "");
  const device = "A".repeat(52);
  const { stdout: id } = await runProgram(t, ["id"], { home });
  assert.equal(id.trim().length, device.length);
  const share = (path: string): string => `lockstep://${id.trim()}@127.0.0.1:1/${path}`;
  const wrong: readonly (readonly [number, RegExp, ...string[]])[] = [
    [3, /ROOTS_OVERLAP: .*are one target/, one, `${one}/`],
    [3, /ROOTS_OVERLAP: target .*b\/below lies inside target .*b\n/, one, `${one}/below`],
    [3, /ROOTS_OVERLAP: target .*b contains target .*b\/below\n/, `${one}/below`, one],
    [3, /ROOTS_OVERLAP: target .*a\/x lies inside source/, one, `${source}/x`],
    [3, /ROOTS_OVERLAP: .*are one target/, share("site/x"), one, share("site//x/")],
    [3, /ROOTS_OVERLAP: .*site\/x lies inside target .*site\n/, share("site"), share("site/x")],
    [3, /ROOT_NOT_DIRECTORY/, one, file],
    [
      2,
      /USAGE: sync takes at most 16 targets/,
      ...Array.from({ length: 17 }, (_, i) => `${one}${i}`),
    ],
  ];
  for (const [code, message, ...targets] of wrong) {
    const { exit, stderr } = await runProgram(t, ["sync", source, ...targets, "--once"], { home });
    assert.equal(exit, code, stderr);
    assert.match(stderr, message);
  }
});
