/** As root nothing is refused: the tests become another user for the calls that are tried. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Errno, type Files, Open, statSlots } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { ownerFiles } from "./owner-files.ts";
import { removeTree } from "./remove-tree.ts";

const nobody = 65_534;
const noName = new Uint8Array(0);
const isRoot = process.geteuid?.() === 0;
const bytesOf = (text: string): Uint8Array => Buffer.from(text);

interface Rig {
  readonly root: string;
  readonly fd: number;
  /** Runs as nobody, with the plain files and with those of an owner. */
  readonly as: (call: (files: Files) => number) => { plain: number; owner: number };
}

function rigFor(t: TestContext): Rig {
  const root = fs.mkdtempSync(join(tmpdir(), "lockstep-owner-"));
  fs.chownSync(root, nobody, nobody);
  const fd = native().openPath(bytesOf(root), Open.read | Open.directory);
  t.after(() => {
    native().close(fd);
    fs.rmSync(root, { recursive: true, force: true });
  });
  const as: Rig["as"] = (call) => {
    if (isRoot) process.setegid?.(nobody);
    if (isRoot) process.seteuid?.(nobody);
    try {
      return { plain: call(native()), owner: call(ownerFiles(native())) };
    } finally {
      if (isRoot) process.seteuid?.(0);
      if (isRoot) process.setegid?.(0);
    }
  };
  return { root, fd, as };
}

/** A directory of nobody, with a file and a directory in it. */
function makeFolder(root: string, name: string, mode: number): string {
  const path = join(root, name);
  fs.mkdirSync(join(path, "below"), { recursive: true });
  fs.writeFileSync(join(path, "file"), "content");
  for (const entry of [path, join(path, "below"), join(path, "file")]) {
    fs.chownSync(entry, nobody, nobody);
  }
  fs.chmodSync(path, mode);
  return path;
}

function modeOf(path: string): number {
  return fs.lstatSync(path).mode & 0o7777;
}

function open(path: string): number {
  return native().openPath(bytesOf(path), Open.read | Open.directory);
}

const refused = -Errno.EACCES;
const skip = isRoot ? false : "needs root, to become another user";

test("names change in a directory that forbids it, and it keeps its mode", { skip }, (t) => {
  const { root, as } = rigFor(t);
  const folder = makeFolder(root, "folder", 0o2555);
  const [from, to] = [open(folder), open(makeFolder(root, "other", 0o555))];
  const calls: readonly ((files: Files) => number)[] = [
    (files) => files.mkdir(from, bytesOf("made"), 0o700),
    (files) => files.mknod(from, bytesOf("pipe"), 0o010600, 0),
    (files) => files.symlink(from, bytesOf("link"), bytesOf("to")),
    (files) => files.link(from, bytesOf("file"), to, bytesOf("linked")),
    (files) => files.rename(from, bytesOf("file"), to, bytesOf("moved"), 0),
    (files) => files.unlink(to, bytesOf("moved"), 0),
    (files) =>
      Math.min(0, files.openBeneath(from, bytesOf("new"), Open.create | Open.write, 0o600)),
  ];
  for (const [index, call] of calls.entries()) {
    assert.deepEqual(as(call), { plain: refused, owner: 0 }, `call ${index}`);
    assert.deepEqual([modeOf(folder), modeOf(join(root, "other"))], [0o2555, 0o555]);
  }
  for (const fd of [from, to]) native().close(fd);
});

test("a directory that forbids writing moves, and keeps its mode", { skip }, (t) => {
  const { root, fd, as } = rigFor(t);
  const folder = makeFolder(root, "folder", 0o755);
  fs.chmodSync(join(folder, "below"), 0o500);
  fs.chmodSync(join(folder, "file"), 0o444);
  const from = open(folder);
  const move = (files: Files): number =>
    files.rename(from, bytesOf("below"), fd, bytesOf("moved"), 0);
  assert.deepEqual(as(move), { plain: refused, owner: 0 });
  assert.equal(modeOf(join(root, "moved")), 0o500);
  native().close(from);
});

test("what cannot be reached or read is opened, scanned and removed", { skip }, (t) => {
  const { root, fd, as } = rigFor(t);
  const folder = makeFolder(root, "folder", 0o000);
  const path = bytesOf("folder/below");
  const opened = as((files) =>
    Math.sign(files.openBeneath(fd, path, Open.read | Open.directory, 0)),
  );
  assert.deepEqual(opened, { plain: -1, owner: 1 });
  assert.equal(modeOf(folder), 0);
  fs.chmodSync(folder, 0o600);
  const at = open(folder);
  const scan = (files: Files): number => {
    const again = files.openBeneath(at, noName, Open.read | Open.directory, 0);
    return Math.sign(files.scanDirectory(again < 0 ? at : again, new Uint8Array(65_536), 0));
  };
  assert.deepEqual(as(scan), { plain: -1, owner: 1 });
  const stat = (files: Files): number =>
    files.statAt(at, bytesOf("file"), new Float64Array(statSlots));
  assert.deepEqual(as(stat), { plain: refused, owner: 0 });
  fs.chmodSync(folder, 0o400);
  const remove = (files: Files): number => removeTree(files, fd, fd, bytesOf("folder"));
  assert.deepEqual(as(remove), { plain: refused, owner: 0 });
  assert.deepEqual(fs.readdirSync(root), []);
  native().close(at);
});

test("a file that forbids writing gets its attributes", { skip }, (t) => {
  const { root, fd, as } = rigFor(t);
  const path = join(root, "file");
  fs.writeFileSync(path, "");
  fs.chownSync(path, nobody, nobody);
  fs.chmodSync(path, 0o4444);
  const [name, attribute] = [bytesOf("file"), bytesOf("user.a")];
  const set = (files: Files): number => files.setAttribute(fd, name, attribute, bytesOf("1"));
  const { plain, owner } = as(set);
  if (plain === -Errno.EOPNOTSUPP) return t.skip("no user attributes on this filesystem");
  assert.deepEqual([plain, owner], [refused, 0]);
  assert.equal(modeOf(path), 0o4444);
});

test("what belongs to somebody else stays refused and as it is", { skip }, (t) => {
  const { root, fd, as } = rigFor(t);
  const folder = join(root, "folder");
  fs.mkdirSync(folder, { mode: 0o700 });
  const at = open(folder);
  assert.deepEqual(
    as((files) => files.mkdir(at, bytesOf("made"), 0o700)),
    { plain: refused, owner: refused },
  );
  assert.deepEqual(
    as((files) => files.openBeneath(fd, bytesOf("folder/x"), Open.read, 0)),
    { plain: refused, owner: refused },
  );
  assert.equal(modeOf(folder), 0o700);
  native().close(at);
});
