/**
 * Micro-benchmark of the actor runtime: what a message and a wake cost.
 *
 * Out: one line per case, the median of ROUND_COUNT rounds, in nanoseconds.
 * Run: `node dist/bench/micro/actor.bench.js`. Figures are for ratios on one machine only.
 */
import { Channel, Graph } from "../../src/actor/index.ts";
import type { ActorHandle, Rx, Tx } from "../../src/actor/index.ts";
import { nodeWorld, stderrLog } from "../../src/world/node/index.ts";

const world = nodeWorld(stderrLog("error"));
const ROUND_COUNT = 15;
const SAMPLE_EVERY = 1024;

function measure(name: string, unitCount: number, round: () => void): void {
  for (let warmUp = 0; warmUp < 5; warmUp += 1) round();
  const timesNs: number[] = [];
  for (let index = 0; index < ROUND_COUNT; index += 1) {
    const start = process.hrtime.bigint();
    round();
    timesNs.push(Number(process.hrtime.bigint() - start) / unitCount);
  }
  timesNs.sort((left, right) => left - right);
  const median = timesNs[ROUND_COUNT >> 1] ?? 0;
  console.log(`${name.padEnd(52)} ${median.toFixed(1).padStart(8)} ns`);
}

function makeGraph(): Graph {
  return new Graph({
    world,
    stepsPerTurnMax: 1_000_000,
    restarts: { restartsMax: 3, restartWindowMs: 1000 },
    failed: (failure) => {
      throw failure.cause;
    },
  });
}

function forward(rx: Rx<number>, tx: Tx<number>): void {
  const count = Math.min(rx.available(), tx.vacant());
  for (let index = 0; index < count; index += 1) tx.send(rx.peek(index));
  rx.commit(count);
}

function drain(rx: Rx<number>, sum: { value: number }): void {
  const count = rx.available();
  for (let index = 0; index < count; index += 1) sum.value += rx.peek(index);
  rx.commit(count);
}

function benchChannel(): void {
  const options = { name: "numbers", capacity: 256, sampleEvery: SAMPLE_EVERY };
  const channel = new Channel<number>(options, world.clock);
  const batchCount = 10_000;
  const batch = 64;
  let sum = 0;
  measure("channel: send, peek, commit (batches of 64)", batchCount * batch, () => {
    for (let turn = 0; turn < batchCount; turn += 1) {
      for (let index = 0; index < batch; index += 1) channel.send(index);
      for (let index = 0; index < batch; index += 1) sum += channel.peek(index);
      channel.commit(batch);
    }
  });
  measure("channel: send, peek, commit (one by one)", batchCount * batch, () => {
    for (let index = 0; index < batchCount * batch; index += 1) {
      channel.send(index);
      sum += channel.peek(0);
      channel.commit(1);
    }
  });
  if (sum === 0) throw new Error("the channel carried nothing");
}

interface Chain {
  readonly first: ActorHandle;
  readonly batch: { count: number };
  readonly sum: { value: number };
}

function makeChain(): Chain {
  const graph = makeGraph();
  const options = { capacity: 256, sampleEvery: SAMPLE_EVERY };
  const a = graph.channel<number>({ name: "a", ...options });
  const b = graph.channel<number>({ name: "b", ...options });
  const batch = { count: 1 };
  const sum = { value: 0 };
  const troupe = "live";
  const first = graph.actor({
    name: "source",
    troupe,
    receives: [],
    sends: [a.tx],
    state: () => batch,
    behaviour: {
      step: (state) => {
        for (let index = 0; index < state.count; index += 1) a.tx.send(index + 1);
      },
    },
  });
  graph.actor({
    name: "middle",
    troupe,
    receives: [a.rx],
    sends: [b.tx],
    state: () => undefined,
    behaviour: { step: () => forward(a.rx, b.tx) },
  });
  graph.actor({
    name: "sink",
    troupe,
    receives: [b.rx],
    sends: [],
    state: () => sum,
    behaviour: { step: (state) => drain(b.rx, state) },
  });
  graph.start();
  graph.runNow();
  return { first, batch, sum };
}

function benchChain(): void {
  const { first, batch, sum } = makeChain();
  const wakeCount = 100_000;
  measure("wakeNow: 3 actors, 1 message through 2 channels", wakeCount, () => {
    for (let index = 0; index < wakeCount; index += 1) first.wakeNow();
  });
  batch.count = 64;
  measure("wakeNow: 3 actors, 64 messages, per message and hop", wakeCount * 64 * 2, () => {
    for (let index = 0; index < wakeCount; index += 1) first.wakeNow();
  });
  if (sum.value === 0) throw new Error("the chain carried nothing");
}

function benchByteRing(): void {
  const graph = makeGraph();
  const frameBytes = 64;
  const ring = graph.byteChannel({
    name: "frames",
    capacity: 256,
    capacityBytes: 65_536,
    frameBytesMax: frameBytes,
    sampleEvery: SAMPLE_EVERY,
  });
  const { tx, rx } = ring;
  const frame = new Uint8Array(frameBytes).fill(7);
  const frameCount = 200_000;
  let sum = 0;
  measure("byte ring: send, peek, commit (64 B, one thread)", frameCount, () => {
    for (let index = 0; index < frameCount; index += 1) {
      tx.send(frame);
      sum += rx.peek(0)[0] ?? 0;
      rx.commit(1);
    }
  });
  if (sum === 0) throw new Error("the ring carried nothing");
}

benchChannel();
benchChain();
benchByteRing();
