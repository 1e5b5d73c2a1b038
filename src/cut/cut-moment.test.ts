/** The moment that an epoch is said to be of: what was done before it is on the target. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { CutRig, Script } from "./cutter.fuzz.ts";

/** A live rig whose clock goes on with each write and each drain, and what was written when. */
class Watched {
  readonly rig: CutRig = new CutRig();
  readonly script: Script = new Script(this.rig);
  /** Moments of the epochs, and which of the writes the target did not have. */
  readonly told: { wallMs: number; lacking: readonly number[] }[] = [];
  readonly #writes: { path: string; position: number; value: number; wallMs: number }[] = [];

  constructor(context: TestContext, orderedBytes?: number) {
    const { rig, script } = this;
    context.after(() => rig.end());
    if (orderedBytes !== undefined) rig.orderedBytes = orderedBytes;
    rig.isHeld = true;
    for (const name of ["a", "b", "c"]) script.create(name, "nothing yet");
    rig.start();
    rig.settle();
    rig.onDrain = () => rig.wallMs++;
    rig.onCommit = () => {
      const lacking = this.#writes.filter((write) => !this.#has(write));
      const { wallMs } = rig.epochs.at(-1)!;
      this.told.push({ wallMs, lacking: lacking.map((write) => write.wallMs) });
    };
  }

  /** Each write has a place of its own, so that it can be seen later, too. */
  write(path: string, position: number, count = 1): void {
    const value = 1 + (this.#writes.length % 255);
    this.script.write(path, position, new Uint8Array(count).fill(value));
    this.#writes.push({ path, position: position + count - 1, value, wallMs: ++this.rig.wallMs });
  }

  #has({ path, position, value }: { path: string; position: number; value: number }): boolean {
    return fs.readFileSync(join(this.rig.target, path))[position] === value;
  }

  /** Of every epoch so far. */
  check(): void {
    for (const { wallMs, lacking } of this.told) {
      const wrong = lacking.filter((writtenMs) => writtenMs <= wallMs);
      assert.deepEqual(wrong, [], `written before ${wallMs}, and not there`);
    }
  }
}

test("what another file is told of while a cut is read is later than the cut", (context) => {
  const watched = new Watched(context);
  const { rig } = watched;
  watched.write("a", 0);
  watched.write("b", 0);
  let times = 0;
  // Between two tasks of the epoch: what was not read is left for the next one.
  rig.onRoom = () => {
    if (++times === 2) watched.write("c", 0);
  };
  rig.settle();
  assert.equal(watched.told.length, 2, "the third write is an epoch of its own");
  assert.equal(watched.told[0]?.lacking.length, 1);
  watched.check();
});

test("a cut that turns out to have everything is of the moment of its validation", (context) => {
  const watched = new Watched(context);
  watched.write("a", 0);
  const before = watched.rig.wallMs;
  watched.rig.settle();
  assert.equal(watched.told.length, 1);
  // It was drained once, planned, and drained again.
  assert.equal(watched.told[0]?.wallMs, before + 2);
});

test("a part of a file that is written in order is no later than the rest of it", (context) => {
  const watched = new Watched(context, 1000);
  const { rig } = watched;
  // Told at several moments: each part is of the last that it has all of.
  for (let at = 0; at < 10; at++) {
    watched.write("a", 11 + at * 500, 500);
    rig.drain(rig.cutter.dirty);
  }
  rig.settle();
  assert.ok(watched.told.length >= 4, "it goes in parts");
  assert.ok(watched.told[0]!.lacking.length > 0);
  watched.check();
  const moments = watched.told.map(({ wallMs }) => wallMs);
  assert.deepEqual(
    moments,
    [...moments].sort((a, b) => a - b),
  );
});

test("random writes amid cuts are never there too late", (context) => {
  const watched = new Watched(context, 600);
  const { rig } = watched;
  let state = 1;
  const below = (count: number): number => {
    state = (state * 48271) % 2147483647;
    return state % count;
  };
  let left = 250;
  const ends = { a: 11, b: 11, c: 11 };
  const writeSome = (): void => {
    if (left === 0 || below(3) > 0) return;
    left--;
    const path = (["a", "a", "a", "a", "b", "c"] as const)[below(6)]!;
    const count = 1 + below(400);
    watched.write(path, ends[path], count);
    ends[path] += count;
  };
  rig.onRoom = writeSome;
  const tick = rig.onDrain;
  rig.onDrain = () => {
    tick();
    writeSome();
  };
  while (left > 0) {
    writeSome();
    rig.settle();
  }
  assert.ok(watched.told.length > 20);
  watched.check();
});
