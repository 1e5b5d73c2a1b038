import assert from "node:assert/strict";
import { test } from "node:test";
import { type FollowedMounts, inodeKey, type MountChange } from "../capture/index.ts";
import type { Directories } from "../descriptors/index.ts";
import { ProblemLog } from "../model/index.ts";
import { rootId, Tree } from "../tree/index.ts";
import { FakeClock, type Files, Mode, Stat, statSlots } from "../world/index.ts";
import { DirtySet } from "./dirty-set.ts";
import { MountChanges } from "./mount-changes.ts";
import { NameFilter } from "./name-filter.ts";
import { NameLook } from "./name-look.ts";
import type { RuleFiles } from "./rule-files.ts";
import type { SourceFiles } from "./source-files.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);

/** A tree with /deep/mount/file, of which `mount` is the root of filesystem 3. */
class Rig {
  readonly tree = new Tree();
  readonly dirty = new DirtySet(this.tree, () => {});
  readonly clock = new FakeClock({ startUs: 0, wallStartMs: 0, eventsMax: 100 });
  readonly closed: number[] = [];
  readonly moves: [string, string][] = [];
  tell: (change: MountChange) => void = () => {};
  refreshCount = 0;
  isAtRest = false;
  readonly deep: number;
  readonly mount: number;
  readonly file: number;
  readonly followed = {
    isEmpty: false,
    hasGone: false,
    listen: (listener: (change: MountChange) => void) => {
      this.tell = listener;
      return () => (this.tell = () => {});
    },
    refresh: () => this.refreshCount++,
    unheardPlaces: ["deep/mount"] as readonly string[] | undefined,
    moved: (from: string, to: string) => this.moves.push([from, to]),
    admits: () => true,
  } as unknown as FollowedMounts;
  readonly filter: NameFilter;
  readonly changes: MountChanges;

  constructor() {
    const { tree, dirty } = this;
    this.deep = this.#add(rootId, "deep", Mode.directory, inodeKey(12, 0));
    this.mount = this.#add(this.deep, "mount", Mode.directory, inodeKey(2, 3));
    this.file = this.#add(this.mount, "file", Mode.regular, inodeKey(12, 3));
    tree.mtimeSec[this.file] = 7;
    const rules = { isActive: true, isIgnored: () => false } as unknown as RuleFiles;
    this.filter = new NameFilter({ tree, problems: new ProblemLog(() => {}) }, rules, (node) =>
      tree.unbindInode(node),
    );
    const cache = {
      forgetWhere: (test: (node: number) => boolean) => {
        this.closed.push(...[this.deep, this.mount, this.file].filter(test));
      },
    };
    this.changes = new MountChanges({
      tree,
      dirty,
      filter: this.filter,
      clock: this.clock,
      followed: this.followed,
      directories: cache as unknown as Directories,
      sources: { forgetWhere: () => {} } as unknown as SourceFiles,
      isAtRest: () => this.isAtRest,
    });
  }

  #add(parent: number, name: string, mode: number, ino: number): number {
    const node = this.tree.addNode(mode);
    this.tree.addName(parent, bytes(name), node);
    this.tree.bindInode(node, ino, 0);
    return node;
  }
}

test("below what was unmounted nothing is tied to an inode, and its looks are kept", () => {
  const rig = new Rig();
  const { tree, dirty, deep, mount, file } = rig;
  rig.tell({ departed: ["deep/mount"], changed: ["deep/mount", "gone/away"] });
  assert.deepEqual([tree.ino[mount], tree.ino[file], tree.mtimeSec[file]], [0, 0, 7]);
  assert.equal(tree.byInode(inodeKey(12, 0), 0), deep);
  const names = dirty.takeNames().map(({ parent, name }) => [parent, Buffer.from(name).toString()]);
  assert.deepEqual(names, [[deep, "mount"]]);
  assert.equal(dirty.rescan, false);
});

test("what is mounted while the tree is being taken has everything compared", () => {
  const { dirty, tell } = new Rig();
  dirty.hold();
  tell({ departed: [], changed: ["deep/mount"] });
  assert.equal(dirty.rescan, true);
});

test("a change by path that was not found is looked for where nothing tells of it", () => {
  const { changes, dirty, mount, followed } = new Rig();
  assert.ok(changes.scanUnheard());
  assert.deepEqual([...dirty.takeScans().keys()], [mount]);
  assert.deepEqual([...dirty.takeNodes().keys()], [mount]);
  Object.assign(followed, { unheardPlaces: undefined });
  assert.ok(!changes.scanUnheard());
});

test("a moved folder takes along what is known of mount points, under its last name", () => {
  const { changes, tree, deep, moves } = new Rig();
  changes.moving(deep, rootId, bytes("deep"));
  tree.removeName(tree.names.find(rootId, bytes("deep")));
  tree.addName(rootId, bytes("other"), deep);
  changes.settle();
  changes.settle();
  assert.deepEqual(moves, [["deep", "other"]]);
});

test("descriptors of followed filesystems are closed when nothing is being read", () => {
  const rig = new Rig();
  rig.changes.rest();
  rig.clock.advance(600);
  assert.deepEqual(rig.closed, []);
  rig.isAtRest = true;
  rig.clock.advance(600);
  assert.deepEqual(rig.closed, [rig.mount, rig.file]);
});

test("a mount point that shows something else is looked up before that counts", () => {
  const rig = new Rig();
  const { tree, deep, mount, file, followed, filter } = rig;
  const look = new NameLook({
    files: { statAt: () => 0 } as unknown as Files,
    rootFd: 0,
    tree,
    directories: {} as Directories,
    problems: new ProblemLog(() => {}),
    followed,
    filter,
  });
  const stat = new Float64Array(statSlots);
  const check = (name: string, parent: number, ino: number | undefined): number => {
    stat[Stat.ino] = ino ?? 0;
    const id = tree.names.find(parent, bytes(name));
    look.checkMountPoint(id, parent, ino === undefined ? undefined : stat);
    return rig.refreshCount;
  };
  assert.equal(check("mount", deep, tree.ino[mount]), 0);
  assert.equal(check("file", mount, undefined), 0);
  assert.equal(check("deep", rootId, undefined), 0);
  assert.equal(check("mount", deep, inodeKey(13, 0)), 1);
  assert.equal(check("mount", deep, undefined), 2);
  assert.equal(tree.child(mount, bytes("file")), file);
});
