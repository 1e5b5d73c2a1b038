/** The contract of a channel, for both kinds: whatever carries the messages, the rules are one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Graph, Rx, Tx } from "../../src/actor/index.ts";
import { AssertionError, SyncError } from "../../src/base/index.ts";
import { makeGraph } from "./actor-rig.ts";

interface Kind {
  readonly name: string;
  make(graph: Graph): { readonly tx: Tx<Uint8Array>; readonly rx: Rx<Uint8Array> };
}

const bounds = { name: "frames", capacity: 3, sampleEvery: 2 };
const kinds: readonly Kind[] = [
  { name: "channel", make: (graph) => graph.channel<Uint8Array>(bounds) },
  {
    name: "weighted channel",
    make: (graph) =>
      graph.channel<Uint8Array>({ ...bounds, weigh: (frame) => frame.length, weightMax: 64 }),
  },
  {
    name: "byte ring",
    make: (graph) => graph.byteChannel({ ...bounds, capacityBytes: 64, frameBytesMax: 16 }),
  },
];

const frame = (id: number): Uint8Array => Uint8Array.of(id, id);

for (const { name, make } of kinds) {
  test(`${name}: in order, exactly once, peek leaves and commit takes`, () => {
    const { tx, rx } = make(makeGraph().graph);
    for (let id = 0; id < 50; id += 2) {
      tx.send(frame(id));
      tx.send(frame(id + 1));
      assert.equal(rx.available(), 2);
      assert.deepEqual([...rx.peek(1)], [id + 1, id + 1]);
      assert.deepEqual([...rx.peek(0)], [id, id]);
      assert.deepEqual([...rx.peek(0)], [id, id]);
      rx.commit(1);
      assert.deepEqual([...rx.peek(0)], [id + 1, id + 1]);
      rx.commit(1);
      assert.equal(rx.available(), 0);
    }
  });

  test(`${name}: bounded by its capacity, and it refuses instead of dropping`, () => {
    const { tx, rx } = make(makeGraph().graph);
    for (const id of [1, 2, 3]) assert.equal(tx.trySend(frame(id)), true);
    assert.equal(tx.vacant(), 0);
    assert.equal(tx.fits(frame(4)), false);
    assert.equal(tx.trySend(frame(4)), false);
    assert.throws(() => {
      tx.send(frame(4));
    }, AssertionError);
    rx.commit(1);
    assert.equal(tx.vacant(), 1);
    tx.send(frame(4));
    assert.deepEqual([...rx.peek(2)], [4, 4]);
  });

  test(`${name}: misuse of the receiving end is a bug`, () => {
    const { tx, rx } = make(makeGraph().graph);
    tx.send(frame(1));
    assert.throws(() => rx.peek(1), AssertionError);
    assert.throws(() => {
      rx.commit(2);
    }, AssertionError);
    assert.equal(rx.available(), 1);
  });

  test(`${name}: close lets the rest through, then is the end`, () => {
    const { tx, rx } = make(makeGraph().graph);
    tx.send(frame(1));
    tx.close();
    tx.close();
    assert.equal(rx.isClosedAndEmpty(), false);
    assert.throws(
      () => tx.trySend(frame(2)),
      (error) => error instanceof SyncError && error.code === "CHANNEL_CLOSED",
    );
    rx.commit(1);
    assert.equal(rx.isClosedAndEmpty(), true);
  });

  test(`${name}: a sender that was refused runs again when there is room`, () => {
    const { graph, clock } = makeGraph();
    const { tx, rx } = make(graph);
    let nextId = 0;
    graph.actor({
      name: "sender",
      troupe: "all",
      receives: [],
      sends: [tx],
      state: () => undefined,
      behaviour: {
        step: () => {
          while (nextId < 9 && tx.trySend(frame(nextId))) nextId += 1;
        },
      },
    });
    graph.start();
    const got: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      clock.runDue();
      got.push(rx.peek(0)[0] ?? -1);
      rx.commit(1);
    }
    assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test(`${name}: counters tell what went through`, () => {
    const { graph, clock } = makeGraph();
    const { tx, rx } = make(graph);
    for (const id of [1, 2, 3]) tx.send(frame(id));
    clock.advance(4);
    rx.commit(2);
    const counters = rx.joint.counters();
    assert.equal(counters.sentCount, 3);
    assert.equal(counters.committedCount, 2);
    assert.equal(counters.fill, 1);
    assert.equal(counters.fillHighWater, 3);
    assert.equal(counters.latency.sampleCount, 1);
    assert.equal(counters.latency.maxUs, 4000);
  });
}
