/**
 * A solo actor: a behaviour on its own thread, joined to the graph by byte rings.
 *
 * In: frames that actors of this thread send into its rings; its bell rings back when it has
 * published or made room. Out: the same rings, marks on the actors at their near ends.
 * A worker that ends before it was told to is a crash: supervised with the same limits as any
 * actor, then started anew on the same rings; frames not committed are seen again. State is new.
 * The vote crosses the thread: an agreement counts only as long as nothing was sent to the worker
 * after it was asked.
 * The one place in this room that is not deterministic; a simulation replaces the actor by name.
 */
import { assert, AssertionError } from "../base/index.ts";
import type { Thread, Threads } from "../world/index.ts";
import { Bell, BELL_BYTES } from "./bell.ts";
import { ByteChannel } from "./byte-ring.ts";
import type { ByteRx, ByteTx } from "./byte-ring.ts";
import { describe } from "./cell.ts";
import type { Supervised } from "./cell.ts";
import type { Graph, Member } from "./graph.ts";
import type { Joint } from "./port.ts";
import type { ActorCounters } from "./snapshot.ts";
import type { RingAssignment, SoloAssignment, SoloMessage } from "./solo-memory.ts";
import { SoloMemory } from "./solo-memory.ts";
import type { RestartBudget, RestartLimits } from "./supervisor.ts";

export interface SoloOptions {
  readonly name: string;
  readonly threads: Threads;
  /** The compiled worker file; it ends in a call of runSolo(). */
  readonly workerUrl: URL;
  readonly receives: readonly ByteRx[];
  readonly sends: readonly ByteTx[];
  /** Passed to the worker by structured clone. */
  readonly data: unknown;
  /** How long the worker may take to stop; then it is terminated. */
  readonly stopMsMax: number;
  readonly restarts?: RestartLimits;
}

/** Adds an actor that runs on its own thread. A solo actor has at least one ring. */
export function soloActor(graph: Graph, options: SoloOptions): void {
  const { name, receives, sends } = options;
  const replacement = graph.takeReplacement(name);
  if (replacement !== undefined) {
    graph.replace(name, replacement);
    const behaviour = { step: () => undefined };
    graph.actor({ name, troupe: name, receives, sends, behaviour, state: () => undefined });
    return;
  }
  graph.claimEnds(name, options);
  graph.join(name, new SoloMember(graph, options, bellOf(graph)));
}

/** The bell of a graph's own thread, and the members that are to look when it rings. */
class GraphBell {
  readonly bell = new Bell(new SharedArrayBuffer(BELL_BYTES));
  readonly members: SoloMember[] = [];
  readonly #graph: Graph;
  #listening = false;

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  start(): void {
    if (this.#listening) return;
    this.#listening = true;
    this.#listen();
  }

  rung(): void {
    // Armed first and looked after: what is published during the look rings again.
    this.#listen();
    for (const member of this.members) member.refresh();
    this.#graph.runNow();
    this.#graph.vote();
  }

  #listen(): void {
    if (!this.#graph.isRunning) return;
    this.bell.listen(() => {
      this.rung();
    });
  }
}

const bells = new WeakMap<Graph, GraphBell>();

/** Memory and bell of the solo actor at an end of a ring; rings between two solos need both. */
const farEnds = new WeakMap<Joint, { producer?: SoloMemory; consumer?: SoloMemory }>();

function bellOf(graph: Graph): GraphBell {
  let bell = bells.get(graph);
  if (bell === undefined) {
    bell = new GraphBell(graph);
    bells.set(graph, bell);
  }
  return bell;
}

function ringOf(joint: Joint): ByteChannel {
  assert(joint instanceof ByteChannel, "a solo actor is joined by byte channels");
  return joint;
}

class SoloMember implements Member, Supervised {
  readonly name: string;
  readonly budget: RestartBudget;
  lastError: unknown = undefined;
  lastVeto: string | undefined = undefined;
  readonly #graph: Graph;
  readonly #options: SoloOptions;
  readonly #graphBell: GraphBell;
  readonly #memory = SoloMemory.make();
  readonly #rings: ByteChannel[];
  #worker: Thread | undefined;
  #crash: SoloMessage | undefined;
  /** Frames sent to the worker when it was asked to vote; -1: it was not asked. */
  #askedAtSentCount = -1;
  #exited: () => void = () => undefined;

  constructor(graph: Graph, options: SoloOptions, graphBell: GraphBell) {
    this.name = options.name;
    this.budget = graph.restartBudget(options.restarts);
    this.#graph = graph;
    this.#options = options;
    this.#graphBell = graphBell;
    this.#rings = [...options.receives, ...options.sends].map((end) => ringOf(end.joint));
    assert(this.#rings.length > 0, "a solo actor has at least one ring");
    for (const rx of options.receives) this.#far(rx.joint).consumer = this.#memory;
    for (const tx of options.sends) this.#far(tx.joint).producer = this.#memory;
    graphBell.members.push(this);
  }

  start(): void {
    for (const rx of this.#options.receives) ringOf(rx.joint).tx.farBell = this.#memory.bell;
    for (const tx of this.#options.sends) ringOf(tx.joint).rx.farBell = this.#memory.bell;
    this.#graphBell.start();
    this.#spawn();
  }

  /** The bell rang: marks the actors of this thread at the near ends. */
  refresh(): void {
    for (const ring of this.#rings) ring.refresh();
  }

  wake(): void {
    this.#askVote();
  }

  vote(): true | string {
    for (const ring of this.#rings) {
      const { fill } = ring.counters();
      if (fill > 0) return `${fill} frames wait in ${ring.name}`;
    }
    if (this.#memory.voteOpen) return "the worker has not answered yet";
    if (this.#askedAtSentCount !== this.#sentCount()) {
      this.#askVote();
      return "the worker is asked again";
    }
    const answer = this.#memory.answer();
    // Asked anew for the next vote: nothing else would make it answer again. A periodic vote of
    // the graph is the clock of this, so that two threads do not keep each other busy.
    if (answer !== true) this.#askedAtSentCount = -1;
    return answer;
  }

  stop(): Promise<void> | undefined {
    const worker = this.#worker;
    if (worker === undefined) return undefined;
    return new Promise((resolve) => {
      const late = this.#graph.world.clock.after(this.#options.stopMsMax, () => {
        this.#log("error", "solo actor did not stop in time", undefined);
        worker.terminate();
      });
      this.#exited = () => {
        late.cancel();
        resolve();
      };
      this.#memory.askStop();
    });
  }

  abort(): void {
    this.#worker?.terminate();
  }

  counters(): ActorCounters {
    const { name, budget, lastError, lastVeto } = this;
    const { stepCount, busyUs } = this.#memory;
    const { restartCount } = budget;
    const troupe = `solo:${name}`;
    return { name, troupe, solo: true, stepCount, busyUs, restartCount, lastError, lastVeto };
  }

  #far(joint: Joint): { producer?: SoloMemory; consumer?: SoloMemory } {
    let ends = farEnds.get(joint);
    if (ends === undefined) {
      ends = {};
      farEnds.set(joint, ends);
    }
    return ends;
  }

  #sentCount(): number {
    let count = 0;
    for (const rx of this.#options.receives) count += ringOf(rx.joint).counters().sentCount;
    return count;
  }

  #askVote(): void {
    this.#askedAtSentCount = this.#sentCount();
    this.#memory.askVote();
  }

  #spawn(): void {
    const { name, data, receives, sends, workerUrl } = this.#options;
    const own = this.#graphBell.bell.shared;
    const assignment: SoloAssignment = {
      name,
      data,
      shared: this.#memory.shared,
      graphBell: own,
      receives: receives.map((rx) => this.#assign(rx.joint, this.#far(rx.joint).producer, own)),
      sends: sends.map((tx) => this.#assign(tx.joint, this.#far(tx.joint).consumer, own)),
    };
    this.#crash = undefined;
    this.#worker = this.#options.threads.start(name, workerUrl, assignment, {
      onMessage: (message) => {
        const known = message as SoloMessage;
        if (known.kind === "bell") this.#graphBell.rung();
        else this.#crash = known;
      },
      onExit: ({ code, cause }) => {
        this.#worker = undefined;
        this.#onExit(cause === undefined ? `worker ended with code ${code}` : describe(cause));
      },
    });
  }

  #assign(joint: Joint, far: SoloMemory | undefined, own: SharedArrayBuffer): RingAssignment {
    return { memory: ringOf(joint).memory, farBell: far?.shared ?? own };
  }

  #onExit(ending: string): void {
    const crash = this.#crash;
    const isBug = crash?.kind === "crashed" && crash.isBug;
    const message = crash?.kind === "crashed" ? crash.message : ending;
    if (!this.#graph.isRunning) {
      if (crash !== undefined) this.#log("error", "solo actor did not stop cleanly", message);
      this.#exited();
      return;
    }
    const cause = isBug ? new AssertionError(message) : new Error(message);
    if (!this.#graph.supervise(this, cause)) return;
    this.#spawn();
    if (this.#graph.isStopping) this.#askVote();
  }

  #log(level: "error", message: string, cause: string | undefined): void {
    this.#graph.world.log.write(level, message, { actor: this.name, cause });
  }
}
