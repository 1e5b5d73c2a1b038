import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { SyncError } from "../base/index.ts";
import { rootId } from "../tree/index.ts";
import type { OpWriter } from "../wire/index.ts";
import { Errno, type Files, Open, Rename, Stat, statSlots } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { bytesOf, fuzzApplier, noBytes, TargetRig, write } from "./applier.fuzz.ts";
import { parseAttributes } from "./apply-attributes.ts";

type Operation = (writer: OpWriter) => void;

const coded =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof SyncError && error.code === code;

function rigFor(context: TestContext, files?: Files, root?: string): TargetRig {
  const rig = new TargetRig(files, root);
  context.after(() => rig.end());
  return rig;
}

/** Attributes in the form of Files.getAttributes. */
function attributeList(list: Record<string, Uint8Array>): Uint8Array {
  const parts = Object.entries(list)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, value]) => {
      const head = Buffer.alloc(2);
      head.writeUInt16LE(Buffer.byteLength(name));
      const length = Buffer.alloc(4);
      length.writeUInt32LE(value.length);
      return [head, Buffer.from(name), length, value];
    });
  return new Uint8Array(Buffer.concat(parts));
}

function attributesAt(path: string): string {
  const fd = native().openPath(Buffer.from(path), Open.read);
  const bytes = new Uint8Array(65536);
  const used = native().getAttributes(fd, noBytes, bytes);
  native().close(fd);
  return Buffer.from(bytes.subarray(0, Math.max(used, 0))).toString("latin1");
}

function statOf(path: string): Float64Array {
  const fd = native().openPath(Buffer.from(path), Open.path | Open.noFollow);
  const stat = new Float64Array(statSlots);
  native().statAt(fd, noBytes, stat);
  native().close(fd);
  return stat;
}

test("a file gets its name only when it is whole", (context) => {
  const rig = rigFor(context);
  rig.send(
    (w) => w.create(2, 0o100644, 0, noBytes),
    (w) => write(w, 2, 0, bytesOf("hello")),
    (w) => w.meta(2, 0o4755, 0, 0),
    (w) => w.times(2, 1_700_000_000, 123_456_789),
  );
  assert.deepEqual(fs.readdirSync(rig.root), []);
  rig.send((w) => w.place(2, rootId, bytesOf("a")));
  assert.equal(fs.readFileSync(rig.path("a"), "utf8"), "hello");
  const stat = fs.statSync(rig.path("a"), { bigint: true });
  assert.equal(stat.mtimeNs, 1_700_000_000_123_456_789n);
  assert.equal(Number(stat.mode) & 0o7777, 0o4755);
  rig.checkDisk();
});

test("every kind of node is made, a name that is not UTF-8 included", (context) => {
  const rig = rigFor(context);
  const odd = Buffer.from([0xff, 0xfe, 0x0a, 0x41]);
  rig.send(
    (w) => w.create(2, 0o040755, 0, noBytes),
    (w) => w.place(2, rootId, bytesOf("d")),
    (w) => w.create(3, 0o120777, 0, bytesOf("../nowhere")),
    (w) => w.place(3, 2, bytesOf("s")),
    (w) => w.create(4, 0o010644, 0, noBytes),
    (w) => w.place(4, 2, bytesOf("p")),
    (w) => w.create(5, 0o140755, 0, noBytes),
    (w) => w.place(5, 2, odd),
    (w) => w.meta(4, 0o620, 0, 0),
    (w) => w.times(3, -5, 7),
  );
  rig.checkDisk();
  assert.equal(fs.readlinkSync(rig.path("d/s")), "../nowhere");
  assert.equal(fs.lstatSync(rig.path("d/s"), { bigint: true }).mtimeNs, -4_999_999_993n);
  assert.equal(fs.statSync(rig.path("d/p")).mode & 0o777, 0o620);
});

test("writes, cuts and holes land in place and keep the inode", (context) => {
  const rig = rigFor(context);
  rig.file(2, "a", "x".repeat(100));
  const before = fs.statSync(rig.path("a")).ino;
  const megabyte = new Uint8Array(131072).fill(7);
  rig.send(
    (w) => write(w, 2, 1_000_000, megabyte),
    (w) => w.zero(2, 1_003_520, 65_536),
    (w) => w.zero(2, 5_000_000, 10),
    (w) => w.truncate(2, 3_000_000),
  );
  assert.equal(fs.statSync(rig.path("a")).ino, before);
  const content = fs.readFileSync(rig.path("a"));
  const wanted = Buffer.alloc(3_000_000);
  wanted.fill("x", 0, 100);
  wanted.set(megabyte, 1_000_000);
  wanted.fill(0, 1_003_520, 1_069_056);
  assert.ok(content.equals(wanted));
  assert.ok(statOf(rig.path("a"))[12]! * 512 < 131_072, "holes take no room");
  rig.checkDisk();
});

test("a clone copies between files, new ones too, never into itself or beyond", (context) => {
  const rig = rigFor(context);
  rig.file(2, "a", "0123456789".repeat(1000));
  rig.send(
    (w) => w.create(3, 0o100644, 0, noBytes),
    (w) => w.clone(3, 5000, { node: 2, position: 3 }, 4000),
    (w) => write(w, 3, 0, bytesOf("head")),
    (w) => w.meta(3, 0o644, process.getuid!(), process.getgid!()),
    (w) => w.place(3, rootId, bytesOf("b")),
    (w) => w.clone(2, 10, { node: 3, position: 0 }, 4),
  );
  const wanted = Buffer.alloc(9000);
  wanted.write("head");
  wanted.write("0123456789".repeat(1000).slice(3, 4003), 5000);
  assert.ok(fs.readFileSync(rig.path("b")).equals(wanted));
  assert.equal(fs.readFileSync(rig.path("a"), "latin1").slice(8, 16), "89head45");
  rig.checkDisk();
  const bad: [string, Operation][] = [
    ["itself", (w) => w.clone(2, 0, { node: 2, position: 100 }, 10)],
    ["beyond the end", (w) => w.clone(2, 0, { node: 3, position: 8999 }, 2)],
    ["no such node", (w) => w.clone(2, 0, { node: 99, position: 0 }, 1)],
    ["a folder", (w) => w.clone(2, 0, { node: rootId, position: 0 }, 1)],
  ];
  for (const [name, operation] of bad) {
    assert.throws(() => rig.send(operation), coded("PEER_MALFORMED"), name);
  }
});

test("a clone of a file that someone made shorter is a divergence", (context) => {
  const rig = rigFor(context);
  rig.file(2, "a", "x".repeat(10_000));
  rig.file(3, "b", "y");
  fs.truncateSync(rig.path("a"), 10);
  const clone: Operation = (w) => w.clone(3, 0, { node: 2, position: 0 }, 10_000);
  assert.throws(() => rig.send(clone), coded("TARGET_DIVERGED"));
});

test("a reader never sees a replaced file missing or in part", async (context) => {
  const rig = rigFor(context);
  const size = 60_000;
  const shared = new Int32Array(new SharedArrayBuffer(12));
  const code = `
    const { workerData } = require("node:worker_threads");
    const fs = require("node:fs");
    const { path, shared, size } = workerData;
    while (Atomics.load(shared, 0) === 0) {
      try {
        const bytes = fs.readFileSync(path);
        const whole = bytes.length === size && bytes.every((byte) => byte === bytes[0]);
        if (!whole) Atomics.add(shared, 1, 1);
      } catch { Atomics.add(shared, 1, 1); }
      Atomics.add(shared, 2, 1);
    }`;
  const content = (value: number): string => String.fromCharCode(65 + (value % 26)).repeat(size);
  rig.file(2, "a", content(0));
  const worker = new Worker(code, {
    eval: true,
    workerData: { path: rig.path("a"), shared, size },
  });
  const over = new Promise((resolve) => worker.once("exit", resolve));
  worker.once("error", () => Atomics.store(shared, 1, 1));
  while (Atomics.load(shared, 2) === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  let node = 2;
  for (let round = 1; round < 2000 && Atomics.load(shared, 2) < 300; round++) {
    const next = node === 2 ? 3 : 2;
    rig.file(next, "a", content(round));
    // The former file is gone: its id is free, and links replace as well as places do.
    if (round % 3 === 0) {
      rig.file(4, "b", content(round));
      rig.send(
        (w) => w.link(4, rootId, bytesOf("a")),
        (w) => w.unlink(rootId, bytesOf("b")),
      );
      rig.file(next, "a", content(round));
    }
    node = next;
  }
  Atomics.store(shared, 0, 1);
  await over;
  assert.ok(Atomics.load(shared, 2) > 20, "the reader has read");
  assert.equal(Atomics.load(shared, 1), 0, "the reader saw a missing or torn file");
});

for (const [where, swaps] of [
  ["swaps names", true],
  ["only renames", false],
] as const) {
  test(`a file takes the place of another on a filesystem that ${where}`, (context) => {
    const system = native();
    const plain: string[] = [];
    const rename: Files["rename"] = (fromFd, fromName, toFd, toName, flags) => {
      if (flags === Rename.exchange && !swaps) return -Errno.EINVAL;
      if (flags === 0) plain.push(Buffer.from(toName).toString());
      return system.rename(fromFd, fromName, toFd, toName, flags);
    };
    const rig = rigFor(context, { ...system, rename });
    rig.file(2, "a", "old");
    rig.send((w) => w.link(2, rootId, bytesOf("other")));
    rig.file(3, "a", "new");
    assert.equal(fs.readFileSync(rig.path("a"), "utf8"), "new");
    assert.equal(fs.readFileSync(rig.path("other"), "utf8"), "old");
    rig.send((w) => w.link(3, rootId, bytesOf("other")));
    assert.equal(fs.readFileSync(rig.path("other"), "utf8"), "new");
    // Renamed over another it would be written out at once (ext4).
    assert.deepEqual(plain, swaps ? [] : ["a", "other"]);
    assert.deepEqual(fs.readdirSync(rig.root).sort(), ["a", "other"]);
    rig.checkDisk();
  });
}

test("hard links are one file, and a name that is taken is replaced", (context) => {
  const rig = rigFor(context);
  rig.file(2, "a", "one");
  rig.file(3, "b", "two");
  rig.send(
    (w) => w.link(2, rootId, bytesOf("c")),
    (w) => w.link(2, rootId, bytesOf("b")),
  );
  assert.equal(fs.statSync(rig.path("b")).nlink, 3);
  assert.ok(!rig.tree.isLive(3), "what lost its last name is gone");
  rig.send((w) => write(w, 2, 0, bytesOf("ONE")));
  assert.equal(fs.readFileSync(rig.path("b"), "utf8"), "ONE");
  // rename(2) does nothing where both names are one file; the old name must go all the same.
  rig.send((w) => w.rename(rootId, bytesOf("c"), rootId, bytesOf("b"), 0));
  rig.checkDisk();
  assert.deepEqual(fs.readdirSync(rig.root).sort(), ["a", "b"]);
  rig.send((w) => w.rename(rootId, bytesOf("a"), rootId, bytesOf("b"), 1));
  rig.checkDisk();
  rig.send((w) => w.remove(2));
  assert.deepEqual(fs.readdirSync(rig.root), []);
});

test("a link over a folder is refused and leaves nothing", (context) => {
  const rig = rigFor(context);
  rig.file(2, "a", "one");
  rig.folderNode(3, "d");
  assert.throws(() => rig.send((w) => w.link(2, rootId, bytesOf("d"))), coded("TARGET_DIVERGED"));
  assert.deepEqual(rig.holdNames(), []);
  rig.checkDisk();
});

test("an exchange swaps a file and a folder with all that is below it", (context) => {
  const rig = rigFor(context);
  rig.file(2, "a", "one");
  rig.folderNode(3, "d");
  rig.folderNode(4, "e", 3);
  rig.file(5, "f", "five", 4);
  rig.send((w) => w.rename(rootId, bytesOf("a"), rootId, bytesOf("d"), 1));
  rig.checkDisk();
  rig.send((w) => write(w, 5, 4, bytesOf("!")));
  assert.equal(fs.readFileSync(rig.path("a/e/f"), "utf8"), "five!");
  assert.equal(fs.readFileSync(rig.path("d"), "utf8"), "one");
});

test("a name is not moved to itself, and a folder not into itself", (context) => {
  const rig = rigFor(context);
  rig.folderNode(2, "d");
  rig.folderNode(3, "e", 2);
  const moves: Operation[] = [
    (w) => w.rename(rootId, bytesOf("d"), rootId, bytesOf("d"), 1),
    (w) => w.rename(rootId, bytesOf("d"), rootId, bytesOf("d"), 0),
    (w) => w.rename(rootId, bytesOf("d"), 2, bytesOf("x"), 0),
    (w) => w.rename(rootId, bytesOf("d"), 3, bytesOf("x"), 0),
    (w) => w.rename(rootId, bytesOf("d"), 2, bytesOf("e"), 1),
  ];
  for (const move of moves) assert.throws(() => rig.send(move), coded("PEER_MALFORMED"));
  rig.checkDisk();
  // The same from below: only the kernel knows, and refuses.
  assert.throws(
    () => rig.send((w) => w.rename(2, bytesOf("e"), rootId, bytesOf("d"), 1)),
    SyncError,
  );
  rig.checkDisk();
});

test("a folder steps aside with its children, which can be worked on meanwhile", (context) => {
  const rig = rigFor(context);
  rig.folderNode(2, "d");
  rig.folderNode(3, "e", 2);
  rig.file(4, "f", "four", 3);
  rig.send(
    (w) => w.detach(2),
    (w) => write(w, 4, 4, bytesOf("!")),
    (w) => w.times(2, 5, 6),
    (w) => w.meta(2, 0o700, 0, 0),
  );
  assert.equal(rig.holdNames().length, 1);
  rig.file(5, "d", "a file now");
  rig.send(
    (w) => w.detach(3),
    (w) => w.place(3, rootId, bytesOf("e")),
    (w) => w.place(2, 3, bytesOf("d")),
  );
  rig.checkDisk();
  assert.equal(fs.readFileSync(rig.path("e/f"), "utf8"), "four!");
  assert.deepEqual(rig.holdNames(), []);
  rig.send(
    (w) => w.detach(3),
    (w) => w.remove(3),
  );
  assert.deepEqual(fs.readdirSync(rig.root), ["d"]);
});

test("names of our own come and go in the root without a trace in its time", (context) => {
  const rig = rigFor(context);
  rig.folderNode(2, "d");
  rig.folderNode(3, "going", 2);
  rig.file(4, "f", "four", 2);
  rig.file(5, "g", "five", 2);
  rig.file(6, "h", "six", 2);
  const steps: ((w: OpWriter) => void)[][] = [
    [(w) => w.times(rootId, 1234, 0)],
    [(w) => w.detach(4), (w) => w.place(4, 2, bytesOf("moved"))],
    [(w) => w.detach(3), (w) => w.remove(3)],
    [(w) => w.link(5, 2, bytesOf("h"))],
    [(w) => w.create(7, 0o120777, 0, bytesOf("target")), (w) => w.place(7, 2, bytesOf("moved"))],
  ];
  for (const [index, step] of steps.entries()) {
    rig.send(...step);
    assert.equal(fs.statSync(rig.root).mtimeMs, 1_234_000, `after step ${index}`);
  }
  rig.send(
    (w) => w.create(8, 0o100644, 0, noBytes),
    (w) => write(w, 8, 0, bytesOf("eight")),
  );
  rig.applier.hold(8);
  assert.equal(rig.holdNames().length, 1);
  rig.send((w) => w.place(8, 2, bytesOf("new")));
  assert.equal(fs.statSync(rig.root).mtimeMs, 1_234_000);
});

test("what still waits when the session ends is removed, with all below it", () => {
  const rig = new TargetRig();
  rig.folderNode(2, "d");
  rig.file(3, "f", "three", 2);
  rig.send(
    (w) => w.create(4, 0o100644, 0, noBytes),
    (w) => write(w, 4, 0, bytesOf("x")),
    (w) => w.detach(2),
  );
  rig.end();
});

test("deep and wide trees are removed without recursion", (context) => {
  const rig = rigFor(context);
  let parent = rootId;
  for (let depth = 0; depth < 300; depth++) {
    rig.folderNode(2 + depth, "deep", parent);
    parent = 2 + depth;
    if (depth % 60 === 0) fs.writeFileSync(rig.path(`${"deep/".repeat(depth + 1)}f`), "x");
  }
  const wide = rig.tree.endId;
  rig.folderNode(wide, "wide");
  for (let i = 0; i < 900; i++) fs.writeFileSync(rig.path(`wide/${"n".repeat(200)}${i}`), "");
  // Folders that the tree does not know are removed as well: the disk is what counts.
  for (let i = 0; i < 70; i++) fs.mkdirSync(rig.path(`wide/d${i}/e`), { recursive: true });
  rig.send(
    (w) => w.remove(2),
    (w) => w.unlink(rootId, bytesOf("wide")),
  );
  assert.deepEqual(fs.readdirSync(rig.root), []);
  assert.equal(rig.tree.nodeCount, 1);
});

test("attributes become those that are told, access lists included", (context) => {
  const rig = rigFor(context);
  rig.file(2, "a", "one");
  // Version 2; user::rw-, user:1:r--, group::r--, mask::rw-, other::r--.
  const acl = Buffer.from(
    "0200000001000600ffffffff020004000100000004000400ffffffff10000600ffffffff20000400ffffffff",
    "hex",
  );
  const wanted = attributeList({
    "system.posix_acl_access": acl,
    "user.a": bytesOf("1"),
    "user.b": new Uint8Array(300).fill(9),
  });
  rig.send((w) => w.attributes(2, wanted));
  assert.deepEqual(rig.problems, []);
  assert.equal(attributesAt(rig.path("a")), Buffer.from(wanted).toString("latin1"));
  const fewer = attributeList({ "user.b": bytesOf("2") });
  rig.send((w) => w.attributes(2, fewer));
  assert.equal(attributesAt(rig.path("a")), Buffer.from(fewer).toString("latin1"));
  rig.send((w) => w.attributes(2, noBytes));
  assert.equal(attributesAt(rig.path("a")), "");
  assert.equal(rig.tree.attributes.has(2), false);
});

test("what is new inherits no ACL, whatever its folder and the root pass on", (context) => {
  const rig = rigFor(context);
  rig.send(
    (w) => w.create(2, 0o040755, 0, noBytes),
    (w) => w.place(2, rootId, bytesOf("folder")),
  );
  // Version 2, then user::rwx, group::r-x, mask::r-x, other::--- and user 7 with rwx.
  const acl = Buffer.from(
    "02000000" +
      "01000700ffffffff" +
      "0200070007000000" +
      "04000500ffffffff" +
      "10000500ffffffff" +
      "20000000ffffffff",
    "hex",
  );
  const list = attributeList({ "system.posix_acl_default": acl });
  rig.send((w) => w.attributes(rootId, list));
  if (rig.problems.length > 0) return context.skip("no ACLs on this filesystem");
  rig.send((w) => w.attributes(2, list));
  const made = (node: number, mode: number, name: string): Operation[] => [
    (w) => w.create(node, mode, 0, noBytes),
    (w) => w.meta(node, mode, process.getuid?.() ?? 0, process.getgid?.() ?? 0),
    (w) => w.place(node, 2, bytesOf(name)),
  ];
  rig.send(...made(3, 0o100664, "file"));
  for (const [node, mode, name] of [
    [4, 0o040775, "directory"],
    [5, 0o010664, "pipe"],
  ] as const) {
    const [create, meta, place] = made(node, mode, name);
    rig.send(create!, place!, meta!);
  }
  rig.send(
    (w) => w.create(6, 0o120777, 0, bytesOf("to")),
    (w) => w.place(6, 2, bytesOf("link")),
  );
  for (const [name, mode] of [
    ["file", 0o664],
    ["directory", 0o775],
    ["pipe", 0o664],
  ] as const) {
    const path = rig.path(`folder/${name}`);
    if (name !== "pipe") assert.equal(attributesAt(path), "", name);
    assert.equal(statOf(path)[Stat.attributeBytes], 0, name);
    assert.equal(fs.lstatSync(path).mode & 0o7777, mode, name);
  }
  assert.deepEqual(rig.problems, []);
});

test("what a file without a name is refused is told with its path, when it has one", (context) => {
  const rig = rigFor(context);
  const refused = attributeList({ "nonsense.a": bytesOf("1"), "nonsense.b": bytesOf("2") });
  rig.send(
    (w) => w.create(2, 0o100644, 0, noBytes),
    (w) => w.attributes(2, refused),
  );
  assert.deepEqual(rig.problems, []);
  rig.send((w) => w.place(2, rootId, bytesOf("a")));
  assert.equal(rig.problems.length, 1);
  assert.match(JSON.stringify(rig.problems), /setxattr/);
  assert.match(JSON.stringify(rig.problems), /a/);
});

test("attributes that the filesystem refuses are a problem of one path", (context) => {
  const rig = rigFor(context);
  rig.file(2, "a", "one");
  const refused = [
    { "user.large": new Uint8Array(65_000).fill(1), "user.more": new Uint8Array(60_000).fill(1) },
    { "user.beyond": new Uint8Array(70_000).fill(1) },
    { "nonsense.name": bytesOf("1") },
    { [`user.${"n".repeat(300)}`]: bytesOf("1") },
    { "system.posix_acl_access": bytesOf("no list") },
  ];
  for (const [index, list] of refused.entries()) {
    rig.send((w) => w.attributes(2, attributeList(list)));
    assert.ok(index === 0 || rig.problems.length > 0, JSON.stringify(Object.keys(list)));
  }
  rig.send((w) => write(w, 2, 0, bytesOf("ONE")));
  assert.equal(fs.readFileSync(rig.path("a"), "utf8"), "ONE");
});

test("a list of attributes is parsed or refused, whatever its bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60, max: 40 }), (bytes) => {
      try {
        for (const { attribute } of parseAttributes(bytes).values()) {
          assert.ok(attribute.length > 0 && !attribute.includes(0));
        }
      } catch (error) {
        assert.ok(coded("PEER_MALFORMED")(error), String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

/** Operations on a folder 2 with a file 3 in it; each may be refused, none may follow a link. */
const onFolder: [string, Operation][] = [
  ["write", (w) => write(w, 3, 0, bytesOf("evil"))],
  ["truncate", (w) => w.truncate(3, 1)],
  ["clone", (w) => (w.create(4, 0o100644, 0, noBytes), w.clone(3, 0, { node: 4, position: 0 }, 1))],
  ["zero", (w) => w.zero(3, 0, 3)],
  ["meta of the file", (w) => w.meta(3, 0o777, 12345, 12345)],
  ["times of the file", (w) => w.times(3, 1, 1)],
  ["attributes of the file", (w) => w.attributes(3, attributeList({ "user.evil": bytesOf("1") }))],
  ["meta of the folder", (w) => w.meta(2, 0o777, 12345, 12345)],
  ["times of the folder", (w) => w.times(2, 1, 1)],
  [
    "attributes of the folder",
    (w) => w.attributes(2, attributeList({ "user.evil": bytesOf("1") })),
  ],
  ["place", (w) => (w.create(4, 0o100644, 0, noBytes), w.place(4, 2, bytesOf("canary")))],
  ["symlink", (w) => (w.create(4, 0o120777, 0, bytesOf("x")), w.place(4, 2, bytesOf("new")))],
  ["mkdir", (w) => (w.create(4, 0o040755, 0, noBytes), w.place(4, 2, bytesOf("new")))],
  ["link into", (w) => w.link(3, 2, bytesOf("new"))],
  ["link out", (w) => w.link(3, rootId, bytesOf("new"))],
  ["rename within", (w) => w.rename(2, bytesOf("canary"), 2, bytesOf("new"), 0)],
  ["rename out", (w) => w.rename(2, bytesOf("canary"), rootId, bytesOf("new"), 0)],
  ["unlink", (w) => w.unlink(2, bytesOf("canary"))],
  ["remove the file", (w) => w.remove(3)],
  ["detach the file", (w) => w.detach(3)],
  ["detach the folder", (w) => w.detach(2)],
  ["remove the folder", (w) => w.remove(2)],
  ["unlink the folder", (w) => w.unlink(rootId, bytesOf("d"))],
];

/** What somebody at the target does between two operations. */
const plants: [string, (rig: TargetRig) => void][] = [
  [
    "a symbolic link in place of the folder",
    (rig) => {
      fs.renameSync(rig.path("d"), join(rig.folder, "moved"));
      fs.symlinkSync(rig.outside, rig.path("d"));
    },
  ],
  [
    "a symbolic link in place of the file",
    (rig) => {
      fs.unlinkSync(rig.path("d/canary"));
      fs.symlinkSync(join(rig.outside, "canary"), rig.path("d/canary"));
    },
  ],
  [
    "a pipe in place of the file",
    (rig) => {
      fs.unlinkSync(rig.path("d/canary"));
      execFileSync("mkfifo", [rig.path("d/canary")]);
    },
  ],
  [
    "a folder with a link to the outside in place of the file",
    (rig) => {
      fs.unlinkSync(rig.path("d/canary"));
      fs.mkdirSync(rig.path("d/canary"));
      fs.symlinkSync(rig.outside, rig.path("d/canary/link"));
    },
  ],
];

for (const [planted, plant] of plants) {
  test(`nothing outside of the root changes: ${planted}`, () => {
    for (const [index, [name, operation]] of onFolder.entries()) {
      // With and without descriptors still open, in turns from one plant to the next.
      const idle = (index + planted.length) % 2 === 0;
      const rig = new TargetRig();
      rig.folderNode(2, "d");
      rig.file(3, "canary", "inside", 2);
      if (idle) rig.applier.closeIdle();
      plant(rig);
      try {
        rig.send(operation);
      } catch (error) {
        assert.ok(error instanceof SyncError, `${name}: ${String(error)}`);
      }
      rig.checkOutside();
      rig.end();
    }
  });
}

test("nodes that do not exist, exist already or are beyond the end are refused", (context) => {
  const rig = rigFor(context);
  rig.file(2, "a", "one");
  const refused: Operation[] = [
    (w) => w.create(0, 0o100644, 0, noBytes),
    (w) => w.create(rootId, 0o100644, 0, noBytes),
    (w) => w.create(2, 0o100644, 0, noBytes),
    (w) => w.create(4, 0o100644, 0, noBytes),
    (w) => w.create(0xffffffff, 0o100644, 0, noBytes),
    (w) => write(w, 9, 0, bytesOf("x")),
    (w) => write(w, 0, 0, bytesOf("x")),
    (w) => write(w, rootId, 0, bytesOf("x")),
    (w) => w.truncate(0xffffffff, 0),
    (w) => w.zero(1e9, 0, 1),
    (w) => w.place(2, rootId, bytesOf("b")),
    (w) => w.place(9, rootId, bytesOf("b")),
    (w) => w.place(rootId, rootId, bytesOf("b")),
    (w) => w.link(rootId, rootId, bytesOf("b")),
    (w) => w.link(2, 2, bytesOf("b")),
    (w) => w.link(2, 9, bytesOf("b")),
    (w) => w.unlink(rootId, bytesOf("b")),
    (w) => w.unlink(2, bytesOf("b")),
    (w) => w.unlink(9, bytesOf("b")),
    (w) => w.rename(rootId, bytesOf("b"), rootId, bytesOf("c"), 0),
    (w) => w.rename(rootId, bytesOf("a"), 9, bytesOf("c"), 0),
    (w) => w.rename(rootId, bytesOf("a"), rootId, bytesOf("c"), 1),
    (w) => w.remove(rootId),
    (w) => w.remove(0),
    (w) => w.remove(9),
    (w) => w.detach(rootId),
    (w) => w.detach(9),
    (w) => w.meta(9, 0o644, 0, 0),
    (w) => w.times(0xffffffff, 0, 0),
    (w) => w.attributes(9, noBytes),
    (w) => w.attributes(2, bytesOf("no list")),
  ];
  for (const [index, operation] of refused.entries()) {
    assert.throws(() => rig.send(operation), coded("PEER_MALFORMED"), `operation ${index}`);
    rig.checkDisk();
  }
  assert.equal(fs.readFileSync(rig.path("a"), "utf8"), "one");
});

test("any number of files may be announced, and few be open without a name", (context) => {
  const rig = rigFor(context);
  const last = 2 + rig.applier.stagedCountMax;
  for (let node = 2; node <= last + 100; node++) {
    rig.send((w) => w.create(node, 0o100644, 0, noBytes));
  }
  for (let node = 2; node < last; node++) rig.send((w) => write(w, node, 0, bytesOf("x")));
  const more: Operation = (w) => write(w, last, 0, bytesOf("y"));
  assert.throws(() => rig.send(more), coded("PEER_MALFORMED"));
  rig.send(
    (w) => w.remove(2),
    more,
    (w) => w.place(last, rootId, bytesOf("a")),
  );
  rig.send((w) => write(w, last + 1, 0, bytesOf("z")));
  assert.equal(fs.readFileSync(rig.path("a"), "utf8"), "y");
});

test("what the disk has and the tree does not is found out, not overwritten", (context) => {
  const rig = rigFor(context);
  rig.folderNode(2, "d");
  fs.writeFileSync(rig.path("taken"), "theirs");
  fs.mkdirSync(rig.path("full/below"), { recursive: true });
  const diverged: Operation[] = [
    (w) => (w.create(3, 0o040755, 0, noBytes), w.place(3, rootId, bytesOf("taken"))),
    (w) => w.rename(rootId, bytesOf("d"), rootId, bytesOf("full"), 0),
  ];
  for (const operation of diverged) {
    assert.throws(() => rig.send(operation), coded("TARGET_DIVERGED"));
  }
  assert.equal(fs.readFileSync(rig.path("taken"), "utf8"), "theirs");
  assert.ok(fs.existsSync(rig.path("full/below")));
  fs.rmdirSync(rig.path("d"));
  assert.throws(() => rig.send((w) => w.unlink(rootId, bytesOf("d"))), coded("TARGET_DIVERGED"));
});

/** A small filesystem of its own, taken away with the test. */
function smallMount(context: TestContext): string | undefined {
  if (process.getuid?.() !== 0) {
    context.skip("needs root to mount a small filesystem");
    return undefined;
  }
  const path = fs.mkdtempSync(join(tmpdir(), "lockstep-mount-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=262144", "tmpfs", path], { stdio: "ignore" });
  } catch {
    fs.rmdirSync(path);
    context.skip("mount is refused here");
    return undefined;
  }
  context.after(() => {
    execFileSync("umount", [path]);
    fs.rmdirSync(path);
  });
  return path;
}

test("a full target says so, keeps what it has, and goes on when there is room", (context) => {
  const mount = smallMount(context);
  if (mount === undefined) return;
  const rig = new TargetRig(native(), mount);
  try {
    rig.file(2, "a", "old");
    rig.send((w) => w.create(3, 0o100644, 0, noBytes));
    assert.throws(() => {
      for (let i = 0; i < 9; i++) rig.send((w) => write(w, 3, i * 65536, new Uint8Array(65536)));
    }, coded("TARGET_FULL"));
    assert.equal(fs.readFileSync(rig.path("a"), "utf8"), "old");
    rig.send((w) => w.remove(3));
    rig.send((w) => write(w, 2, 0, new Uint8Array(65536).fill(1)));
    rig.checkDisk();
  } finally {
    rig.end();
  }
});

test("a target that was made read-only says so", (context) => {
  const mount = smallMount(context);
  if (mount === undefined) return;
  const rig = new TargetRig(native(), mount);
  rig.file(2, "a", "old");
  rig.applier.closeIdle();
  execFileSync("mount", ["-o", "remount,ro", mount]);
  const operations: Operation[] = [
    (w) => write(w, 2, 0, bytesOf("x")),
    (w) => (w.create(3, 0o100644, 0, noBytes), write(w, 3, 0, bytesOf("x"))),
    (w) => w.unlink(rootId, bytesOf("a")),
    (w) => w.meta(2, 0o600, 0, 0),
  ];
  for (const one of operations) assert.throws(() => rig.send(one), coded("ROOT_UNWRITABLE"));
  rig.checkDisk();
  rig.end();
});

test("without unnamed files a hold name serves, and is gone in the end", () => {
  const files: Files = {
    ...native(),
    openBeneath: (dirFd, path, flags, mode) =>
      (flags & 0o20000000) !== 0
        ? -Errno.EOPNOTSUPP
        : native().openBeneath(dirFd, path, flags, mode),
  };
  const rig = new TargetRig(files);
  rig.send(
    (w) => w.create(2, 0o100644, 0, noBytes),
    (w) => write(w, 2, 0, bytesOf("hello")),
  );
  assert.equal(rig.holdNames().length, 1);
  rig.send((w) => w.place(2, rootId, bytesOf("a")));
  assert.deepEqual(rig.holdNames(), []);
  rig.file(3, "a", "replaced");
  rig.checkDisk();
  assert.equal(fs.readFileSync(rig.path("a"), "utf8"), "replaced");
  rig.send(
    (w) => w.create(4, 0o100644, 0, noBytes),
    (w) => write(w, 4, 0, bytesOf("hello")),
    (w) => w.remove(4),
  );
  assert.deepEqual(rig.holdNames(), []);
  rig.send(
    (w) => w.create(4, 0o100644, 0, noBytes),
    (w) => write(w, 4, 0, bytesOf("hello")),
  );
  // end() looks for hold names after close().
  rig.end();
});

test("owner and mode of a running file are set through what is open", (context) => {
  const rig = rigFor(context);
  rig.file(2, "a", "#!/bin/sh\n");
  rig.send((w) => w.meta(2, 0o755, 0, 0));
  assert.equal(statOf(rig.path("a"))[Stat.mode]! & 0o7777, 0o755);
  rig.applier.closeIdle();
  execFileSync(rig.path("a"));
});

test("any sequence of operations leaves the disk as the tree says, or is refused", () => {
  let done = 0;
  let refused = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const counts = fuzzApplier(seed, 150);
    done += counts.done;
    refused += counts.refused;
  }
  assert.ok(done > 700 && refused > 200, `${done} done, ${refused} refused`);
});
