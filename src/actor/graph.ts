/**
 * The graph: named actors joined by bounded channels, wired in one function by its user.
 *
 * In: wiring calls, start(), wakes from edges, requestShutdown(). Out: `stopped`, `failed`.
 * Phases: wiring -> running -> stopping -> stopped, or failed from any of them.
 * Supervision: a step that throws is restarted with its state kept, within the restart limits; past
 * them the graph fails with the cause. An AssertionError is a bug: the graph fails at once, and no
 * onStop is called, as a state with a broken invariant must not write anything more.
 * Shutdown is a vote in which nobody steps: it passes when every input is empty and every actor
 * agrees at one and the same moment; a veto names its reason; at the deadline the graph stops all
 * the same and reports the vetoes that it overruled.
 * Source: steady_state (Rust); Erlang/OTP for restart intensity.
 */
import { assert, AssertionError } from "../base/index.ts";
import type { Timer, World } from "../world/index.ts";
import type {
  ActorHandle,
  ActorOptions,
  Behaviour,
  GraphFailure,
  StopReport,
  Veto,
} from "./behaviour.ts";
import type { ByteRingOptions } from "./byte-ring.ts";
import { ByteChannel, makeByteRingMemory } from "./byte-ring.ts";
import { Cell, CellHandle, describe } from "./cell.ts";
import type { Supervised } from "./cell.ts";
import type { ChannelOptions } from "./channel.ts";
import { Channel } from "./channel.ts";
import type { AnyRx, AnyTx, Joint } from "./port.ts";
import type { ActorCounters, AlarmThresholds, GraphPhase, GraphSnapshot } from "./snapshot.ts";
import { actorSnapshot, channelSnapshot } from "./snapshot.ts";
import { Shortcut, type ShortcutOptions } from "./shortcut.ts";
import type { RestartLimits } from "./supervisor.ts";
import { RestartBudget } from "./supervisor.ts";
import type { TroupeHost } from "./troupe.ts";
import { Troupe } from "./troupe.ts";

export interface GraphOptions {
  readonly world: World;
  /** Looks at actors per turn of a troupe; then the event loop has its turn. */
  readonly stepsPerTurnMax: number;
  /** Limits for actors that do not bring their own. */
  readonly restarts: RestartLimits;
  /** Called whenever an actor of a troupe is marked to step, which it does later. */
  readonly marked?: () => void;
  /** Called once, when the graph has failed. */
  readonly failed: (failure: GraphFailure) => void;
}

export interface ShutdownOptions {
  /** Then the graph stops, whatever the vetoes. */
  readonly deadlineMs: number;
  /** A vote is held after every turn, and at least this often. */
  readonly voteEveryMs: number;
}

/** A simulated actor in the place of a real one: its ends, in the order of the wiring. */
export interface ReplacedEnds {
  readonly receives: readonly AnyRx[];
  readonly sends: readonly AnyTx[];
}

export type Replacement = (ends: ReplacedEnds) => Behaviour<unknown>;

/** An actor as the graph sees it: in a troupe, or solo. */
export interface Member {
  counters(): ActorCounters;
  start(): void;
  vote(): true | string;
  /** The graph has stopped. The promise is awaited before `stopped` resolves. */
  stop(): Promise<void> | undefined;
  /** The graph has failed: end at once, without cleaning up. */
  abort(): void;
  /** Shutdown was requested. */
  wake(): void;
  lastVeto: string | undefined;
}

interface Edge {
  readonly joint: Joint;
  readonly alarms: AlarmThresholds;
  from: string | undefined;
  to: string | undefined;
}

export class Graph implements TroupeHost {
  readonly world: World;
  readonly stepsPerTurnMax: number;
  /** Resolves, and never rejects, when the graph has ended in whatever way. */
  readonly stopped: Promise<StopReport>;
  /** For troupes. */
  busy = false;

  readonly #options: GraphOptions;
  readonly #members = new Map<string, Member>();
  readonly #troupes = new Map<string, Troupe>();
  readonly #edges = new Map<Joint, Edge>();
  readonly #replacements = new Map<string, Replacement>();
  /** Names of actors in whose place a simulated one is. */
  readonly #replaced = new Set<string>();
  #phase: GraphPhase = "wiring";
  #startUs = 0;
  #deadlineUs = Infinity;
  #deadline: Timer | undefined;
  #nextVote: Timer | undefined;
  #vetoes: Veto[] = [];
  #failure: GraphFailure | undefined;
  #resolveStopped: (report: StopReport) => void = () => undefined;

  constructor(options: GraphOptions) {
    assert(options.stepsPerTurnMax > 0, "stepsPerTurnMax is positive");
    this.#options = options;
    this.world = options.world;
    this.stepsPerTurnMax = options.stepsPerTurnMax;
    this.stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
  }

  get phase(): GraphPhase {
    return this.#phase;
  }

  get isRunning(): boolean {
    return this.#phase === "running" || this.#phase === "stopping";
  }

  get isStopping(): boolean {
    return this.#phase === "stopping";
  }

  /** A bounded channel between two actors of this thread. */
  channel<T>(options: ChannelOptions<T> & { readonly alarms?: AlarmThresholds }): Channel<T> {
    return this.#addJoint(new Channel<T>(options, this.world.clock), options.alarms);
  }

  /** A bounded channel of byte frames that may cross to the thread of a solo actor. */
  byteChannel(options: ByteRingOptions & { readonly alarms?: AlarmThresholds }): ByteChannel {
    const { alarms, ...ring } = options;
    return this.#addJoint(new ByteChannel(makeByteRingMemory(ring), this.world.clock), alarms);
  }

  /** Adds an actor; the order of these calls is the order in which a troupe runs. */
  actor<S>(options: ActorOptions<S>): ActorHandle {
    const replacement = this.takeReplacement(options.name);
    const used = replacement === undefined ? options : replaced(options, replacement);
    const troupe = this.#troupe(options.troupe);
    this.claimEnds(options.name, options);
    const budget = new RestartBudget(options.restarts ?? this.#options.restarts);
    const cell = new Cell(used, troupe, budget);
    troupe.cells.push(cell);
    this.join(options.name, this.#memberOf(cell, options.troupe));
    return cell.handle;
  }

  /** Adds a way past some actors of one troupe, which is closed when one of them is replaced. */
  shortcut<I>(options: ShortcutOptions<I>): Shortcut<I> {
    const { past, run } = options;
    const isReplaced = past.some((handle) => this.#replaced.has(handle.name));
    const [first] = past;
    assert(first instanceof CellHandle, "a shortcut takes handles that graph.actor returned");
    const troupe = [...this.#troupes.values()].find((each) => each.cells.includes(first.cell));
    assert(troupe !== undefined, "a shortcut leads past actors of this graph");
    return new Shortcut(troupe, { past, run: isReplaced ? () => false : run });
  }

  /** Puts a simulated actor in the place of the one of this name. Before the wiring. */
  replace(name: string, replacement: Replacement): void {
    assert(this.#phase === "wiring" && !this.#members.has(name), "replace() before the wiring");
    this.#replacements.set(name, replacement);
  }

  /** Ends the wiring and starts: every actor gets one step to begin with. */
  start(): void {
    assert(this.#phase === "wiring", "a graph is started once");
    const unused = [...this.#replacements.keys()].join(", ");
    assert(unused === "", `replaced actors that the wiring does not have: ${unused}`);
    this.#phase = "running";
    this.#startUs = this.world.clock.monotonicUs();
    for (const member of this.#members.values()) member.start();
    // Actors whose channels were fed before the start are marked already.
    for (const troupe of this.#troupes.values()) troupe.deferIfReady();
  }

  /**
   * Runs all troupes now until nothing is ready. False when the budget of a turn was used up first
   * or when called from inside a step. For edges that have fed channels, and for tests.
   */
  runNow(): boolean {
    if (this.busy) return false;
    let turnsLeft = this.stepsPerTurnMax;
    while (turnsLeft > 0 && this.isRunning) {
      const ready = [...this.#troupes.values()].filter((troupe) => troupe.hasReady);
      if (ready.length === 0) break;
      for (const troupe of ready) troupe.run();
      turnsLeft -= 1;
    }
    return ![...this.#troupes.values()].some((troupe) => troupe.hasReady);
  }

  /** Starts the vote. A second call can only bring the deadline forward. */
  requestShutdown(options: ShutdownOptions): void {
    if (!this.isRunning) return;
    const { clock } = this.world;
    const deadlineUs = clock.monotonicUs() + options.deadlineMs * 1000;
    if (deadlineUs < this.#deadlineUs) {
      this.#deadlineUs = deadlineUs;
      this.#deadline?.cancel();
      this.#deadline = clock.after(options.deadlineMs, () => {
        this.#stop("deadline");
      });
    }
    if (this.isStopping) return;
    this.#phase = "stopping";
    for (const member of this.#members.values()) member.wake();
    this.#voteEvery(options.voteEveryMs);
  }

  /** The vetoes of the last vote. */
  vetoes(): readonly Veto[] {
    return this.#vetoes;
  }

  /** Plain data; shares and rates against `since`, or against the start without it. */
  snapshot(since?: GraphSnapshot): GraphSnapshot {
    const atUs = this.world.clock.monotonicUs();
    const elapsedUs = this.#phase === "wiring" ? 0 : atUs - (since?.atUs ?? this.#startUs);
    const actors = [...this.#members.values()].map((member) => {
      const counters = member.counters();
      const earlier = since?.actors.find((actor) => actor.name === counters.name);
      return actorSnapshot(counters, earlier, elapsedUs);
    });
    const channels = [...this.#edges.values()].map((edge) => {
      const { joint, from, to, alarms } = edge;
      const earlier = since?.channels.find((channel) => channel.name === joint.name);
      const ends = { name: joint.name, from, to, alarms };
      return channelSnapshot(ends, joint.counters(), earlier, elapsedUs);
    });
    const failure = this.#failure && {
      actor: this.#failure.actor,
      message: describe(this.#failure.cause),
    };
    return { phase: this.#phase, atUs, actors, channels, vetoes: this.#vetoes, failure };
  }

  // What follows is for the rest of the room: cells, troupes and solo actors.

  /** Takes the replacement of an actor out of the list, if there is one. */
  takeReplacement(name: string): Replacement | undefined {
    const replacement = this.#replacements.get(name);
    if (this.#replacements.delete(name)) this.#replaced.add(name);
    return replacement;
  }

  join(name: string, member: Member): void {
    assert(this.#phase === "wiring", "actors are added before start()");
    assert(!this.#members.has(name), `two actors are named ${name}`);
    this.#members.set(name, member);
  }

  /** Notes which actor owns which ends; each end has one owner. */
  claimEnds(name: string, ends: ReplacedEnds): void {
    for (const rx of ends.receives) {
      const edge = this.#edges.get(rx.joint);
      assert(edge !== undefined && edge.to === undefined, `${rx.name} has one receiver`);
      edge.to = name;
    }
    for (const tx of ends.sends) {
      const edge = this.#edges.get(tx.joint);
      assert(edge !== undefined && edge.from === undefined, `${tx.name} has one sender`);
      edge.from = name;
    }
  }

  restartBudget(limits: RestartLimits | undefined): RestartBudget {
    return new RestartBudget(limits ?? this.#options.restarts);
  }

  /** Counts a crash. True: restart. False: the graph has failed, or is over. */
  supervise(subject: Supervised, cause: unknown): boolean {
    if (!this.isRunning) return false;
    subject.lastError = cause;
    const { clock, log } = this.world;
    const isBug = cause instanceof AssertionError;
    if (isBug || !subject.budget.take(clock.monotonicUs())) {
      this.#fail({ actor: subject.name, cause }, isBug);
      return false;
    }
    log.write("warn", "actor restarted", { actor: subject.name, cause: describe(cause) });
    return true;
  }

  onMark(): void {
    this.#options.marked?.();
  }

  /** A run has ended: others that became ready meanwhile get a turn, and a vote may be due. */
  onTurnEnd(): void {
    if (!this.isRunning) return;
    for (const troupe of this.#troupes.values()) troupe.deferIfReady();
    if (this.isStopping) this.vote();
  }

  /** Holds a vote, if shutdown was requested. */
  vote(): void {
    if (!this.isStopping || this.busy) return;
    this.busy = true;
    const vetoes: Veto[] = [];
    for (const [actor, member] of this.#members) {
      const answer = member.vote();
      member.lastVeto = answer === true ? undefined : answer;
      if (answer !== true) vetoes.push({ actor, reason: answer });
    }
    this.#vetoes = vetoes;
    this.busy = false;
    if (!this.isStopping) return;
    // A vote may have sent something to an actor that had agreed before: then it is held again.
    const someReady = [...this.#troupes.values()].some((troupe) => troupe.hasReady);
    if (vetoes.length === 0 && !someReady) this.#stop("agreed");
    else for (const troupe of this.#troupes.values()) troupe.deferIfReady();
  }

  #addJoint<J extends Joint>(joint: J, alarms: AlarmThresholds | undefined): J {
    assert(this.#phase === "wiring", "channels are added before start()");
    const taken = [...this.#edges.keys()].some((other) => other.name === joint.name);
    assert(!taken, `two channels are named ${joint.name}`);
    this.#edges.set(joint, { joint, alarms: alarms ?? {}, from: undefined, to: undefined });
    return joint;
  }

  #troupe(name: string): Troupe {
    let troupe = this.#troupes.get(name);
    if (troupe === undefined) {
      troupe = new Troupe(name, this);
      this.#troupes.set(name, troupe);
    }
    return troupe;
  }

  #memberOf(cell: Cell, troupe: string): Member {
    return {
      lastVeto: undefined,
      counters(): ActorCounters {
        const { name, stepCount, busyUs, lastError, budget } = cell;
        const { restartCount } = budget;
        const lastVeto = this.lastVeto;
        return { name, troupe, solo: false, stepCount, busyUs, restartCount, lastError, lastVeto };
      },
      start: () => {
        cell.start();
      },
      vote: () => cell.vote(),
      wake: () => {
        cell.party.wake();
      },
      stop: () => {
        cell.cancelTimers();
        const failure = cell.stop();
        if (failure !== undefined) this.#stopFailed(cell.name, failure.cause);
        return undefined;
      },
      abort: () => {
        cell.cancelTimers();
      },
    };
  }

  #stopFailed(actor: string, cause: unknown): void {
    this.#failure ??= cause instanceof AssertionError ? { actor, cause } : undefined;
    this.world.log.write("error", "actor did not stop cleanly", { actor, cause: describe(cause) });
  }

  #voteEvery(delayMs: number): void {
    assert(delayMs > 0, "voteEveryMs is positive");
    this.#nextVote = this.world.clock.after(delayMs, () => {
      this.vote();
      if (this.isStopping) this.#voteEvery(delayMs);
    });
  }

  #stop(how: "agreed" | "deadline"): void {
    if (!this.isStopping) return;
    this.#phase = "stopped";
    this.#cancelTimers();
    this.#finish(() => {
      const failure = this.#failure;
      const vetoes = this.#vetoes;
      if (failure === undefined) {
        this.#resolveStopped({ how, vetoes, failure });
        return;
      }
      this.#phase = "failed";
      this.#options.failed(failure);
      this.#resolveStopped({ how: "failed", vetoes, failure });
    });
  }

  #fail(failure: GraphFailure, isBug: boolean): void {
    this.#phase = "failed";
    this.#failure = failure;
    this.#cancelTimers();
    const { actor, cause } = failure;
    this.world.log.write("error", "graph failed", { actor, cause: describe(cause), isBug });
    const report: StopReport = { how: "failed", vetoes: this.#vetoes, failure };
    if (isBug) {
      for (const member of this.#members.values()) member.abort();
      this.#options.failed(failure);
      this.#resolveStopped(report);
      return;
    }
    this.#options.failed(failure);
    this.#finish(() => {
      this.#resolveStopped(report);
    });
  }

  /** Stops all members in wiring order, then calls `done`: at once when none stops slowly. */
  #finish(done: () => void): void {
    const slow: Promise<void>[] = [];
    for (const member of this.#members.values()) {
      const stopping = member.stop();
      if (stopping !== undefined) slow.push(stopping);
    }
    if (slow.length === 0) done();
    else void Promise.allSettled(slow).then(done);
  }

  #cancelTimers(): void {
    this.#deadline?.cancel();
    this.#nextVote?.cancel();
  }
}

function replaced<S>(options: ActorOptions<S>, replacement: Replacement): ActorOptions<unknown> {
  const { name, troupe, receives, sends } = options;
  const behaviour = replacement({ receives, sends });
  return { name, troupe, receives, sends, behaviour, state: () => undefined };
}
