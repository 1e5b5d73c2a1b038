/**
 * `shareCapture`: one capture for several listeners. It is opened, drained and closed once; what a
 * drain tells is told to every listener that is attached, whoever drained.
 *
 *   backend --drain--> fan --+--> sink of listener 0
 *                            +--> sink of listener 1 …
 *
 * A listener is one target's session. Each has a dirty set of its own, so a target that is slow or
 * away holds up nobody: its changes are joined in its own set, or, while it is away, go unheard,
 * because its next link compares everything.
 *
 * Invariants:
 * - Every attached sink hears every change, in the backend's order. So a listener may validate a
 *   cut with a drain of its own: what others drained before has reached its sink already.
 * - Nobody works inside another's drain: who was told something is woken on a later turn; or, while
 *   the kernel's wake-up goes round, does its work in its own turn, and is woken only for what it
 *   was told after that.
 * - A directory stays watched while one listener wants it (inotify; other backends watch the whole
 *   filesystem and nothing is counted for them).
 * With one listener there is no hub: it gets the backend itself, and nothing stands in between.
 */
import { assert } from "../base/index.ts";
import {
  type BackendName,
  type CaptureBackend,
  type CaptureShare,
  type ChangeSink,
  type PathStart,
  deafSink,
  type Listener,
} from "./backend.ts";
import type { CallsUnderWay } from "./calls-under-way.ts";
import { SharedWatches } from "./shared-watches.ts";

/** Listeners of one capture: watches are counted by a bit for each. */
export const listenerCountMax = 16;
/** Drains in one go while nobody listens; then the kernel calls again. */
const deafDrainCount = 64;

/** As many views of one backend as wanted. The backend is closed by its owner, not by a view. */
export function shareCapture(backend: CaptureBackend, count: number): CaptureBackend[] {
  assert(count >= 1 && count <= listenerCountMax, "a capture has some listeners, and not too many");
  if (count === 1) return [backend];
  const hub = new CaptureHub(backend);
  return Array.from({ length: count }, (_, index) => new CaptureView(hub, backend, index));
}

class CaptureHub {
  readonly watches: SharedWatches | undefined;
  readonly #backend: CaptureBackend;
  readonly #fan: Fan = new Fan();
  /** Those with a listener, by index. Replaced, not changed: somebody may be going over it. */
  #views: readonly CaptureView[] = [];
  #isStarted = false;
  #isRinging = false;

  constructor(backend: CaptureBackend) {
    this.#backend = backend;
    if (backend.name === "inotify") this.watches = new SharedWatches(backend);
  }

  /** A bit for each view that has a listener. */
  get attachedBits(): number {
    let bits = 0;
    for (const view of this.#views) bits |= view.bit;
    return bits;
  }

  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#backend.start(() => this.#ring());
  }

  changed(views: readonly CaptureView[]): void {
    this.#views = views.filter((view) => view.listener !== undefined);
    this.#fan.sinks = this.#views.map((view) => view.listener!.sink);
  }

  /** `by`: a drain of the backend. */
  drain(drainer: CaptureView, by: (sink: ChangeSink) => boolean): boolean {
    const fan = this.#fan;
    fan.hasTold = false;
    const more = by(fan);
    if (fan.hasTold) {
      for (const view of this.#views) {
        if (view === drainer) continue;
        if (this.#isRinging) view.wasTold = true;
        else view.listener?.wake();
      }
    }
    return more;
  }

  unfinished(drainer: CaptureView): void {
    for (const view of this.#views) if (view !== drainer) view.listener?.unfinished();
  }

  cleaned(cleaner: CaptureView, ino: number, gen: number, from: number, to: number): void {
    for (const view of this.#views) {
      if (view === cleaner) continue;
      view.listener?.cleaned(ino, gen, from, to);
      view.listener?.wake();
    }
  }

  attach(view: CaptureView): void {
    this.changed([...this.#views.filter((other) => other !== view), view].sort(byBit));
  }

  detach(): void {
    this.changed(this.#views);
  }

  /** The kernel has events: each listener drains and works, one after the other. */
  #ring(): void {
    if (this.#views.length === 0) {
      for (let i = 0; i < deafDrainCount && this.#backend.drain(deafSink); i++);
      return;
    }
    const views = this.#views;
    this.#isRinging = true;
    try {
      for (const view of views) {
        view.wasTold = false;
        if (view.listener !== undefined) view.readable();
      }
    } finally {
      this.#isRinging = false;
    }
    for (const view of views) if (view.wasTold) view.listener?.wake();
  }
}

function byBit(one: CaptureView, other: CaptureView): number {
  return one.bit - other.bit;
}

/** The backend, as one of its listeners sees it. */
class CaptureView implements CaptureBackend, CaptureShare {
  readonly bit: number;
  listener: Listener | undefined;
  /** Others have drained something for it since its turn began. */
  wasTold = false;
  readable: () => void = () => {};
  readonly #hub: CaptureHub;
  readonly #backend: CaptureBackend;
  readonly #former: (Listener | undefined)[] = [];

  constructor(hub: CaptureHub, backend: CaptureBackend, index: number) {
    this.#hub = hub;
    this.#backend = backend;
    this.bit = 1 << index;
    if (backend.readHot !== undefined) {
      this.readHot = (reading) => hub.drain(this, (fan) => backend.readHot!(reading, fan));
    }
  }

  readonly readHot: CaptureBackend["readHot"];

  get name(): BackendName {
    return this.#backend.name;
  }

  get underWay(): CallsUnderWay | undefined {
    return this.#backend.underWay;
  }

  get share(): CaptureShare {
    return this;
  }

  get tellsExtents(): boolean {
    return this.#backend.tellsExtents;
  }

  get droppedCount(): number {
    return this.#backend.droppedCount;
  }

  /** `readable` is called only while a listener is attached. */
  start(readable: () => void): void {
    this.readable = readable;
    this.#hub.start();
  }

  /** Tells every attached listener: this one's `sink` is the one that it attached. */
  drain(sink: ChangeSink): boolean {
    assert(this.listener === undefined || this.listener.sink === sink, "a sink is attached first");
    return this.#hub.drain(this, (fan) => this.#backend.drain(fan));
  }

  watchDirectory(directoryFd: number, ino: number, gen: number): number {
    const { watches } = this.#hub;
    return watches === undefined ? 0 : watches.add(directoryFd, ino, gen, this.bit);
  }

  unwatchDirectory(ino: number, gen: number): void {
    this.#hub.watches?.remove(ino, gen, this.bit, this.#hub.attachedBits);
  }

  close(): void {}

  attach(listener: Listener): void {
    this.#former.push(this.listener);
    assert(this.#former.length <= 2, "a session takes the place of whoever listens without one");
    this.listener = listener;
    this.#hub.attach(this);
  }

  detach(): void {
    this.listener = this.#former.pop();
    this.#hub.detach();
  }

  unfinished(): void {
    this.#hub.unfinished(this);
  }

  cleaned(ino: number, gen: number, from: number, to: number): void {
    this.#hub.cleaned(this, ino, gen, from, to);
  }
}

/** Tells all sinks what one drain tells. Names are shared between them: nobody writes into one. */
class Fan implements ChangeSink {
  sinks: readonly ChangeSink[] = [];
  hasTold = false;

  #all(): readonly ChangeSink[] {
    this.hasTold = true;
    return this.sinks;
  }

  written(
    ino: number,
    gen: number,
    from: number,
    to: number,
    timeUs: number,
    sharedPosition: boolean,
    mapped: boolean,
  ): void {
    for (const sink of this.#all()) {
      sink.written(ino, gen, from, to, timeUs, sharedPosition, mapped);
    }
  }

  appended(ino: number, gen: number, timeUs: number): void {
    for (const sink of this.#all()) sink.appended(ino, gen, timeUs);
  }

  truncated(ino: number, gen: number, size: number, timeUs: number, isCut?: boolean): void {
    for (const sink of this.#all()) sink.truncated(ino, gen, size, timeUs, isCut);
  }

  unknownContent(ino: number, gen: number): void {
    for (const sink of this.#all()) sink.unknownContent(ino, gen);
  }

  stored(ino: number, gen: number, from: number, to: number): void {
    for (const sink of this.#all()) sink.stored(ino, gen, from, to);
  }

  mapped(ino: number, gen: number): void {
    for (const sink of this.#all()) sink.mapped(ino, gen);
  }

  attributes(ino: number, gen: number): void {
    for (const sink of this.#all()) sink.attributes(ino, gen);
  }

  closed(ino: number, gen: number): void {
    for (const sink of this.#all()) sink.closed(ino, gen);
  }

  name(
    directoryIno: number,
    directoryGen: number,
    name: Uint8Array,
    childIno: number,
    childGen: number,
    change: number,
  ): void {
    for (const sink of this.#all()) {
      sink.name(directoryIno, directoryGen, name, childIno, childGen, change);
    }
  }

  path(path: Uint8Array, start: PathStart, truncatedTo: number): void {
    for (const sink of this.#all()) sink.path(path, start, truncatedTo);
  }

  lost(ino: number, gen: number): void {
    for (const sink of this.#all()) sink.lost(ino, gen);
  }

  overflow(): void {
    for (const sink of this.#all()) sink.overflow();
  }
}
