/**
 * `Channel<T>`: a bounded ring of messages between two actors on one thread. It never drops.
 *
 * In: tx.send. Out: rx.peek, then rx.commit: a receiver that crashes between the two sees the same
 * messages again. Bounds: `capacity` messages and, when there is a weight function, `weightMax`
 * (for example bytes); one message heavier than weightMax is admitted into an empty channel, or it
 * could never pass. What a sender sent since it last committed an input can be withdrawn, so that
 * a crash between send and commit duplicates nothing.
 * Cost: no allocation per message; the slots are made at construction. Latency and fill are sampled
 * (one message in `sampleEvery`), so that the clock is not read for each.
 * Source: the channels of steady_state (Rust), without its async.
 */
import { assert, SyncError } from "../base/index.ts";
import type { Clock } from "../world/index.ts";
import { LATENCY_CELL_COUNT, LatencyHistogram } from "./latency.ts";
import type { ChannelCounters, Joint, Party, Rx, Tx } from "./port.ts";
import { nobody } from "./port.ts";

export interface ChannelOptions<T> {
  readonly name: string;
  /** Most messages held. */
  readonly capacity: number;
  /** Weight of a message, for example its bytes: pure, not negative. Needs `weightMax`. */
  readonly weigh?: (message: T) => number;
  readonly weightMax?: number;
  /** One message in this many is timed. */
  readonly sampleEvery: number;
}

/** Most messages that one channel may be built for; beyond it the capacity is a mistake. */
const CAPACITY_MAX = 1 << 24;

export class Channel<T> implements Tx<T>, Rx<T>, Joint {
  readonly name: string;
  readonly capacity: number;
  producer: Party = nobody;
  consumer: Party = nobody;

  readonly #slots: (T | undefined)[];
  readonly #mask: number;
  #head = 0;
  #fill = 0;
  #closed = false;
  #fillHighWater = 0;
  #sentCount = 0;
  #committedCount = 0;
  #withdrawnCount = 0;
  #settledAt = 0;

  readonly #weigh: ((message: T) => number) | undefined;
  readonly #weightMax: number;
  readonly #weights: Float64Array;
  #weight = 0;

  readonly #clock: Clock;
  readonly #sampleEvery: number;
  readonly #latency = new LatencyHistogram(new Uint32Array(LATENCY_CELL_COUNT));
  #sampleIn = 1;
  /** Value of #committedCount at which the sampled message has been committed; -1: none. */
  #sampleAt = -1;
  #sampleSentUs = 0;
  #fillShareSum = 0;
  #fillSampleCount = 0;

  constructor(options: ChannelOptions<T>, clock: Clock) {
    const { capacity, sampleEvery, weigh, weightMax } = options;
    assert(Number.isInteger(capacity) && capacity > 0, "a channel's capacity is positive");
    assert(capacity <= CAPACITY_MAX, "a channel's capacity is at most 2^24");
    assert(Number.isInteger(sampleEvery) && sampleEvery > 0, "sampleEvery is a positive integer");
    assert((weigh === undefined) === (weightMax === undefined), "weigh and weightMax go together");
    assert(weightMax === undefined || weightMax > 0, "weightMax is positive");
    const slotCount = capacity === 1 ? 1 : 2 ** (32 - Math.clz32(capacity - 1));
    this.name = options.name;
    this.capacity = capacity;
    this.#slots = new Array<T | undefined>(slotCount).fill(undefined);
    this.#mask = slotCount - 1;
    this.#weigh = weigh;
    this.#weightMax = weightMax ?? 0;
    this.#weights = new Float64Array(weigh === undefined ? 0 : slotCount);
    this.#clock = clock;
    this.#sampleEvery = sampleEvery;
  }

  get tx(): Tx<T> {
    return this;
  }

  get rx(): Rx<T> {
    return this;
  }

  get joint(): Joint {
    return this;
  }

  vacant(): number {
    const isHeavy = this.#weigh !== undefined && this.#weight >= this.#weightMax;
    const count = isHeavy && this.#fill > 0 ? 0 : this.capacity - this.#fill;
    // Whoever saw that there is no room gets a look when there is.
    if (count === 0) this.producer.blocked = true;
    return count;
  }

  hasRoom(count: number): boolean {
    if (this.vacant() >= count) return true;
    this.producer.blocked = true;
    return false;
  }

  fits(message: T): boolean {
    if (this.#fill < this.capacity) {
      if (this.#weigh === undefined || this.#fill === 0) return true;
      if (this.#weight + this.#weigh(message) <= this.#weightMax) return true;
    }
    this.producer.blocked = true;
    return false;
  }

  send(message: T): void {
    if (!this.trySend(message)) assert(false, `no room in channel ${this.name}`);
  }

  trySend(message: T): boolean {
    if (this.#closed) throw new SyncError("CHANNEL_CLOSED", `channel ${this.name} is closed`);
    const fill = this.#fill;
    const index = (this.#head + fill) & this.#mask;
    if (fill >= this.capacity || (this.#weigh !== undefined && !this.#admit(message, index))) {
      this.producer.blocked = true;
      this.producer.wantsRoom = true;
      return false;
    }
    this.#slots[index] = message;
    this.#fill = fill + 1;
    if (fill >= this.#fillHighWater) this.#fillHighWater = fill + 1;
    this.#sentCount += 1;
    this.#sampleIn -= 1;
    if (this.#sampleIn === 0) this.#sample();
    this.producer.moved = true;
    const consumer = this.consumer;
    if (!consumer.ready) consumer.mark();
    return true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.consumer.wake();
  }

  available(): number {
    return this.#fill;
  }

  peek(index: number): T {
    assert(index >= 0 && index < this.#fill, "peek beyond the last message");
    return this.#slots[(this.#head + index) & this.#mask] as T;
  }

  commit(count: number): void {
    assert(count >= 0 && count <= this.#fill, "commit of more messages than there are");
    if (count === 0) return;
    const consumer = this.consumer;
    consumer.settle();
    consumer.moved = true;
    const mask = this.#mask;
    const head = this.#head;
    // A slot is emptied, or the ring would keep committed messages alive.
    for (let index = 0; index < count; index += 1) this.#slots[(head + index) & mask] = undefined;
    if (this.#weigh !== undefined) this.#lighten(head, count);
    this.#head = (head + count) & mask;
    this.#fill -= count;
    this.#committedCount += count;
    if (this.#sampleAt >= 0 && this.#committedCount >= this.#sampleAt) this.#finishSample();
    if (this.producer.blocked) this.producer.mark();
  }

  isClosedAndEmpty(): boolean {
    return this.#closed && this.#fill === 0;
  }

  bindProducer(party: Party): void {
    assert(this.producer === nobody, `channel ${this.name} has one sender`);
    this.producer = party;
  }

  bindConsumer(party: Party): void {
    assert(this.consumer === nobody, `channel ${this.name} has one receiver`);
    this.consumer = party;
    if (this.#fill > 0) party.mark();
  }

  settle(): void {
    this.#settledAt = this.#sentCount;
  }

  withdraw(): void {
    // Not more than the fill: code outside of the graph may have taken some of them already.
    const count = Math.min(this.#sentCount - this.#settledAt, this.#fill);
    for (let step = 0; step < count; step += 1) {
      this.#fill -= 1;
      const index = (this.#head + this.#fill) & this.#mask;
      this.#slots[index] = undefined;
      if (this.#weigh !== undefined) this.#weight -= this.#weights[index] ?? 0;
    }
    if (this.#fill === 0) this.#weight = 0;
    this.#sentCount -= count;
    this.#withdrawnCount += count;
    if (this.#sampleAt > this.#sentCount) this.#sampleAt = -1;
    this.#settledAt = this.#sentCount;
  }

  armRoom(): boolean {
    // On one thread no commit can be missed.
    this.producer.blocked = true;
    return false;
  }

  counters(): ChannelCounters {
    return {
      capacity: this.capacity,
      fill: this.#fill,
      fillHighWater: this.#fillHighWater,
      weight: this.#weight,
      weightMax: this.#weightMax,
      sentCount: this.#sentCount,
      committedCount: this.#committedCount,
      withdrawnCount: this.#withdrawnCount,
      fillShareSum: this.#fillShareSum,
      fillSampleCount: this.#fillSampleCount,
      closed: this.#closed,
      latency: this.#latency.summary(),
    };
  }

  #admit(message: T, index: number): boolean {
    const weight = this.#weigh?.(message) ?? 0;
    assert(weight >= 0, "a message's weight is not negative");
    if (this.#fill > 0 && this.#weight + weight > this.#weightMax) return false;
    this.#weights[index] = weight;
    this.#weight += weight;
    return true;
  }

  #lighten(head: number, count: number): void {
    for (let step = 0; step < count; step += 1) {
      this.#weight -= this.#weights[(head + step) & this.#mask] ?? 0;
    }
    // Sums of fractions drift; an empty channel weighs nothing.
    if (count === this.#fill) this.#weight = 0;
  }

  #sample(): void {
    this.#sampleIn = this.#sampleEvery;
    this.#fillSampleCount += 1;
    this.#fillShareSum += this.#fillShare();
    if (this.#sampleAt >= 0) return;
    this.#sampleAt = this.#sentCount;
    this.#sampleSentUs = this.#clock.monotonicUs();
  }

  #finishSample(): void {
    this.#sampleAt = -1;
    this.#latency.record(this.#clock.monotonicUs() - this.#sampleSentUs);
  }

  #fillShare(): number {
    const byCount = this.#fill / this.capacity;
    return this.#weightMax === 0 ? byCount : Math.max(byCount, this.#weight / this.#weightMax);
  }
}
