/**
 * Everything that a Linux filesystem can hold, mirrored by the real program: seeded, changed live,
 * and changed while it was stopped. After each the target is held to three opinions: `lockstep
 * verify`, a walk by test/workloads/walk-tree.py, and rsync, which must find nothing to do.
 *
 * LOCKSTEP_WORKLOADS_SEED=7 draws the same tree again; LOCKSTEP_WORKLOADS_BACKENDS=ebpf,inotify
 * tries each of these as root.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventsOf, makeHome, programPath, runProgram, Running } from "../cli/program.ts";
import { isInstalled, runCommand } from "./commands.ts";
import { findPython, nobody, runPython } from "./python.ts";

const seed = process.env["LOCKSTEP_WORKLOADS_SEED"] ?? String(randomInt(2 ** 31));
const backends = (process.env["LOCKSTEP_WORKLOADS_BACKENDS"] ?? "auto").split(",");
const equalMs = 20_000;
const pollMs = 100;
const isRoot = process.getuid?.() === 0;
const nobodyId = 65_534;

const whyNotAll = ((): string | false => {
  if (!isRoot) return "needs root, to make devices and to set owners";
  return findPython([]) === undefined ? "needs python3" : false;
})();

const whyNotNobody = ((): string | false => {
  if (!isRoot) return "needs root, to become another user";
  const readable = spawnSync(nobody[0]!, [...nobody.slice(1), "test", "-r", programPath]);
  if (readable.status !== 0) return "setpriv is missing, or others cannot read this checkout";
  return findPython(nobody) === undefined ? "needs a python3 that others can run" : false;
})();

interface Setting {
  readonly base: string;
  readonly source: string;
  readonly target: string;
  readonly home: string;
  /** Put before every program. */
  readonly prefix: readonly string[];
  readonly abilities: "all" | "plain";
  readonly backend: string;
}

function settingFor(t: TestContext, isPrivileged: boolean, backend: string): Setting {
  t.diagnostic(`LOCKSTEP_WORKLOADS_SEED=${seed}`);
  const parent = process.env["LOCKSTEP_WORKLOADS_DIR"] ?? tmpdir();
  const base = mkdtempSync(join(parent, "lockstep-parity-"));
  t.after(() => runCommand("rm", ["-rf", base], { cwd: parent }));
  chmodSync(base, 0o755);
  const [source, target] = [join(base, "source"), join(base, "target")];
  for (const path of [source, target]) mkdirSync(path);
  const home = makeHome(base, "home");
  if (!isPrivileged) for (const path of [source, target, home]) chownSync(path, nobodyId, nobodyId);
  const prefix = isPrivileged ? [] : nobody;
  return { base, source, target, home, prefix, abilities: isPrivileged ? "all" : "plain", backend };
}

/** One of the phases of nasty-tree.py on the source. */
async function change(t: TestContext, setting: Setting, phase: string): Promise<void> {
  const { source, abilities, prefix, base } = setting;
  const args = [phase, source, seed, abilities];
  const refused = await runPython("nasty-tree.py", args, { prefix, cwd: base });
  if (refused !== "")
    t.diagnostic(`${phase}, refused here: ${refused.trim().replaceAll("\n", ", ")}`);
}

/** Undefined when the walk finds no difference, else what it found. */
async function walkDifference(setting: Setting): Promise<string | undefined> {
  const { source, target, base } = setting;
  try {
    await runPython("walk-tree.py", [source, target], { prefix: [], cwd: base });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function checkEqual(t: TestContext, setting: Setting, phase: string): Promise<void> {
  const { source, target, home, prefix, base } = setting;
  const limit = performance.now() + equalMs;
  for (;;) {
    const difference = await walkDifference(setting);
    if (difference === undefined) break;
    assert.ok(performance.now() < limit, `${phase}: ${difference}`);
    await sleep(pollMs);
  }
  const verified = await runProgram(t, ["verify", source, target], { home, prefix });
  assert.equal(verified.exit, 0, `${phase}: ${verified.stdout}${verified.stderr}`);
  if (!isInstalled("rsync")) return t.diagnostic("rsync is not installed: not asked");
  const options = ["-aHAXS", "--numeric-ids", "--modify-window=-1", "--dry-run"];
  const checks = ["--itemize-changes", "--checksum", "--delete", `${source}/`, `${target}/`];
  const [command = "", ...rest] = [...prefix, "rsync", ...options, ...checks];
  const found = await runCommand(command, rest, { cwd: base });
  assert.equal(found, "", `${phase}: rsync would change something`);
}

async function mirrorAllPhases(t: TestContext, setting: Setting): Promise<void> {
  const { source, target, home, prefix, backend } = setting;
  const args = ["sync", source, target, "--json", "--backend", backend];
  await change(t, setting, "seed");
  const sync = new Running(t, args, { home, prefix, stdin: "" });
  await sync.said(/"event":"live"/);
  await checkEqual(t, setting, "seed");
  await change(t, setting, "live");
  await checkEqual(t, setting, "live");
  sync.kill("SIGTERM");
  const stopped = await sync.end();
  assert.equal(stopped.exit, 0, stopped.stderr);
  await change(t, setting, "offline");
  const again = await runProgram(t, [...args, "--once"], { home, prefix });
  assert.equal(again.exit, 0, again.stderr);
  await checkEqual(t, setting, "offline");
  for (const outcome of [stopped, again]) {
    const end = eventsOf(outcome.stdout).at(-1);
    assert.deepEqual([end?.["event"], end?.["problems"]], ["end", 0], outcome.stderr);
  }
}

for (const backend of backends) {
  test(`root mirrors all that a tree can hold [${backend}]`, { skip: whyNotAll }, (t) =>
    mirrorAllPhases(t, settingFor(t, true, backend)),
  );
}

test(
  "a user mirrors all that is the user's own, also where it is forbidden to write",
  {
    skip: whyNotNobody,
  },
  (t) => mirrorAllPhases(t, settingFor(t, false, "auto")),
);

test(
  "what a user cannot set is told once a kind with its count, and the rest is mirrored",
  {
    skip: whyNotNobody || whyNotAll,
  },
  async (t) => {
    const setting = settingFor(t, false, "auto");
    const { source, target, home, prefix, base } = setting;
    const fileCount = 150;
    for (let i = 0; i < fileCount; i++) {
      writeFileSync(join(source, `file-${i}`), `${i}`);
      chownSync(join(source, `file-${i}`), 1234, 1234);
    }
    for (let i = 0; i < 3; i++) {
      await runCommand("mknod", [join(source, `device-${i}`), "c", "1", "3"], { cwd: base });
      chownSync(join(source, `device-${i}`), nobodyId, nobodyId);
    }
    const args = ["sync", source, target, "--json", "--once"];
    const { exit, stdout, stderr } = await runProgram(t, args, { home, prefix });
    const events = eventsOf(stdout);
    const told = events.filter(({ event }) => event === "problem");
    const kindsTold = told.map(
      ({ side, operation, errno }) => `${String(side)} ${String(operation)} ${String(errno)}`,
    );
    const wanted = ["target chown EPERM", "target mknod EPERM"];
    assert.deepEqual(kindsTold.sort(), wanted, stderr);
    for (const { path } of told) assert.match(String(path), /^(file|device)-\d+$/);
    const end = events.at(-1);
    const kinds = end?.["problemKinds"] as { operation: string; count: number }[];
    assert.deepEqual(
      kinds.map(({ operation, count }) => [operation, count]),
      [
        ["chown", fileCount],
        ["mknod", 3],
      ],
    );
    assert.deepEqual([exit, end?.["exit"], end?.["problems"]], [1, 1, fileCount + 3]);
    assert.match(stderr, new RegExp(`target: chown: EPERM: ${fileCount} times, first file-`));
    const walked = await runPython("walk-tree.py", [source, target, "owner"], {
      prefix: [],
      cwd: base,
    }).then(() => "", String);
    const lines = walked.split("\n").filter((line) => line.startsWith("b'"));
    assert.deepEqual(
      lines.map((line) => line.slice(0, "b'device-0': device".length)).sort(),
      [0, 1, 2].map((i) => `b'device-${i}': device`),
      walked,
    );
  },
);
