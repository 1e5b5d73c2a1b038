/**
 * `verify` of a share of another device, with real processes over loopback: it finds what the
 * verify of two folders finds, to whom it answers, and what becomes of it when the link is lost.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import { linkPair, type LinkPair } from "../workloads/link-pair.ts";
import { change, list, Random } from "../workloads/random-changes.ts";
import { eventsOf, makeHome, runProgram, scratchFolder } from "./program.ts";

const strangeName: Buffer = Buffer.from("new\nline \xff\xfe\x1b", "latin1");
const isRoot = process.getuid?.() === 0;

/** Everything that a tree can have without privileges, with names of any bytes. */
function fill(root: string): void {
  const at = (name: string | Buffer): Buffer => {
    return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(name)]);
  };
  fs.mkdirSync(at("dir/below"), { recursive: true });
  fs.writeFileSync(at("dir/file"), "hello");
  fs.writeFileSync(at("dir/large"), Buffer.alloc(3_000_000, 7));
  fs.writeFileSync(at("empty"), "");
  fs.writeFileSync(at("linked"), "one inode");
  fs.linkSync(at("linked"), at("dir/below/other name"));
  fs.symlinkSync("dir/file", at("symlink"));
  fs.writeFileSync(at("sparse"), "head");
  fs.truncateSync(at("sparse"), 8_000_000);
  fs.writeFileSync(at(strangeName), "strange");
  fs.writeFileSync(at("n".repeat(255)), "long");
  execFileSync("mkfifo", [`${root}/pipe`]);
  execFileSync("setfattr", ["-n", "user.note", "-v", "value", `${root}/dir/file`]);
}

function makeEqual({ source, target }: LinkPair): void {
  fs.rmSync(target, { recursive: true });
  execFileSync("cp", ["-a", "--sparse=always", source, target]);
}

/** Puts the times of a path and of its folder back afterwards, to the nanosecond. */
function keepTimes(path: string, change: () => void): void {
  const timeOf = (of: string): string => {
    return execFileSync("stat", ["-c", "%.9Y", of], { encoding: "utf8" }).trim();
  };
  const folder = dirname(path);
  const [own, folders] = [timeOf(path), timeOf(folder)];
  change();
  if (fs.lstatSync(path, { throwIfNoEntry: false }))
    execFileSync("touch", ["-h", "-d", `@${own}`, path]);
  execFileSync("touch", ["-d", `@${folders}`, folder]);
}

function overwrite(path: string, text: string, position: number): void {
  keepTimes(path, () => {
    const fd = fs.openSync(path, "r+");
    fs.writeSync(fd, text, position);
    fs.closeSync(fd);
  });
}

/** What is found after a change of the target; several changes at once spare waits. */
const rounds: readonly { found: readonly string[]; change: (target: string) => void }[] = [
  {
    found: [
      "attributes dir/file: user.note has another value, user.more is extra",
      "content dir/large: first difference in bytes 1998848 to 2002943",
      "content sparse: first difference in bytes 7999488 to 7999999",
      "kind empty: source file, target directory",
      "mode pipe: source 0644, target 0601",
      "symlink symlink: source -> dir/file, target -> dir/filE",
    ],
    change: (target) => {
      overwrite(`${target}/dir/large`, "x", 2_000_000);
      // In what is a hole of the source.
      overwrite(`${target}/sparse`, "x", 7_999_999);
      fs.chmodSync(`${target}/pipe`, 0o601);
      execFileSync("setfattr", ["-n", "user.note", "-v", "other", `${target}/dir/file`]);
      execFileSync("setfattr", ["-n", "user.more", "-v", "x", `${target}/dir/file`]);
      keepTimes(`${target}/symlink`, () => {
        fs.rmSync(`${target}/symlink`);
        fs.symlinkSync("dir/filE", `${target}/symlink`);
      });
      keepTimes(`${target}/empty`, () => {
        fs.rmSync(`${target}/empty`);
        fs.mkdirSync(`${target}/empty`);
      });
    },
  },
  {
    found: ["extra dir/new: file", "holes sparse: source", "missing dir/below: directory"],
    change: (target) => {
      const sparse = `${target}/sparse`;
      keepTimes(sparse, () => {
        const bytes = fs.readFileSync(sparse);
        fs.writeFileSync(sparse, bytes);
      });
      keepTimes(`${target}/dir/below`, () => {
        fs.rmSync(`${target}/dir/below`, { recursive: true });
        fs.writeFileSync(`${target}/dir/new`, "");
      });
    },
  },
];

/** A change that fails is part of the mixture. */
function disturb(random: Random, root: string): void {
  try {
    change(random, ...list(root));
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}

function lines(stdout: string): string[] {
  return stdout.trimEnd().split("\n").sort();
}

test("a share is found equal to its source, and each kind of difference is found", async (t) => {
  const pair = await linkPair(t);
  const { source, target, verify, serve } = pair;
  fill(source);
  makeEqual(pair);
  await serve();
  const equal = await verify().end();
  assert.deepEqual([equal.exit, equal.stderr], [0, ""]);
  const local = await runProgram(t, ["verify", source, target], { home: pair.near });
  assert.equal(equal.stdout.replace(/, [\d.]+ MB/, ""), local.stdout.replace(/, [\d.]+ MB/, ""));
  for (const { found, change } of rounds) {
    makeEqual(pair);
    change(target);
    const { exit, stdout, stderr } = await verify("-q").end();
    assert.deepEqual([exit, stderr], [1, ""]);
    const told = lines(stdout).map((line) => line.replace(/(holes sparse: source) .*/, "$1"));
    assert.deepEqual(told.sort(), found);
    const both = await runProgram(t, ["verify", source, target, "-q"], { home: pair.near });
    const kinds = (text: string): string[] => lines(text).map((line) => line.split(":")[0]!);
    assert.deepEqual(kinds(stdout), kinds(both.stdout));
  }
});

test("times to the nanosecond, owners and names of any bytes differ too", async (t) => {
  const pair = await linkPair(t);
  fill(pair.source);
  makeEqual(pair);
  const strange = Buffer.concat([Buffer.from(`${pair.target}/`), strangeName]);
  fs.appendFileSync(strange, "r");
  fs.utimesSync(strange, 1, 1);
  execFileSync("touch", ["-d", "@1000000000.000000001", `${pair.source}/dir/file`]);
  execFileSync("touch", ["-d", "@1000000000.000000002", `${pair.target}/dir/file`]);
  if (isRoot) fs.lchownSync(`${pair.target}/symlink`, 12345, 0);
  await pair.serve();
  const { exit, stdout } = await pair.verify("--json").end();
  assert.equal(exit, 1);
  const found = eventsOf(stdout)
    .filter(({ event }) => event === "difference")
    .map(({ kind, path }) => `${String(kind)} ${String(path)}`)
    .sort();
  const strangeText = "new\\x0aline \\xff\\xfe\\x1b";
  const wanted = ["mtime dir/file", `mtime ${strangeText}`, `size ${strangeText}`];
  assert.deepEqual(found, isRoot ? [...wanted, "owner symlink"].sort() : wanted);
});

test("ignore rules and --no-content count as for folders", async (t) => {
  const pair = await linkPair(t);
  fill(pair.source);
  makeEqual(pair);
  await pair.serve();
  fs.mkdirSync(`${pair.target}/build`);
  fs.writeFileSync(`${pair.target}/build/out`, "x");
  keepTimes(`${pair.target}/dir/file`, () => fs.writeFileSync(`${pair.target}/dir/file`, "hellO"));
  execFileSync("touch", ["-r", pair.source, pair.target]);
  const found = async (...args: string[]): Promise<string[]> =>
    lines((await pair.verify("-q", ...args).end()).stdout);
  assert.deepEqual(await found(), [
    "content dir/file: first difference in bytes 0 to 4",
    "extra build: directory",
  ]);
  assert.deepEqual(await found("--ignore", "build/", "--no-content"), [""]);
});

test("who may not send, or is not paired, learns nothing", async (t) => {
  const pair = await linkPair(t);
  await pair.serve();
  const stranger = makeHome(scratchFolder(t), "stranger");
  const unpaired = await runProgram(t, ["verify", pair.source, pair.url], { home: stranger });
  assert.equal(unpaired.exit, 4);
  assert.match(unpaired.stderr, /PEER_UNTRUSTED/);
  const other = pair.url.replace(/x$/, "nowhere");
  const missing = await runProgram(t, ["verify", pair.source, other], { home: pair.near });
  const nearId = (await runProgram(t, ["id"], { home: pair.near })).stdout.trim();
  const revoke = ["peers", "revoke", nearId, "x", "--send"];
  const revoked = await runProgram(t, revoke, { home: pair.far });
  assert.equal(revoked.exit, 0, revoked.stderr);
  const refused = await pair.verify().end();
  assert.deepEqual([refused.exit, missing.exit], [4, 4]);
  assert.match(refused.stderr, /PEER_REFUSED: peer: no grant to send into a share "x"/);
  assert.match(missing.stderr, /PEER_REFUSED: peer: no grant to send into a share "nowhere"/);
});

test("below a share only what is there is compared, and nothing is made", async (t) => {
  const pair = await linkPair(t);
  fill(pair.source);
  makeEqual(pair);
  fs.symlinkSync(pair.source, `${pair.target}/away`);
  await pair.serve();
  const run = (below: string): ReturnType<typeof runProgram> =>
    runProgram(t, ["verify", `${pair.source}/dir`, `${pair.url}/${below}`], { home: pair.near });
  assert.equal((await run("dir")).exit, 0);
  for (const below of ["none/such", "away/dir"]) {
    const { exit, stderr } = await run(below);
    assert.equal(exit, 3, stderr);
    assert.match(stderr, /ROOT_MISSING/);
  }
  assert.equal(fs.existsSync(`${pair.target}/none`), false);
});

test("a link that is lost ends it with code 4, and --resume goes on", async (t) => {
  const pair = await linkPair(t);
  for (let i = 0; i < 8; i++) {
    fs.mkdirSync(`${pair.source}/d${i}`);
    fs.writeFileSync(`${pair.source}/d${i}/file`, Buffer.alloc(1_000_000, i + 1));
  }
  makeEqual(pair);
  for (const name of ["d0", "d7"]) {
    keepTimes(`${pair.target}/${name}/file`, () => {
      fs.writeFileSync(`${pair.target}/${name}/file`, Buffer.alloc(1_000_000));
    });
  }
  const serving = await pair.serve();
  const cut = pair.verify("--json", "--rate", "1M");
  await cut.until("is in the middle", () => {
    return /"event":"progress".*"bytes":[2-9]\d{6}/.test(cut.stdout);
  });
  serving.kill("SIGKILL");
  const { exit, stderr, stdout } = await cut.end();
  assert.equal(exit, 4, stderr);
  assert.match(stderr, /LINK_LOST/);
  assert.match(stdout, /"path":"d0\/file"/);
  await serving.end();
  await pair.serve();
  const again = await pair.verify("--json", "--resume").end();
  assert.equal(again.exit, 1);
  const events = eventsOf(again.stdout);
  assert.equal(events[0]?.["resumed"], true, again.stdout);
  const found = events.filter(({ event }) => event === "difference").map(({ path }) => path);
  assert.deepEqual(found, ["d7/file"]);
  assert.deepEqual(events.at(-1)?.["counts"], { content: 2 });
});

test("a mirror to the same share goes on meanwhile, and a second verify takes over", async (t) => {
  const pair = await linkPair(t);
  fill(pair.source);
  const random = new Random(7);
  for (let i = 0; i < 100; i++) disturb(random, pair.source);
  const serving = await pair.serve();
  const syncing = pair.sync("--max-delete", "100%");
  await syncing.said(/"event":"live"/);
  const slow = pair.verify("--rate", "20k");
  await serving.said(/"event":"verifying"/);
  const status = await runProgram(t, ["status"], { home: pair.far });
  assert.match(status.stdout, /live/);
  assert.match(status.stdout, /verifying/);
  const during = pair.verify("--json");
  const first = await slow.end();
  assert.equal(first.exit, 4);
  assert.match(first.stderr, /LINK_LOST: peer: this device has begun another verify/);
  for (let i = 0; i < 200; i++) {
    disturb(random, pair.source);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const { exit, stdout } = await during.end();
  const end = eventsOf(stdout).at(-1);
  assert.ok(exit === 0 || exit === 1, stdout);
  assert.equal(end?.["cancelled"], false);
  // At rest nothing differs.
  const rest = await pair.verify().end();
  assert.deepEqual([rest.exit, rest.stderr], [0, ""], rest.stdout);
  syncing.kill("SIGTERM");
  assert.equal((await syncing.end()).exit, 0);
});
