/**
 * What a channel shows: to actors its two ends, to the graph its joint, to the scheduler parties.
 *
 * An actor holds `Tx` and `Rx` and nothing else. The graph binds a `Party` (an actor's scheduling
 * marks) to each side of the joint; the channel then reports what happened by setting marks, so
 * that a send costs a few field writes and no call through a callback.
 */
import type { LatencySummary } from "./latency.ts";

/** The sending end. One actor (or one edge) owns it. */
export interface Tx<in T> {
  readonly name: string;
  /** Messages that fit for certain. Zero: the owner gets a look again when there is room. */
  vacant(): number;
  /** Room for `count` messages at once; false: as with vacant() zero, another look comes. */
  hasRoom(count: number): boolean;
  /** Whether this very message fits now (its weight counts); false: another look comes. */
  fits(message: T): boolean;
  /** Sends; asserts room (check vacant() first). Throws CHANNEL_CLOSED after close(). */
  send(message: T): void;
  /** Sends when there is room. False: not sent, and the owner runs again when room appears. */
  trySend(message: T): boolean;
  /** No more messages will come. Idempotent; wakes the receiver. */
  close(): void;
  /** For the graph. */
  readonly joint: Joint;
}

/** The receiving end. One actor (or one edge) owns it. */
export interface Rx<out T> {
  readonly name: string;
  available(): number;
  /** The message at `index` from the front, left in place. Asserts index < available(). */
  peek(index: number): T;
  /** Removes the first `count`. Asserts count <= available(). Settles what the owner sent. */
  commit(count: number): void;
  isClosedAndEmpty(): boolean;
  /** For the graph. */
  readonly joint: Joint;
}

export type AnyTx = Tx<never>;
export type AnyRx = Rx<unknown>;

/** Totals since the start of the graph; plain numbers. */
export interface ChannelCounters {
  readonly capacity: number;
  readonly fill: number;
  readonly fillHighWater: number;
  /** Sum of the weights in the channel; 0 without a weight function. */
  readonly weight: number;
  /** 0: not bounded by weight. */
  readonly weightMax: number;
  readonly sentCount: number;
  readonly committedCount: number;
  /** Sends undone because the sender's step threw before it committed. */
  readonly withdrawnCount: number;
  /** Sum of sampled fill shares and their number, for the mean fill between two snapshots. */
  readonly fillShareSum: number;
  readonly fillSampleCount: number;
  readonly closed: boolean;
  readonly latency: LatencySummary;
}

/** A channel as the graph sees it. */
export interface Joint {
  readonly name: string;
  readonly producer: Party;
  readonly consumer: Party;
  bindProducer(party: Party): void;
  bindConsumer(party: Party): void;
  /** Makes what was sent so far stand, even if the sender's step throws later. */
  settle(): void;
  /** Undoes the sends since settle(). */
  withdraw(): void;
  /**
   * Asks that the producer gets a look at the next commit. True: that was not asked for before, so
   * a commit may have been missed.
   */
  armRoom(): boolean;
  counters(): ChannelCounters;
}

/**
 * The scheduling marks of one actor. Channels write them, the troupe reads them.
 * Fields, not methods: they are written once per message.
 */
export class Party {
  /** Queued for a look by the scheduler. */
  ready = false;
  /** Must run, whatever its channels hold. */
  woken = false;
  /** An output was seen without room: look again as soon as one gets room. */
  blocked = false;
  /** Run again when all outputs have room, input or not. */
  wantsRoom = false;
  /** Something was sent or committed in this step. */
  moved = false;
  readonly outputs: Joint[] = [];
  readonly #onReady: () => void;

  constructor(onReady: () => void) {
    this.#onReady = onReady;
  }

  /** Asks the scheduler to look at this actor; it runs when its channels allow. */
  mark(): void {
    if (this.ready) return;
    this.ready = true;
    this.#onReady();
  }

  /** Asks for a run whatever the channels hold. */
  wake(): void {
    this.woken = true;
    this.mark();
  }

  settle(): void {
    const outputs = this.outputs;
    for (let index = 0; index < outputs.length; index += 1) outputs[index]?.settle();
  }
}

/** Stands at an end that no actor owns; permanently "ready", so that marking it does nothing. */
export const nobody: Party = new Party(() => undefined);
nobody.ready = true;
