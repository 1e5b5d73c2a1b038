import assert from "node:assert/strict";
import * as fs from "node:fs";
import { test, type TestContext } from "node:test";
import { NameChange } from "../capture/index.ts";
import { native } from "../world/node/index.ts";
import { CutRig, type Epoch, fuzzCutter, Script } from "./cutter.fuzz.ts";
import { roundCountMax } from "./limits.ts";

const bytes = (count: number, value = 7): Uint8Array => new Uint8Array(count).fill(value);

/** A pair that is equal and live; `make` fills the source beforehand. */
function live(
  context: TestContext,
  make: (script: Script) => void,
): { rig: CutRig; script: Script } {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  make(script);
  rig.start();
  const epochs = rig.settle();
  assert.equal(epochs.filter((epoch) => epoch.live).length, 1);
  return { rig, script };
}

/** The one epoch that the changes made. */
function only(epochs: readonly Epoch[]): Epoch {
  assert.equal(epochs.length, 1);
  return epochs[0]!;
}

/** Frames of an epoch without those that set times and metadata. */
function moves({ frames }: Epoch): Record<string, number> {
  const { times: _times, meta: _meta, ...rest } = frames;
  return rest;
}

test("a renamed folder of a thousand files is one operation and moves no data", async (context) => {
  const { rig, script } = live(context, (s) => {
    s.mkdir("d");
    for (let i = 0; i < 1000; i++) fs.writeFileSync(s.at(`d/f${i}`), "x");
    s.mkdir("e");
  });
  script.rename("d", "e/d2");
  const epoch = only(rig.settle());
  assert.deepEqual(moves(epoch), { rename: 1 });
  assert.equal(epoch.dataBytes, 0);
  await rig.assertEqual("after the rename");
});

test("an exchange is one operation, of files, folders, and one with the other", async (context) => {
  const { rig, script } = live(context, (s) => {
    s.create("a", bytes(100, 1));
    s.create("b", bytes(200, 2));
    for (const d of ["c", "d"]) {
      s.mkdir(d);
      s.create(`${d}/x`, d);
    }
  });
  for (const [from, to] of [
    ["a", "b"],
    ["c", "d"],
    ["a", "c"],
  ] as const) {
    script.rename(from, to, 2);
    const epoch = only(rig.settle());
    assert.deepEqual(moves(epoch), { rename: 1 }, `${from} and ${to}`);
    await rig.assertEqual(`${from} and ${to}`);
  }
});

test("an editor's save is a new file that replaces the old one in one step", async (context) => {
  const { rig, script } = live(context, (s) => s.create("a", bytes(5000, 1)));
  script.create("a.tmp", bytes(3000, 2));
  script.rename("a.tmp", "a");
  const epoch = only(rig.settle());
  assert.deepEqual(moves(epoch), { create: 1, write: 1, place: 1 });
  await rig.assertEqual("after the save");
});

test("a swap by three renames costs no data, nor does a cycle of names", async (context) => {
  const { rig, script } = live(context, (s) => {
    for (const name of ["a", "b", "c"]) s.create(name, bytes(10_000, name.charCodeAt(0)));
  });
  script.rename("a", "t");
  script.rename("b", "a");
  script.rename("t", "b");
  const swap = only(rig.settle());
  assert.equal(swap.dataBytes, 0);
  await rig.assertEqual("after the swap");
  script.rename("a", "t");
  script.rename("b", "a");
  script.rename("c", "b");
  script.rename("t", "c");
  const cycle = only(rig.settle());
  assert.equal(cycle.dataBytes, 0);
  await rig.assertEqual("after the cycle");
});

test("a child that becomes its parent's parent is moved, not copied", async (context) => {
  const { rig, script } = live(context, (s) => {
    s.mkdir("a");
    s.mkdir("a/b");
    s.create("a/b/f", bytes(9000));
  });
  script.rename("a/b", "b");
  script.rename("a", "b/a");
  const epoch = only(rig.settle());
  assert.equal(epoch.dataBytes, 0);
  await rig.assertEqual("after the inversion");
});

test("a small write into a large file sends its bytes alone", async (context) => {
  const { rig, script } = live(context, (s) => s.create("a", bytes(2_000_000)));
  script.write("a", 1_234_567, bytes(16, 9));
  const epoch = only(rig.settle());
  assert.equal(epoch.dataBytes, 16);
  assert.deepEqual(moves(epoch), { write: 1 });
  await rig.assertEqual("after the write");
});

test("hard links are one file, whose content is read once", async (context) => {
  const { rig, script } = live(context, (s) => {
    s.create("a", bytes(50_000));
    s.link("a", "b");
  });
  assert.equal(rig.epochs[0]!.dataBytes, 50_000);
  await rig.assertEqual("at first");
  script.link("a", "c");
  script.unlink("a");
  const epoch = only(rig.settle());
  assert.equal(epoch.dataBytes, 0);
  await rig.assertEqual("after a name has moved by link and unlink");
});

/** Something dirty that leads nowhere: the round is planned, and not read at once. */
const elsewhere = (rig: CutRig): void =>
  rig.tell((sink) => {
    const start = { processId: 1, directoryFd: -1, ino: 0, gen: 0 };
    sink.path(Buffer.from("/proc/self/nowhere"), start, Infinity);
  });

for (const way of ["read at once", "planned"]) {
  const tell = (rig: CutRig): void => (way === "planned" ? elsewhere(rig) : undefined);

  test(`a change of what was read costs another round: a small write ${way}`, async (context) => {
    const { rig, script } = live(context, (s) => s.create("a", bytes(1000)));
    script.write("a", 0, bytes(10, 1));
    tell(rig);
    const before = rig.cutter.counters.rounds;
    let drains = 0;
    // At the first drain the write is told; at the second the cut asks whether it still holds.
    rig.onDrain = () => {
      if (++drains === 2) script.write("a", 5, bytes(10, 2));
    };
    const epoch = only(rig.settle());
    assert.equal(rig.cutter.counters.rounds, before + 2);
    assert.equal(epoch.fuzzy, false);
    assert.deepEqual(moves(epoch), { write: 2 });
    await rig.assertEqual("after the second round");
  });

  test(`a change of something else costs no round: a small write ${way}`, async (context) => {
    const { rig, script } = live(context, (s) => {
      s.create("a", bytes(1000));
      s.create("b", bytes(1000));
    });
    script.write("a", 0, bytes(10, 1));
    tell(rig);
    let drains = 0;
    rig.onDrain = () => {
      if (++drains !== 2) return;
      script.write("a", 10, bytes(5, 2));
      script.write("b", 0, bytes(10, 2));
    };
    const epochs = rig.settle();
    assert.deepEqual(epochs.map(moves), [{ write: 1 }, { write: 2 }]);
    await rig.assertEqual("after both epochs");
  });

  test(`what never comes to rest is sent as fuzzy: a small write ${way}`, async (context) => {
    const { rig, script } = live(context, (s) => s.create("a", bytes(1000)));
    script.write("a", 0, bytes(10, 1));
    tell(rig);
    const before = rig.cutter.counters.rounds;
    let drains = 0;
    rig.onDrain = () => {
      if (++drains > 1 && drains <= roundCountMax + 1) script.write("a", 5, bytes(10, drains));
    };
    const [fuzzy, clean] = rig.settle();
    assert.equal(fuzzy?.fuzzy, true);
    assert.equal(clean?.fuzzy, false);
    assert.equal(rig.cutter.counters.rounds, before + roundCountMax + 1);
    await rig.assertEqual("after the clean epoch");
  });
}

/** Changes of one small extent: what the file is, and what becomes of it before it is read. */
const smallChanges: Record<string, (script: Script) => void> = {
  "inside the file": (s) => s.write("a", 100, bytes(50, 1)),
  "at its end": (s) => s.write("a", 950, bytes(50, 1)),
  "across its end": (s) => s.write("a", 990, bytes(50, 1)),
  appended: (s) => s.append("a", bytes(50, 1), true),
  "beyond its end": (s) => s.write("a", 3000, bytes(50, 1)),
  "of a block's length": (s) => s.write("a", 0, bytes(4096, 1)),
  "one byte shorter than a block": (s) => s.write("a", 0, bytes(4095, 1)),
  "of zeros": (s) => s.write("a", 0, bytes(64, 0)),
  "and the file is shorter now": (s) => {
    s.write("a", 900, bytes(100, 1));
    fs.truncateSync(s.at("a"), 950);
  },
  "and the file is longer now": (s) => {
    s.write("a", 900, bytes(100, 1));
    fs.appendFileSync(s.at("a"), "tail");
  },
  "and its mode is another": (s) => {
    s.write("a", 0, bytes(50, 1));
    fs.chmodSync(s.at("a"), 0o600);
  },
  "and it is gone": (s) => {
    s.write("a", 0, bytes(50, 1));
    fs.unlinkSync(s.at("a"));
  },
};

for (const [what, change] of Object.entries(smallChanges)) {
  test(`a small write is the same epoch, read at once or planned: ${what}`, (context) => {
    const results = ["read at once", "planned"].map((way) => {
      const { rig, script } = live(context, (s) => s.create("a", bytes(1000)));
      // A file that is held open is what small writes come from.
      script.write("a", 0, bytes(1, 3));
      rig.settle();
      change(script);
      if (way === "planned") elsewhere(rig);
      const epochs = rig.settle();
      return { epochs, rounds: rig.cutter.counters.rounds, size: rig.sourceTree.size[2] };
    });
    assert.deepEqual(results[0], results[1]);
    assert.ok(results[0]!.epochs.length > 0 || what === "and it is gone");
  });
}

test("a name that changes while names are looked at costs another round", async (context) => {
  const { rig, script } = live(context, (s) => {
    s.create("a", bytes(1000));
    s.mkdir("d");
  });
  script.rename("a", "b");
  let drains = 0;
  // At the first drain the rename is told; at the second the cut asks whether it still holds.
  rig.onDrain = () => {
    if (++drains === 2) script.rename("b", "d/c");
  };
  const epoch = only(rig.settle());
  assert.deepEqual(moves(epoch), { rename: 2 });
  assert.equal(epoch.fuzzy, false);
  await rig.assertEqual("after both renames");
});

test("a path that is told while content is read costs another round", async (context) => {
  const { rig, script } = live(context, (s) => {
    s.create("a", bytes(1000));
    s.create("b", bytes(1000));
  });
  script.write("a", 0, bytes(10, 1));
  script.write("b", 0, bytes(10, 1));
  let drains = 0;
  rig.onDrain = () => {
    if (++drains !== 2) return;
    fs.truncateSync(script.at("a"), 500);
    const path = new Uint8Array(Buffer.from(script.at("a")));
    const start = { processId: process.pid, directoryFd: -100, ino: 0, gen: 0 };
    rig.tell((sink) => sink.path(path, start, 500));
  };
  const epoch = only(rig.settle());
  assert.equal(epoch.frames["truncate"], 1);
  assert.equal(epoch.fuzzy, false);
  await rig.assertEqual("after the truncation");
});

test("a change of what was not read waits for the next epoch", async (context) => {
  const { rig, script } = live(context, (s) => {
    s.create("a", bytes(1000));
    s.create("b", bytes(1000));
  });
  script.write("a", 0, bytes(10, 1));
  let done = false;
  rig.onRoom = () => {
    if (done || rig.hasEvents || rig.cutter.dirty.nodeCount > 0) return;
    done = true;
    script.write("b", 5, bytes(10, 2));
  };
  const epochs = rig.settle();
  assert.equal(epochs.length, 2);
  assert.deepEqual([moves(epochs[0]!), moves(epochs[1]!)], [{ write: 1 }, { write: 1 }]);
  await rig.assertEqual("after both");
});

test("a file that never rests is committed as fuzzy after some rounds", async (context) => {
  const { rig, script } = live(context, (s) => s.create("a", bytes(1000)));
  const before = rig.cutter.counters.rounds;
  script.write("a", 0, bytes(10, 1));
  let left = 40;
  rig.onDrain = () => {
    if (left-- > 0) script.write("a", 0, bytes(10, left));
  };
  const epochs = rig.settle();
  assert.ok(epochs[0]!.fuzzy);
  assert.ok(rig.cutter.counters.rounds - before <= roundCountMax * epochs.length);
  assert.ok(epochs.length < 10);
  rig.onDrain = () => {};
  rig.settle();
  assert.equal(rig.epochs[rig.epochs.length - 1]!.fuzzy, false);
  await rig.assertEqual("when it rests");
});

test("what was lost is found by a rescan, or by reading the one file", async (context) => {
  const { rig, script } = live(context, (s) => {
    s.mkdir("d");
    s.create("d/a", bytes(1000));
    s.create("b", bytes(1000));
  });
  fs.writeFileSync(script.at("d/a"), bytes(500, 3));
  fs.writeFileSync(script.at("d/new"), "new");
  fs.unlinkSync(script.at("b"));
  rig.tell((sink) => sink.overflow());
  rig.settle();
  await rig.assertEqual("after the overflow");
  const fd = fs.openSync(script.at("d/a"), "r+");
  fs.writeSync(fd, bytes(5, 4), 0, 5, 100);
  fs.closeSync(fd);
  const [ino, gen] = rig.identity(script.at("d/a"));
  rig.tell((sink) => sink.lost(ino, gen));
  rig.settle();
  await rig.assertEqual("after one file was lost");
  fs.appendFileSync(script.at("d/a"), "unseen");
  rig.tell((sink) => sink.closed(ino, gen));
  rig.settle();
  await rig.assertEqual("after a writer that nobody saw");
});

test("a path that a process named is resolved to its node", async (context) => {
  const { rig, script } = live(context, (s) => {
    s.mkdir("d");
    s.create("d/a", bytes(1000));
  });
  const named = (path: string, directoryFd: number, size: number): void => {
    const raw = new Uint8Array(Buffer.from(path));
    const start = { processId: process.pid, directoryFd, ino: 0, gen: 0 };
    rig.tell((sink) => sink.path(raw, start, size));
  };
  const fd = fs.openSync(script.at("d"), "r");
  context.after(() => fs.closeSync(fd));
  fs.truncateSync(script.at("d/a"), 500);
  named(script.at("d/a"), -100, 500);
  rig.settle();
  await rig.assertEqual("an absolute path");
  fs.truncateSync(script.at("d/a"), 300);
  named("a", fd, 300);
  rig.settle();
  await rig.assertEqual("relative to a descriptor");
  fs.chmodSync(script.at("d/a"), 0o600);
  named(script.at("d/a"), -100, Infinity);
  rig.settle();
  await rig.assertEqual("metadata");
  assert.equal(rig.cutter.counters.rescans, 1, "the first comparison alone was a rescan");
  // The process is gone and its folder with it: anything may have changed.
  fs.truncateSync(script.at("d/a"), 100);
  const gone = { processId: 2 ** 22 + 5, directoryFd: 3, ino: 0, gen: 0 };
  rig.tell((sink) => sink.path(new Uint8Array(Buffer.from("a")), gone, 100));
  rig.settle();
  assert.equal(rig.cutter.counters.rescans, 2);
  await rig.assertEqual("a process that has ended");
  // The same, but the kernel has told which folder it was.
  fs.truncateSync(script.at("d/a"), 50);
  const [ino, gen] = rig.identity(script.at("d"));
  rig.tell((sink) => sink.path(new Uint8Array(Buffer.from("a")), { ...gone, ino, gen }, 50));
  rig.settle();
  assert.equal(rig.cutter.counters.rescans, 2);
  await rig.assertEqual("a process that has ended, from a folder that is known");
});

test("a backend that tells content by name has the file read", async (context) => {
  const { rig, script } = live(context, (s) => s.create("a", bytes(1000)));
  fs.writeFileSync(script.at("a"), bytes(900, 5));
  const [ino, gen] = rig.identity(rig.source);
  const name = new Uint8Array(Buffer.from("a"));
  rig.tell((sink) => sink.name(ino, gen, name, 0, 0, NameChange.content | NameChange.metadata));
  rig.settle();
  await rig.assertEqual("after the write");
});

test("a target full of other things becomes equal, and equal things are kept", async (context) => {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  script.mkdir("d");
  script.create("d/same", bytes(70_000));
  script.create("d/other", bytes(100));
  script.create("file-here", "x");
  script.mkdir("folder-here");
  script.symlink("new", "link");
  rig.drain(rigless);
  fs.cpSync(rig.source, rig.target, { recursive: true, preserveTimestamps: true });
  const target = (path: string): string => `${rig.target}/${path}`;
  fs.writeFileSync(target("d/other"), "different");
  fs.unlinkSync(target("file-here"));
  fs.mkdirSync(target("file-here/below"), { recursive: true });
  fs.rmdirSync(target("folder-here"));
  fs.writeFileSync(target("folder-here"), "a file");
  fs.unlinkSync(target("link"));
  fs.symlinkSync("old", target("link"));
  fs.writeFileSync(target(".lockstep-hold.77"), "left by a crash");
  const stat = fs.statSync(script.at("d/same"));
  fs.utimesSync(script.at("d/same"), stat.mtimeMs / 1000, 1_600_000_000);
  fs.utimesSync(target("d/same"), stat.mtimeMs / 1000, 1_600_000_000);
  rig.start();
  const epochs = rig.settle();
  await rig.assertEqual("after the seed");
  assert.ok(epochs[0]!.dataBytes < 1000, "what was equal is not sent");
});

const ignored = (): void => {};
const rigless = {
  written: ignored,
  appended: ignored,
  truncated: ignored,
  unknownContent: ignored,
  stored: ignored,
  mapped: ignored,
  attributes: ignored,
  closed: ignored,
  name: ignored,
  path: ignored,
  lost: ignored,
  overflow: ignored,
};

test("a cut goes on where it stopped for lack of room", async (context) => {
  const { rig, script } = live(context, (s) => s.create("a", bytes(10)));
  script.create("b", bytes(600_000, 3));
  script.mkdir("d");
  for (let i = 0; i < 20; i++) script.create(`d/${i}`, bytes(100, i));
  let calls = 0;
  rig.onRoom = () => {
    rig.isPaused = ++calls % 3 !== 0;
  };
  for (let i = 0; i < 400 && !rig.cutter.isIdle; i++) rig.settle();
  rig.onRoom = () => {};
  rig.isPaused = false;
  rig.settle();
  await rig.assertEqual("after many stops");
});

test("an unreadable name is a problem, and the rest goes on", async (context) => {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  script.create("a", bytes(10));
  script.create("b", bytes(10));
  const files = native();
  rig.start({
    ...files,
    openBeneath: (dirFd, path, flags, mode) =>
      Buffer.from(path).toString() === "a" ? -13 : files.openBeneath(dirFd, path, flags, mode),
  });
  rig.settle();
  assert.equal(rig.problems.length, 1);
  assert.deepEqual(fs.readdirSync(rig.target), ["b"]);
});

test("random changes, some in the midst of a cut: each commit is what the source was", async () => {
  let epochs = 0;
  for (let seed = 1; seed <= 30; seed++) epochs += (await fuzzCutter(seed, 5)).length;
  assert.ok(epochs > 120, `${epochs} epochs`);
});

test("a file that is appended to while its delta is made arrives whole", async () => {
  // At each moment that the cut gives: one of them is after the search and before the end.
  for (let moment = 1; moment <= 10; moment++) {
    const rig = new CutRig();
    const script = new Script(rig);
    rig.deltaBytesMin = 1;
    rig.pick = () => 2;
    script.create(
      "a",
      Uint8Array.from({ length: 9000 }, (_, at) => at % 251),
    );
    rig.start();
    rig.settle();
    let count = 0;
    rig.onRoom = () => {
      if (++count === moment) script.append("a", bytes(100), false);
    };
    const [ino, gen] = rig.identity(script.at("a"));
    rig.tell((sink) => sink.unknownContent(ino, gen));
    rig.settle();
    rig.onRoom = () => {};
    rig.settle();
    assert.ok(count >= moment, `${count} moments`);
    await rig.assertEqual(`appended at moment ${moment}`);
    rig.end();
  }
});

/** Live, with parts of 1000 bytes, and a look at the file `a` of the target at each commit. */
function streamed(context: TestContext): { rig: CutRig; script: Script; seen: string[] } {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  script.create("a", "");
  rig.orderedBytes = 1000;
  rig.start();
  rig.settle();
  const seen: string[] = [];
  rig.onCommit = () => {
    const size = fs.readFileSync(`${rig.target}/a`).length;
    seen.push(`${size} ${fs.readdirSync(rig.target).join(" ")}`);
  };
  return { rig, script, seen };
}

test("a file that is written in order is sent in parts, each a past state", async (context) => {
  const { rig, script, seen } = streamed(context);
  for (let i = 0; i < 5; i++) script.write("a", i * 700, bytes(700, i));
  rig.settle();
  assert.deepEqual(seen, ["1000 a", "2000 a", "3000 a", "3500 a"]);
  await rig.assertEqual("after the stream");
});

test("a file that is cut and written anew is sent in parts, the first with the cut", async (t) => {
  for (const [size, isTold] of [
    [0, true],
    [500, true],
    [0, false],
  ] as const) {
    const { rig, script, seen } = streamed(t);
    script.write("a", 0, bytes(9000, 7));
    rig.settle();
    seen.length = 0;
    script.truncate("a", size, isTold);
    for (let i = 0; i < 5; i++) script.write("a", size + i * 700, bytes(700, i));
    rig.settle();
    const parts = [1000, 2000, 3000, 3500].map((part) => `${size + part} a`);
    assert.deepEqual(seen, isTold ? parts : ["3500 a"]);
    await rig.assertEqual(`cut at ${size}`);
  }
});

test("a cut is none of a run when something else is dirty, or grows the file", async (t) => {
  for (const change of ["dirty", "grown"]) {
    const { rig, script, seen } = streamed(t);
    script.write("a", 0, bytes(900, 7));
    if (change === "grown") rig.settle();
    seen.length = 0;
    const size = change === "grown" ? 2000 : 0;
    script.truncate("a", size, true);
    script.write("a", size, bytes(3000, 1));
    rig.settle();
    assert.deepEqual(seen, [`${size + 3000} a`], change);
    await rig.assertEqual(change);
  }
});

test("a file that somebody writes on is read up to where it ended at first", async (t) => {
  const { rig, script, seen } = streamed(t);
  script.write("a", 0, bytes(9000, 7));
  rig.settle();
  seen.length = 0;
  script.truncate("a", 0);
  script.write("a", 0, bytes(300_000, 1));
  let looks = 0;
  rig.onRoom = () => {
    if (++looks === 3) script.write("a", 300_000, bytes(200_000, 2));
  };
  rig.settle();
  assert.equal(seen[0], "300000 a");
  assert.equal(seen.at(-1), "500000 a");
  await rig.assertEqual("after the stream");
});

test("parts go on while the file grows, and end before what came after them", async (context) => {
  const { rig, script, seen } = streamed(context);
  script.write("a", 0, bytes(2500, 1));
  let steps = 0;
  rig.onDrain = () => {
    steps++;
    if (steps === 2) script.write("a", 2500, bytes(1500, 2));
    if (steps === 4) script.create("b", "later than all of a");
  };
  rig.settle();
  assert.deepEqual(seen, ["1000 a", "2000 a", "3000 a", "4000 a", "4000 a b"]);
  await rig.assertEqual("after the stream");
});

test("a name told in the same drain may be older than the writes: one epoch", async (context) => {
  const { rig, script, seen } = streamed(context);
  script.write("a", 0, bytes(4000, 1));
  script.create("b", "perhaps earlier");
  rig.settle();
  assert.deepEqual(seen, ["4000 a b"]);
  await rig.assertEqual("after both");
});

test("what was not written in order is one epoch", async (context) => {
  for (const change of ["back", "truncate", "other", "gap"]) {
    const { rig, script, seen } = streamed(context);
    script.create("o", "");
    rig.settle();
    seen.length = 0;
    if (change === "other") script.write("o", 0, bytes(10, 3));
    script.write("a", 0, bytes(3000, 1));
    if (change === "back") script.write("a", 500, bytes(100, 2));
    if (change === "truncate") script.truncate("a", 100);
    if (change === "gap") script.write("a", 3500, bytes(100, 2));
    rig.settle();
    const size = fs.statSync(script.at("a")).size;
    assert.deepEqual(seen, [`${size} a o`], change);
    await rig.assertEqual(change);
  }
});

test("rounds that make no operation belong to no epoch", (context) => {
  const { rig, script } = live(context, (s) => s.create("a", bytes(100, 1)));
  const [ino, gen] = rig.identity(script.at("a"));
  for (let i = 0; i < 2 * roundCountMax; i++) {
    rig.tell((sink) => sink.attributes(ino, gen));
    assert.deepEqual(rig.settle(), []);
  }
  script.write("a", 0, bytes(1));
  let drainCount = 0;
  rig.onDrain = () => {
    if (++drainCount === 2) script.write("a", 0, bytes(1, 8));
  };
  const epoch = only(rig.settle());
  assert.equal(epoch.fuzzy, false, "it could be read again");
  assert.equal(epoch.frames["write"], 2);
});
