/** Scheduling, backpressure, supervision, shutdown and telemetry of graphs on one thread. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeGraph } from "../../test/contract/actor-rig.ts";
import type { Rig } from "../../test/contract/actor-rig.ts";
import { assert as invariant, AssertionError } from "../base/index.ts";
import type { ActorHandle, Behaviour, Context } from "./behaviour.ts";
import type { Channel } from "./channel.ts";
import type { Graph } from "./graph.ts";
import type { AnyRx, AnyTx, Rx, Tx } from "./port.ts";

interface Wiring {
  readonly receives?: readonly AnyRx[];
  readonly sends?: readonly AnyTx[];
  readonly troupe?: string;
  readonly runsWithoutRoom?: boolean;
}

type Step = (context: Context) => void;

function add(graph: Graph, name: string, wiring: Wiring, step: Step | Behaviour<undefined>) {
  const behaviour =
    typeof step === "function" ? { step: (_: undefined, context: Context) => step(context) } : step;
  const { receives = [], sends = [], troupe = "all", runsWithoutRoom = false } = wiring;
  const state = (): undefined => undefined;
  return graph.actor({ name, troupe, receives, sends, runsWithoutRoom, state, behaviour });
}

function numbers(graph: Graph, name: string, capacity = 4): Channel<number> {
  return graph.channel<number>({ name, capacity, sampleEvery: 1 });
}

function take(rx: Rx<number>, into: number[]): void {
  const count = rx.available();
  for (let index = 0; index < count; index += 1) into.push(rx.peek(index));
  rx.commit(count);
}

function forward(rx: Rx<number>, tx: Tx<number>): void {
  const count = Math.min(rx.available(), tx.vacant());
  for (let index = 0; index < count; index += 1) tx.send(rx.peek(index));
  rx.commit(count);
}

/** source -> a -> middle -> b -> sink; the source sends what `queue` holds, given room. */
function makeChain(changes: Parameters<typeof makeGraph>[0] = {}) {
  const rig = makeGraph(changes);
  const { graph } = rig;
  const a = numbers(graph, "a");
  const b = numbers(graph, "b");
  const queue: number[] = [];
  const got: number[] = [];
  const trace: string[] = [];
  const source = add(graph, "source", { sends: [a.tx] }, () => {
    trace.push("source");
    while (queue.length > 0 && a.tx.vacant() > 0) a.tx.send(queue.shift() ?? -1);
  });
  const middle = add(graph, "middle", { receives: [a.rx], sends: [b.tx] }, () => {
    trace.push("middle");
    forward(a.rx, b.tx);
  });
  add(graph, "sink", { receives: [b.rx] }, () => {
    trace.push("sink");
    take(b.rx, got);
  });
  graph.start();
  rig.clock.runDue();
  trace.length = 0;
  return { ...rig, a, b, queue, got, trace, source, middle };
}

const stopSoon = { deadlineMs: 1000, voteEveryMs: 10 };

test("wakeNow carries a message through the whole troupe inside the calling callback", () => {
  const { clock, queue, got, trace, source } = makeChain();
  queue.push(7);
  source.wakeNow();
  assert.deepEqual(got, [7]);
  assert.deepEqual(trace, ["source", "middle", "sink"]);
  assert.equal(clock.pendingCount, 0, "no turn was deferred");
});

test("wake runs the actor on a later turn, and nothing runs without cause", () => {
  const { clock, queue, got, trace, source } = makeChain();
  queue.push(7);
  source.wake();
  source.wake();
  assert.deepEqual(trace, []);
  clock.runDue();
  assert.deepEqual(got, [7]);
  assert.equal(clock.runDue(), 0);
  assert.deepEqual(trace, ["source", "middle", "sink"]);
});

test("a woken source that ran out of room goes on by itself until all is through", () => {
  const { clock, queue, got, source } = makeChain();
  const all = Array.from({ length: 100 }, (_, index) => index);
  queue.push(...all);
  source.wakeNow();
  clock.runDue();
  assert.deepEqual(got, all);
});

test("an actor waits for room in every output, and runs when the last one has room", () => {
  const { graph, clock } = makeGraph();
  const input = numbers(graph, "input");
  const left = numbers(graph, "left", 1);
  const right = numbers(graph, "right", 1);
  let stepCount = 0;
  add(graph, "split", { receives: [input.rx], sends: [left.tx, right.tx] }, () => {
    stepCount += 1;
    if (input.rx.available() === 0) return;
    left.tx.send(input.rx.peek(0));
    right.tx.send(input.rx.peek(0));
    input.rx.commit(1);
  });
  graph.start();
  clock.runDue();
  input.tx.send(1);
  input.tx.send(2);
  clock.runDue();
  assert.equal(stepCount, 2);
  left.rx.commit(1);
  clock.runDue();
  assert.equal(stepCount, 2, "right is still full");
  right.rx.commit(1);
  clock.runDue();
  assert.equal(stepCount, 3);
  assert.equal(left.rx.peek(0), 2);
});

test("an actor that moves nothing is not run again until its channels change", () => {
  const { graph, clock } = makeGraph();
  const input = numbers(graph, "input");
  let stepCount = 0;
  add(graph, "pairs", { receives: [input.rx] }, () => {
    stepCount += 1;
    if (input.rx.available() >= 2) input.rx.commit(2);
  });
  graph.start();
  clock.runDue();
  input.tx.send(1);
  clock.runDue();
  assert.equal(stepCount, 2);
  input.tx.send(2);
  clock.runDue();
  assert.equal(stepCount, 3);
  assert.equal(input.rx.available(), 0);
});

test("an actor that needs room for several messages at once gets its look", () => {
  for (const woken of [true, false]) {
    const { graph, clock } = makeGraph();
    const input = numbers(graph, "input");
    const output = numbers(graph, "output", 3);
    let sent = false;
    const receives = woken ? [] : [input.rx];
    add(graph, "triple", { receives, sends: [output.tx] }, () => {
      if (sent || !(woken ? output.tx.hasRoom(3) : output.tx.vacant() >= 3)) return;
      if (!woken) input.rx.commit(1);
      for (const value of [7, 8, 9]) output.tx.send(value);
      sent = true;
    });
    for (const value of [1, 2]) output.tx.send(value);
    input.tx.send(1);
    graph.start();
    clock.runDue();
    assert.equal(sent, false);
    output.rx.commit(1);
    clock.runDue();
    assert.equal(sent, false);
    output.rx.commit(1);
    clock.runDue();
    assert.equal(sent, true, `woken ${woken}`);
  }
});

test("runsWithoutRoom lets an actor see its input while an output is full", () => {
  const { graph, clock } = makeGraph();
  const input = numbers(graph, "input");
  const output = numbers(graph, "output", 1);
  const wiring = { receives: [input.rx], sends: [output.tx], runsWithoutRoom: true };
  const got: number[] = [];
  add(graph, "meter", wiring, () => {
    if (input.rx.available() > 0) output.tx.trySend(input.rx.peek(0));
    take(input.rx, got);
  });
  graph.start();
  for (const value of [1, 2, 3]) {
    input.tx.send(value);
    clock.runDue();
  }
  assert.deepEqual(got, [1, 2, 3]);
  assert.equal(output.rx.peek(0), 1);
});

test("a turn is bounded; the rest is deferred so that the event loop can breathe", () => {
  const { graph, clock } = makeGraph({ stepsPerTurnMax: 5 });
  let stepCount = 0;
  const busy = add(graph, "busy", {}, (context) => {
    stepCount += 1;
    if (stepCount < 23) context.wake();
  });
  graph.start();
  busy.wakeNow();
  assert.equal(stepCount, 5);
  clock.runDue();
  assert.equal(stepCount, 23);
});

test("a turn of slow steps gives way to the event loop before its budget is used up", () => {
  const { graph, clock } = makeGraph({ stepsPerTurnMax: 64 });
  let stepCount = 0;
  const slow = add(graph, "slow", {}, (context) => {
    stepCount += 1;
    clock.advance(10);
    if (stepCount < 100) context.wake();
  });
  graph.start();
  slow.wakeNow();
  for (let turns = 0; stepCount < 100; turns += 1) {
    const before: number = stepCount;
    assert.ok(turns < 100 && clock.runDue() > 0, "the rest is done in later turns");
    assert.ok(stepCount - before < 32, `${stepCount - before} steps in one turn`);
  }
});

test("wakeNow from inside a step does not re-enter; the running turn takes it up", () => {
  const { graph, clock } = makeGraph();
  const trace: string[] = [];
  const handles: ActorHandle[] = [];
  const wakeBoth = (): void => {
    for (const handle of handles) handle.wakeNow();
  };
  let rounds = 0;
  for (const name of ["first", "second"]) {
    const step = (): void => {
      trace.push(`${name} in`);
      rounds += 1;
      if (rounds === 3) wakeBoth();
      trace.push(`${name} out`);
    };
    handles.push(add(graph, name, { troupe: name }, step));
  }
  graph.start();
  clock.runDue();
  trace.length = 0;
  handles[0]?.wakeNow();
  assert.deepEqual(trace, ["first in", "first out", "first in", "first out"]);
  clock.runDue();
  assert.deepEqual(trace.slice(4), ["second in", "second out"]);
});

test("a timer wakes its actor, a cancelled one does not, a stopped graph has none", async () => {
  const { graph, clock } = makeGraph();
  const atMs: number[] = [];
  let armed = false;
  add(graph, "ticker", {}, (context) => {
    atMs.push(clock.monotonicUs() / 1000 - 1000);
    if (armed) return;
    armed = true;
    context.after(5);
    context.after(6).cancel();
    context.after(500);
  });
  graph.start();
  clock.advance(10);
  assert.deepEqual(atMs, [0, 5]);
  graph.requestShutdown(stopSoon);
  clock.runDue();
  await graph.stopped;
  assert.equal(clock.pendingCount, 0);
});

test("pull runs an upstream actor in the middle of a step", () => {
  const { graph, clock } = makeGraph();
  const changes = numbers(graph, "changes", 2);
  const kernel = [1, 2, 3, 4, 5];
  const capture = add(graph, "capture", { sends: [changes.tx] }, () => {
    while (kernel.length > 0 && changes.tx.vacant() > 0) changes.tx.send(kernel.shift() ?? -1);
  });
  const cuts: number[][] = [];
  const pulls: boolean[] = [];
  add(graph, "cut", { receives: [changes.rx] }, (context) => {
    if (changes.rx.available() === 0) return;
    const seen: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      take(changes.rx, seen);
      pulls.push(context.pull(capture));
    }
    changes.tx.vacant();
    pulls.push(context.pull(capture));
    take(changes.rx, seen);
    cuts.push(seen);
  });
  graph.start();
  clock.runDue();
  assert.deepEqual(cuts, [[1, 2, 3, 4, 5]]);
  assert.deepEqual(pulls, [true, true, true, true, true]);
});

test("pull is refused without room or into a running actor; a crash is the pulled one's", () => {
  const { graph, clock, failures } = makeGraph();
  const full = numbers(graph, "full", 1);
  const answers: boolean[] = [];
  let crashes = 1;
  const blocked = add(graph, "blocked", { sends: [full.tx] }, () => undefined);
  const fragile = add(graph, "fragile", {}, () => {
    if (crashes === 0) return;
    crashes -= 1;
    throw new Error("once");
  });
  const handles: ActorHandle[] = [];
  handles.push(
    add(graph, "puller", {}, (context) => {
      answers.push(context.pull(blocked), context.pull(fragile), context.pull(fragile));
      const self = handles[0];
      if (self !== undefined) answers.push(context.pull(self));
    }),
  );
  full.tx.send(1);
  graph.start();
  crashes = 0;
  clock.runDue();
  assert.deepEqual(answers, [false, true, true, false]);
  crashes = 1;
  handles[0]?.wakeNow();
  assert.deepEqual(answers.slice(4), [false, false, true, false]);
  assert.equal(failures.length, 0);
  assert.equal(graph.snapshot().actors[1]?.restartCount, 1);
});

test("a crash loses nothing, sends nothing twice, and keeps the state", () => {
  const { graph, clock, failures } = makeGraph();
  const input = numbers(graph, "input");
  const output = numbers(graph, "output", 8);
  const repairs: unknown[] = [];
  graph.actor({
    name: "fragile",
    troupe: "all",
    receives: [input.rx],
    sends: [output.tx],
    state: () => ({ stepCount: 0 }),
    behaviour: {
      step: (state) => {
        state.stepCount += 1;
        while (input.rx.available() > 0) {
          output.tx.send(input.rx.peek(0));
          if (state.stepCount < 4) throw new Error(`crash ${state.stepCount}`);
          input.rx.commit(1);
        }
      },
      onRestart: (state, cause) => {
        repairs.push([state.stepCount, (cause as Error).message]);
      },
    },
  });
  graph.start();
  clock.runDue();
  for (const value of [1, 2, 3]) input.tx.send(value);
  clock.runDue();
  const got: number[] = [];
  take(output.rx, got);
  assert.deepEqual(got, [1, 2, 3]);
  assert.deepEqual(repairs, [
    [2, "crash 2"],
    [3, "crash 3"],
  ]);
  assert.equal(failures.length, 0);
  const { actors, channels } = graph.snapshot();
  assert.equal(actors[0]?.restartCount, 2);
  assert.equal(actors[0]?.lastError, "crash 3");
  assert.equal(channels[1]?.withdrawnCount, 2);
});

test("a source keeps what it sent before a crash; settle() does so for others", () => {
  const { graph, clock } = makeGraph();
  const output = numbers(graph, "output", 8);
  const control = numbers(graph, "control");
  const mixed = numbers(graph, "mixed", 8);
  let crashed = false;
  add(graph, "source", { sends: [output.tx] }, () => {
    if (crashed) return;
    crashed = true;
    output.tx.send(1);
    throw new Error("after the send");
  });
  let mixedCrashed = false;
  add(graph, "mixed", { receives: [control.rx], sends: [mixed.tx] }, (context) => {
    if (mixedCrashed) return;
    mixedCrashed = true;
    mixed.tx.send(1);
    context.settle();
    mixed.tx.send(2);
    throw new Error("after the sends");
  });
  graph.start();
  clock.runDue();
  assert.equal(output.rx.available(), 1);
  assert.equal(mixed.rx.available(), 1);
});

test("a commit settles what was sent before it", () => {
  const { graph, clock } = makeGraph();
  const input = numbers(graph, "input");
  const output = numbers(graph, "output", 8);
  let crashed = false;
  add(graph, "fragile", { receives: [input.rx], sends: [output.tx] }, () => {
    while (input.rx.available() > 0) {
      output.tx.send(input.rx.peek(0));
      input.rx.commit(1);
      if (!crashed && input.rx.available() === 1) {
        crashed = true;
        throw new Error("between two messages");
      }
    }
  });
  for (const value of [1, 2, 3]) input.tx.send(value);
  graph.start();
  clock.runDue();
  const got: number[] = [];
  take(output.rx, got);
  assert.equal(crashed, true);
  assert.deepEqual(got, [1, 2, 3]);
});

test("what a pulled actor has taken is not withdrawn from it, nor anything else instead", () => {
  const { graph, clock } = makeGraph();
  const trigger = numbers(graph, "trigger");
  const output = numbers(graph, "output", 8);
  const got: number[] = [];
  let takes = 1;
  const sink = add(graph, "sink", { receives: [output.rx] }, () => {
    if (takes === 0 || output.rx.available() === 0) return;
    takes -= 1;
    got.push(output.rx.peek(0));
    output.rx.commit(1);
  });
  let crashed = false;
  add(graph, "sender", { receives: [trigger.rx], sends: [output.tx] }, (context) => {
    if (trigger.rx.available() === 0 || crashed) return;
    crashed = true;
    for (const value of [1, 2, 3]) output.tx.send(value);
    assert.equal(context.pull(sink), true);
    output.tx.send(4);
    throw new Error("after the pull");
  });
  trigger.tx.send(1);
  graph.start();
  clock.runDue();
  takes = 0;
  take(output.rx, got);
  assert.deepEqual(got, [1, 2, 3], "settled by the pull; only 4 was withdrawn");
});

test("too many restarts fail the graph with the cause, and states are released", async () => {
  const { graph, clock, failures } = makeGraph();
  const released: string[] = [];
  const cause = new Error("broken for good");
  const behaviour: Behaviour<undefined> = {
    step: () => {
      throw cause;
    },
    onStop: () => released.push("fragile"),
  };
  add(graph, "fragile", {}, behaviour);
  add(graph, "other", {}, { step: () => undefined, onStop: () => released.push("other") });
  graph.start();
  clock.runDue();
  assert.deepEqual(failures, [{ actor: "fragile", cause }]);
  assert.equal(graph.phase, "failed");
  assert.equal(graph.snapshot().actors[0]?.restartCount, 3);
  assert.equal(graph.snapshot().actors[0]?.stepCount, 4);
  assert.deepEqual(released, ["fragile", "other"]);
  const report = await graph.stopped;
  assert.equal(report.how, "failed");
});

test("crashes further apart than the window are restarted for ever", () => {
  const { graph, clock, failures } = makeGraph();
  const fragile = add(graph, "fragile", {}, () => {
    if (clock.monotonicUs() % 2 === 1) throw new Error("on odd microseconds");
  });
  graph.start();
  clock.runDue();
  for (let round = 0; round < 20; round += 1) {
    clock.advanceTo(2_000_001 + round * 400_000);
    let restarted = false;
    const before = graph.snapshot().actors[0]?.restartCount ?? 0;
    // One crash, then time moves on to an even microsecond before the restarted step.
    const now = clock.monotonicUs.bind(clock);
    clock.monotonicUs = () => (restarted ? now() + 1 : now());
    const log = graph.world.log.write.bind(graph.world.log);
    graph.world.log.write = (...line) => {
      restarted = true;
      log(...line);
    };
    fragile.wakeNow();
    clock.monotonicUs = now;
    graph.world.log.write = log;
    assert.equal(graph.snapshot().actors[0]?.restartCount, before + 1);
  }
  assert.equal(failures.length, 0);
});

test("a broken invariant fails the graph at once, also when it was pulled", async () => {
  for (const pulled of [false, true]) {
    const { graph, clock, failures } = makeGraph();
    let released = 0;
    let reachedCount = 0;
    const behaviour: Behaviour<undefined> = {
      step: () => invariant(false, "one is two"),
      onStop: () => (released += 1),
    };
    const buggy = { actor: undefined as ActorHandle | undefined };
    const wiring = pulled ? { troupe: "all" } : {};
    if (pulled) {
      add(graph, "puller", wiring, (context) => {
        if (buggy.actor !== undefined) context.pull(buggy.actor);
        reachedCount += 1;
      });
    }
    buggy.actor = add(graph, "buggy", wiring, behaviour);
    graph.start();
    clock.runDue();
    assert.equal(failures.length, 1);
    assert.equal(failures[0]?.actor, "buggy");
    assert.ok(failures[0]?.cause instanceof AssertionError);
    assert.equal(reachedCount, 0, "the puller's step ends with the graph");
    assert.equal(released, 0, "a broken state writes nothing more");
    assert.equal((await graph.stopped).how, "failed");
    assert.equal(graph.snapshot().actors.at(-1)?.stepCount, 1);
  }
});

test("shutdown waits for messages under way, names vetoes, and stops in wiring order", async () => {
  const { graph, clock } = makeGraph();
  const input = numbers(graph, "input");
  const order: string[] = [];
  let unacknowledged = 1;
  const got: number[] = [];
  add(
    graph,
    "link",
    { receives: [input.rx] },
    {
      step: () => {
        take(input.rx, got);
      },
      mayStop: () => unacknowledged === 0 || `${unacknowledged} epochs are not acknowledged`,
      onStop: () => order.push("link"),
    },
  );
  add(graph, "other", {}, { step: () => undefined, onStop: () => order.push("other") });
  graph.start();
  clock.runDue();
  graph.requestShutdown(stopSoon);
  clock.advance(50);
  assert.equal(graph.phase, "stopping");
  const reason = "1 epochs are not acknowledged";
  assert.deepEqual(graph.vetoes(), [{ actor: "link", reason }]);
  assert.equal(graph.snapshot().actors[0]?.lastVeto, reason);
  input.tx.send(5);
  clock.advance(1);
  assert.deepEqual(got, [5], "actors go on working");
  unacknowledged = 0;
  clock.advance(10);
  const report = await graph.stopped;
  assert.deepEqual(order, ["link", "other"]);
  assert.deepEqual(report, { how: "agreed", vetoes: [], failure: undefined });
  assert.equal(clock.pendingCount, 0, "no timer is left");
});

test("an input that holds messages is a veto that nobody has to write", () => {
  const { graph, clock } = makeGraph();
  const input = numbers(graph, "input");
  add(graph, "stuck", { receives: [input.rx] }, () => undefined);
  input.tx.send(1);
  graph.start();
  clock.runDue();
  graph.requestShutdown(stopSoon);
  clock.advance(20);
  assert.deepEqual(graph.vetoes(), [{ actor: "stuck", reason: "1 messages wait in input" }]);
});

test("a vote that sends something is not the last", async () => {
  const { graph, clock } = makeGraph();
  const farewell = numbers(graph, "farewell");
  const got: number[] = [];
  let said = false;
  add(graph, "sink", { receives: [farewell.rx] }, () => {
    take(farewell.rx, got);
  });
  const mayStop = (): true => {
    if (!said) farewell.tx.send(1);
    said = true;
    return true;
  };
  add(graph, "polite", { sends: [farewell.tx] }, { step: () => undefined, mayStop });
  graph.start();
  clock.runDue();
  graph.requestShutdown(stopSoon);
  clock.runDue();
  assert.equal((await graph.stopped).how, "agreed");
  assert.deepEqual(got, [1]);
});

test("the deadline overrules vetoes; a second request brings it forward", async () => {
  const { graph, clock } = makeGraph();
  add(graph, "stubborn", {}, { step: () => undefined, mayStop: () => "never" });
  graph.start();
  clock.runDue();
  graph.requestShutdown(stopSoon);
  clock.advance(900);
  assert.equal(graph.phase, "stopping");
  graph.requestShutdown({ deadlineMs: 5000, voteEveryMs: 10 });
  graph.requestShutdown({ deadlineMs: 10, voteEveryMs: 10 });
  clock.advance(10);
  const report = await graph.stopped;
  assert.equal(report.how, "deadline");
  assert.deepEqual(report.vetoes, [{ actor: "stubborn", reason: "never" }]);
});

test("a closed input wakes its receiver", () => {
  const { graph, clock } = makeGraph();
  const input = numbers(graph, "input");
  let ended = false;
  add(graph, "reader", { receives: [input.rx] }, () => {
    ended = input.rx.isClosedAndEmpty();
  });
  graph.start();
  clock.runDue();
  input.tx.close();
  clock.runDue();
  assert.equal(ended, true);
});

test("the snapshot is plain data with load, rates and alarms against an earlier one", () => {
  const { graph, clock } = makeGraph();
  const alarms = { yellow: 0.25, orange: 0.5, red: 0.9 };
  const input = graph.channel<number>({ name: "input", capacity: 4, sampleEvery: 1, alarms });
  add(graph, "edge", { sends: [input.tx] }, () => undefined);
  const worker = add(graph, "worker", {}, () => {
    clock.advanceTo(clock.monotonicUs() + 400_000);
  });
  graph.start();
  clock.runDue();
  const before = graph.snapshot();
  assert.equal(before.channels[0]?.alarm, "none");
  worker.wakeNow();
  clock.advance(600);
  const levels = [1, 2, 3, 4].map((value) => {
    input.tx.send(value);
    return graph.snapshot(before).channels[0]?.alarm;
  });
  assert.deepEqual(levels, ["yellow", "orange", "orange", "red"]);
  const after = graph.snapshot(before);
  assert.deepEqual(structuredClone(after), after);
  assert.equal(after.actors[1]?.load, 0.4);
  const [channel] = after.channels;
  assert.equal(channel?.from, "edge");
  assert.equal(channel?.to, undefined);
  assert.equal(channel?.fill, 4);
  assert.equal(channel?.sentPerSecond, 4);
});

test("wiring mistakes are bugs that show at once", () => {
  const bug = (wire: (graph: Graph, rig: Rig) => void): void => {
    const rig = makeGraph();
    assert.throws(() => wire(rig.graph, rig), AssertionError);
  };
  bug((graph) => {
    numbers(graph, "same");
    numbers(graph, "same");
  });
  bug((graph) => {
    const input = numbers(graph, "input");
    add(graph, "one", { receives: [input.rx] }, () => undefined);
    add(graph, "two", { receives: [input.rx] }, () => undefined);
  });
  bug((graph) => {
    const input = numbers(graph, "input");
    add(graph, "one", { sends: [input.tx] }, () => undefined);
    add(graph, "two", { sends: [input.tx] }, () => undefined);
  });
  bug((graph) => {
    graph.start();
    add(graph, "late", {}, () => undefined);
  });
  bug((graph) => {
    graph.replace("nobody", () => ({ step: () => undefined }));
    graph.start();
  });
});
