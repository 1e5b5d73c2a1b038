import assert from "node:assert/strict";
import { test } from "node:test";
import { MountLog } from "../model/index.ts";
import { type Files, type Kernel, Mode, Stat, statSlots } from "../world/index.ts";
import type { CaptureBackend } from "./backend.ts";
import { FollowedMounts, type MountChange } from "./followed-mounts.ts";
import { filesystemOf } from "./inode-keys.ts";

const mountinfo = 100;
const rootFd = 101;

/** A machine with mounts below /src: name -> mount, device and kind. */
class FakeMounts {
  readonly mounts: Map<string, { id: number; minor: number; kind: string }> = new Map();
  readonly open: Map<number, string> = new Map();
  readonly watched: Map<number, number> = new Map();
  readonly lost: Set<number> = new Set();
  refusal = 0;
  rootKind = "ext4";
  #nextFd = 200;
  readonly system: Kernel & Files = {
    openPath: (path: Uint8Array) => {
      const text = Buffer.from(path).toString();
      if (text === "/proc/self/mountinfo") return mountinfo;
      this.open.set(++this.#nextFd, text.slice("/src/".length));
      return this.#nextFd;
    },
    close: (fd: number) => (this.open.delete(fd) || fd === mountinfo ? 0 : -9),
    pread: (_fd: number, into: Uint8Array) => {
      const lines = [...this.mounts].map(
        ([name, { id, minor, kind }]) => `${id} 1 8:${minor} / /src/${name} rw - ${kind} x rw`,
      );
      return this.#put(into, lines);
    },
    statAt: (fd: number, _name: Uint8Array, out: Float64Array) => {
      out.set(this.statOf(fd === rootFd ? "" : (this.open.get(fd) ?? "")));
      return 0;
    },
    fstat: (fd: number, out: Float64Array) => this.system.statAt(fd, new Uint8Array(0), out),
  } as unknown as Kernel & Files;
  readonly backend: CaptureBackend = {
    follow: (number: number, _fd: number, device: number) => {
      if (this.refusal === 0) this.watched.set(number, device);
      return this.refusal;
    },
    unfollow: (number: number) => this.watched.delete(number),
    stillFollows: (number: number) => !this.lost.has(number),
  } as unknown as CaptureBackend;

  #put(into: Uint8Array, lines: readonly string[]): number {
    const text = Buffer.from(`1 0 8:1 / / rw - ${this.rootKind} x rw\n${lines.join("\n")}\n`);
    into.set(text);
    return text.length;
  }

  /** What the root of a mount, or the root itself, looks like: each has inode 2. */
  statOf(name: string): Float64Array {
    const stat = new Float64Array(statSlots);
    const mount = this.mounts.get(name);
    stat[Stat.ino] = 2;
    stat[Stat.mode] = Mode.directory;
    stat[Stat.mount] = mount?.id ?? 1;
    stat[Stat.dev] = 8 * 2 ** 20 + (mount?.minor ?? 1);
    return stat;
  }

  mount(name: string, id: number, minor: number, kind = "ext4"): void {
    this.mounts.set(name, { id, minor, kind });
  }
}

interface Rig {
  readonly fake: FakeMounts;
  readonly followed: FollowedMounts;
  readonly changes: MountChange[];
  readonly told: string[];
  remembered: [string, number][];
}

function rigFor(fake: FakeMounts, remembered: [string, number][] = []): Rig {
  const told: string[] = [];
  const changes: MountChange[] = [];
  const rig: Omit<Rig, "followed"> = { fake, changes, told, remembered };
  const followed = new FollowedMounts({
    system: fake.system,
    backend: fake.backend,
    rootFd,
    rootPath: Buffer.from("/src"),
    avoided: [],
    remembered,
    leftOut: new MountLog(() => {}),
    remember: (places) => (rig.remembered = [...places]),
    onFollowed: (place) => told.push(`follows ${place}`),
    onGone: (place) => told.push(`gone ${place}`),
    onBack: (place) => told.push(`back ${place}`),
  });
  followed.listen((change) => changes.push(change));
  return Object.assign(rig, { followed });
}

test("what is met is followed, with an inode of its own, and no descriptor stays open", () => {
  const fake = new FakeMounts();
  fake.mount("a", 10, 2);
  fake.mount("b", 11, 3);
  const { followed, told } = rigFor(fake);
  const keys = ["", "a", "b"].map((name) => {
    const stat = fake.statOf(name);
    assert.ok(followed.admits(stat));
    return stat[Stat.ino]!;
  });
  assert.equal(new Set(keys).size, 3);
  assert.deepEqual(keys.map(filesystemOf), [0, 1, 2]);
  assert.deepEqual(told, ["follows a", "follows b"]);
  assert.deepEqual([...fake.watched.keys()], [1, 2]);
  assert.equal(fake.open.size, 0);
  const again = new Float64Array(statSlots);
  followed.files.statAt(fake.system.openPath(Buffer.from("/src/b"), 0), new Uint8Array(0), again);
  assert.equal(again[Stat.ino], keys[2]);
});

test("what is unmounted has gone, is remembered, and is back at its place with its number", () => {
  const fake = new FakeMounts();
  fake.mount("a", 10, 2);
  fake.mount("b", 11, 3);
  const rig = rigFor(fake);
  for (const name of ["a", "b"]) rig.followed.admits(fake.statOf(name));
  fake.mounts.delete("b");
  rig.followed.refresh();
  assert.deepEqual(rig.changes.pop(), { departed: ["b"], changed: ["b", "b"] });
  assert.deepEqual([...fake.watched.keys()], [1]);
  assert.deepEqual(rig.followed.gone, ["b"]);
  for (const path of ["b", "b/", "b/c"]) assert.ok(rig.followed.covers(path), path);
  for (const path of ["", "a", "bb", "a/b"]) assert.ok(!rig.followed.covers(path), path);

  const next = rigFor(fake, rig.remembered);
  assert.deepEqual(next.told, ["gone b"]);
  fake.mount("b", 12, 4);
  next.followed.refresh();
  assert.deepEqual(next.followed.gone, []);
  // Nobody has met it yet, and it goes again.
  fake.mounts.delete("b");
  next.followed.refresh();
  assert.deepEqual([next.followed.gone, next.told], [["b"], ["gone b", "back b", "gone b"]]);
  fake.mount("b", 13, 4);
  next.followed.refresh();
  const stat = fake.statOf("b");
  assert.ok(next.followed.admits(stat));
  assert.equal(filesystemOf(stat[Stat.ino]!), 2);
  assert.deepEqual(
    next.remembered.toSorted(([, one], [, other]) => one - other),
    [
      ["a", 1],
      ["b", 2],
    ],
  );
});

test("another filesystem with the numbers of the one before is not taken for it", () => {
  const fake = new FakeMounts();
  fake.mount("a", 10, 2);
  const { followed, changes } = rigFor(fake);
  followed.admits(fake.statOf("a"));
  // Unmounted and mounted between two looks: the table is the same, the mark has gone.
  fake.lost.add(1);
  followed.refresh();
  assert.deepEqual(changes, [{ departed: ["a"], changed: ["a"] }]);
  assert.deepEqual([followed.gone, followed.places], [[], []]);
  assert.ok(followed.admits(fake.statOf("a")));
});

test("where changes by path may go unheard depends on the kinds of all filesystems", () => {
  const fake = new FakeMounts();
  fake.mount("a", 10, 2);
  fake.mount("b", 11, 3, "tmpfs");
  const { followed } = rigFor(fake);
  for (const name of ["a", "b"]) followed.admits(fake.statOf(name));
  assert.deepEqual(followed.unheardPlaces, ["b"]);
  fake.rootKind = "xfs";
  followed.refresh();
  assert.equal(followed.unheardPlaces, undefined);
});

test("a person confirms what has gone, and a moved folder takes its places along", () => {
  const fake = new FakeMounts();
  for (const [index, name] of ["x/a", "x/b"].entries()) fake.mount(name, 10 + index, 2 + index);
  const rig = rigFor(fake);
  for (const name of ["x/a", "x/b"]) rig.followed.admits(fake.statOf(name));
  fake.mounts.delete("x/a");
  rig.followed.refresh();
  rig.followed.moved("x", "y");
  assert.deepEqual([rig.followed.gone, rig.followed.places], [["y/a"], ["y/b"]]);
  assert.deepEqual(rig.followed.confirmGone(), ["y/a"]);
  assert.deepEqual(rig.changes.pop(), { departed: [], changed: ["y/a"] });
  assert.deepEqual([rig.followed.gone, rig.remembered], [[], [["y/b", 2]]]);
});

test("what cannot be watched is left out, with the reason, until it is mounted anew", () => {
  const fake = new FakeMounts();
  fake.mount("a", 10, 2);
  fake.mount("p", 11, 3, "proc");
  const { followed } = rigFor(fake);
  fake.refusal = -28;
  assert.ok(!followed.admits(fake.statOf("a")));
  assert.match(followed.reasonOf(fake.statOf("a")), /cannot be watched: ENOSPC/);
  assert.match(followed.reasonOf(fake.statOf("p")), /proc/);
  fake.refusal = 0;
  assert.ok(!followed.admits(fake.statOf("a")));
  fake.mount("a", 12, 2);
  followed.refresh();
  assert.ok(followed.admits(fake.statOf("a")));
});

test("a folder of the same mount and another device is a subvolume and left out", () => {
  const fake = new FakeMounts();
  fake.mount("a", 10, 2);
  const { followed } = rigFor(fake);
  const stat = fake.statOf("a");
  assert.ok(followed.admits(stat));
  const below = fake.statOf("a");
  below[Stat.dev] = 99;
  assert.ok(!followed.admits(below));
  assert.match(followed.reasonOf(below), /subvolume/);
});
