/**
 * A byte ring: frames from one thread to another through shared memory, single producer and single
 * consumer, bounded by a number of frames and by bytes. It never drops.
 *
 * Layout of the shared memory: a control block of CONTROL_BYTES, a latency histogram, a table of
 * (position, length) for each frame slot, the arena. A frame lies in one piece, so that a peeked
 * view needs no copy; one that would straddle the end of the arena starts at its beginning.
 * Two sequence numbers are the whole truth: TAIL (frames published) is written by the producer
 * only, HEAD (frames committed) by the consumer only, each with one atomic store. Everything else
 * is derived from them, so a thread that dies at any instruction leaves a valid ring: frames that
 * it had not published never were, frames that it had not committed are seen again.
 * The producer publishes when it settles (on commit of an input, at the end of a step), so a crash
 * in the middle of a step sends nothing, and a batch rings the other thread's bell once.
 * Positions and sequence numbers are unsigned 32 bit and wrap; arena and slots are powers of two.
 * Source: Lamport 1977, "Proving the correctness of multiprocess programs", the one-reader
 * one-writer queue; its two counters.
 */
import { assert, SyncError } from "../base/index.ts";
import type { Clock } from "../world/index.ts";
import type { Bell } from "./bell.ts";
import { LATENCY_CELL_COUNT, LatencyHistogram } from "./latency.ts";
import type { ChannelCounters, Joint, Party, Rx, Tx } from "./port.ts";
import { nobody } from "./port.ts";

export interface ByteRingOptions {
  readonly name: string;
  /** Most frames held. */
  readonly capacity: number;
  /** Bytes of the arena; rounded up to a power of two. At least twice frameBytesMax. */
  readonly capacityBytes: number;
  /** Longest frame. */
  readonly frameBytesMax: number;
  /** One frame in this many is timed. */
  readonly sampleEvery: number;
}

/** The part of a ring that crosses threads. */
export interface ByteRingMemory {
  readonly options: ByteRingOptions;
  readonly shared: SharedArrayBuffer;
}

/** Three cache lines: written by the consumer, by the producer, by both. */
const CONTROL_BYTES = 192;
const HEAD = 0;
const TAIL = 16;
const CLOSED = 17;
const HIGH_WATER = 18;
const PRODUCER_WAITS = 32;
/** Sequence number + 1 of the sampled frame; 0: none. */
const SAMPLE_FRAME = 33;
/** Indices into the doubles of the control block. */
const COMMITTED_COUNT = 1;
const SENT_COUNT = 11;
const FILL_SHARE_SUM = 12;
const FILL_SAMPLE_COUNT = 13;
const WITHDRAWN_COUNT = 14;
const SAMPLE_SENT_US = 17;

/** Makes the memory of a ring; hand it to both threads. */
export function makeByteRingMemory(options: ByteRingOptions): ByteRingMemory {
  const { capacity, capacityBytes, frameBytesMax, sampleEvery } = options;
  assert(Number.isInteger(capacity) && capacity > 0, "a ring's capacity is positive");
  assert(capacity <= 1 << 20, "a ring's capacity is at most 2^20 frames");
  assert(frameBytesMax > 0, "frameBytesMax is positive");
  // Twice: from any position one of the two pieces before and after the wrap holds a whole frame.
  assert(capacityBytes >= 2 * frameBytesMax, "capacityBytes is at least twice frameBytesMax");
  assert(capacityBytes <= 1 << 30, "capacityBytes is at most 2^30");
  assert(Number.isInteger(sampleEvery) && sampleEvery > 0, "sampleEvery is a positive integer");
  const arenaBytes = powerOfTwo(capacityBytes);
  const shared = new SharedArrayBuffer(
    CONTROL_BYTES + LATENCY_CELL_COUNT * 4 + powerOfTwo(capacity) * 8 + arenaBytes,
  );
  return { options: { ...options, capacityBytes: arenaBytes }, shared };
}

/** What both ends share: views on the memory and the derived quantities. */
class RingView {
  readonly options: ByteRingOptions;
  readonly control: Int32Array;
  readonly totals: Float64Array;
  readonly latency: LatencyHistogram;
  readonly slots: Int32Array;
  readonly slotMask: number;
  readonly arena: Uint8Array;
  readonly arenaBytes: number;

  constructor(memory: ByteRingMemory) {
    const { options, shared } = memory;
    const slotCount = powerOfTwo(options.capacity);
    this.options = options;
    this.control = new Int32Array(shared, 0, CONTROL_BYTES / 4);
    this.totals = new Float64Array(shared, 0, CONTROL_BYTES / 8);
    let offset = CONTROL_BYTES;
    this.latency = new LatencyHistogram(new Uint32Array(shared, offset, LATENCY_CELL_COUNT));
    offset += LATENCY_CELL_COUNT * 4;
    this.slots = new Int32Array(shared, offset, slotCount * 2);
    this.slotMask = slotCount - 1;
    offset += slotCount * 8;
    this.arena = new Uint8Array(shared, offset);
    this.arenaBytes = options.capacityBytes;
  }

  position(sequence: number): number {
    return (this.slots[(sequence & this.slotMask) * 2] ?? 0) >>> 0;
  }

  length(sequence: number): number {
    return this.slots[(sequence & this.slotMask) * 2 + 1] ?? 0;
  }

  addTotal(index: number, count: number): void {
    // One writer per cell; an aligned double is stored in one piece on 64-bit machines.
    this.totals[index] = (this.totals[index] ?? 0) + count;
  }

  counters(): ChannelCounters {
    const head = Atomics.load(this.control, HEAD);
    const tail = Atomics.load(this.control, TAIL);
    const fill = (tail - head) >>> 0;
    const end = this.position(tail - 1) + this.length(tail - 1);
    return {
      capacity: this.options.capacity,
      fill,
      fillHighWater: this.control[HIGH_WATER] ?? 0,
      weight: fill === 0 ? 0 : Math.min((end - this.position(head)) >>> 0, this.arenaBytes),
      weightMax: this.arenaBytes,
      sentCount: this.totals[SENT_COUNT] ?? 0,
      committedCount: this.totals[COMMITTED_COUNT] ?? 0,
      withdrawnCount: this.totals[WITHDRAWN_COUNT] ?? 0,
      fillShareSum: this.totals[FILL_SHARE_SUM] ?? 0,
      fillSampleCount: this.totals[FILL_SAMPLE_COUNT] ?? 0,
      closed: Atomics.load(this.control, CLOSED) === 1,
      latency: this.latency.summary(),
    };
  }
}

/** The sending end, in the producer's thread. `farBell`: of the consumer's thread, if another. */
export class ByteTx implements Tx<Uint8Array> {
  readonly name: string;
  readonly joint: Joint;
  farBell: Bell | undefined;
  readonly #view: RingView;
  readonly #clock: Clock;
  /** Sequence number of the next frame; those from #published on are not visible yet. */
  #tail: number;
  #published: number;
  /** Arena position after the last frame. */
  #end: number;
  #sampleIn = 1;

  constructor(memory: ByteRingMemory, joint: Joint, clock: Clock) {
    const view = new RingView(memory);
    this.name = memory.options.name;
    this.joint = joint;
    this.#view = view;
    this.#clock = clock;
    this.#tail = Atomics.load(view.control, TAIL);
    this.#published = this.#tail;
    this.#end = (view.position(this.#tail - 1) + view.length(this.#tail - 1)) >>> 0;
    this.#forgetSample();
  }

  vacant(): number {
    const count = this.#vacantNow();
    if (count > 0) return count;
    // Say that a bell is wanted, then look again: the consumer may have committed in between.
    this.armRoom();
    return this.#vacantNow();
  }

  hasRoom(count: number): boolean {
    if (this.#vacantNow() >= count) return true;
    this.armRoom();
    return this.#vacantNow() >= count;
  }

  fits(frame: Uint8Array): boolean {
    if (this.#place(frame.length) >= 0) return true;
    this.armRoom();
    return this.#place(frame.length) >= 0;
  }

  armRoom(): boolean {
    // The consumer's thread may commit at any moment, so the mark is set before the flag.
    this.joint.producer.blocked = true;
    return Atomics.exchange(this.#view.control, PRODUCER_WAITS, 1) === 0;
  }

  send(frame: Uint8Array): void {
    if (!this.trySend(frame)) assert(false, `no room in ring ${this.name}`);
  }

  /** Copies the frame into the ring. */
  trySend(frame: Uint8Array): boolean {
    const view = this.#view;
    const producer = this.joint.producer;
    assert(frame.length <= view.options.frameBytesMax, "a frame is at most frameBytesMax long");
    if (Atomics.load(view.control, CLOSED) === 1) {
      throw new SyncError("CHANNEL_CLOSED", `ring ${this.name} is closed`);
    }
    if (!this.fits(frame)) {
      producer.blocked = true;
      producer.wantsRoom = true;
      return false;
    }
    const position = this.#place(frame.length);
    view.arena.set(frame, position & (view.arenaBytes - 1));
    const slot = (this.#tail & view.slotMask) * 2;
    view.slots[slot] = position;
    view.slots[slot + 1] = frame.length;
    this.#end = (position + frame.length) >>> 0;
    this.#tail = (this.#tail + 1) | 0;
    this.#sampleIn -= 1;
    if (this.#sampleIn === 0) this.#sample();
    producer.moved = true;
    if (producer === nobody) this.settle();
    return true;
  }

  close(): void {
    this.settle();
    if (Atomics.exchange(this.#view.control, CLOSED, 1) === 1) return;
    this.joint.consumer.wake();
    this.farBell?.ring();
  }

  /** Publishes what was sent. */
  settle(): void {
    if (this.#tail === this.#published) return;
    const { control } = this.#view;
    const count = (this.#tail - this.#published) | 0;
    this.#view.addTotal(SENT_COUNT, count);
    Atomics.store(control, TAIL, this.#tail);
    this.#published = this.#tail;
    const fill = (this.#tail - Atomics.load(control, HEAD)) >>> 0;
    if (fill > (control[HIGH_WATER] ?? 0)) control[HIGH_WATER] = fill;
    this.joint.consumer.mark();
    this.farBell?.ring();
  }

  /** Forgets what was sent and not published. */
  withdraw(): void {
    const count = (this.#tail - this.#published) | 0;
    if (count === 0) return;
    this.#view.addTotal(WITHDRAWN_COUNT, count);
    this.#forgetSample();
    this.#tail = this.#published;
    const last = this.#tail - 1;
    this.#end = (this.#view.position(last) + this.#view.length(last)) >>> 0;
  }

  counters(): ChannelCounters {
    return this.#view.counters();
  }

  #vacantNow(): number {
    const { options, arenaBytes } = this.#view;
    const head = Atomics.load(this.#view.control, HEAD);
    const fill = (this.#tail - head) >>> 0;
    const usedBytes = fill === 0 ? 0 : (this.#end - this.#view.position(head)) >>> 0;
    const freeBytes = arenaBytes - usedBytes;
    const toWrapBytes = arenaBytes - (this.#end & (arenaBytes - 1));
    const frameBytes = options.frameBytesMax;
    const byBytes =
      freeBytes <= toWrapBytes
        ? Math.floor(freeBytes / frameBytes)
        : Math.floor(toWrapBytes / frameBytes) + Math.floor((freeBytes - toWrapBytes) / frameBytes);
    return Math.min(options.capacity - fill, byBytes);
  }

  /** Arena position for a frame of this length, or -1 when it does not fit now. */
  #place(frameBytes: number): number {
    const { control, options, arenaBytes } = this.#view;
    const head = Atomics.load(control, HEAD);
    const fill = (this.#tail - head) >>> 0;
    if (fill >= options.capacity) return -1;
    const toWrapBytes = arenaBytes - (this.#end & (arenaBytes - 1));
    const skipBytes = frameBytes <= toWrapBytes ? 0 : toWrapBytes;
    const position = (this.#end + skipBytes) >>> 0;
    if (fill === 0) return position;
    const usedBytes = (this.#end - this.#view.position(head)) >>> 0;
    return usedBytes + skipBytes + frameBytes <= arenaBytes ? position : -1;
  }

  /** Drops a sample of a frame that was never published. */
  #forgetSample(): void {
    const sampled = Atomics.load(this.#view.control, SAMPLE_FRAME);
    if (sampled === 0 || ((sampled - this.#published) | 0) <= 0) return;
    Atomics.store(this.#view.control, SAMPLE_FRAME, 0);
  }

  #sample(): void {
    const { control, totals, options } = this.#view;
    this.#sampleIn = options.sampleEvery;
    const fill = (this.#tail - Atomics.load(control, HEAD)) >>> 0;
    this.#view.addTotal(FILL_SAMPLE_COUNT, 1);
    this.#view.addTotal(FILL_SHARE_SUM, fill / options.capacity);
    if (Atomics.load(control, SAMPLE_FRAME) !== 0) return;
    // Both threads' clocks must have one origin (CLOCK_MONOTONIC has).
    totals[SAMPLE_SENT_US] = this.#clock.monotonicUs();
    // Zero means none; the one frame in 2^32 whose mark would be zero is not sampled.
    Atomics.store(control, SAMPLE_FRAME, this.#tail);
  }
}

/** The receiving end, in the consumer's thread. `farBell`: of the producer's thread, if another. */
export class ByteRx implements Rx<Uint8Array> {
  readonly name: string;
  readonly joint: Joint;
  farBell: Bell | undefined;
  readonly #view: RingView;
  readonly #clock: Clock;
  #head: number;

  constructor(memory: ByteRingMemory, joint: Joint, clock: Clock) {
    this.name = memory.options.name;
    this.joint = joint;
    this.#view = new RingView(memory);
    this.#clock = clock;
    this.#head = Atomics.load(this.#view.control, HEAD);
  }

  available(): number {
    return (Atomics.load(this.#view.control, TAIL) - this.#head) >>> 0;
  }

  /** A view into shared memory, valid until the frame is committed. */
  peek(index: number): Uint8Array {
    assert(index >= 0 && index < this.available(), "peek beyond the last frame");
    const { arena, arenaBytes } = this.#view;
    const sequence = this.#head + index;
    const start = this.#view.position(sequence) & (arenaBytes - 1);
    return arena.subarray(start, start + this.#view.length(sequence));
  }

  commit(count: number): void {
    assert(count >= 0 && count <= this.available(), "commit of more frames than there are");
    if (count === 0) return;
    const { control } = this.#view;
    const consumer = this.joint.consumer;
    consumer.settle();
    consumer.moved = true;
    this.#view.addTotal(COMMITTED_COUNT, count);
    this.#head = (this.#head + count) | 0;
    Atomics.store(control, HEAD, this.#head);
    const sampled = Atomics.load(control, SAMPLE_FRAME);
    if (sampled !== 0 && ((this.#head - sampled) | 0) >= 0) this.#finishSample();
    if (this.joint.producer.blocked) this.joint.producer.mark();
    if (Atomics.load(control, PRODUCER_WAITS) === 0) return;
    Atomics.store(control, PRODUCER_WAITS, 0);
    this.farBell?.ring();
  }

  isClosedAndEmpty(): boolean {
    // Closed first: nothing is published after it.
    return Atomics.load(this.#view.control, CLOSED) === 1 && this.available() === 0;
  }

  #finishSample(): void {
    const { control, totals, latency } = this.#view;
    latency.record(this.#clock.monotonicUs() - (totals[SAMPLE_SENT_US] ?? 0));
    Atomics.store(control, SAMPLE_FRAME, 0);
  }
}

/** A ring as one thread sees it: its ends are made when first asked for, one of each at most. */
export class ByteChannel implements Joint {
  readonly name: string;
  readonly memory: ByteRingMemory;
  producer: Party = nobody;
  consumer: Party = nobody;
  readonly #clock: Clock;
  #tx: ByteTx | undefined;
  #rx: ByteRx | undefined;
  #endSeen = false;

  constructor(memory: ByteRingMemory, clock: Clock) {
    this.name = memory.options.name;
    this.memory = memory;
    this.#clock = clock;
  }

  get tx(): ByteTx {
    this.#tx ??= new ByteTx(this.memory, this, this.#clock);
    return this.#tx;
  }

  get rx(): ByteRx {
    this.#rx ??= new ByteRx(this.memory, this, this.#clock);
    return this.#rx;
  }

  bindProducer(party: Party): void {
    assert(this.producer === nobody, `ring ${this.name} has one sender`);
    this.producer = party;
  }

  bindConsumer(party: Party): void {
    assert(this.consumer === nobody, `ring ${this.name} has one receiver`);
    this.consumer = party;
    if (this.rx.available() > 0) party.mark();
  }

  settle(): void {
    this.#tx?.settle();
  }

  withdraw(): void {
    this.#tx?.withdraw();
  }

  armRoom(): boolean {
    return this.tx.armRoom();
  }

  counters(): ChannelCounters {
    return this.tx.counters();
  }

  /** The other thread rang: marks the actors of this thread that may go on. */
  refresh(): void {
    if (this.consumer !== nobody) {
      if (this.rx.available() > 0) this.consumer.mark();
      if (!this.#endSeen && this.rx.isClosedAndEmpty()) {
        this.#endSeen = true;
        this.consumer.wake();
      }
    }
    if (this.producer.blocked && this.tx.vacant() > 0) this.producer.mark();
  }
}

function powerOfTwo(atLeast: number): number {
  return atLeast === 1 ? 1 : 2 ** (32 - Math.clz32(atLeast - 1));
}
