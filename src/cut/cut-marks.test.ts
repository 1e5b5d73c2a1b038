/** Marks alone, and in a cutter on real files that change at random while it works. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { CutMarks } from "./cut-marks.ts";
import { CutRig, Script } from "./cutter.fuzz.ts";

function marked(marks: CutMarks): number[] {
  const epochs: number[] = [];
  marks.set((epoch) => epochs.push(epoch));
  return epochs;
}

test("a mark is covered by the epoch after the plan that took everything", () => {
  const marks = new CutMarks();
  const epochs = marked(marks);
  assert.equal(marks.isAnySet, true);
  marks.done(1, { rescan: false, putBackCount: 0 });
  assert.deepEqual(epochs, [], "what was planned before the mark is not what it stands for");
  marks.planned(0);
  assert.equal(marks.isAnySet, false);
  marks.done(2, { rescan: false, putBackCount: 0 });
  marks.done(3, { rescan: false, putBackCount: 0 });
  assert.deepEqual(epochs, [2]);
});

test("what is put back makes the mark wait for another plan", () => {
  const marks = new CutMarks();
  const epochs = marked(marks);
  marks.planned(5);
  marks.done(1, { rescan: false, putBackCount: 6 });
  assert.deepEqual(epochs, []);
  assert.equal(marks.isAnySet, true);
  marks.planned(6);
  marks.planned(7);
  marks.done(2, { rescan: false, putBackCount: 6 });
  assert.deepEqual(epochs, [2]);
});

test("a rescan that is still to come may be of what a mark stands for", () => {
  const marks = new CutMarks();
  const epochs = marked(marks);
  marks.planned(0);
  marks.done(1, { rescan: true, putBackCount: 0 });
  assert.deepEqual(epochs, []);
  marks.done(2, { rescan: false, putBackCount: 0 });
  assert.deepEqual(epochs, [2]);
});

test("a mark set while another is told is one of its own", () => {
  const marks = new CutMarks();
  let second: number[] = [];
  marks.set(() => (second = marked(marks)));
  marks.planned(0);
  marks.done(1, { rescan: false, putBackCount: 0 });
  assert.equal(marks.isAnySet, true);
  marks.rested(1);
  assert.deepEqual(second, [1]);
  assert.equal(marks.isAnySet, false);
});

interface Content {
  id: string;
  version: number;
}

/** Every file of the source says which one it is and how often it was written. */
class Counted {
  readonly script: Script;
  readonly pick: (count: number) => number;
  /** By id: where it is, and its version. */
  readonly files: Map<string, { path: string; version: number }> = new Map();
  readonly folders: string[] = [""];
  #names = 0;

  constructor(script: Script, pick: (count: number) => number) {
    this.script = script;
    this.pick = pick;
  }

  change(): void {
    const all = [...this.files];
    const [id, file] = all[this.pick(all.length)] ?? [];
    const kind = this.pick(9);
    if (file === undefined || id === undefined || kind === 0) return this.#make();
    if (kind === 1) return this.#mkdir();
    if (kind === 2) return this.#moveFolder();
    if (kind === 3) {
      const to = this.#fresh();
      this.script.rename(file.path, to);
      file.path = to;
      return;
    }
    file.version++;
    const text = this.#text(id, file.version);
    if (kind === 4) {
      this.script.create(`${file.path}.tmp`, text);
      this.script.rename(`${file.path}.tmp`, file.path);
    } else if (kind === 5) {
      this.script.append(file.path, Buffer.alloc(500, 120), this.pick(2) === 0);
      this.script.write(file.path, 0, Buffer.from(text.slice(0, 20)));
    } else {
      this.script.write(file.path, 0, Buffer.from(text.slice(0, 20)));
    }
  }

  #make(): void {
    const [path, id] = [this.#fresh(), `f${this.files.size}`];
    this.files.set(id, { path, version: 1 });
    this.script.create(path, this.#text(id, 1));
  }

  #mkdir(): void {
    const path = this.#fresh();
    this.folders.push(path);
    this.script.mkdir(path);
  }

  /** Only one that is in the root: then it is never moved into itself. */
  #moveFolder(): void {
    const top = this.folders.filter((path) => path !== "" && !path.includes("/"));
    const from = top[this.pick(top.length)];
    if (from === undefined) return;
    const to = `n${this.#names++}`;
    this.script.rename(from, to);
    const moved = (path: string): string =>
      path === from || path.startsWith(`${from}/`) ? to + path.slice(from.length) : path;
    for (const file of this.files.values()) file.path = moved(file.path);
    for (const [index, path] of this.folders.entries()) this.folders[index] = moved(path);
  }

  #fresh(): string {
    const folder = this.folders[this.pick(this.folders.length)] ?? "";
    return `${folder === "" ? "" : `${folder}/`}n${this.#names++}`;
  }

  /** 20 bytes say what it is; the rest makes it take a few steps, or not. */
  #text(id: string, version: number): string {
    return `${`${id} ${version} `.padEnd(20, "-")}${"x".repeat([0, 3000, 200_000][this.pick(3)]!)}`;
  }
}

function contentsBelow(folder: string): Content[] {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return contentsBelow(path);
    const [id = "", version = "0"] = fs.readFileSync(path, "latin1").slice(0, 20).split(" ");
    return [{ id, version: Number(version) }];
  });
}

/** Changes, steps and marks in any order; at a mark's epoch the target has what it stands for. */
function runMarks(steps: readonly number[], ordered: boolean, isHeld: boolean): number {
  const rig = new CutRig();
  let at = 0;
  // The numbers go round: how long a case is, they say; what happens in it, too.
  const pick = (count: number): number =>
    count === 0 ? 0 : (steps[at++ % steps.length]! + at * 7919) % count;
  let coveredCount = 0;
  let setCount = 0;
  try {
    const counted = new Counted(new Script(rig), pick);
    for (let i = 0; i < 6; i++) counted.change();
    if (ordered) rig.orderedBytes = 4096;
    rig.isHeld = isHeld;
    rig.start();
    rig.settle();
    const mark = (): void => {
      rig.drain(rig.cutter.dirty);
      const wanted = [...counted.files].map(([id, { version }]) => ({ id, version }));
      setCount++;
      rig.cutter.marks.set(() => {
        coveredCount++;
        const found = new Map(contentsBelow(rig.target).map(({ id, version }) => [id, version]));
        for (const { id, version } of wanted) {
          const there = found.get(id) ?? 0;
          assert.ok(there >= version, `${id} is there in version ${there} and not ${version}`);
        }
      });
    };
    for (const step of steps) {
      for (let i = step % 5; i > 0; i--) counted.change();
      let budget = pick(6);
      rig.onRoom = () => {
        if (budget > 0 && pick(5) === 0 && budget-- > 0) counted.change();
        // The step ends here, in the midst of an epoch.
        if (pick(9) === 0) rig.isPaused = true;
      };
      rig.onDrain = () => {
        if (budget > 0 && pick(2) === 0 && budget-- > 0) counted.change();
      };
      if (pick(2) === 0) mark();
      rig.settle();
      rig.isPaused = false;
      if (pick(3) === 0) mark();
    }
    rig.onRoom = rig.onDrain = () => {};
    rig.settle();
    assert.equal(coveredCount, setCount, "every mark is covered, and once");
    return coveredCount;
  } finally {
    rig.end();
  }
}

test("at a mark's epoch the target has everything that was written before the mark", () => {
  let coveredCount = 0;
  fc.assert(
    fc.property(
      fc.array(fc.nat(999_983), { minLength: 5, maxLength: 25 }),
      fc.boolean(),
      fc.boolean(),
      (steps, ordered, isHeld) => {
        coveredCount += runMarks(steps, ordered, isHeld);
      },
    ),
    { numRuns: 60 },
  );
  assert.ok(coveredCount > 300, `${coveredCount} marks are few`);
});

test("a mark is reached although something changes in every epoch", (context) => {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  script.create("a", Buffer.alloc(100_000));
  script.create("b", "b");
  rig.start();
  rig.settle();
  script.write("a", 0, Buffer.alloc(90_000, 1));
  rig.drain(rig.cutter.dirty);
  const epochs = marked(rig.cutter.marks);
  // Hammered at the same place, without a pause: no epoch can be closed at a moment.
  let writes = 0;
  rig.onDrain = () => {
    if (++writes < 200) script.write("a", 0, Buffer.alloc(50_000, writes));
  };
  rig.onCommit = () => {
    rig.isPaused = true;
  };
  const first = rig.epochs.length;
  rig.settle();
  assert.equal(rig.epochs.at(-1)!.fuzzy, true);
  assert.deepEqual(epochs, [rig.epochs.length]);
  assert.equal(rig.epochs.length, first + 1);
});

test("a file that is written in order is taken whole when somebody waits for it", (context) => {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  rig.orderedBytes = 1000;
  script.create("a", "");
  rig.start();
  rig.settle();
  const append = (count: number): void => {
    for (let i = 0; i < count; i++) script.append("a", Buffer.alloc(1000, 65 + i), true);
  };
  append(8);
  rig.drain(rig.cutter.dirty);
  const epochs = marked(rig.cutter.marks);
  let size = 0;
  rig.onCommit = () => {
    size ||= fs.statSync(join(rig.target, "a")).size;
    // The writer goes on, and is always ahead.
    if (rig.epochs.length < 30) append(3);
  };
  rig.settle();
  assert.equal(epochs.length, 1);
  assert.ok(size >= 8000, `the first epoch has ${size} bytes`);
});
