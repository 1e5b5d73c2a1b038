/** The stage manager: a real wiring function between simulated edges. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeRig } from "../../test/contract/actor-rig.ts";
import { AssertionError } from "../base/index.ts";
import type { Graph } from "./graph.ts";
import { Stage } from "./stage.ts";

function wire(graph: Graph): void {
  const words = graph.channel<string>({ name: "words", capacity: 2, sampleEvery: 8 });
  const lengths = graph.channel<number>({ name: "lengths", capacity: 2, sampleEvery: 8 });
  const edge = {
    step: () => {
      throw new Error("the real edge must not run in this test");
    },
  };
  const common = { troupe: "all", state: () => undefined };
  graph.actor({ name: "reader", ...common, receives: [], sends: [words.tx], behaviour: edge });
  graph.actor({
    name: "counter",
    ...common,
    receives: [words.rx],
    sends: [lengths.tx],
    behaviour: {
      step: () => {
        const count = Math.min(words.rx.available(), lengths.tx.vacant());
        for (let index = 0; index < count; index += 1) {
          lengths.tx.send(words.rx.peek(index).length);
        }
        words.rx.commit(count);
      },
    },
  });
  graph.actor({ name: "writer", ...common, receives: [lengths.rx], sends: [], behaviour: edge });
}

test("messages sent by a simulated edge come out at the other, with backpressure between", () => {
  const { options, failures } = makeRig();
  const stage = new Stage(options);
  const reader = stage.simulate("reader");
  const writer = stage.simulate("writer");
  wire(stage.graph);
  stage.start();
  for (const word of ["a", "bb", "ccc", "dddd"]) reader.send("words", word);
  assert.equal(writer.waiting("lengths"), 2);
  assert.throws(() => {
    reader.send("words", "no room");
  }, AssertionError);
  for (const length of [1, 2, 3, 4]) assert.equal(writer.expect<number>("lengths"), length);
  assert.throws(() => writer.expect("lengths"), AssertionError);
  assert.throws(() => {
    reader.send("lengths", 1);
  }, AssertionError);
  assert.deepEqual(failures, []);
});
