/** The byte ring against an array model, with producers and consumers that die and come back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AssertionError } from "../base/index.ts";
import { FakeClock } from "../world/index.ts";
import { ByteChannel, makeByteRingMemory } from "./byte-ring.ts";
import { Party } from "./port.ts";

const clock = new FakeClock({ startUs: 0, wallStartMs: 0, eventsMax: 10 });
const frameBytesMax = 13;

type Action =
  | { readonly kind: "send"; readonly frameBytes: number }
  | { readonly kind: "commit"; readonly count: number }
  | { readonly kind: "settle" | "withdraw" | "producerDies" | "consumerDies" };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("send" as const), frameBytes: fc.nat(13) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("commit" as const), count: fc.nat(4) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("settle", "settle", "withdraw", "producerDies", "consumerDies"),
    }),
  },
);

const owner = (): Party => new Party(() => undefined);

test("a ring equals an array, whoever dies when", () => {
  const capacity = fc.integer({ min: 1, max: 9 });
  const arena = fc.integer({ min: 26, max: 100 });
  fc.assert(
    fc.property(
      capacity,
      arena,
      fc.array(action, { maxLength: 200, size: "max" }),
      (most, bytes, list) => {
        const options = { name: "model", capacity: most, capacityBytes: bytes, frameBytesMax };
        const memory = makeByteRingMemory({ ...options, sampleEvery: 2 });
        const attach = (): ByteChannel => {
          const channel = new ByteChannel(memory, clock);
          channel.bindProducer(owner());
          return channel;
        };
        let producer = attach();
        let consumer = new ByteChannel(memory, clock);
        const visible: number[][] = [];
        let pending: number[][] = [];
        for (const [id, step] of list.entries()) {
          if (step.kind === "send") {
            const frame = Array.from({ length: step.frameBytes }, (_, index) => (id + index) & 255);
            const sure = producer.tx.vacant() > 0;
            const sent = producer.tx.trySend(Uint8Array.from(frame));
            assert.ok(sent || !sure, "vacant() promises room for the longest frame");
            const heldCount = visible.length + pending.length;
            if (heldCount === 0) assert.ok(sent, "an empty ring takes any frame");
            assert.ok(!sent || heldCount < most, "bounded by frames");
            if (sent) pending.push(frame);
          } else if (step.kind === "commit") {
            const count = Math.min(step.count, visible.length);
            consumer.rx.commit(count);
            visible.splice(0, count);
          } else if (step.kind === "settle") {
            producer.settle();
            visible.push(...pending);
            pending = [];
          } else if (step.kind === "consumerDies") {
            consumer = new ByteChannel(memory, clock);
          } else {
            if (step.kind === "withdraw") producer.withdraw();
            else producer = attach();
            pending = [];
          }
          const { rx } = consumer;
          const seen = Array.from({ length: rx.available() }, (_, index) => [...rx.peek(index)]);
          assert.deepEqual(seen, visible);
          const counters = consumer.counters();
          assert.equal(counters.sentCount - counters.committedCount, visible.length);
        }
      },
    ),
  );
});

test("vacant() never promises more longest frames than fit", () => {
  const counts = fc.array(fc.tuple(fc.nat(13), fc.boolean()), { maxLength: 60, size: "max" });
  fc.assert(
    fc.property(counts, (history) => {
      const options = { name: "room", capacity: 64, capacityBytes: 64, frameBytesMax };
      const ring = new ByteChannel(makeByteRingMemory({ ...options, sampleEvery: 9 }), clock);
      for (const [frameBytes, commits] of history) {
        ring.tx.trySend(new Uint8Array(frameBytes));
        if (commits && ring.rx.available() > 0) ring.rx.commit(1);
      }
      const longest = new Uint8Array(frameBytesMax);
      const promised = ring.tx.vacant();
      for (let count = 0; count < promised; count += 1) ring.tx.send(longest);
    }),
  );
});

test("sequence numbers and positions wrap without harm", () => {
  const options = { name: "wrap", capacity: 4, capacityBytes: 32, frameBytesMax };
  const memory = makeByteRingMemory({ ...options, sampleEvery: 1 });
  // Both sequence numbers just below 2^31, as after two thousand million frames.
  const words = new Int32Array(memory.shared);
  words[0] = 0x7fff_fffe;
  words[16] = 0x7fff_fffe;
  const ring = new ByteChannel(memory, clock);
  for (let id = 0; id < 10; id += 1) {
    ring.tx.send(Uint8Array.of(id));
    ring.tx.send(Uint8Array.of(id, id));
    assert.equal(ring.rx.available(), 2);
    assert.deepEqual([...ring.rx.peek(1)], [id, id]);
    ring.rx.commit(2);
  }
  assert.throws(() => ring.tx.trySend(new Uint8Array(14)), AssertionError);
});
