/**
 * Whenever a process dies, and those after it while they finish its work: the target is at last as
 * its source was after the last epoch that was recorded whole.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { SyncError } from "../base/index.ts";
import { nameWindow } from "./progress.ts";
import type { Recovery } from "./recover.ts";
import {
  Author,
  type Choice,
  type Epoch,
  Mortal,
  outline,
  type Plan,
  Subject,
} from "./crashes.fuzz.ts";
import { scratch } from "./crashes.fuzz.ts";

const deathsOfEach = 8;
const numRuns = 25;

/** One sequence of deaths. */
interface Fate {
  /** As parts of the calls that a whole life has. */
  readonly first: number;
  /** Calls until the next ones, each while it recovers. */
  readonly later: readonly number[];
  /** The last one that fails has no space instead. */
  readonly full: number | undefined;
}

const choice: fc.Arbitrary<Choice> = fc.tuple(
  fc.nat(15),
  fc.nat(1000),
  fc.nat(1000),
  fc.nat(100_000),
);
const epochs = fc.array(fc.array(choice, { minLength: 1, maxLength: 14 }), {
  minLength: 1,
  maxLength: 7,
});
const fate: fc.Arbitrary<Fate> = fc.record({
  first: fc.double({ min: 0, max: 1, noNaN: true }),
  later: fc.array(fc.nat(250), { maxLength: 3 }),
  full: fc.option(fc.nat(12), { nil: undefined }),
});
const fates = fc.array(fate, { minLength: deathsOfEach, maxLength: deathsOfEach });
const plan: fc.Arbitrary<Plan> = fc.record({
  durability: fc.constantFrom("process" as const, "power" as const),
  recordBytesMax: fc.constantFrom(1, 3000, 30_000, 1_048_576),
  groups: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 }),
  isSliced: fc.boolean(),
});

interface Made {
  readonly author: Author;
  readonly epochs: readonly Epoch[];
}

/** Each fate upon a folder of its own; `callCount` is of a life without one. */
function suffer(
  folder: string,
  { author, epochs: all }: Made,
  own: Plan,
  list: readonly Fate[],
): void {
  const whole = new Mortal(Infinity);
  const counting = new Subject(folder, "whole", own);
  const counted = new Mortal(Infinity);
  counting.live(counted, all);
  const { callCount } = counted;
  assert.equal(outline(counting.path), author.outlines[all.length], "without a crash");
  assert.equal(counting.recover(whole)?.redone, 0);
  counting.close();
  for (const [i, one] of list.entries()) {
    const subject = new Subject(folder, `subject${i}`, own);
    try {
      sufferOnce(subject, author, all, { ...one, first: Math.floor(one.first * callCount) });
    } catch (cause) {
      throw new Error(`${JSON.stringify(one)}: ${String(cause)}`, { cause });
    } finally {
      subject.close();
    }
  }
}

function sufferOnce(subject: Subject, author: Author, all: readonly Epoch[], one: Fate): void {
  subject.live(new Mortal(one.first), all);
  for (const lives of one.later) subject.recover(new Mortal(lives));
  if (one.full !== undefined) {
    try {
      subject.recover(new Mortal(one.full, true));
    } catch (error) {
      assert.ok(error instanceof SyncError && error.code === "TARGET_FULL", String(error));
    }
  }
  const found = subject.recover(new Mortal(Infinity))!;
  assert.equal(found.lost, "");
  const epoch = found.cut!.epoch;
  assert.ok(epoch >= subject.recorded && epoch <= subject.attempted, `epoch ${epoch}`);
  checkOutline(subject, author, found);
  const again = subject.recover(new Mortal(Infinity))!;
  assert.deepEqual(again, { cut: found.cut, redone: 0, lost: "" });
  checkOutline(subject, author, found);
}

/** Where nothing was redone a new file may have been linked: that is the root's time then. */
function checkOutline({ path }: Subject, author: Author, { cut, redone }: Recovery): void {
  const wanted = author.outlines[cut!.epoch]!;
  const rootTime = (text: string): string => text.replace(/^: \d+ \d+/, "");
  const [is, ought] = [outline(path), wanted];
  if (redone > 0) assert.equal(is, ought);
  else assert.equal(rootTime(is), rootTime(ought));
}

function withFolder(run: (folder: string) => void): void {
  const folder = scratch();
  try {
    run(folder);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

test("after deaths at any calls the target is as it was after the last recorded epoch", () => {
  fc.assert(
    fc.property(epochs, fates, plan, (choices, list, own) => {
      withFolder((folder) => {
        const author = new Author(folder);
        const all = [author.seed(), ...choices.map((each) => author.epoch(each))];
        author.close();
        suffer(folder, { author, epochs: all }, own, list);
      });
    }),
    { numRuns, includeErrorInReport: true },
  );
});

test("also when an epoch has more operations on names than are looked for", () => {
  withFolder((folder) => {
    const author = new Author(folder);
    const all = [author.seed(), author.manyNames(2 * nameWindow + 100)];
    author.close();
    for (const durability of ["process", "power"] as const) {
      const own: Plan = { durability, recordBytesMax: 1_048_576, groups: [1] };
      const whole = new Mortal(Infinity);
      const measured = new Subject(folder, "measured", own);
      measured.live(whole, all);
      measured.close();
      for (const part of [0.1, 0.45, 0.5, 0.7, 0.99]) {
        const first = Math.floor(part * whole.callCount);
        const counted = new Mortal(Infinity);
        const counting = new Subject(folder, "counting", own);
        counting.live(new Mortal(first), all);
        counting.recover(counted);
        counting.close();
        for (const later of [0.5, 0.8, 0.9]) {
          const subject = new Subject(folder, "subject", own);
          const callCount = Math.floor(counted.callCount * later);
          sufferOnce(subject, author, all, { first, later: [callCount], full: undefined });
          subject.close();
        }
      }
    }
  });
});

/** One of each kind. */
const everything: readonly (readonly Choice[])[] = [
  [
    [1, 1, 3, 40_000],
    [14, 1, 4, 3],
    [0, 2, 2, 9],
    [14, 2, 8, 2],
  ],
  [
    [7, 5, 3, 5003],
    [10, 0, 1, 6],
    [13, 0, 9, 0],
    [1, 2, 4, 70_000],
    [6, 100, 2, 1],
  ],
  [
    [2, 0, 1, 0],
    [8, 3, 5, 2],
    [13, 0, 2, 0],
    [3, 1, 3, 2],
    [14, 0, 7, 0],
  ],
];

test("no space while it is redone is an error, and nothing of what it needs is lost", () => {
  withFolder((folder) => {
    const author = new Author(folder);
    const epochsOfAll = [author.seed(), ...everything.map((each) => author.epoch(each))];
    author.close();
    let fullCount = 0;
    const own: Plan = { durability: "process", recordBytesMax: 1_048_576, groups: [2] };
    for (let first = 0; first < 400; first += 3) {
      const subject = new Subject(folder, `at${first}`, own);
      subject.live(new Mortal(first), epochsOfAll);
      for (let full = 0; full < 5; full++) {
        try {
          assert.equal(subject.recover(new Mortal(full, true))?.lost, "", `death at call ${first}`);
          break;
        } catch (error) {
          assert.ok(error instanceof SyncError && error.code === "TARGET_FULL", String(error));
          fullCount++;
        }
      }
      const found = subject.recover(new Mortal(Infinity))!;
      assert.equal(found.lost, "", `death at call ${first}`);
      checkOutline(subject, author, found);
      subject.close();
    }
    assert.ok(fullCount > 50, `${fullCount} times without space`);
  });
});

test("after another start of the machine only what was on its disk is believed", () => {
  withFolder((folder) => {
    const author = new Author(folder);
    const all = [author.seed(), ...everything.map((each) => author.epoch(each))];
    author.close();
    for (const durability of ["process", "power"] as const) {
      const own: Plan = { durability, recordBytesMax: 1_048_576, groups: [1] };
      const subject = new Subject(folder, durability, own);
      subject.live(new Mortal(150), all);
      const { recorded } = subject;
      assert.ok(recorded > 1);
      const found = subject.recover(new Mortal(Infinity), "another boot")!;
      if (durability === "power") {
        assert.equal(found.lost, "");
        checkOutline(subject, author, found);
      } else {
        assert.equal(found.cut, undefined);
        assert.match(found.lost, /started anew/);
        // Nor is it in the machine's own run, from then on.
        assert.deepEqual(subject.recover(new Mortal(Infinity)), {
          cut: undefined,
          redone: 0,
          lost: "",
        });
      }
      subject.close();
    }
  });
});

test("what is zeroed or copied of a file that was written ahead is", () => {
  withFolder((folder) => {
    const author = new Author(folder);
    const all = [author.seed(), author.aheadAndChanged(), author.aheadAndChanged()];
    author.close();
    const own: Plan = { durability: "process", recordBytesMax: 1_048_576, groups: [2] };
    for (let first = 0; first < 120; first++) {
      const subject = new Subject(folder, `at${first}`, own);
      sufferOnce(subject, author, all, { first, later: [], full: undefined });
      subject.close();
    }
  });
});

test("what was written ahead of the last epoch stays, however early redo begins", () => {
  withFolder((folder) => {
    const author = new Author(folder);
    const all = [author.seed(), ...author.comesAndGoes()];
    author.close();
    const own: Plan = { durability: "process", recordBytesMax: 1_048_576, groups: [1] };
    for (const [first, later] of lastDeaths(folder, all, own, 30)) {
      const subject = new Subject(folder, `at${first}`, own);
      sufferOnce(subject, author, all, { first, later, full: undefined });
      subject.close();
    }
  });
});

/** While the last of these epochs comes, and so many calls before that. */
function* lastDeaths(
  folder: string,
  all: readonly Epoch[],
  own: Plan,
  before: number,
): Generator<[first: number, later: number[]]> {
  const callsOf = (epochs: readonly Epoch[]): number => {
    const whole = new Mortal(Infinity);
    const subject = new Subject(folder, "measured", own);
    subject.live(whole, epochs);
    subject.close();
    return whole.callCount;
  };
  const [from, until] = [callsOf(all.slice(0, -1)), callsOf(all)];
  assert.ok(from < until);
  for (let first = from - before; first < until; first++) {
    yield [first, []];
    yield [first, [first % 60]];
  }
}

test("a folder that was just being removed has nothing to be written anew in what has gone", () => {
  withFolder((folder) => {
    const author = new Author(folder);
    const all = [author.seed(), ...author.folderThatGoes()];
    author.close();
    const own: Plan = { durability: "process", recordBytesMax: 1_048_576, groups: [1] };
    for (const [first, later] of lastDeaths(folder, all, own, 20)) {
      const subject = new Subject(folder, `at${first}`, own);
      sufferOnce(subject, author, all, { first, later, full: undefined });
      subject.close();
    }
  });
});
