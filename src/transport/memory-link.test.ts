import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeClock } from "../world/index.ts";
import { MEMORY_DELIVERIES_MAX } from "./limits.ts";
import type { Link, LinkHandlers } from "./link.ts";
import { memoryLinkPair } from "./memory-link.ts";

const limits = { highWaterBytes: 100, bufferedBytesMax: 10_000, lingerMs: 50 };

function pair(): { clock: FakeClock; near: Link; far: Link } {
  const clock = new FakeClock({ startUs: 0, wallStartMs: 0, eventsMax: 10_000 });
  const [near, far] = memoryLinkPair({ clock, limits });
  return { clock, near, far };
}

const nothing: LinkHandlers = {
  onData: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
};

describe("memory link", () => {
  it("delivers inside send when the receiver is idle, the very bytes", () => {
    const { clock, near, far } = pair();
    let got: Uint8Array | undefined;
    near.start(nothing);
    far.start({ ...nothing, onData: (bytes) => (got = bytes) });
    clock.runDue();
    const bytes = Uint8Array.of(1, 2, 3);
    assert.equal(near.send(bytes), true);
    assert.equal(got, bytes);
    assert.equal(near.bufferedBytes, 0);
  });

  it("an answer to a sender that is still inside send waits for a later turn", () => {
    const { clock, near, far } = pair();
    const seen: string[] = [];
    near.start({ ...nothing, onData: () => seen.push("answer") });
    far.start({
      ...nothing,
      onData: () => {
        far.send(Uint8Array.of(2));
        seen.push("question");
      },
    });
    clock.runDue();
    near.send(Uint8Array.of(1));
    seen.push("sent");
    assert.deepEqual(seen, ["question", "sent"]);
    clock.runDue();
    assert.deepEqual(seen, ["question", "sent", "answer"]);
  });

  it("two sides that answer for ever yield to the event loop", () => {
    const { clock, near, far } = pair();
    let count = 0;
    const answering = (link: Link) => ({
      ...nothing,
      onData: () => {
        count += 1;
        if (count < 5_000) link.send(Uint8Array.of(1));
      },
    });
    near.start(answering(near));
    far.start(answering(far));
    clock.runDue();
    let turns = 0;
    const tick = () => {
      turns += 1;
      if (count < 5_000) clock.defer(tick);
    };
    clock.defer(tick);
    near.send(Uint8Array.of(1));
    assert.ok(count <= MEMORY_DELIVERIES_MAX);
    clock.runDue();
    assert.equal(count, 5_000);
    assert.ok(turns >= Math.floor(5_000 / MEMORY_DELIVERIES_MAX) - 1, `${turns} turns`);
  });

  it("onDrain comes at half the high water mark, once", () => {
    const { clock, near, far } = pair();
    let drains = 0;
    let taken = 0;
    near.start({ ...nothing, onDrain: () => (drains += 1) });
    far.start({
      ...nothing,
      onData: () => {
        taken += 1;
        if (taken < 4) far.pause();
      },
    });
    far.pause();
    clock.runDue();
    for (const expected of [true, true, false, false]) {
      assert.equal(near.send(new Uint8Array(50)), expected);
    }
    assert.equal(near.bufferedBytes, 200);
    for (const expected of [0, 0, 1, 1]) {
      far.resume();
      clock.runDue();
      assert.equal(drains, expected, `after ${taken}`);
    }
    assert.equal(near.send(new Uint8Array(1)), true);
  });

  it("the linger time cuts both sides of a close that the peer does not take", () => {
    const { clock, near, far } = pair();
    const codes: (string | undefined)[] = [];
    const recording = {
      ...nothing,
      onClose: (error?: { code: string }) => codes.push(error?.code),
    };
    near.start(recording);
    far.start(recording);
    far.pause();
    clock.runDue();
    near.send(new Uint8Array(10));
    near.close();
    clock.advance(49);
    assert.deepEqual(codes, []);
    clock.advance(2);
    assert.deepEqual(codes, ["LINK_LOST", "LINK_LOST"]);
  });

  it("a handler that throws does not jam the link", () => {
    const { clock, near, far } = pair();
    let count = 0;
    near.start(nothing);
    far.start({
      ...nothing,
      onData: () => {
        count += 1;
        if (count === 1) throw new Error("bug");
      },
    });
    clock.runDue();
    assert.throws(() => near.send(Uint8Array.of(1)), /bug/);
    near.send(Uint8Array.of(2));
    assert.equal(count, 2);
  });
});
