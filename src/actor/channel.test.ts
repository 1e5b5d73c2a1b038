/** The channel against an array model; weights, withdrawal, latency samples. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AssertionError, SyncError } from "../base/index.ts";
import { FakeClock } from "../world/index.ts";
import { Channel } from "./channel.ts";

const clock = new FakeClock({ startUs: 0, wallStartMs: 0, eventsMax: 10 });
const weightMax = 20;

type Action =
  | { readonly kind: "send"; readonly weight: number }
  | { readonly kind: "commit"; readonly count: number }
  | { readonly kind: "settle" | "withdraw" };

const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant("send" as const), weight: fc.integer({ min: 0, max: 30 }) }),
  fc.record({ kind: fc.constant("commit" as const), count: fc.nat({ max: 3 }) }),
  fc.record({ kind: fc.constantFrom("settle" as const, "withdraw" as const) }),
);

interface Message {
  readonly id: number;
  readonly weight: number;
}

test("any sequence of sends, commits and withdrawals equals an array with bounds", () => {
  const capacity = fc.integer({ min: 1, max: 9 });
  fc.assert(
    fc.property(
      capacity,
      fc.boolean(),
      fc.array(action, { maxLength: 200, size: "max" }),
      (most, weighs, list) => {
        const options = { name: "model", capacity: most, sampleEvery: 2 };
        const weights = { weigh: (message: Message) => message.weight, weightMax };
        const channel = new Channel<Message>(weighs ? { ...options, ...weights } : options, clock);
        const model: Message[] = [];
        let settledCount = 0;
        let sentCount = 0;
        let highWater = 0;
        const weight = (): number => model.reduce((sum, message) => sum + message.weight, 0);
        for (const [id, step] of list.entries()) {
          if (step.kind === "send") {
            const message = { id, weight: step.weight };
            const byWeight = !weighs || model.length === 0 || weight() + step.weight <= weightMax;
            const fits = model.length < most && byWeight;
            assert.equal(channel.fits(message), fits);
            assert.equal(channel.trySend(message), fits);
            if (fits) model.push(message);
            if (fits) sentCount += 1;
          } else if (step.kind === "commit") {
            const count = Math.min(step.count, model.length);
            channel.commit(count);
            model.splice(0, count);
            settledCount = Math.max(0, settledCount - count);
          } else if (step.kind === "settle") {
            channel.settle();
            settledCount = model.length;
          } else {
            channel.withdraw();
            sentCount -= model.length - settledCount;
            model.length = settledCount;
          }
          highWater = Math.max(highWater, model.length);
          const seen = Array.from({ length: channel.available() }, (_, index) =>
            channel.peek(index),
          );
          assert.deepEqual(seen, model);
          const full = weighs && model.length > 0 && weight() >= weightMax;
          assert.equal(channel.vacant(), full ? 0 : most - model.length);
          const counters = channel.counters();
          assert.equal(counters.fill, model.length);
          assert.equal(counters.weight, weighs ? weight() : 0);
          assert.equal(counters.fillHighWater, highWater);
          assert.equal(counters.sentCount, sentCount);
          assert.equal(counters.sentCount - counters.committedCount, model.length);
        }
      },
    ),
  );
});

test("a full channel refuses, and sending into it all the same is a bug", () => {
  const channel = new Channel<number>({ name: "full", capacity: 3, sampleEvery: 1 }, clock);
  for (const value of [1, 2, 3]) channel.send(value);
  assert.equal(channel.vacant(), 0);
  assert.equal(channel.trySend(4), false);
  assert.throws(() => {
    channel.send(4);
  }, AssertionError);
  assert.equal(channel.available(), 3);
});

test("a message heavier than the bound passes through an empty channel, alone", () => {
  const options = { name: "heavy", capacity: 8, sampleEvery: 1, weightMax: 10 };
  const channel = new Channel<number>({ ...options, weigh: (value) => value }, clock);
  channel.send(99);
  assert.equal(channel.vacant(), 0);
  assert.equal(channel.trySend(1), false);
  channel.commit(1);
  channel.send(4);
  assert.equal(channel.fits(7), false);
  assert.equal(channel.fits(6), true);
});

test("peek and commit beyond the end are bugs; a closed channel drains, then is at its end", () => {
  const channel = new Channel<number>({ name: "end", capacity: 2, sampleEvery: 1 }, clock);
  channel.send(1);
  assert.throws(() => channel.peek(1), AssertionError);
  assert.throws(() => {
    channel.commit(2);
  }, AssertionError);
  channel.close();
  channel.close();
  assert.equal(channel.isClosedAndEmpty(), false);
  assert.throws(
    () => channel.trySend(2),
    (error) => error instanceof SyncError && error.code === "CHANNEL_CLOSED",
  );
  channel.commit(1);
  assert.equal(channel.isClosedAndEmpty(), true);
});

test("one message in sampleEvery is timed, from send to commit", () => {
  const time = new FakeClock({ startUs: 0, wallStartMs: 0, eventsMax: 10 });
  const channel = new Channel<number>({ name: "timed", capacity: 4, sampleEvery: 3 }, time);
  for (let index = 0; index < 6; index += 1) {
    channel.send(index);
    time.advance(index === 3 ? 8 : 1);
    channel.commit(1);
  }
  const { latency } = channel.counters();
  assert.equal(latency.sampleCount, 2);
  assert.equal(latency.maxUs, 8000);
});
