/** Solo actors on real threads: frames, backpressure, crashes, the vote, the end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Graph, soloActor } from "../../src/actor/index.ts";
import type { ByteChannel, GraphFailure } from "../../src/actor/index.ts";
import { AssertionError } from "../../src/base/index.ts";
import { nodeThreads, nodeWorld } from "../../src/world/node/index.ts";
import { makeRig } from "./actor-rig.ts";

const Command = { crash: 250, exit: 251, bug: 252, veto: 253, later: 254 } as const;
const world = nodeWorld({ write: () => undefined });
const workerUrl = new URL("./actor-solo-worker.js", import.meta.url);

interface Solo {
  readonly graph: Graph;
  readonly failures: GraphFailure[];
  readonly requests: ByteChannel;
  readonly replies: ByteChannel;
  /** [0]: crashes still to happen, [1]: calls of onStop in the worker. */
  readonly words: Int32Array;
  readonly got: number[][];
  /** Resolves when `got` holds this many frames. */
  received(count: number): Promise<void>;
  /** Sends frames through the feeding actor, as fast as there is room. */
  feed(frames: readonly number[][]): void;
}

function makeSolo(restartsMax: number): Solo {
  const failures: GraphFailure[] = [];
  const graph = new Graph({
    world,
    stepsPerTurnMax: 1000,
    restarts: { restartsMax, restartWindowMs: 60_000 },
    failed: (failure) => failures.push(failure),
  });
  const bounds = { capacity: 4, capacityBytes: 64, frameBytesMax: 16, sampleEvery: 1 };
  const requests = graph.byteChannel({ name: "requests", ...bounds });
  const replies = graph.byteChannel({ name: "replies", ...bounds });
  const words = new Int32Array(new SharedArrayBuffer(8));
  const queue: number[][] = [];
  const got: number[][] = [];
  let wanted = Infinity;
  let arrived = (): void => undefined;
  const state = (): undefined => undefined;
  const troupe = "edges";
  const feeder = graph.actor({
    name: "feeder",
    troupe,
    receives: [],
    sends: [requests.tx],
    state,
    behaviour: {
      step: () => {
        while (queue.length > 0 && requests.tx.vacant() > 0) {
          requests.tx.send(Uint8Array.from(queue.shift() ?? []));
        }
      },
    },
  });
  soloActor(graph, {
    name: "adder",
    threads: nodeThreads,
    workerUrl,
    receives: [requests.rx],
    sends: [replies.tx],
    data: { words: words.buffer },
    stopMsMax: 5000,
  });
  graph.actor({
    name: "collector",
    troupe,
    receives: [replies.rx],
    sends: [],
    state,
    behaviour: {
      step: () => {
        while (replies.rx.available() > 0) {
          got.push([...replies.rx.peek(0)]);
          replies.rx.commit(1);
        }
        if (got.length >= wanted) arrived();
      },
    },
  });
  return {
    graph,
    failures,
    requests,
    replies,
    words,
    got,
    received: async (count) => {
      await new Promise<void>((resolve) => {
        wanted = count;
        arrived = resolve;
        if (got.length >= count) resolve();
      });
    },
    feed: (frames) => {
      queue.push(...frames);
      feeder.wake();
    },
  };
}

const shutdown = { deadlineMs: 20_000, voteEveryMs: 5 };
const limit = { timeout: 30_000 };

function plusOne(frames: readonly number[][]): number[][] {
  return frames.map((frame) => frame.map((byte) => (byte + 1) & 255));
}

test("frames go to the worker and back, in order, under backpressure", limit, async () => {
  const solo = makeSolo(0);
  const frames = Array.from({ length: 500 }, (_, id) =>
    Array.from({ length: id % 17 }, () => id % 200),
  );
  solo.feed(frames);
  solo.graph.start();
  await solo.received(frames.length);
  assert.deepEqual(solo.got, plusOne(frames));
  solo.graph.requestShutdown(shutdown);
  const report = await solo.graph.stopped;
  assert.deepEqual(report, { how: "agreed", vetoes: [], failure: undefined });
  assert.equal(solo.words[1], 1, "onStop ran in the worker");
  const { actors, channels } = solo.graph.snapshot();
  assert.equal(actors[1]?.solo, true);
  assert.ok((actors[1]?.stepCount ?? 0) > 0);
  for (const channel of channels) {
    assert.equal(channel.sentCount, 500);
    assert.equal(channel.committedCount, 500);
    assert.ok(channel.fillHighWater <= 4);
    assert.ok(channel.latency.sampleCount > 0);
  }
});

test("a worker that throws or exits is restarted; nothing is lost or doubled", limit, async () => {
  const solo = makeSolo(4);
  solo.words[0] = 3;
  const frames = [[1], [Command.crash], [2], [Command.exit], [3], [Command.crash, 7], [4]];
  solo.feed(frames);
  solo.graph.start();
  await solo.received(frames.length);
  assert.deepEqual(solo.got, plusOne(frames));
  const adder = solo.graph.snapshot().actors[1];
  assert.equal(adder?.restartCount, 3);
  assert.equal(adder?.lastError, "told to crash");
  solo.graph.requestShutdown(shutdown);
  assert.equal((await solo.graph.stopped).how, "agreed");
  assert.deepEqual(solo.got.length, frames.length);
  assert.deepEqual(solo.failures, []);
});

test("too many restarts of a worker fail the graph", limit, async () => {
  const solo = makeSolo(2);
  solo.words[0] = 100;
  solo.feed([[Command.crash]]);
  solo.graph.start();
  const report = await solo.graph.stopped;
  assert.equal(report.how, "failed");
  assert.equal(solo.failures[0]?.actor, "adder");
  assert.equal(solo.words[0], 97);
  assert.deepEqual(solo.got, [], "an uncommitted step sends nothing");
});

test("a broken invariant in a worker fails the graph at once", limit, async () => {
  const solo = makeSolo(5);
  solo.words[0] = 1;
  solo.feed([[Command.bug]]);
  solo.graph.start();
  await solo.graph.stopped;
  assert.ok(solo.failures[0]?.cause instanceof AssertionError);
  assert.equal(solo.graph.snapshot().actors[1]?.restartCount, 0);
});

test(
  "the vote crosses the thread: a worker's vetoes are heard, then it agrees",
  limit,
  async () => {
    const solo = makeSolo(0);
    solo.feed([[Command.veto]]);
    solo.graph.start();
    await solo.received(1);
    const reasons = new Set<string>();
    const vote = solo.graph.vote.bind(solo.graph);
    solo.graph.vote = () => {
      vote();
      for (const veto of solo.graph.vetoes()) reasons.add(`${veto.actor}: ${veto.reason}`);
    };
    solo.graph.requestShutdown(shutdown);
    assert.equal((await solo.graph.stopped).how, "agreed");
    assert.ok(reasons.has("adder: not yet: 1"), [...reasons].join());
    assert.ok(reasons.has("adder: not yet: 0"), [...reasons].join());
  },
);

test("a timer in a worker ends its sleep", limit, async () => {
  const solo = makeSolo(0);
  solo.feed([[Command.later]]);
  solo.graph.start();
  await solo.received(2);
  assert.deepEqual(solo.got, [[255], [1]]);
  solo.graph.requestShutdown(shutdown);
  await solo.graph.stopped;
});

test("a solo actor is replaced by a simulated one like any other", () => {
  const { options, clock } = makeRig();
  const graph = new Graph(options);
  const bounds = { capacity: 4, capacityBytes: 64, frameBytesMax: 16, sampleEvery: 1 };
  graph.replace("adder", ({ receives }) => ({
    step: () => {
      const [rx] = receives;
      rx?.commit(rx.available());
    },
  }));
  const requests = graph.byteChannel({ name: "requests", ...bounds });
  const threads = {
    start: () => {
      throw new Error("no thread in a simulation");
    },
  };
  const rest = { threads, workerUrl, data: undefined, stopMsMax: 1 };
  soloActor(graph, { name: "adder", receives: [requests.rx], sends: [], ...rest });
  graph.start();
  requests.tx.send(Uint8Array.of(1));
  clock.runDue();
  assert.equal(requests.rx.available(), 0);
  assert.equal(requests.counters().committedCount, 1);
});
