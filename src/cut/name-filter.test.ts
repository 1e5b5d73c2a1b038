import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { deafSink } from "../capture/index.ts";
import { parsePatterns, ruleBytesMax, ruleFileName } from "../ignore/index.ts";
import {
  CutRig,
  disorder,
  type Epoch,
  type Pick,
  randomChange,
  Script,
  sequence,
} from "./cutter.fuzz.ts";

interface Pair {
  readonly rig: CutRig;
  readonly script: Script;
  /** Rules that have changed have rested, and all is done that follows from them. */
  readonly rest: () => Epoch[];
  readonly onTarget: (path: string) => boolean;
}

const lines = (text: string): readonly string[] => parsePatterns(Buffer.from(text)).patterns;

/** A live pair with rule files; `first` and `last` as on the command line. */
function pair(
  context: TestContext,
  make: (script: Script, target: (path: string, text: string) => void) => void,
  rules: { first?: string; last?: string } = {},
): Pair {
  const rig = new CutRig();
  context.after(() => rig.end());
  const script = new Script(rig);
  rig.ignore = { first: lines(rules.first ?? ""), last: lines(rules.last ?? ""), readsFiles: true };
  make(script, (path, text) => {
    fs.mkdirSync(join(rig.target, path, ".."), { recursive: true });
    fs.writeFileSync(join(rig.target, path), text);
  });
  rig.start();
  rig.settle();
  const rest = (): Epoch[] => {
    const before = rig.epochs.length;
    rig.settle();
    rig.cutter.rules.settle(Infinity);
    rig.settle();
    return rig.epochs.slice(before);
  };
  return { rig, script, rest, onTarget: (path) => fs.existsSync(join(rig.target, path)) };
}

test("ignored names are neither sent nor removed, by files in any folder", async (t) => {
  const { rig, onTarget } = pair(
    t,
    (s, target) => {
      s.create(ruleFileName, "*.log\nout/\n");
      s.create("a", "1");
      s.create("a.log", "1");
      s.mkdir("out");
      s.create("out/x", "1");
      s.mkdir("d");
      s.create(`d/${ruleFileName}`, "!keep.log\nsecret\n");
      s.create("d/keep.log", "1");
      s.create("d/secret", "1");
      s.create("d/b.log", "1");
      s.create("late", "1");
      target("t.log", "t");
      target("out/y", "t");
      target("d/secret", "t");
      target("gone", "t");
    },
    { first: "late", last: "z*" },
  );
  await rig.assertEqual("at first");
  for (const path of ["a", ruleFileName, `d/${ruleFileName}`, "d/keep.log"])
    assert.ok(onTarget(path));
  for (const path of ["t.log", "out/y", "d/secret"]) assert.ok(onTarget(path), `${path} stays`);
  for (const path of ["a.log", "out/x", "d/b.log", "late", "gone"])
    assert.ok(!onTarget(path), path);
  assert.equal(fs.readFileSync(join(rig.target, "d/secret"), "utf8"), "t");
  assert.deepEqual(rig.problems, []);
});

test("changes of ignored files cost no epoch but for the folder's time", async (t) => {
  const { rig, script, onTarget } = pair(t, (s) => s.create("a", "1"), { last: "*.o\nout/" });
  script.create("x.o", "1");
  script.mkdir("out");
  script.create("out/y", "1");
  const [epoch, ...more] = rig.settle();
  assert.deepEqual(epoch?.frames, { times: 1 });
  assert.deepEqual(more, []);
  script.write("x.o", 0, Buffer.from("22"));
  script.create("out/z", "2");
  script.chmod("x.o", 0o600);
  assert.deepEqual(rig.settle(), []);
  assert.ok(!onTarget("x.o") && !onTarget("out"));
  await rig.assertEqual("afterwards");
});

test("a rule that comes leaves what is there, and one that goes brings what is new", async (t) => {
  const { rig, script, rest, onTarget } = pair(t, (s, target) => {
    s.create("a.log", "1");
    s.mkdir("d");
    s.create("d/b.log", "1");
    target("x", "");
  });
  script.create(ruleFileName, "*.log\nd/\n");
  script.create("new.log", "1");
  rest();
  assert.ok(onTarget("a.log") && onTarget("d/b.log") && !onTarget("new.log"));
  script.write("a.log", 0, Buffer.from("2"));
  script.unlink("d/b.log");
  rest();
  assert.equal(fs.readFileSync(join(rig.target, "a.log"), "utf8"), "1");
  assert.ok(onTarget("d/b.log"));
  await rig.assertEqual("while ignored");
  script.unlink(ruleFileName);
  rest();
  assert.equal(fs.readFileSync(join(rig.target, "a.log"), "utf8"), "2");
  assert.ok(!onTarget("d/b.log") && onTarget("new.log"));
  rig.ignore = { first: [], last: [], readsFiles: false };
  await rig.assertEqual("without rules");
});

test("what a rule file ignores before and after it is emptied is never let go", (t) => {
  const { rig, script, rest, onTarget } = pair(t, (s, target) => {
    s.create(ruleFileName, "*.log\n");
    target("t.log", "t");
    s.create("a.log", "1");
  });
  fs.truncateSync(script.at(ruleFileName), 0);
  const [ino, gen] = rig.identity(script.at(ruleFileName));
  rig.tell((sink) => sink.truncated(ino, gen, 0, 1));
  script.create("b.log", "1");
  rig.settle();
  assert.ok(onTarget("t.log") && !onTarget("a.log") && !onTarget("b.log"));
  script.create(ruleFileName, "*.log\n*.tmp\n");
  script.create("c.tmp", "1");
  rig.settle();
  assert.ok(!onTarget("c.tmp"), "what is ignored newly is so at once");
  rest();
  assert.ok(onTarget("t.log") && !onTarget("a.log") && !onTarget("b.log"));
  script.rename("a.log", "a");
  rig.settle();
  assert.ok(onTarget("a"));
});

test("a rule file renamed over another, and one that moves with its folder, count", async (t) => {
  const { rig, script, rest, onTarget } = pair(t, (s) => {
    s.create(ruleFileName, "*.a\n/d/x\n");
    s.mkdir("d");
    s.create(`d/${ruleFileName}`, "*.b\n");
    for (const name of ["x", "y.a", "y.b", "y.c"]) s.create(`d/${name}`, "1");
  });
  assert.ok(!onTarget("d/x") && !onTarget("d/y.a") && !onTarget("d/y.b") && onTarget("d/y.c"));
  script.rename("d", "e");
  rest();
  assert.ok(onTarget("e/x") && !onTarget("e/y.a") && !onTarget("e/y.b") && onTarget("e/y.c"));
  script.create("new", "*.c\n");
  script.rename("new", ruleFileName);
  rest();
  assert.ok(onTarget("e/y.a") && !onTarget("e/y.b") && onTarget("e/y.c"));
  script.write("e/y.c", 0, Buffer.from("2"));
  rest();
  assert.equal(fs.readFileSync(join(rig.target, "e/y.c"), "utf8"), "1");
  await rig.assertEqual("at the end");
});

test("a name that is renamed to an ignored one is gone, the reverse is new", async (t) => {
  const { rig, script, onTarget } = pair(
    t,
    (s) => {
      s.create("a", "1");
      s.create("b.o", "22");
      s.mkdir("d");
      s.create("d/f", "1");
    },
    { last: "*.o\nout/" },
  );
  script.rename("a", "a.o");
  script.rename("b.o", "b");
  script.rename("d", "out");
  rig.settle();
  assert.deepEqual(fs.readdirSync(rig.target), ["b"]);
  script.rename("out", "d");
  script.mkdir("out");
  rig.settle();
  assert.ok(onTarget("d/f"));
  await rig.assertEqual("at the end");
});

test("a file with an ignored and a visible name is known by the visible one", async (t) => {
  const { rig, script, rest, onTarget } = pair(t, (s) => {
    s.create("b", "1");
    s.link("b", "a.o");
    s.link("b", "c.o");
  });
  script.create(ruleFileName, "*.o\n");
  rest();
  script.unlink("a.o");
  script.create("c.o.new", "other");
  script.rename("c.o.new", "c.o");
  script.write("b", 0, Buffer.from("2"));
  script.chmod("b", 0o600);
  const epochs = rest();
  assert.ok(epochs.length < 5, `${epochs.length} epochs`);
  assert.equal(fs.readFileSync(join(rig.target, "b"), "utf8"), "2");
  assert.ok(onTarget("a.o") && onTarget("c.o"));
  await rig.assertEqual("with names that went their own way");
  script.unlink("b");
  script.create("b", "new");
  rest();
  await rig.assertEqual("with another file of the visible name");
  assert.equal(fs.readFileSync(join(rig.target, "a.o"), "utf8"), "2");
});

test("a folder that goes leaves what is ignored in it, which is told once", async (t) => {
  const { rig, script, rest, onTarget } = pair(
    t,
    (s, target) => {
      s.mkdir("d");
      s.mkdir("d/e");
      s.mkdir("d/f");
      s.create("d/e/x", "1");
      s.create("d/f/y", "1");
      target("d/e/t.o", "t");
      target("old/t.o", "t");
      target("old/z", "t");
    },
    { last: "*.o" },
  );
  assert.ok(onTarget("old/t.o") && !onTarget("old/z"));
  script.removeAll("d");
  rest();
  const left = fs.readdirSync(join(rig.target, "d"), { recursive: true }) as string[];
  assert.deepEqual(left.toSorted(), ["e", "e/t.o"]);
  rig.cutter.dirty.rescan = true;
  rest();
  assert.deepEqual(rig.problems.map(({ path, errno }) => `${path} ${errno}`).sort(), [
    "d ENOTEMPTY",
    "old ENOTEMPTY",
  ]);
  script.create("d", "a file now");
  rest();
  assert.ok(onTarget("d/e/t.o"));
  script.unlink("d");
  script.mkdir("d");
  script.create("d/x", "back");
  rest();
  assert.ok(onTarget("d/e/t.o"));
  await rig.assertEqual("with the folder back", (_, path) => path === "old" || path === "d/e");
});

test("a folder replaced by another keeps what is ignored in it", async (t) => {
  const { rig, script, onTarget } = pair(
    t,
    (s, target) => {
      s.mkdir("d");
      s.create("d/x", "1");
      s.mkdir("n");
      s.create("n/y", "1");
      target("d/t.o", "t");
    },
    { last: "*.o" },
  );
  script.removeAll("d");
  script.rename("n", "d");
  rig.settle();
  assert.deepEqual(fs.readdirSync(join(rig.target, "d")).sort(), ["t.o", "y"]);
  await rig.assertEqual("after the replacement");
  script.mkdir("m");
  script.rename("d", "m/d");
  rig.settle();
  assert.ok(onTarget("m/d/t.o"), "it moves with its folder");
  await rig.assertEqual("after the move");
});

test("a rule file that cannot be used leaves its folder alone until it can", async (t) => {
  const { rig, script, rest, onTarget } = pair(t, (s, target) => {
    s.mkdir("d");
    s.create(`d/${ruleFileName}`, "a\n".repeat(ruleBytesMax));
    s.create("d/x", "1");
    s.symlink("x", ruleFileName);
    s.create("y", "1");
    target("d/t", "t");
  });
  assert.ok(!onTarget("d/x") && !onTarget("y") && onTarget("d/t"));
  assert.match(rig.problems.map(({ path }) => path).join(), /\.lockstepignore/);
  await rig.assertEqual("while it cannot", (kind) => kind === "unreadable");
  script.unlink(ruleFileName);
  rest();
  assert.ok(onTarget("y") && !onTarget("d/x") && onTarget("d/t"));
  script.create(`d/${ruleFileName}`, "t\n[x\n");
  rest();
  assert.ok(onTarget("d/x") && onTarget("d/t"));
  assert.equal(rig.problems.filter(({ operation }) => operation.includes("line 2")).length, 1);
  await rig.assertEqual("when it can");
});

test("a rule file that can be read again counts again, also if nobody tells of it", (t) => {
  const { rig, script, rest, onTarget } = pair(t, (s, target) => {
    s.create(ruleFileName, "a\n".repeat(ruleBytesMax));
    s.create("x", "1");
    target(`${ruleFileName}/in-the-way`, "");
  });
  assert.ok(!onTarget("x"));
  fs.writeFileSync(script.at(ruleFileName), "a\n");
  rig.settle();
  assert.ok(!onTarget("x"));
  assert.ok(rig.cutter.rules.nextDueUs < Infinity, "it is tried again");
  rest();
  rest();
  assert.ok(onTarget("x"));
});

test("a rule file for which the target has no place is looked at now and then", (t) => {
  const { rig, script, rest, onTarget } = pair(
    t,
    (s, target) => {
      s.create(ruleFileName, "x\n");
      s.create("x", "1");
      target(`${ruleFileName}/t.own`, "t");
    },
    { last: "*.own" },
  );
  assert.ok(onTarget(`${ruleFileName}/t.own`) && !onTarget("x"));
  fs.writeFileSync(script.at(ruleFileName), "y\n");
  rest();
  assert.ok(!onTarget("x"));
  rest();
  assert.ok(onTarget("x"));
  assert.ok(rig.cutter.rules.nextDueUs < Infinity);
});

test("without rule files and patterns nothing is looked up", (t) => {
  const { rig, script } = pair(t, (s) => s.create("a", "1"));
  script.create("b", "1");
  rig.settle();
  assert.equal(rig.cutter.rules.isActive, false);
  assert.equal(rig.cutter.rules.nextDueUs, Infinity);
});

const somePatterns = ["n1?", "n7", "n12/", "/n3", "n2*/n5", "!n11", "!n13", "**/n4/", "n20", "*"];

/** Rules that come, change, move and go, among all the other changes. */
function randomRule(script: Script, pick: Pick): void {
  const folders = fs
    .readdirSync(script.rig.source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(script.rig.source.length + 1));
  const folder = pick(2) === 0 ? "" : (folders[pick(folders.length || 1)] ?? "");
  const file = folder === "" ? ruleFileName : `${folder}/${ruleFileName}`;
  const text = Array.from({ length: pick(4) }, () => somePatterns[pick(9 + pick(2))]).join("\n");
  try {
    if (pick(3) > 0) return script.create(file, text);
    if (pick(2) === 0) return script.unlink(file);
    script.create(`${file}.tmp`, text);
    script.rename(`${file}.tmp`, file);
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
  }
}

/** Entries of the target that only it has, and that are ignored wherever they are. */
function sentinelCount(rig: CutRig): number {
  const all = fs.readdirSync(rig.target, { recursive: true }) as string[];
  return all.filter((path) => path.endsWith(".own")).length;
}

async function fuzzRules(seed: number, rounds: number): Promise<void> {
  const pick = sequence(seed);
  const rig = new CutRig();
  const script = new Script(rig);
  try {
    rig.ignore = { first: pick(2) === 0 ? ["n9", "!n8"] : [], last: ["*.own"], readsFiles: true };
    // Deletions are held back at the start then, as they are in a sync.
    if (seed % 2 === 0) rig.maxDelete = { text: "", kind: "count", value: 1e6, countMin: 0 };
    for (let i = 0; i < 25; i++) randomChange(script, pick);
    for (let i = pick(4); i > 0; i--) randomRule(script, pick);
    if (pick(2) === 0) fs.cpSync(rig.source, rig.target, { recursive: true });
    fs.writeFileSync(join(rig.target, "a.own"), "");
    const entries = fs.readdirSync(rig.target, { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory());
    for (const { name } of folders) fs.writeFileSync(join(rig.target, name, "b.own"), "");
    rig.drain({ ...deafSink });
    rig.shuffle = disorder(pick);
    rig.start();
    const change = (): void => {
      if (pick(5) === 0) randomRule(script, pick);
      else randomChange(script, pick);
    };
    const judge = async (message: string): Promise<void> => {
      let budget = pick(2) * pick(20);
      rig.onRoom = rig.onDrain = () => {
        if (budget === 0 || pick(4) > 0) return;
        budget--;
        script.log.push("(in the midst)");
        change();
      };
      rig.settle();
      if (pick(2) === 0) rig.cutter.rules.settle(Infinity);
      rig.settle();
      rig.onRoom = rig.onDrain = () => {};
      rig.settle();
      for (let i = 0; i < 3; i++) {
        rig.cutter.rules.settle(Infinity);
        rig.settle();
      }
      const kept = rig.problems.filter(({ errno }) => errno === "ENOTEMPTY");
      // What ignored entries keep, and what they are in the way of.
      const isKept = (path: string): boolean =>
        kept.some((one) => path === one.path || path.startsWith(`${one.path}/`));
      await rig.assertEqual(message, (kind, path) => kind === "unreadable" || isKept(path));
      assert.equal(sentinelCount(rig), 1 + folders.length, `${message}: the target's own files`);
    };
    await judge("after the first epoch");
    for (let round = 0; round < rounds; round++) {
      script.log.push(`-- round ${round}`);
      for (let i = pick(12); i >= 0; i--) {
        change();
        if (pick(6) === 0) rig.settle();
      }
      await judge(`after round ${round}`);
    }
  } catch (cause) {
    const last = script.log.slice(-60).join("\n");
    throw new Error(`rules fuzz, seed ${seed}: ${String(cause)}\nafter\n${last}`, { cause });
  } finally {
    rig.end();
  }
}

test("whatever changes, what is visible is equal and what is ignored is left alone", async () => {
  const [from = 1, to = 30] = (process.env["LOCKSTEP_RULES_SEEDS"] ?? "1-30")
    .split("-")
    .map(Number);
  for (let seed = from; seed <= to; seed++) await fuzzRules(seed, 5);
});
