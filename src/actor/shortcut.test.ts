import assert from "node:assert/strict";
import { test } from "node:test";
import { makeGraph } from "../../test/contract/actor-rig.ts";
import { assert as invariant } from "../base/index.ts";
import type { FakeClock } from "../world/index.ts";
import type { ActorHandle, Channel } from "./index.ts";
import type { Graph } from "./index.ts";
import type { Shortcut } from "./shortcut.ts";

interface Rig {
  graph: Graph;
  clock: FakeClock;
  first: ActorHandle;
  second: ActorHandle;
  channel: Channel<number>;
  shortcut: Shortcut<number>;
  /** What reached the end of the line, by which way. */
  seen: string[];
  failures: unknown[];
  run: (input: number) => boolean;
}

/** Two actors, first -> second, and a shortcut past both. */
function rig(prepare: (graph: Graph) => void = () => {}): Rig {
  const { graph, clock, failures } = makeGraph();
  prepare(graph);
  const seen: string[] = [];
  const channel = graph.channel<number>({ name: "numbers", capacity: 4, sampleEvery: 64 });
  const base = { troupe: "line", state: () => undefined };
  const first = graph.actor({
    ...base,
    name: "first",
    receives: [],
    sends: [channel.tx],
    behaviour: { step: () => {} },
  });
  const second = graph.actor({
    ...base,
    name: "second",
    receives: [channel.rx],
    sends: [],
    behaviour: {
      step: () => {
        while (channel.rx.available() > 0) {
          seen.push(`actor ${channel.rx.peek(0)}`);
          channel.rx.commit(1);
        }
      },
    },
  });
  const made: Rig = {
    graph,
    clock,
    first,
    second,
    channel,
    seen,
    failures,
    run: (input) => seen.push(`shortcut ${input}`) > 0,
    shortcut: graph.shortcut<number>({ past: [first, second], run: (input) => made.run(input) }),
  };
  return made;
}

const stepsOf = (graph: Graph): number[] => graph.snapshot().actors.map((actor) => actor.stepCount);

test("a shortcut is taken while the graph is at rest, and counts a step of all it passes", () => {
  const { graph, shortcut, seen } = rig();
  assert.equal(shortcut.take(1), false, "before the start");
  graph.start();
  assert.equal(shortcut.take(2), false, "while actors are ready");
  graph.runNow();
  const before = stepsOf(graph);
  assert.equal(shortcut.take(3), true);
  assert.deepEqual(seen, ["shortcut 3"]);
  assert.deepEqual(
    stepsOf(graph),
    before.map((count) => count + 1),
  );
});

test("a shortcut that declines counts nothing and leaves the work to the actors", () => {
  const made = rig();
  made.graph.start();
  made.graph.runNow();
  const before = stepsOf(made.graph);
  made.run = () => false;
  assert.equal(made.shortcut.take(1), false);
  assert.deepEqual(stepsOf(made.graph), before);
});

test("a shortcut is closed inside itself; what is woken in it runs on a later turn", () => {
  const made = rig();
  const { graph, shortcut, channel, seen, second } = made;
  graph.start();
  graph.runNow();
  made.run = () => {
    assert.equal(shortcut.take(2), false, "inside itself");
    channel.tx.send(5);
    second.wakeNow();
    assert.deepEqual(seen, [], "a wake only marks");
    return true;
  };
  assert.equal(shortcut.take(1), true);
  assert.deepEqual(seen, []);
  assert.equal(shortcut.take(3), false, "an actor is ready");
  made.clock.advance(0);
  assert.deepEqual(seen, ["actor 5"]);
});

test("a shortcut is closed while the graph is asked to stop, and when it has stopped", async () => {
  const { graph, shortcut, channel } = rig();
  graph.start();
  graph.runNow();
  channel.tx.send(1);
  graph.requestShutdown({ deadlineMs: 0, voteEveryMs: 10 });
  graph.runNow();
  assert.equal(shortcut.take(1), false);
});

test("a throw in a shortcut ends the graph as a throw in a step does", () => {
  const made = rig();
  made.graph.start();
  made.graph.runNow();
  made.run = () => {
    invariant(false, "a broken invariant");
    return true;
  };
  assert.equal(made.shortcut.take(1), true, "nobody is to do it again");
  assert.equal(made.failures.length, 1);
  assert.equal(made.graph.phase, "failed");
  assert.equal(made.shortcut.take(2), false);
});

test("a shortcut is closed when an actor on its way is played by a test", () => {
  const { graph, shortcut, seen } = rig((graph) =>
    graph.replace("second", () => ({ step: () => {} })),
  );
  graph.start();
  graph.runNow();
  assert.equal(shortcut.take(1), false);
  assert.deepEqual(seen, []);
});
