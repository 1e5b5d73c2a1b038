/**
 * The manifest by digests, told and taken: what is equal costs one digest, what differs is told,
 * and no target can make the source's tree anything else than a tree.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { SyncError } from "../base/index.ts";
import { KeptFiles, ManifestTaker, SourceSurvey } from "../cut/index.ts";
import { Origins, rootId, Tree } from "../tree/index.ts";
import {
  decodeExpand,
  encodeExpand,
  encodeExpanded,
  encodeManifestEntry,
  encodeSubtree,
  FrameReader,
  FrameType,
  noOrigin,
  OpWriter,
} from "../wire/index.ts";
import { Mode, Open } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { ManifestTeller } from "./manifest-teller.ts";

const files = native();
const sha256 = (bytes: Uint8Array): Uint8Array => createHash("sha256").update(bytes).digest();
const always = { treeMin: 0, directoryMin: 0 };
const none = new Uint8Array(0);

function folder(test: TestContext): string {
  const at = fs.mkdtempSync(join(tmpdir(), "manifest-"));
  test.after(() => fs.rmSync(at, { recursive: true, force: true }));
  return at;
}

function open(test: TestContext, path: string): number {
  const fd = files.openPath(Buffer.from(path), Open.read | Open.directory);
  test.after(() => files.close(fd));
  return fd;
}

/** What is written with it arrives at once. */
function writerTo(take: ConstructorParameters<typeof FrameReader>[0]): OpWriter {
  const reader = new FrameReader(take);
  const writer = new OpWriter((piece) => {
    reader.push(piece.slice());
    writer.release(piece);
  });
  return writer;
}

interface Told {
  tree: Tree;
  taker: ManifestTaker;
  /** Frames that went each way. */
  entries: number;
  expands: number;
}

/** What the source takes of the target, a step of it at a time, or as much as there is. */
function tell(
  test: TestContext,
  source: string,
  target: string,
  use = always,
  stepsPerTurn = 1,
): Told {
  const tree = new Tree();
  const survey = new SourceSurvey({
    files,
    rootFd: open(test, source),
    sha256,
    hasOrigins: false,
    watchDirectory: () => 0,
  });
  const told = { tree, entries: 0, expands: 0 };
  const taker = new ManifestTaker({
    tree,
    kept: new KeptFiles(tree, new OpWriter(() => {})),
    origins: new Origins(),
    survey,
    use,
    ask: (expand) => {
      told.expands++;
      const bytes = encodeExpand(expand);
      teller.expand(decodeExpand(bytes, 0, bytes.length));
    },
  });
  const writer = writerTo((type, bytes, start, end) => {
    if (type === FrameType.manifestEntry) told.entries++;
    assert.ok(taker.take(type, bytes, start, end));
  });
  const teller: ManifestTeller = new ManifestTeller({
    files,
    rootFd: open(test, target),
    tree: new Tree(),
    sha256,
    scanned: () => {},
    writer,
  });
  for (let turns = 0; !taker.isDone; turns++) {
    assert.ok(turns < 10_000, "the manifest ends");
    for (let i = 0; i < stepsPerTurn && teller.step(); i++);
    writer.flush();
    taker.step();
  }
  return { ...told, taker };
}

/** Lines of what a tree has, ids included. */
function linesOf(tree: Tree): string[] {
  const lines: string[] = [];
  for (let node = rootId; node < tree.endId; node++) {
    if (!tree.isLive(node)) continue;
    const { mode, size, mtimeSec, mtimeNsec } = tree;
    const link = Buffer.from(tree.symlinkTarget.get(node) ?? none).toString();
    const about = [mode[node], size[node], mtimeSec[node], mtimeNsec[node], link].join(" ");
    const paths: string[] = [];
    for (let id = tree.firstName[node]!; id !== 0; id = tree.names.nextOfNode[id]!) {
      paths.push(tree.childPath(tree.names.parent[id]!, tree.names.bytes(id)));
    }
    lines.push(`${node} ${paths.sort().join(" = ")} ${about}`);
  }
  return lines;
}

/** What the target has, without digests. */
function plain(test: TestContext, target: string): string[] {
  const tree = new Tree();
  const taker = new ManifestTaker({
    tree,
    kept: new KeptFiles(tree, new OpWriter(() => {})),
    origins: new Origins(),
    survey: undefined,
    ask: () => assert.fail("nothing is asked for"),
  });
  const writer = writerTo((...frame) => assert.ok(taker.take(...frame)));
  const teller = new ManifestTeller({
    files,
    rootFd: open(test, target),
    tree: new Tree(),
    sha256: undefined,
    scanned: () => {},
    writer,
  });
  while (teller.step());
  writer.flush();
  assert.ok(taker.isDone);
  return linesOf(tree);
}

function makeTree(root: string): void {
  for (const at of ["a/b/c", "a/d", "e", "f/g"]) {
    fs.mkdirSync(join(root, at), { recursive: true });
    for (let i = 0; i < 40; i++) fs.writeFileSync(join(root, at, `file-${i}`), `${at} ${i}`);
  }
  fs.symlinkSync("a/d", join(root, "e/link"));
}

function pair(test: TestContext): [source: string, target: string] {
  const at = folder(test);
  const [source, target] = [join(at, "source"), join(at, "target")];
  makeTree(source);
  fs.cpSync(source, target, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  // A copy has its times in milliseconds.
  const even = (path: string): void => {
    for (const name of fs.readdirSync(path)) {
      const one = join(path, name);
      if (fs.lstatSync(one).isDirectory()) even(one);
      fs.lutimesSync(one, 1, 1);
    }
    fs.utimesSync(path, 1, 1);
  };
  for (const root of [source, target]) even(root);
  return [source, target];
}

test("equal trees cost the root and one digest", (t) => {
  const [source, target] = pair(t);
  const { tree, taker, entries, expands } = tell(t, source, target);
  assert.deepEqual([entries, expands, taker.rest, taker.equalFiles], [1, 0, "root", 160]);
  assert.deepEqual(linesOf(tree), plain(t, target));
  // Bound to what the source has there.
  const file = tree.child(tree.child(rootId, Buffer.from("e")), Buffer.from("file-7"));
  assert.equal(tree.ino[file], fs.statSync(join(source, "e/file-7")).ino);
});

test("of what differs only the directories on the way are told", (t) => {
  const [source, target] = pair(t);
  fs.chmodSync(join(target, "a/d/file-3"), 0o600);
  const { tree, taker, entries } = tell(t, source, target);
  assert.deepEqual([taker.rest, taker.equalFiles], ["different", 120]);
  // The root and its three, two in `a`, 40 in `a/d`.
  assert.equal(entries, 1 + 3 + 2 + 40);
  assert.deepEqual(linesOf(tree), plain(t, target));
});

for (const [what, change] of Object.entries<(target: string) => void>({
  content: (at) => {
    fs.writeFileSync(join(at, "f/g/file-1"), "longer than before");
    fs.utimesSync(join(at, "f/g/file-1"), 1, 1);
  },
  time: (at) => fs.utimesSync(join(at, "f/g/file-1"), 1, 1.001),
  link: (at) => {
    fs.rmSync(join(at, "e/link"));
    fs.symlinkSync("a/e", join(at, "e/link"));
    fs.lutimesSync(join(at, "e/link"), 1, 1);
    fs.utimesSync(join(at, "e"), 1, 1);
  },
  name: (at) => {
    fs.renameSync(join(at, "a/b/c/file-1"), join(at, "a/b/c/file-x"));
    fs.utimesSync(join(at, "a/b/c"), 1, 1);
  },
})) {
  test(`a different ${what} is found, and the tree is the target's`, (t) => {
    const [source, target] = pair(t);
    change(target);
    const { tree, taker } = tell(t, source, target);
    assert.equal(taker.rest, "different");
    assert.deepEqual(linesOf(tree), plain(t, target));
  });
}

test("a second name is told with the directories above it, and keeps its node", (t) => {
  const [source, target] = pair(t);
  for (const root of [source, target]) {
    fs.linkSync(join(root, "a/b/c/file-1"), join(root, "f/g/other"));
    for (const at of ["a/b/c/file-1", "f/g"]) fs.utimesSync(join(root, at), 1, 1);
  }
  const { tree, taker } = tell(t, source, target);
  assert.deepEqual([taker.rest, taker.equalFiles], ["different", 120]);
  assert.deepEqual(linesOf(tree), plain(t, target));
  const node = tree.child(tree.child(rootId, Buffer.from("f")), Buffer.from("g"));
  assert.notEqual(tree.child(node, Buffer.from("other")), 0);
});

test("a second name may come in one piece with what its file is part of", (t) => {
  const [source, target] = pair(t);
  // `a` is told entry by entry, `a/b` is equal; `z` is not at the source, and is told whole.
  fs.utimesSync(join(target, "a/d/file-3"), 1, 2);
  fs.mkdirSync(join(target, "z"));
  fs.linkSync(join(target, "a/b/c/file-1"), join(target, "z/other"));
  fs.linkSync(join(target, "a/b/c/file-39"), join(target, "z/another"));
  const { tree, taker } = tell(t, source, target, always, 100);
  // Those of `e` and `f`, too.
  assert.deepEqual([taker.rest, taker.equalFiles], ["different", 120]);
  assert.deepEqual(linesOf(tree), plain(t, target));
});

test("a second name may come long before what its file is part of", (t) => {
  const [source, target] = pair(t);
  // `z` is told as a whole while `a/b` is yet to be asked for, in which `a/b/c` is equal.
  fs.writeFileSync(join(target, "a/b/extra"), "");
  fs.mkdirSync(join(target, "z"));
  fs.linkSync(join(target, "a/b/c/file-1"), join(target, "z/other"));
  for (const stepsPerTurn of [1, 100]) {
    const { tree, taker } = tell(t, source, target, always, stepsPerTurn);
    assert.deepEqual([taker.rest, taker.equalFiles], ["different", 160]);
    assert.deepEqual(linesOf(tree), plain(t, target));
  }
});

for (const [what, linked] of [
  ["source", 0],
  ["target", 1],
] as const) {
  test(`names that are one file on the ${what} alone are told`, (t) => {
    const roots = pair(t);
    for (const [side, root] of roots.entries()) {
      const from = join(root, "a/b/c/file-1");
      const to = join(root, "f/g/other");
      if (side === linked) fs.linkSync(from, to);
      else fs.cpSync(from, to);
      for (const at of [from, to, join(root, "f/g")]) fs.utimesSync(at, 1, 1);
    }
    const { tree, taker } = tell(t, ...roots);
    assert.equal(taker.rest, "different");
    assert.deepEqual(linesOf(tree), plain(t, roots[1]));
  });
}

test("a small target, or one of another size, is told as a whole", (t) => {
  const [source, target] = pair(t);
  const small = tell(t, source, target, { treeMin: 1000, directoryMin: 0 });
  assert.deepEqual([small.taker.rest, small.expands], ["all", 1]);
  assert.deepEqual(linesOf(small.tree), plain(t, target));
  fs.rmSync(join(source, "a"), { recursive: true });
  fs.rmSync(join(source, "e"), { recursive: true });
  fs.rmSync(join(source, "f/g"), { recursive: true });
  assert.equal(tell(t, source, target).taker.rest, "all");
});

test("a directory that the target asks the source to ask for twice is refused", (t) => {
  const [source, target] = pair(t);
  const tree = new Tree();
  const teller = new ManifestTeller({
    files,
    rootFd: open(t, target),
    tree,
    sha256,
    scanned: () => {},
    writer: writerTo(() => {}),
  });
  const early = (): void => teller.expand({ isDeep: false, directories: [rootId] });
  assert.throws(early, { code: "PEER_MALFORMED" });
  while (teller.step());
  teller.expand({ isDeep: true, directories: [rootId] });
  while (teller.step());
  for (const directory of [rootId, 2, 7, 1_000_000]) {
    const again = (): void => teller.expand({ isDeep: false, directories: [directory] });
    assert.throws(again, { code: "PEER_MALFORMED" }, String(directory));
  }
  assert.ok(fs.existsSync(source));
});

type Hostile =
  | {
      type: typeof FrameType.manifestEntry;
      node: number;
      parent: number;
      mode: number;
      name: string;
    }
  | {
      type: typeof FrameType.subtree;
      directory: number;
      first: number;
      count: number;
      isEqual: boolean;
    }
  | { type: typeof FrameType.expanded; directory: number };

const id = fc.oneof(fc.constant(rootId), fc.integer({ min: 0, max: 6 }));
const hostile: fc.Arbitrary<Hostile> = fc.oneof(
  fc.record({
    type: fc.constant(FrameType.manifestEntry),
    node: id,
    parent: id,
    mode: fc.constantFrom(Mode.directory | 0o755, Mode.regular | 0o644, Mode.symlink | 0o777),
    name: fc.constantFrom("", "a", "b", "file-1"),
  }),
  fc.record({
    type: fc.constant(FrameType.subtree),
    directory: id,
    first: fc.integer({ min: 0, max: 6 }),
    count: fc.constantFrom(0, 1, 3, 3, 3, 6, 0xffffffff),
    isEqual: fc.boolean(),
  }),
  fc.record({ type: fc.constant(FrameType.expanded), directory: id }),
);

/** What takes frames of a hostile target, of a source that has all that `rootFd` has. */
function hostileTaker(rootFd: number): [(frame: Hostile) => void, ManifestTaker, Tree] {
  const tree = new Tree();
  const survey = new SourceSurvey({
    files,
    rootFd,
    sha256,
    hasOrigins: false,
    watchDirectory: () => 0,
  });
  while (survey.step());
  const kept = new KeptFiles(tree, new OpWriter(() => {}));
  const origins = new Origins();
  const taker = new ManifestTaker({ tree, kept, origins, survey, use: always, ask: () => {} });
  const take = (frame: Hostile): void => {
    const bytes = encode(frame, survey);
    assert.ok(taker.take(frame.type, bytes, 0, bytes.length));
    taker.step();
  };
  return [take, taker, tree];
}

test("whatever a target tells, the source has a tree or refuses", (t) => {
  const root = folder(t);
  fs.mkdirSync(join(root, "a/b"), { recursive: true });
  fs.writeFileSync(join(root, "a/b/file-1"), "");
  const rootFd = open(t, root);
  let taken = 0;
  const property = fc.property(fc.array(hostile, { maxLength: 8 }), (all) => {
    const [take, taker, tree] = hostileTaker(rootFd);
    try {
      for (const frame of all) if (!taker.isDone) take(frame);
      taken++;
    } catch (error) {
      if (!(error instanceof SyncError) || error.code !== "PEER_MALFORMED") throw error;
    }
    // Every node has one way up to the root, which ends.
    for (let node = rootId; node < tree.endId; node++) {
      if (tree.isLive(node)) assert.ok(tree.path(node).length < 100);
    }
  });
  fc.assert(property, { numRuns: 600 });
  assert.ok(taken > 4, `${taken} were taken`);
});

const file = Mode.regular | 0o644;
const directory = Mode.directory | 0o755;
const rootEntry: Hostile = {
  type: FrameType.manifestEntry,
  node: rootId,
  parent: 0,
  mode: directory,
  name: "",
};
const entry = (node: number, parent: number, mode: number, name: string): Hostile => ({
  type: FrameType.manifestEntry,
  node,
  parent,
  mode,
  name,
});
const below = (of: number, first: number, count: number, isEqual = false): Hostile => ({
  type: FrameType.subtree,
  directory: of,
  first,
  count,
  isEqual,
});

for (const [what, frames] of Object.entries<Hostile[]>({
  "equal nodes by ids that are others'": [entry(2, 1, directory, "x"), below(1, 2, 3, true)],
  "equal nodes by names that are others'": [entry(2, 1, directory, "a"), below(1, 3, 3, true)],
  "a node of two kinds": [below(1, 2, 3), entry(2, 1, file, "x"), entry(2, 1, directory, "y")],
  "a directory of two names": [
    below(1, 2, 3),
    entry(2, 1, directory, "x"),
    entry(2, 1, directory, "y"),
  ],
  "more below a directory than below the root": [
    below(1, 2, 3),
    entry(2, 1, directory, "x"),
    below(2, 3, 3),
  ],
  "an id beyond all": [below(1, 2, 3), entry(5, 1, file, "x")],
  "the root twice": [below(1, 2, 3), below(1, 2, 3)],
  "what was not asked for": [below(1, 2, 3), { type: FrameType.expanded, directory: 2 }],
})) {
  test(`${what} are refused`, (t) => {
    const root = folder(t);
    fs.mkdirSync(join(root, "a/b"), { recursive: true });
    fs.writeFileSync(join(root, "a/b/file-1"), "");
    const [take, taker] = hostileTaker(open(t, root));
    const all = (): void => {
      for (const frame of [rootEntry, ...frames]) take(frame);
      taker.step();
    };
    assert.throws(all, { code: "PEER_MALFORMED" });
  });
}

function encode(frame: Hostile, survey: SourceSurvey): Uint8Array {
  if ("node" in frame) {
    const name = Buffer.from(frame.node === rootId && frame.parent === 0 ? "" : frame.name);
    const about = { uid: 0, gid: 0, rdev: 0, size: 0, mtimeSec: 0, mtimeNsec: 0 };
    const parts = { name, symlinkTarget: none, attributes: none, origin: noOrigin };
    return encodeManifestEntry({ ...frame, ...about, ...parts });
  }
  if (!("first" in frame)) return encodeExpanded(frame.directory);
  const digest = frame.isEqual ? survey.digests.digest(rootId) : new Uint8Array(32);
  return encodeSubtree({ ...frame, digest });
}
