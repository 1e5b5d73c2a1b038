/**
 * Random graphs of actors that crash at random places: every message arrives exactly once at the
 * end of each path, whatever the capacities, the budget of a turn and the moments of the crashes.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { makeGraph } from "../../test/contract/actor-rig.ts";
import type { Graph } from "./graph.ts";
import type { AnyRx, AnyTx } from "./port.ts";

interface Shape {
  /** Index of the upstream node of each node after the first; one tree, so paths are unique. */
  readonly parents: readonly number[];
  readonly capacities: readonly number[];
  readonly batches: readonly number[];
  readonly messageCount: number;
  readonly stepsPerTurnMax: number;
  /** At each decision: crash when zero. Used up in turn, then no more crashes. */
  readonly dice: readonly number[];
  readonly useBytes: boolean;
}

const shape: fc.Arbitrary<Shape> = fc.record({
  parents: fc.array(fc.nat(1000), { minLength: 1, maxLength: 8, size: "max" }),
  capacities: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 8, maxLength: 8 }),
  batches: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 9, maxLength: 9 }),
  messageCount: fc.nat(60),
  stepsPerTurnMax: fc.integer({ min: 1, max: 20 }),
  dice: fc.array(fc.nat(12), { maxLength: 300, size: "max" }),
  useBytes: fc.boolean(),
});

interface Hose {
  readonly tx: AnyTx;
  readonly rx: AnyRx;
  send(value: number): void;
  available(): number;
  peek(index: number): number;
  commit(count: number): void;
}

function makeHose(graph: Graph, name: string, capacity: number, useBytes: boolean): Hose {
  if (!useBytes) {
    const channel = graph.channel<number>({ name, capacity, sampleEvery: 2 });
    return {
      tx: channel.tx,
      rx: channel.rx,
      send: (value) => channel.tx.send(value),
      available: () => channel.rx.available(),
      peek: (index) => channel.rx.peek(index),
      commit: (count) => channel.rx.commit(count),
    };
  }
  const options = { name, capacity, capacityBytes: 16, frameBytesMax: 5, sampleEvery: 2 };
  const ring = graph.byteChannel(options);
  return {
    tx: ring.tx,
    rx: ring.rx,
    send: (value) => ring.tx.send(new Uint8Array((value % 5) + 1).fill(value)),
    available: () => ring.rx.available(),
    peek: (index) => ring.rx.peek(index)[0] ?? -1,
    commit: (count) => ring.rx.commit(count),
  };
}

test("no message is lost or doubled in a random graph with random crashes", () => {
  fc.assert(
    fc.property(shape, (plan) => {
      const restarts = { restartsMax: 400, restartWindowMs: 1000 };
      const rig = makeGraph({ stepsPerTurnMax: plan.stepsPerTurnMax, restarts });
      const { graph, clock, failures } = rig;
      const dice = [...plan.dice];
      const maybeCrash = (): void => {
        if (dice.pop() === 0) throw new Error("by the dice");
      };
      const parents = plan.parents.map((value, index) => value % (index + 1));
      const hoses = parents.map((_, index) =>
        makeHose(graph, `to ${index + 1}`, plan.capacities[index] ?? 1, plan.useBytes),
      );
      const received: number[][] = [];
      let nextValue = 0;
      for (let node = 0; node <= parents.length; node += 1) {
        const input = node === 0 ? undefined : hoses[node - 1];
        const outputs = hoses.filter((_, index) => parents[index] === node);
        const batch = plan.batches[node] ?? 1;
        const got: number[] = [];
        if (outputs.length === 0) received.push(got);
        const step = (): void => {
          for (let count = 0; count < batch; count += 1) {
            const available =
              input === undefined ? plan.messageCount - nextValue : input.available();
            if (available === 0 || outputs.some((output) => output.tx.vacant() === 0)) return;
            maybeCrash();
            const value = input === undefined ? nextValue : input.peek(0);
            for (const output of outputs) {
              output.send(value);
              maybeCrash();
            }
            // State changes and the commit belong together: nothing can throw between them.
            if (input === undefined) nextValue += 1;
            else input.commit(1);
            if (outputs.length === 0) got.push(value);
            maybeCrash();
          }
        };
        graph.actor({
          name: `node ${node}`,
          troupe: node % 3 === 0 ? "a" : "b",
          receives: input === undefined ? [] : [input.rx],
          sends: outputs.map((output) => output.tx),
          // The source counts what it has sent, and a crash in the midst of it withdraws.
          onCrash: "withdraw",
          state: () => undefined,
          behaviour: {
            step: (_, context) => {
              const before = nextValue;
              step();
              if (input !== undefined) return;
              if (nextValue > before) context.settle();
              if (nextValue < plan.messageCount) context.wake();
            },
            onRestart: () => {
              if (input === undefined) nextValue = sourceSettled(graph, outputs.length);
            },
          },
        });
      }
      graph.start();
      clock.runDue();
      assert.deepEqual(failures, []);
      const expected = Array.from({ length: plan.messageCount }, (_, index) => index);
      assert.ok(received.length > 0);
      for (const got of received) assert.deepEqual(got, expected);
      const { channels } = graph.snapshot();
      for (const channel of channels) {
        assert.equal(channel.fill, 0);
        assert.equal(channel.sentCount, plan.messageCount);
        assert.equal(channel.committedCount, plan.messageCount);
        assert.ok(channel.fillHighWater <= channel.capacity);
      }
    }),
    { numRuns: 300 },
  );
});

/** What the source's outputs hold for good is what it has to count on from. */
function sourceSettled(graph: Graph, outputCount: number): number {
  assert.ok(outputCount > 0);
  const output = graph.snapshot().channels.find((channel) => channel.from === "node 0");
  return output?.sentCount ?? 0;
}
