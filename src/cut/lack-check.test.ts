/** Calls that are under way while a cut is taken: capture tells of them when they have ended. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { WasRead } from "../capture/index.ts";
import { CutRig, Script } from "./cutter.fuzz.ts";
import { lackRoundCountMax } from "./limits.ts";

function at(folder: string, name: string): string {
  return fs.readFileSync(join(folder, name), "latin1");
}

const bytes = (text: string): Buffer => Buffer.from(text);

/** Two files that are equal; whoever writes both writes "first" first. */
function live(context: TestContext, prepare: (rig: CutRig) => void = () => {}) {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  rig.isHeld = true;
  prepare(rig);
  for (const name of ["first", "second", "third"]) script.create(name, "0");
  rig.start();
  rig.settle();
  const wrong: string[] = [];
  rig.onCommit = () => {
    const [first, second] = [at(rig.target, "first"), at(rig.target, "second")];
    const isFuzzy = rig.epochs.at(-1)!.fuzzy;
    if (second > first && !isFuzzy) wrong.push(`${second} after ${first}`);
  };
  rig.epochs.length = 0;
  return { rig, script, wrong };
}

/**
 * While "second" is about to be read "first" is written, and then "second", by a call that has not
 * returned yet: `isTold` says whether it has by the time that capture is asked for it.
 */
function tear(rig: CutRig, script: Script): { end: () => void; asked: number[] } {
  const asked: number[] = [];
  let begunAt = -1;
  const id = rig.identity(script.at("second"));
  rig.isUnderWay = (since: number, wasRead: WasRead) => {
    asked.push(since);
    return begunAt >= since && wasRead(...id, 0);
  };
  rig.onRoom = () => {
    rig.onRoom = () => {};
    script.write("first", 0, bytes("2"));
    // Nobody is told yet.
    fs.writeFileSync(script.at("second"), "2");
    begunAt = rig.lookCount - 1;
  };
  script.write("second", 0, bytes("1"));
  const end = (): void => {
    begunAt = -1;
    script.write("second", 0, bytes("2"));
  };
  return { end, asked };
}

test("what a call under way has written comes with what was before it", async (context) => {
  for (const kind of ["known", "unknown", "read hot"]) {
    const { rig, script, wrong } = live(context, (of) => {
      of.knowsCalls = kind !== "unknown";
      of.readsHot = kind === "read hot";
    });
    const { end } = tear(rig, script);
    rig.settle();
    assert.equal(at(rig.target, "second"), "2", `${kind}: it was read`);
    end();
    rig.settle();
    assert.deepEqual(wrong, [], kind);
    assert.ok(
      rig.epochs.every((epoch) => !epoch.fuzzy),
      `${kind}: what was written before has come with it`,
    );
    await rig.assertEqual(kind);
  }
});

test("a call that has returned meanwhile is a conflict", async (context) => {
  const { rig, script, wrong } = live(context);
  const { end } = tear(rig, script);
  const { isUnderWay } = rig;
  rig.isUnderWay = (since, wasRead) => {
    rig.isUnderWay = isUnderWay;
    const mayBeRead = isUnderWay(since, wasRead);
    if (mayBeRead) end();
    return false;
  };
  rig.settle();
  assert.deepEqual(wrong, []);
  assert.equal(at(rig.target, "second"), "2");
  await rig.assertEqual("afterwards");
});

test("an epoch that may lack something after some rounds is fuzzy, and counted", (context) => {
  const { rig, script } = live(context);
  const names = Array.from({ length: 4 * lackRoundCountMax }, (_, i) => `f${i}`);
  for (const name of names) script.create(name, "0");
  rig.settle();
  rig.epochs.length = 0;
  rig.isUnderWay = () => true;
  rig.onDrain = () => {
    const name = names.pop();
    if (name !== undefined) script.write(name, 0, bytes("1"));
  };
  script.write("second", 0, bytes("1"));
  rig.settle();
  const fuzzy = rig.epochs.filter((epoch) => epoch.fuzzy).length;
  assert.ok(fuzzy > 0);
  assert.equal(rig.cutter.counters.fuzzyEpochs, fuzzy);
  assert.ok(rig.epochs.at(-1)?.fuzzy === false, "nothing was left in the end");
});

test("nobody is asked while nothing is left, and else since the look planned by", (context) => {
  const { rig, script } = live(context);
  const asked: number[] = [];
  rig.isUnderWay = (since) => {
    asked.push(since);
    return false;
  };
  for (let i = 0; i < 5; i++) {
    script.write("second", 0, bytes(`${i}`));
    rig.settle();
  }
  assert.deepEqual(asked, []);
  let look = -1;
  rig.onRoom = () => {
    rig.onRoom = () => {};
    look = rig.lookCount - 1;
    script.write("first", 0, bytes("9"));
  };
  script.write("second", 0, bytes("9"));
  rig.settle();
  assert.deepEqual(asked, [look]);
});

test("a part of a file is asked for since nothing was left, as far as it was read", (context) => {
  const { rig, script } = live(context, (of) => (of.orderedBytes = 1000));
  const asked: [number, boolean, boolean][] = [];
  const second = rig.identity(script.at("second"));
  const first = rig.lookCount;
  rig.isUnderWay = (since, wasRead) => {
    asked.push([since, wasRead(...second, 999), wasRead(...second, 3000)]);
    return false;
  };
  script.write("second", 0, Buffer.alloc(4000, 1));
  rig.settle();
  assert.ok(rig.epochs.length >= 4, "it was sent in parts");
  assert.ok(asked.length >= 3);
  assert.ok(
    asked.every(([since]) => since <= first),
    "what is left was told then",
  );
  assert.deepEqual(asked[0]!.slice(1), [true, false]);
});
