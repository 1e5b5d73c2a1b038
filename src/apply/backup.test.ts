import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { SyncError } from "../base/index.ts";
import { rootId } from "../tree/index.ts";
import { Errno, FakeClock, type Files, Open } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { bytesOf, fuzzApplier, noBytes, TargetRig, write } from "./applier.fuzz.ts";
import { Backup } from "./backup.ts";
import { BackupRetention } from "./backup-retention.ts";
import { folderMsMax, versionCountMax } from "./backup-tree.ts";
import { changedFiles } from "./changed-files.ts";
import { copyStepBytesMax } from "./file-copy.ts";
import { TargetScan } from "./target-scan.ts";

const startMs = Date.UTC(2026, 10, 23, 14, 5, 9);
const startName = "2026-11-23T14-05-09Z";
const dayMs = 86_400_000;

const coded =
  (code: string, pattern = /./) =>
  (error: unknown): boolean =>
    error instanceof SyncError && error.code === code && pattern.test(error.message);

/** A target whose losses are kept in `folder/backup`. */
class BackupRig {
  readonly rig: TargetRig;
  readonly clock: FakeClock;
  readonly dir: string;
  readonly dirFd: number;
  roomBytes = Infinity;
  #backup: Backup | undefined;

  constructor(context: TestContext, files: Files = native()) {
    this.clock = new FakeClock({ startUs: 0, wallStartMs: startMs, eventsMax: 100 });
    let dir = "";
    let dirFd = -1;
    this.rig = new TargetRig(files, undefined, (rig, problems) => {
      dir = join(rig.folder, "backup");
      fs.mkdirSync(dir);
      dirFd = native().openPath(Buffer.from(dir), Open.read | Open.directory);
      this.#backup = new Backup({
        files,
        rootFd: rig.rootFd,
        tree: rig.tree,
        problems,
        clock: this.clock,
        place: { dirFd, path: dir, below: [] },
        roomBytes: () => this.roomBytes,
        mounts: () => rig.applier.mounts,
      });
      return this.#backup;
    });
    [this.dir, this.dirFd] = [dir, dirFd];
    context.after(() => {
      this.backup.close();
      this.rig.end();
      native().close(this.dirFd);
    });
  }

  get backup(): Backup {
    return this.#backup!;
  }

  /** Reads what is in the root as the target's own, as a session does when it begins. */
  scan(): void {
    const { rig, backup } = this;
    const { files, rootFd, tree } = rig;
    const removeLeftover = (name: Uint8Array): number => backup.removeLeftover(name);
    const scan = new TargetScan({ files, rootFd, tree, removeLeftover });
    while (scan.step());
    rig.applier.mounts = scan.mounts;
    backup.begin();
  }

  node(path: string): number {
    const { tree } = this.rig;
    return path.split("/").reduce((at, name) => tree.child(at, bytesOf(name)), rootId);
  }

  /** Paths of files in the backup, with their content. */
  kept(folder = startName): Record<string, string> {
    return filesBelow(join(this.dir, folder));
  }
}

function filesBelow(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  if (!fs.existsSync(folder)) return found;
  for (const name of (fs.readdirSync(folder, { recursive: true }) as string[]).sort()) {
    const path = join(folder, name);
    const stat = fs.lstatSync(path);
    if (stat.isFile()) found[name] = fs.readFileSync(path, "latin1");
    else if (stat.isSymbolicLink()) found[name] = `-> ${fs.readlinkSync(path)}`;
  }
  return found;
}

function freeId({ tree }: TargetRig): number {
  for (let id = 2; ; id++) if (!tree.isLive(id)) return id;
}

function put(path: string, content: string, mode = 0o644, seconds = 1_000_000_000): void {
  fs.mkdirSync(join(path, ".."), { recursive: true });
  fs.writeFileSync(path, content);
  fs.chmodSync(path, mode);
  fs.utimesSync(path, seconds, seconds);
}

const metadata = (path: string): unknown[] => {
  const { mode, uid, gid, mtimeNs } = fs.lstatSync(path, { bigint: true });
  return [mode, uid, gid, mtimeNs];
};

test("a deleted file is kept with mode and times, below directories like its own", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  put(rig.path("d/e/f"), "bytes", 0o4640);
  fs.chmodSync(rig.path("d/e"), 0o511);
  for (const [path, seconds] of Object.entries({ "d/e": 1e9, d: 2e8, "": 3e8 })) {
    fs.utimesSync(rig.path(path), seconds, seconds);
  }
  const before = ["d/e/f", "d/e", "d", ""].map((path) => metadata(rig.path(path)));
  one.scan();
  rig.send((w) => w.unlink(one.node("d/e"), bytesOf("f")));
  rig.checkDisk();
  const folder = join(one.dir, startName);
  assert.deepEqual(one.kept(), { "d/e/f": "bytes" });
  const after = ["d/e/f", "d/e", "d", ""].map((path) => metadata(join(folder, path)));
  assert.deepEqual(after, before);
});

test("a removed tree is moved whole, with what is in it and the tree does not know", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  put(rig.path("a/b/c"), "c");
  fs.symlinkSync("../nowhere", rig.path("a/b/s"));
  one.scan();
  const ino = fs.statSync(rig.path("a")).ino;
  put(rig.path("a/b/unknown"), "u");
  rig.send((w) => w.remove(one.node("a")));
  rig.checkDisk();
  assert.deepEqual(one.kept(), { "a/b/c": "c", "a/b/s": "-> ../nowhere", "a/b/unknown": "u" });
  assert.equal(fs.statSync(join(one.dir, startName, "a")).ino, ino);
});

test("what a file, a rename or a link replaces is kept; an exchange loses nothing", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  for (const name of ["placed", "renamed", "linked", "held", "mover", "x", "y"]) {
    put(rig.path(name), `old ${name}`);
  }
  fs.symlinkSync("old", rig.path("sym"));
  one.scan();
  rig.file(rig.tree.endId, "placed", "new");
  const symlink = rig.tree.endId;
  const [mover, x] = [one.node("mover"), one.node("x")];
  rig.send(
    (w) => w.link(mover, rootId, bytesOf("linked")),
    (w) => w.rename(rootId, bytesOf("mover"), rootId, bytesOf("renamed"), 0),
    (w) => w.rename(rootId, bytesOf("x"), rootId, bytesOf("y"), 1),
    (w) => w.detach(x),
    (w) => w.place(x, rootId, bytesOf("held")),
    (w) => w.create(symlink, 0o120777, 0, bytesOf("new")),
    (w) => w.place(symlink, rootId, bytesOf("sym")),
  );
  rig.checkDisk();
  const wanted = { placed: "old placed", renamed: "old renamed", linked: "old linked" };
  assert.deepEqual(one.kept(), { ...wanted, held: "old held", sym: "-> old" });
  assert.equal(fs.readFileSync(rig.path("held"), "utf8"), "old x");
});

test("where names cannot be linked the old file is moved away before it is replaced", (context) => {
  const files = native();
  const one = new BackupRig(
    context,
    Object.assign(Object.create(files) as Files, {
      link: (from: number, name: Uint8Array, to: number, toName: Uint8Array) =>
        name.length > 0 ? -Errno.EPERM : files.link(from, name, to, toName),
    }),
  );
  put(one.rig.path("f"), "old");
  one.scan();
  one.rig.file(one.rig.tree.endId, "f", "new");
  one.rig.checkDisk();
  assert.deepEqual(one.kept(), { f: "old" });
});

test("a name of several of a file is not kept, the last one is", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  put(rig.path("a"), "content");
  for (const name of ["b", "c"]) fs.linkSync(rig.path("a"), rig.path(name));
  one.scan();
  const node = one.node("a");
  rig.send((w) => w.unlink(rootId, bytesOf("a")));
  rig.file(rig.tree.endId, "b", "new");
  assert.deepEqual(one.kept(), {});
  rig.send((w) => w.unlink(rootId, bytesOf("c")));
  assert.deepEqual(one.kept(), { c: "content" });
  assert.ok(!rig.tree.isLive(node));
  rig.checkDisk();
});

test("all names of a removed file are kept", (context) => {
  const one = new BackupRig(context);
  put(one.rig.path("a"), "content");
  fs.linkSync(one.rig.path("a"), one.rig.path("b"));
  one.scan();
  one.rig.send((w) => w.remove(one.node("a")));
  assert.deepEqual(one.kept(), { a: "content", b: "content" });
});

test("content is copied before its first change, once, and not when live", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  const names = ["written", "zeroed", "cut", "cloned", "same", "late"];
  for (const name of names) put(rig.path(name), `old ${name}`, 0o640);
  one.scan();
  const same = metadata(rig.path("written"));
  const n = Object.fromEntries(names.map((name) => [name, one.node(name)]));
  const fresh = rig.tree.endId;
  rig.file(fresh, "new", "content of a new file");
  rig.send(
    (w) => write(w, n["written"]!, 0, bytesOf("NEW")),
    (w) => write(w, n["written"]!, 3, bytesOf("NEWER")),
    (w) => w.zero(n["zeroed"]!, 0, 2),
    (w) => w.truncate(n["cut"]!, 1),
    (w) => w.clone(n["cloned"]!, 0, { node: n["same"]!, position: 0 }, 3),
  );
  rig.applier.closeIdle();
  rig.send(
    (w) => write(w, n["written"]!, 0, bytesOf("AGAIN")),
    (w) => write(w, fresh, 0, bytesOf("AGAIN")),
  );
  const wanted = { cloned: "old cloned", cut: "old cut", written: "old written" };
  assert.deepEqual(one.kept(), { ...wanted, zeroed: "old zeroed" });
  assert.deepEqual(metadata(join(one.dir, startName, "written")), same);
  one.backup.goLive();
  rig.send((w) => write(w, n["late"]!, 0, bytesOf("NEW")));
  assert.equal("late" in one.kept(), false);
  // What is deleted is kept for ever, as it is by now.
  rig.send((w) => w.unlink(rootId, bytesOf("late")));
  assert.equal(one.kept()["late"], "NEW late");
  rig.checkDisk();
});

test("a copy and the directories above are as before their metadata changed", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  put(rig.path("d/f"), "old", 0o640, 5e8);
  fs.chmodSync(rig.path("d"), 0o711);
  fs.utimesSync(rig.path("d"), 6e8, 6e8);
  const before = ["d", "d/f"].map((path) => metadata(rig.path(path)));
  one.scan();
  const [d, f] = [one.node("d"), one.node("d/f")];
  const [uid, gid] = [process.getuid!(), process.getgid!()];
  rig.send(
    (w) => w.times(d, 1, 1),
    (w) => w.meta(d, 0o755, uid, gid),
    (w) => w.meta(f, 0o600, uid, gid),
    (w) => write(w, f, 0, bytesOf("NEW")),
  );
  const after = ["d", "d/f"].map((path) => metadata(join(one.dir, startName, path)));
  assert.deepEqual(after, before);
});

test("a large file is copied in steps, with its holes, where there is space", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  const size = 2 * copyStepBytesMax + 12_345;
  put(rig.path("big"), "head");
  fs.truncateSync(rig.path("big"), size);
  fs.writeFileSync(rig.path("big"), "tail", { flag: "r+" });
  one.scan();
  const node = one.node("big");
  const open = (of: number): number => rig.applier.openToRead(of);
  one.roomBytes = 1000;
  const change = (w: Parameters<typeof write>[0]): void => write(w, node, 0, bytesOf("NEW!"));
  assert.throws(() => rig.send(change), coded("TARGET_FULL", /big/));
  assert.equal(fs.readFileSync(rig.path("big")).subarray(0, 4).toString(), "tail");
  one.roomBytes = Infinity;
  const seen = changedFiles((of) => one.backup.note(of));
  seen.write(node, 0, noBytes, 0, 0);
  let steps = 1;
  while (!one.backup.step(open)) steps++;
  assert.equal(steps, 3);
  rig.send(change);
  const copy = join(one.dir, startName, "big");
  assert.equal(fs.statSync(copy).size, size);
  assert.equal(fs.readFileSync(copy).subarray(0, 4).toString(), "tail");
  assert.ok(fs.statSync(copy).blocks * 512 < 1_000_000, "holes stay holes");
  assert.deepEqual(fs.readdirSync(join(one.dir, startName)), ["big"]);
});

test("a name that is there already gets a number; beyond the last a problem is told", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  const long = "n".repeat(255);
  one.scan();
  for (let i = 0; i <= versionCountMax + 2; i++) {
    rig.file(freeId(rig), "f", `version ${i}`);
    rig.send((w) => w.unlink(rootId, bytesOf("f")));
  }
  for (const content of ["one", "two"]) {
    rig.file(freeId(rig), long, content);
    rig.send((w) => w.unlink(rootId, bytesOf(long)));
  }
  const kept = one.kept();
  assert.equal(kept["f"], "version 0");
  for (let i = 1; i <= versionCountMax; i++) assert.equal(kept[`f.${i}`], `version ${i}`);
  assert.equal(kept[long], "one");
  assert.equal(kept[`${"n".repeat(253)}.1`], "two");
  assert.equal(Object.keys(kept).length, versionCountMax + 3);
  const problem = { side: "target", path: "f", operation: "backup", errno: "EEXIST" };
  assert.deepEqual(rig.problems, [problem]);
});

test("a directory where a file is kept by that name gets a number", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  put(rig.path("x"), "file");
  one.scan();
  rig.send((w) => w.unlink(rootId, bytesOf("x")));
  const x = freeId(rig);
  rig.folderNode(x, "x");
  rig.file(freeId(rig), "below", "content", x);
  rig.send((w) => w.unlink(x, bytesOf("below")));
  // A symbolic link where a directory is wanted is not followed.
  fs.rmSync(join(one.dir, startName, "x.1"), { recursive: true });
  fs.symlinkSync(rig.outside, join(one.dir, startName, "x.1"));
  one.backup.close();
  rig.file(freeId(rig), "below", "second", x);
  rig.send((w) => w.unlink(x, bytesOf("below")));
  assert.deepEqual(fs.readdirSync(join(one.dir, startName, "x.2")), ["below"]);
  rig.checkOutside();
});

test("what steps aside and does not come back is kept under its own path", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  put(rig.path("d/e/inner"), "inner");
  put(rig.path("d/f"), "f");
  put(rig.path("d/g"), "g");
  one.scan();
  const [e, f, g] = ["d/e", "d/f", "d/g"].map((path) => one.node(path)) as [number, number, number];
  rig.send(
    (w) => w.detach(e),
    (w) => w.detach(f),
    (w) => w.detach(g),
    (w) => write(w, g, 0, bytesOf("G")),
    (w) => w.unlink(e, bytesOf("inner")),
    (w) => w.remove(f),
  );
  assert.deepEqual(one.kept(), { "d/e/inner": "inner", "d/f": "f", "d/g": "g" });
  // The link ends here: what still waits goes, too.
  rig.applier.close();
  assert.deepEqual(rig.holdNames(), []);
  assert.equal(one.kept()["d/g.1"], "G");
});

test("a scan keeps what a crash left stepping aside, not what was sent in part", (context) => {
  const one = new BackupRig(context);
  put(one.rig.path(".lockstep-hold.7/f"), "f");
  put(one.rig.path(`.lockstep-hold.keep-${"0".repeat(32)}`), "part");
  one.scan();
  assert.deepEqual(one.rig.holdNames(), []);
  assert.deepEqual(one.kept(), { ".lockstep-hold.7/f": "f" });
});

test("what cannot be kept stays, and the error says why", (context) => {
  const files = native();
  let refusal = 0;
  const one = new BackupRig(
    context,
    Object.assign(Object.create(files) as Files, {
      rename: (from: number, name: Uint8Array, to: number, toName: Uint8Array, flags: number) =>
        refusal !== 0 && flags !== 0 ? refusal : files.rename(from, name, to, toName, flags),
      link: (from: number, name: Uint8Array, to: number, toName: Uint8Array) =>
        refusal !== 0 ? refusal : files.link(from, name, to, toName),
      cloneRange: (to: number, from: number, position: number, length: number, at: number) =>
        refusal !== 0 ? refusal : files.cloneRange(to, from, position, length, at),
    }),
  );
  const { rig } = one;
  for (const name of ["d/f", "g"]) put(rig.path(name), name);
  one.scan();
  const [d, g] = [one.node("d"), one.node("g")];
  const refused: [string, number, string][] = [
    ["EXDEV", -Errno.EXDEV, "BACKUP_FAILED"],
    ["EIO", -Errno.EIO, "BACKUP_FAILED"],
    ["ENOSPC", -Errno.ENOSPC, "TARGET_FULL"],
  ];
  for (const [name, errno, code] of refused) {
    refusal = errno;
    const check = coded(code, new RegExp(`(d|d/f|g)\\b.*${name}`));
    assert.throws(() => rig.send((w) => w.unlink(d, bytesOf("f"))), check);
    assert.throws(() => rig.send((w) => w.remove(d)), check);
    assert.throws(() => rig.send((w) => write(w, g, 0, bytesOf("NEW"))), check);
    rig.writer.flush();
    assert.equal(fs.readFileSync(rig.path("d/f"), "utf8"), "d/f");
    assert.equal(fs.readFileSync(rig.path("g"), "utf8"), "g");
  }
  refusal = 0;
  // What is not there is the target's own trouble.
  fs.rmSync(rig.path("d/f"));
  assert.throws(() => rig.send((w) => w.unlink(d, bytesOf("f"))), coded("TARGET_DIVERGED"));
});

test("a folder with a mount point in it is not moved", (context) => {
  const one = new BackupRig(context);
  put(one.rig.path("d/f"), "f");
  one.scan();
  one.rig.applier.mounts = ["d/mounted"];
  assert.throws(() => one.rig.send((w) => w.remove(one.node("d"))), coded("TARGET_MOUNT"));
  assert.equal(fs.readFileSync(one.rig.path("d/f"), "utf8"), "f");
});

test("a backup folder emptied meanwhile is made again; one that is gone is an error", (context) => {
  const one = new BackupRig(context);
  const { rig } = one;
  for (const name of ["d/1", "d/2", "d/3"]) put(rig.path(name), name);
  one.scan();
  const d = one.node("d");
  rig.send((w) => w.unlink(d, bytesOf("1")));
  fs.rmSync(join(one.dir, startName), { recursive: true });
  rig.send((w) => w.unlink(d, bytesOf("2")));
  assert.deepEqual(one.kept(), { "d/2": "d/2" });
  fs.rmSync(one.dir, { recursive: true });
  assert.throws(() => rig.send((w) => w.unlink(d, bytesOf("3"))), coded("BACKUP_FAILED"));
  assert.equal(fs.readFileSync(rig.path("d/3"), "utf8"), "d/3");
});

test("a folder is used for a day, and retention removes those that are too old", (context) => {
  const one = new BackupRig(context);
  const { rig, clock, dir } = one;
  for (const name of ["1", "2"]) put(rig.path(name), name);
  one.scan();
  rig.send((w) => w.unlink(rootId, bytesOf("1")));
  clock.advance(folderMsMax);
  rig.send((w) => w.unlink(rootId, bytesOf("2")));
  assert.deepEqual(one.kept("2026-11-24T14-05-09Z"), { "2": "2" });
  const deep = join(dir, "2000-01-01T00-00-00Z", ...Array.from({ length: 70 }, () => "d"));
  fs.mkdirSync(deep, { recursive: true });
  fs.chmodSync(join(deep, ".."), 0o500);
  fs.mkdirSync(join(dir, ".lockstep-hold.4294967299/x"), { recursive: true });
  const others = ["2000-02-30T00-00-00Z", "2000-01-01T00-00-00Z.1", "2000-01-01", "mine"];
  for (const name of others) put(join(dir, name, "f"), name);
  fs.writeFileSync(join(dir, "2001-01-01T00-00-00Z"), "a file");
  fs.symlinkSync(rig.outside, join(dir, "2001-01-02T00-00-00Z"));
  const { dirFd } = one;
  const own = { files: native(), dirFd, clock, keepMs: 2 * dayMs };
  const retention = new BackupRetention({ ...own, privileged: process.getuid!() === 0 });
  const run = (): void => {
    while (retention.step((name, result) => assert.fail(`${name} ${result}`)));
  };
  run();
  const stays = [...others, "2001-01-01T00-00-00Z", "2001-01-02T00-00-00Z"];
  const sessions = [startName, "2026-11-24T14-05-09Z"];
  assert.deepEqual(fs.readdirSync(dir).sort(), [...stays, ...sessions].sort());
  clock.advance(2 * dayMs + 1);
  run();
  assert.deepEqual(fs.readdirSync(dir).sort(), [...stays, sessions[1]!].sort());
});

test("random operations lose nothing of what was there, and reach nothing outside", (context) => {
  let refused = 0;
  for (let seed = 1; seed <= 40; seed++) {
    let one: Backup | undefined;
    let [dir, dirFd] = ["", -1];
    const originals = Array.from({ length: 12 }, (_, i) => `original ${seed} ${i} `.repeat(40));
    const clock = new FakeClock({ startUs: 0, wallStartMs: startMs, eventsMax: 1 });
    const result = fuzzApplier(seed, 120, {
      makeDiscard: (rig, problems) => {
        dir = join(rig.folder, "backup");
        fs.mkdirSync(dir);
        dirFd = native().openPath(Buffer.from(dir), Open.read | Open.directory);
        const { files, rootFd, tree } = rig;
        const place = { dirFd, path: dir, below: [bytesOf("sub")] };
        const own = { files, rootFd, tree, problems, clock, place };
        one = new Backup({ ...own, roomBytes: () => Infinity, mounts: () => [] });
        return one;
      },
      begin: (rig, content) => {
        rig.folderNode(2, "n0");
        for (const [i, text] of originals.entries()) {
          rig.file(3 + i, `n${i}`, text, i % 2 === 0 ? 2 : rootId);
          content.set(3 + i, Buffer.from(text));
        }
        one!.begin();
      },
      check: (rig) => {
        one!.close();
        native().close(dirFd);
        const all = new Set([
          ...Object.values(filesBelow(rig.root)),
          ...Object.values(filesBelow(dir)),
        ]);
        for (const text of originals) assert.ok(all.has(text), `${text.slice(0, 20)} is lost`);
      },
    });
    refused += result.refused;
  }
  assert.ok(refused > 0);
  context.diagnostic(`${refused} refused`);
});
