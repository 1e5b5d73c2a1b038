import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { BackendName, CaptureBackend, ChangeSink, Listener } from "./backend.ts";
import { deafSink } from "./backend.ts";
import { HotReading } from "./hot-reading.ts";
import { listenerCountMax, shareCapture } from "./capture-hub.ts";

/** Tells inode numbers as `lost` events, those of one entry in one drain. */
class ScriptedBackend implements CaptureBackend {
  readonly name: BackendName;
  readonly tellsExtents = true;
  readonly droppedCount = 7;
  readonly waiting: number[][] = [];
  readonly watched = new Set<string>();
  readHot: CaptureBackend["readHot"];
  drainCount = 0;
  startCount = 0;
  closeCount = 0;
  readable: () => void = () => {};

  constructor(name: BackendName = "ebpf") {
    this.name = name;
  }

  start(readable: () => void): void {
    this.startCount++;
    this.readable = readable;
  }

  drain(sink: ChangeSink): boolean {
    this.drainCount++;
    for (const ino of this.waiting.shift() ?? []) sink.lost(ino, 1);
    return this.waiting.length > 0;
  }

  watchDirectory(directoryFd: number, ino: number, gen: number): number {
    if (directoryFd < 0) return directoryFd;
    this.watched.add(`${ino}.${gen}`);
    return 0;
  }

  unwatchDirectory(ino: number, gen: number): void {
    this.watched.delete(`${ino}.${gen}`);
  }

  close(): void {
    this.closeCount++;
  }
}

class Recorder implements Listener {
  readonly heard: number[] = [];
  readonly cleanedExtents: number[][] = [];
  wakeCount = 0;
  unfinishedCount = 0;
  readonly sink: ChangeSink = { ...deafSink, lost: (ino) => void this.heard.push(ino) };

  wake(): void {
    this.wakeCount++;
  }

  unfinished(): void {
    this.unfinishedCount++;
  }

  cleaned(...extent: number[]): void {
    this.cleanedExtents.push(extent);
  }
}

function rig(
  count: number,
  name: BackendName = "ebpf",
): { backend: ScriptedBackend; views: CaptureBackend[]; listeners: Recorder[] } {
  const backend = new ScriptedBackend(name);
  const views = shareCapture(backend, count);
  const listeners = views.map(() => new Recorder());
  for (const [index, view] of views.entries()) view.share?.attach(listeners[index]!);
  return { backend, views, listeners };
}

test("one listener gets the backend itself", () => {
  const backend = new ScriptedBackend();
  assert.equal(shareCapture(backend, 1)[0], backend);
});

test("what is told while one listener reads hot extents is told to all", () => {
  const { views, listeners, backend } = rig(3);
  assert.ok(
    views.every(({ readHot }) => readHot === undefined),
    "where the backend has it",
  );
  const reading = new HotReading();
  const given: unknown[] = [];
  backend.readHot = (of, sink) => {
    given.push(of);
    sink.lost(5, 1);
    return true;
  };
  const hot = shareCapture(backend, 3);
  for (const [index, view] of hot.entries()) view.share?.attach(listeners[index]!);
  assert.equal(hot[1]!.readHot!(reading, listeners[1]!.sink), true, "more waits");
  assert.deepEqual(given, [reading]);
  assert.deepEqual(
    listeners.map(({ heard, wakeCount }) => [heard, wakeCount]),
    [
      [[5], 1],
      [[5], 0],
      [[5], 1],
    ],
  );
});

test("as many listeners as watches can be counted for, and no more", () => {
  const { views, listeners, backend } = rig(listenerCountMax);
  backend.waiting.push([1]);
  views.at(-1)!.drain(listeners.at(-1)!.sink);
  assert.ok(listeners.every(({ heard }) => heard.length === 1));
  assert.throws(() => shareCapture(backend, listenerCountMax + 1));
});

test("what one drains all hear, in order; the others are woken, unless nothing was told", () => {
  const { backend, views, listeners } = rig(3);
  backend.waiting.push([1, 2], [3]);
  assert.equal(views[1]!.drain(listeners[1]!.sink), true);
  assert.equal(views[0]!.drain(listeners[0]!.sink), false);
  assert.equal(views[0]!.drain(listeners[0]!.sink), false);
  for (const { heard } of listeners) assert.deepEqual(heard, [1, 2, 3]);
  const wakes = listeners.map(({ wakeCount }) => wakeCount);
  assert.deepEqual(wakes, [1, 1, 2]);
});

test("the kernel's call goes round: each drains in its turn, then is woken for what is new", () => {
  const { backend, views, listeners } = rig(2);
  const turns: number[] = [];
  for (const [index, view] of views.entries()) {
    view.start(() => {
      turns.push(index);
      view.drain(listeners[index]!.sink);
    });
  }
  assert.equal(backend.startCount, 1);
  backend.waiting.push([1]);
  backend.readable();
  assert.deepEqual(turns, [0, 1]);
  assert.deepEqual([listeners[0]!.wakeCount, listeners[1]!.wakeCount], [0, 0]);
  // The second one's drain finds what the first one, whose turn is over, has not seen.
  backend.waiting.push([2], [3]);
  backend.readable();
  assert.deepEqual([listeners[0]!.wakeCount, listeners[1]!.wakeCount], [1, 0]);
  for (const { heard } of listeners) assert.deepEqual(heard, [1, 2, 3]);
});

test("who is not attached hears nothing and is not called; with nobody there it is drained", () => {
  const { backend, views, listeners } = rig(2);
  let calls = 0;
  for (const [index, view] of views.entries()) {
    view.start(() => {
      calls++;
      view.drain(listeners[index]!.sink);
    });
  }
  views[1]!.share!.detach();
  backend.waiting.push([1]);
  backend.readable();
  assert.deepEqual([listeners[0]!.heard, listeners[1]!.heard, calls], [[1], [], 1]);
  // A view whose listener has gone must not take what is others' to hear.
  backend.waiting.push([2]);
  views[1]!.drain(deafSink);
  assert.deepEqual([listeners[0]!.heard, listeners[0]!.wakeCount], [[1, 2], 1]);
  views[0]!.share!.detach();
  backend.waiting.push([3], [4]);
  backend.readable();
  assert.deepEqual([backend.waiting.length, calls], [0, 1]);
  const late = new Recorder();
  views[0]!.share!.attach(late);
  assert.throws(() => views[0]!.drain(listeners[0]!.sink), /a sink is attached first/);
  backend.waiting.push([5]);
  views[0]!.drain(late.sink);
  assert.deepEqual([listeners[0]!.heard, late.heard], [[1, 2], [5]]);
});

test("a listener takes the place of the one before it, which comes back", () => {
  const { backend, views, listeners } = rig(2);
  const session = new Recorder();
  views[0]!.share!.attach(session);
  backend.waiting.push([1]);
  views[0]!.drain(session.sink);
  views[0]!.share!.detach();
  backend.waiting.push([2]);
  views[1]!.drain(listeners[1]!.sink);
  assert.deepEqual([session.heard, listeners[0]!.heard, listeners[1]!.heard], [[1], [2], [1, 2]]);
});

test("a listener that leaves in its turn does not disturb the round", () => {
  const { backend, views, listeners } = rig(3);
  const turns: number[] = [];
  for (const [index, view] of views.entries()) {
    view.start(() => {
      turns.push(index);
      if (index === 0) views[1]!.share!.detach();
      view.drain(listeners[index]!.sink);
    });
  }
  backend.waiting.push([1]);
  backend.readable();
  assert.deepEqual(turns, [0, 2]);
  assert.deepEqual(
    listeners.map(({ heard }) => heard),
    [[1], [], [1]],
  );
});

test("an unfinished drain and cleaned pages are told to the others only", () => {
  const { views, listeners } = rig(3);
  views[1]!.share!.unfinished();
  views[2]!.share!.cleaned(5, 1, 4096, 8192);
  assert.deepEqual(
    listeners.map(({ unfinishedCount }) => unfinishedCount),
    [1, 0, 1],
  );
  const extent = [5, 1, 4096, 8192];
  assert.deepEqual(
    listeners.map(({ cleanedExtents }) => cleanedExtents),
    [[extent], [extent], []],
  );
  assert.deepEqual(
    listeners.map(({ wakeCount }) => wakeCount),
    [1, 1, 0],
  );
});

test("a view does not close the backend, and knows what it knows", () => {
  const { backend, views } = rig(2);
  views[0]!.close();
  assert.equal(backend.closeCount, 0);
  const { name, tellsExtents, droppedCount } = views[1]!;
  assert.deepEqual([name, tellsExtents, droppedCount], ["ebpf", true, 7]);
});

test("a directory is watched until the last listener that is there has let it go", () => {
  const { backend, views } = rig(2, "inotify");
  assert.equal(views[0]!.watchDirectory(-28, 9, 1), -28);
  for (const view of views) assert.equal(view.watchDirectory(3, 9, 1), 0);
  views[0]!.unwatchDirectory(9, 2);
  views[0]!.unwatchDirectory(9, 1);
  assert.deepEqual([...backend.watched], ["9.1"]);
  views[1]!.unwatchDirectory(9, 1);
  assert.deepEqual([...backend.watched], []);
  // Who is away watches anew when it is back.
  for (const view of views) view.watchDirectory(3, 9, 1);
  views[1]!.share!.detach();
  views[0]!.unwatchDirectory(9, 1);
  assert.deepEqual([...backend.watched], []);
});

test("a backend that watches the whole filesystem is asked for no directory", () => {
  const { backend, views } = rig(2);
  views[0]!.watchDirectory(3, 9, 1);
  assert.deepEqual([...backend.watched], []);
});

test("property: everybody hears what was told while it was there, once and in order", () => {
  const who = fc.integer({ min: 0, max: 2 });
  const step = fc.oneof(
    fc.record({ kind: fc.constant("drain" as const), who, events: fc.nat({ max: 3 }) }),
    fc.record({ kind: fc.constant("toggle" as const), who, events: fc.constant(0) }),
    fc.record({ kind: fc.constant("ring" as const), who, events: fc.nat({ max: 3 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { backend, views, listeners } = rig(3);
      const isThere = [true, true, true];
      const expected: number[][] = [[], [], []];
      let next = 1;
      for (const [index, view] of views.entries()) {
        view.start(() => void view.drain(listeners[index]!.sink));
      }
      for (const { kind, who: index, events } of steps) {
        const told = Array.from({ length: events }, () => next++);
        if (kind === "toggle") {
          if (isThere[index]) views[index]!.share!.detach();
          else views[index]!.share!.attach(listeners[index]!);
          isThere[index] = !isThere[index];
          continue;
        }
        backend.waiting.push(told);
        for (const [each, there] of isThere.entries()) if (there) expected[each]!.push(...told);
        if (kind === "ring") backend.readable();
        else views[index]!.drain(listeners[index]!.sink);
        assert.equal(backend.waiting.length, 0);
      }
      assert.deepEqual(
        listeners.map(({ heard }) => heard),
        expected,
      );
    }),
  );
});
