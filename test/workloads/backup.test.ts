/**
 * `--backup-dir` of the real program: what the target had before, and what is deleted later, is
 * found in the backup byte for byte; old backups go; places that cannot work are refused.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { eventsOf, makeHome, runProgram, Running, scratchFolder } from "../cli/program.ts";

interface Place {
  readonly home: string;
  readonly source: string;
  readonly target: string;
  readonly backup: string;
}

const sessionName = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ$/;

function place(t: TestContext): Place {
  const folder = scratchFolder(t);
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  fs.mkdirSync(source);
  fs.mkdirSync(target);
  return { home: makeHome(folder, "home"), source, target, backup: join(folder, "kept/backup") };
}

function sync(t: TestContext, where: Place, ...more: string[]): Running {
  const { home, source, target, backup } = where;
  const own = ["--json", "--backup-dir", backup, "--max-delete", "100%", ...more];
  return new Running(t, ["sync", source, target, ...own], { home, stdin: "" });
}

async function stops(running: Running): Promise<void> {
  running.kill("SIGTERM");
  assert.equal((await running.end()).exit, 0);
}

/** Folders of sessions, the oldest first. */
function sessions({ backup }: Place): string[] {
  const names = fs.readdirSync(backup).filter((name) => sessionName.test(name));
  return names.sort().map((name) => join(backup, name));
}

function put(path: string, content: string | Uint8Array, mode = 0o644, seconds = 1e9): void {
  fs.mkdirSync(join(path, ".."), { recursive: true });
  fs.writeFileSync(path, content);
  fs.chmodSync(path, mode);
  fs.utimesSync(path, seconds, seconds + 0.25);
}

/** Kind, mode, owner, time and content of everything below a folder, by path. */
function outline(folder: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of fs.readdirSync(folder, { recursive: true }) as string[]) {
    const path = join(folder, name);
    const stat = fs.lstatSync(path, { bigint: true });
    const content = stat.isFile()
      ? fs.readFileSync(path).toString("base64")
      : stat.isSymbolicLink()
        ? fs.readlinkSync(path)
        : "";
    found.set(name, `${stat.mode} ${stat.uid} ${stat.gid} ${stat.mtimeNs} ${content}`);
  }
  return found;
}

const noise = (bytes: number, seed: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * seed * 2_654_435_761) >>> 13));

test("what a seed deletes or overwrites is in the backup as it was", async (t) => {
  const where = place(t);
  const { source, target } = where;
  put(join(target, "same"), "equal");
  put(join(source, "same"), "equal");
  put(join(target, "d/changed"), "old", 0o4600, 9e8);
  put(join(source, "d/changed"), "new and longer");
  // Large enough to be a delta, and to be copied in more than one step.
  const old = noise(40_000_000, 7);
  put(join(target, "d/large"), old, 0o640, 8e8);
  put(join(source, "d/large"), Buffer.concat([old.subarray(0, 20_000_000), noise(20_000_001, 9)]));
  put(join(target, "gone/deep/er/f"), "f", 0o400, 7e8);
  fs.symlinkSync("nowhere", join(target, "gone/s"));
  put(join(target, "kind"), "was a file");
  put(join(source, "kind/f"), "is a folder");
  put(join(target, "other/f"), "was a folder");
  put(join(source, "other"), "is a file");
  put(join(target, "lone"), "deleted", 0o600, 6e8);
  for (const [name, mode] of Object.entries({ gone: 0o711, "gone/deep": 0o500, d: 0o750 })) {
    fs.chmodSync(join(target, name), mode);
    fs.utimesSync(join(target, name), 5e8, 5e8);
  }
  const before = outline(target);
  const running = sync(t, where, "--once");
  assert.equal((await running.end()).exit, 0);
  const [session, ...others] = sessions(where);
  assert.deepEqual(others, []);
  const after = outline(session!);
  const lost = ["d", "d/changed", "d/large", "gone", "gone/deep", "gone/deep/er"];
  lost.push("gone/deep/er/f", "gone/s", "kind", "lone", "other", "other/f");
  assert.deepEqual([...after.keys()].sort(), lost.sort());
  for (const name of lost) assert.equal(after.get(name), before.get(name), name);
  assert.equal(fs.statSync(join(where.backup)).mode & 0o777, 0o700);
  // Nothing to do, nothing to keep.
  assert.equal((await sync(t, where, "--once").end()).exit, 0);
  assert.equal(sessions(where).length, 1);
});

test("live deletions are kept, live writes are not; a restart has its own folder", async (t) => {
  const where = place(t);
  const { source, target } = where;
  for (const name of ["a", "b", "tree/1", "tree/2/3"])
    put(join(source, name), `content of ${name}`);
  const running = sync(t, where);
  await running.said(/"event":"live"/);
  fs.writeFileSync(join(source, "a"), "written in place", { flag: "r+" });
  fs.writeFileSync(join(source, "b.new"), "replaced");
  fs.renameSync(join(source, "b.new"), join(source, "b"));
  fs.rmSync(join(source, "tree"), { recursive: true });
  const isEqual = (): boolean =>
    !fs.existsSync(join(target, "tree")) &&
    fs.readFileSync(join(target, "a"), "utf8") === "written in place" &&
    fs.readFileSync(join(target, "b"), "utf8") === "replaced";
  await running.until("mirrors", isEqual);
  const first = sessions(where);
  const kept = (folder: string, name: string): string =>
    fs.readFileSync(join(folder, name), "utf8");
  const inOne = (name: string): string =>
    kept(first.find((folder) => fs.existsSync(join(folder, name))) ?? "", name);
  for (const name of ["b", "tree/1", "tree/2/3"]) assert.equal(inOne(name), `content of ${name}`);
  assert.ok(first.every((folder) => !fs.existsSync(join(folder, "a"))));
  await stops(running);
  const deadline = Date.now() + 2000;
  while (Date.now() < deadline && sessions(where).some((path) => isNow(path)));
  fs.rmSync(join(source, "a"));
  assert.equal((await sync(t, where, "--once").end()).exit, 0);
  const second = sessions(where).filter((path) => !first.includes(path));
  assert.equal(second.length, 1);
  assert.equal(kept(second[0]!, "a"), "written in place");
});

/** Whether a session that begins now would have the same name. */
function isNow(path: string): boolean {
  const name = new Date()
    .toISOString()
    .replaceAll(":", "-")
    .replace(/\.\d+Z$/, "Z");
  return path.endsWith(name);
}

test("folders of old sessions are removed, and nothing else", async (t) => {
  const where = place(t);
  const { source, backup } = where;
  put(join(source, "f"), "f");
  const day = (days: number): string =>
    new Date(Date.now() - days * 86_400_000)
      .toISOString()
      .replaceAll(":", "-")
      .replace(/\.\d+Z$/, "Z");
  const [old, young] = [day(9), day(7)];
  for (const name of [old, young, "mine", `${old}.1`]) put(join(backup, name, "d/f"), "f");
  const running = sync(t, where, "--backup-keep", "7");
  await running.until("removes", () => !fs.existsSync(join(backup, old)));
  await running.said(/"event":"live"/);
  await stops(running);
  assert.deepEqual(fs.readdirSync(backup).sort(), [young, "mine", `${old}.1`].sort());
});

test("a backup that cannot be kept halts, and nothing is deleted", async (t) => {
  const where = place(t);
  const { source, target, backup, home } = where;
  for (const name of ["a", "b"]) put(join(source, name), name);
  const running = sync(t, where);
  await running.said(/"event":"live"/);
  fs.rmSync(backup, { recursive: true });
  fs.rmSync(join(source, "a"));
  await running.said(/"event":"halt".*BACKUP_FAILED|BACKUP_FAILED.*"event":"halt"/);
  assert.equal(fs.readFileSync(join(target, "a"), "utf8"), "a");
  const { stdout } = await runProgram(t, ["status"], { home });
  assert.match(stdout, /BACKUP_FAILED/);
  running.kill("SIGTERM");
  assert.equal((await running.end()).exit, 5);
  assert.equal(fs.readFileSync(join(target, "a"), "utf8"), "a");
});

test("a target killed while it is made equal has lost nothing in the end", async (t) => {
  const where = place(t);
  const { source, target, backup } = where;
  for (let i = 0; i < 120; i++) {
    put(join(target, `d${i % 10}/f${i}`), `original ${i}`);
    if (i % 3 > 0) put(join(source, `d${(i + (i % 2)) % 10}/f${i}`), `changed, and longer ${i}`);
  }
  for (let i = 0; i < 12; i++) {
    put(join(target, `was folder ${i}/a/b`), `original below ${i}`);
    put(join(source, `was folder ${i}`), `now a file ${i}`);
    const large = Buffer.alloc(1_000_000, `original large ${i} `);
    put(join(target, `large ${i}`), large);
    put(join(source, `large ${i}`), Buffer.concat([Buffer.from("changed"), large]));
  }
  const originals = contents(target);
  const keptCount = (): number =>
    fs.existsSync(backup) ? fs.readdirSync(backup, { recursive: true }).length : 0;
  for (const more of [5, 10, 20, 30]) {
    const before = keptCount();
    const running = sync(t, where);
    await running.until("keeps", () => {
      return keptCount() >= before + more || running.stdout.includes('"event":"live"');
    });
    running.kill("SIGKILL");
    await running.end();
  }
  const last = await sync(t, where, "--once").end();
  assert.equal(last.exit, 0, last.stderr);
  const left = new Set([...contents(target), ...contents(backup)]);
  for (const content of originals) {
    assert.ok(left.has(content), `${content.slice(0, 40)}… is lost`);
  }
  assert.deepEqual([...contents(target)].sort(), [...contents(source)].sort());
});

function contents(folder: string): Set<string> {
  const names = fs.readdirSync(folder, { recursive: true }) as string[];
  const paths = names.map((name) => join(folder, name));
  const files = paths.filter((path) => fs.lstatSync(path).isFile());
  return new Set(files.map((path) => fs.readFileSync(path, "latin1")));
}

test("places where a backup cannot be are refused before anything is done", async (t) => {
  const where = place(t);
  const { home, source, target, backup } = where;
  put(join(target, "f"), "f");
  const other = join(target, "../other");
  const refused: [string[], RegExp][] = [
    [["--backup-dir", join(target, "b")], /ROOTS_OVERLAP.*lies inside/],
    [["--backup-dir", join(source, "b")], /ROOTS_OVERLAP.*lies inside/],
    [["--backup-dir", join(target, "..")], /ROOTS_OVERLAP.*contains/],
    [["--backup-dir", join(target, "f/g")], /BACKUP_UNUSABLE.*ENOTDIR|ROOTS_OVERLAP/],
    [["--backup-keep", "3"], /USAGE.*--backup-dir/],
    [["--backup-dir", backup, "--backup-keep", "0"], /USAGE.*days/],
    [["--backup-dir", backup, other], /USAGE.*one local target/],
  ];
  if (fs.statSync("/dev/shm").dev !== fs.statSync(target).dev) {
    const elsewhere = fs.mkdtempSync("/dev/shm/lockstep-backup-");
    t.after(() => fs.rmSync(elsewhere, { recursive: true }));
    refused.push([["--backup-dir", elsewhere], /BACKUP_UNUSABLE.*not on the filesystem/]);
  }
  for (const [args, pattern] of refused) {
    const outcome = await runProgram(t, ["sync", source, target, "--once", ...args], { home });
    assert.match(outcome.stderr, pattern);
    assert.notEqual(outcome.exit, 0);
    assert.deepEqual(fs.readdirSync(target), ["f"]);
  }
});

test("serve keeps what goes in a share, below the share's own paths", async (t) => {
  const where = place(t);
  const { home, source, target, backup } = where;
  const otherHome = makeHome(join(target, ".."), "target-home");
  const run = async (at: string, ...args: string[]): Promise<string> => {
    const { exit, stdout, stderr } = await runProgram(t, args, { home: at });
    assert.equal(exit, 0, stderr);
    return stdout.trim();
  };
  const [id, otherId] = [await run(home, "id"), await run(otherHome, "id")];
  await run(home, "peers", "add", otherId, "--name", "target");
  await run(otherHome, "peers", "add", id, "--name", "source");
  await run(otherHome, "peers", "grant", id, "site", "--send");
  put(join(target, "sub/folder/gone"), "was here", 0o640, 7e8);
  put(join(source, "f"), "f");
  const address = `127.0.0.1:${35_000 + (process.pid % 2_000)}`;
  const served = ["serve", "--listen", address, "--share", `site=${target}`, "--json"];
  for (const [text, pattern] of [
    [`other=${backup}`, /USAGE.*no --share other/],
    [backup, /USAGE.*SHARE=FOLDER/],
    [`site=${target}/b`, /ROOTS_OVERLAP/],
  ] as const) {
    const outcome = await runProgram(t, [...served, "--backup-dir", text], { home: otherHome });
    assert.match(outcome.stderr, pattern);
  }
  const own = ["--backup-dir", `site=${backup}`];
  const serve = new Running(t, [...served, ...own], { home: otherHome, stdin: "" });
  await serve.said(/"event":"listening"/);
  const to = `lockstep://${otherId}@${address}/site/sub/folder`;
  const args = ["sync", source, to, "--once", "--json", "--max-delete", "100%"];
  const { exit, stdout } = await runProgram(t, args, { home });
  assert.equal(exit, 0, stdout);
  assert.ok(eventsOf(stdout).some(({ event }) => event === "live"));
  const [session] = sessions(where);
  assert.equal(fs.readFileSync(join(session!, "sub/folder/gone"), "utf8"), "was here");
  serve.kill("SIGTERM");
  assert.equal((await serve.end()).exit, 0);
});
