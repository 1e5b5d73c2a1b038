/**
 * A simulated `CaptureBackend`: two streams of records, bytes and names, as the kernel has them,
 * and a drain that takes bytes, then names, until no name is left (native/addon/capture.c).
 *
 * The disk tells of what was done through `tell`. The ring of bytes is small: what does not fit is
 * remembered by its inode as lost, or, when those are too many, as an overflow. Equal events of
 * names merge into the earlier one.
 */
import {
  type CaptureBackend,
  type ChangeSink,
  HotOutcome,
  type HotReading,
  NameChange,
} from "../../src/capture/index.ts";
import type { Files } from "../../src/world/index.ts";
import type { Chance, Trace } from "./chance.ts";
import type { HeldCalls } from "./held-calls.ts";
import type { SimClock } from "./sim-clock.ts";
import { latin1 } from "./sim-disk.ts";

type Record = (sink: ChangeSink) => void;

interface NameRecord {
  /** Equal ones are of the same directory, name and child. */
  key: string;
  change: number;
  tell: (sink: ChangeSink, change: number) => void;
}

interface WriteRecord {
  ino: number;
  gen: number;
  from: number;
  to: number;
  timeUs: number;
}

export interface SimCaptureOptions {
  readonly clock: SimClock;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly isAlive: () => boolean;
  /** Called between the steps of a drain: others may change the disk then. */
  readonly between: () => void;
  readonly ringCountMax: number;
  readonly lostCountMax: number;
  /** Records that one drain hands over. */
  readonly drainCountMax: number;
  /** Of the process that reads; undefined: it does not know how to read what is hot. */
  readonly files: Files | undefined;
  /** Calls under way; undefined: it knows of none. */
  readonly held: HeldCalls | undefined;
  /** A cut was closed by reading what is hot; how often it was touched meanwhile. */
  readonly onHot: (touchedCount: number) => void;
}

const hotPassCountMax = 16;

export class SimCapture implements CaptureBackend {
  readonly name = "ebpf";
  readonly tellsExtents = true;
  droppedCount = 0;
  /** What the disk is to tell its changes to. */
  readonly tell: ChangeSink;
  readonly #options: SimCaptureOptions;
  #bytes: (Record | WriteRecord)[] = [];
  #names: NameRecord[] = [];
  readonly #lost: Map<number, number> = new Map();
  #isOverflown = false;
  #readable: () => void = () => {};
  #isArmed = false;
  #isClosed = false;

  constructor(options: SimCaptureOptions) {
    this.#options = options;
    this.tell = this.#makeSink();
    const { files, held } = options;
    this.underWay = held?.underWay(this);
    if (files === undefined) return;
    this.readHot = (reading, sink) => this.#readHot(files, reading, sink);
  }

  readonly readHot: CaptureBackend["readHot"];
  readonly underWay: CaptureBackend["underWay"];
  nextLook = 1;

  /** What is told is looked at. */
  look(): void {
    this.nextLook++;
  }

  #readHot(files: Files, reading: HotReading, sink: ChangeSink): boolean {
    const more = reading.readBy(files, (heard) => this.drain(heard), sink, hotPassCountMax);
    this.#options.trace.say(`hot ${reading.extentCount} ${reading.outcome} ${reading.passCount}`);
    if (reading.outcome === HotOutcome.closed) this.#options.onHot(reading.passCount - 1);
    return more;
  }

  get isEmpty(): boolean {
    const isNothingLost = this.#lost.size === 0 && !this.#isOverflown;
    return this.#bytes.length + this.#names.length === 0 && isNothingLost;
  }

  start(readable: () => void): void {
    this.#readable = readable;
    this.#arm();
  }

  watchDirectory(): number {
    return 0;
  }

  unwatchDirectory(): void {}

  close(): void {
    this.#isClosed = true;
  }

  /** As much of the kernel's memory as there was is full: nothing is known of what comes next. */
  overflow(): void {
    this.#bytes = [];
    this.#names = [];
    this.#isOverflown = true;
    this.droppedCount++;
    this.#arm();
  }

  drain(sink: ChangeSink): boolean {
    const { between, isAlive, drainCountMax, trace } = this.#options;
    if (this.#isClosed || !isAlive()) return false;
    this.look();
    let room = drainCountMax;
    let isMore = false;
    between();
    do {
      if (this.#isOverflown) {
        this.#isOverflown = false;
        trace.say("told of an overflow");
        sink.overflow();
      }
      const bytes = this.#bytes.splice(0, room);
      for (const record of bytes) tellRecord(sink, record);
      for (const [ino, gen] of this.#lost) {
        trace.say(`told that ${ino} is lost`);
        sink.lost(ino, gen);
      }
      this.#lost.clear();
      room -= bytes.length;
      if (room > 0) between();
      const names = this.#names.splice(0, room);
      for (const record of names) record.tell(sink, record.change);
      room -= names.length;
      isMore = names.length > 0;
    } while (isMore && room > 0);
    trace.say(`drain ${drainCountMax - room}`);
    if (!this.isEmpty) this.#arm();
    return room <= 0;
  }

  #arm(): void {
    if (this.#isArmed || this.#isClosed) return;
    this.#isArmed = true;
    const { clock, chance } = this.#options;
    clock.after(chance.between(1, 40), () => {
      this.#isArmed = false;
      if (!this.#isClosed && this.#options.isAlive() && !this.isEmpty) this.#readable();
    });
  }

  #addBytes(ino: number, gen: number, record: Record | WriteRecord): void {
    const { ringCountMax, lostCountMax } = this.#options;
    if (this.#bytes.length < ringCountMax) this.#bytes.push(record);
    else {
      this.droppedCount++;
      if (this.#lost.size < lostCountMax) this.#lost.set(ino, gen);
      else this.#isOverflown = true;
    }
    this.#arm();
  }

  #addName(record: NameRecord, mayMerge: boolean): void {
    const equal = mayMerge ? this.#names.find(({ key }) => key === record.key) : undefined;
    if (equal === undefined) this.#names.push(record);
    else equal.change |= record.change;
    this.#arm();
  }

  #addNode(kind: "attributes" | "closed", ino: number, gen: number): void {
    const tell = (sink: ChangeSink): void => sink[kind](ino, gen);
    this.#addName({ key: `${kind} ${ino} ${gen}`, change: 0, tell }, true);
  }

  #makeSink(): ChangeSink {
    return {
      written: (ino, gen, from, to, timeUs) => {
        const last = this.#bytes.at(-1);
        const isNext = typeof last === "object" && last.ino === ino && last.gen === gen;
        if (isNext && last.to === from) last.to = to;
        else this.#addBytes(ino, gen, { ino, gen, from, to, timeUs });
      },
      appended: (ino, gen, timeUs) =>
        this.#addBytes(ino, gen, (sink) => sink.appended(ino, gen, timeUs)),
      truncated: (ino, gen, size, timeUs) =>
        this.#addBytes(ino, gen, (sink) => sink.truncated(ino, gen, size, timeUs)),
      unknownContent: (ino, gen) =>
        this.#addBytes(ino, gen, (sink) => sink.unknownContent(ino, gen)),
      stored: (ino, gen, from, to) =>
        this.#addBytes(ino, gen, (sink) => sink.stored(ino, gen, from, to)),
      mapped: (ino, gen) => this.#addBytes(ino, gen, (sink) => sink.mapped(ino, gen)),
      attributes: (ino, gen) => this.#addNode("attributes", ino, gen),
      closed: (ino, gen) => this.#addNode("closed", ino, gen),
      name: (ino, gen, name, childIno, childGen, change) => {
        const isMove = (change & NameChange.moved) !== 0;
        const key = `${isMove} ${ino} ${gen} ${childIno} ${childGen} ${latin1(name)}`;
        const tell = (sink: ChangeSink, all: number): void =>
          sink.name(ino, gen, name.slice(), childIno, childGen, all);
        // A rename is one event with two names, which never merges.
        this.#addName({ key, change, tell }, !isMove);
      },
      path: () => {},
      lost: () => {},
      overflow: () => {},
    };
  }
}

function tellRecord(sink: ChangeSink, record: Record | WriteRecord): void {
  if (typeof record === "function") return record(sink);
  const { ino, gen, from, to, timeUs } = record;
  sink.written(ino, gen, from, to, timeUs, false, false);
}
