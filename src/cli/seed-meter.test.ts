import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SeedMeter } from "./seed-meter.ts";

test("amounts never go back nor beyond the whole, whatever is sampled", () => {
  const number = fc.nat(1000);
  const whole = fc.record({ files: number, bytes: number, isComplete: fc.boolean() });
  const sample = fc.record({
    filesDone: number,
    contentBytes: number,
    whole: fc.option(whole, { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(sample), (samples) => {
      const meter = new SeedMeter();
      let before = { files: 0, contentBytes: 0 };
      for (const [index, each] of samples.entries()) {
        const now = meter.sample({ ...each, seconds: index / 2 });
        assert.ok(now.files >= before.files && now.contentBytes >= before.contentBytes);
        assert.ok(now.files <= (now.filesTotal ?? Infinity));
        assert.ok(now.contentBytes <= (now.contentBytesTotal ?? Infinity));
        assert.ok((now.secondsLeft ?? 0) >= 0 && (now.bytesPerSecond ?? 0) >= 0);
        before = now;
      }
    }),
  );
});

test("the rate is that of the last five seconds", () => {
  const meter = new SeedMeter();
  const none = { filesDone: 0, whole: undefined };
  assert.equal(meter.sample({ ...none, seconds: 0, contentBytes: 0 }).bytesPerSecond, undefined);
  let rate: number | undefined;
  for (let i = 1; i <= 10; i++) {
    rate = meter.sample({ ...none, seconds: i / 2, contentBytes: i * 500 }).bytesPerSecond;
    assert.equal(rate, 1000);
  }
  for (let i = 11; i <= 20; i++) {
    rate = meter.sample({ ...none, seconds: i / 2, contentBytes: 5000 }).bytesPerSecond;
  }
  assert.equal(rate, 0);
});

test("a count that is behind what is done is no total", () => {
  const meter = new SeedMeter();
  const whole = { files: 4, bytes: 90, isComplete: false };
  const at = (isComplete: boolean): (number | undefined)[] => {
    const sample = { seconds: 1, filesDone: 5, contentBytes: 80 };
    const now = meter.sample({ ...sample, whole: { ...whole, isComplete } });
    return [now.filesTotal, now.contentBytesTotal];
  };
  assert.deepEqual(at(false), [undefined, 90]);
  assert.deepEqual(at(true), [5, 90]);
});

test("the time left is told when the whole is known and something moves", () => {
  const bytes = 10_000_000;
  const whole = { files: 1, bytes, isComplete: false };
  const meter = new SeedMeter();
  const at = (seconds: number, isComplete: boolean): number | undefined =>
    meter.sample({
      seconds,
      filesDone: 0,
      contentBytes: seconds * 1_000_000,
      whole: { ...whole, isComplete },
    }).secondsLeft;
  assert.deepEqual([at(0, true), at(1, true)], [undefined, undefined]);
  assert.equal(at(2, false), undefined);
  // What the last file costs besides its content counts a little.
  assert.equal(at(3, true), 8);
  const halted = new SeedMeter();
  for (const seconds of [0, 2, 4]) {
    const complete = { ...whole, isComplete: true };
    const now = halted.sample({ seconds, filesDone: 0, contentBytes: 0, whole: complete });
    assert.equal(now.secondsLeft, undefined);
  }
});

test("empty files take time, too", () => {
  const meter = new SeedMeter();
  const whole = { files: 100, bytes: 0, isComplete: true };
  meter.sample({ seconds: 0, filesDone: 0, contentBytes: 0, whole });
  const now = meter.sample({ seconds: 4, filesDone: 40, contentBytes: 0, whole });
  assert.equal(now.secondsLeft, 6);
});

test("at the end the whole is what was done", () => {
  const meter = new SeedMeter();
  const whole = { files: 9, bytes: 90, isComplete: false };
  meter.sample({ seconds: 0, filesDone: 3, contentBytes: 30, whole });
  const end = meter.finish({ seconds: 1, filesDone: 8, contentBytes: 80 });
  assert.deepEqual(end, {
    files: 8,
    contentBytes: 80,
    filesTotal: 8,
    contentBytesTotal: 80,
    isWhole: true,
    bytesPerSecond: 50,
    secondsLeft: 0,
  });
});
