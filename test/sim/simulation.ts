/**
 * One run: a source with an application that changes it, a target, a network between them, and the
 * oracles, all from one seed.
 *
 * First the safety phase, with faults; then everything heals, the application rests, and the target
 * must come to equal the source. Oracles: at each commit of a clean epoch of a live target its tree
 * is one that the source has had, and none older than the last; what is acknowledged was applied; a
 * bug that the engine reports, an assertion, a problem with a path or a queue beyond its bound
 * fails the run; and two runs of one seed have the same trace.
 */
import { tmpdir } from "node:os";
import { SyncError } from "../../src/base/index.ts";
import { type ChangeSink, deafSink } from "../../src/capture/index.ts";
import { ProblemLog } from "../../src/model/index.ts";
import { JournalFile, recover, type Recovery } from "../../src/journal/index.ts";
import { journalPlace, Mirror, serveLink, type TargetSession } from "../../src/session/index.ts";
import type { Link } from "../../src/transport/index.ts";
import { type Files, Open } from "../../src/world/index.ts";
import { native } from "../../src/world/node/index.ts";
import { Chance, Trace } from "./chance.ts";
import { HeldCalls } from "./held-calls.ts";
import { Faults, type FaultKind } from "./faults.ts";
import { SimCapture } from "./sim-capture.ts";
import { SimClock } from "./sim-clock.ts";
import { type Inode, SimDisk } from "./sim-disk.ts";
import { SimWire } from "./sim-link.ts";
import { Running } from "./sim-process.ts";
import { SourceApp } from "./source-app.ts";
import { describe, History, stateOf } from "./tree-state.ts";

export interface SimulationOptions {
  readonly seed: number;
  /** System calls of the application in the safety phase. */
  readonly steps: number;
  /** Which faults there may be; each is in about half of the runs. */
  readonly faults: readonly FaultKind[];
  /**
   * Times of files move in ticks, as before Linux 6.13. A link that ends, or a crash, may then
   * leave a file behind that a later write in the same tick makes another one of the same size and
   * time: nothing finds that but `--checksum` and the scrub. So the default is coarse without
   * faults only.
   */
  readonly isCoarse?: boolean;
  /** Hears each entry of the trace. */
  readonly listen?: (entry: string) => void;
  /** Keeps every state of the source, to say what is wrong with one of the target. */
  readonly explains?: boolean;
}

export interface SimulationResult {
  readonly seed: number;
  readonly digest: string;
  readonly failure: string | undefined;
  readonly faults: readonly FaultKind[];
  readonly eventCount: number;
  readonly stateCount: number;
  readonly commitCount: number;
  readonly checkedCount: number;
  /** Times that the target was a past state after a crash, with nobody there but itself. */
  readonly recoveredCount: number;
  readonly fuzzyCount: number;
  /** Cuts closed by reading what is hot, and those of them that were touched meanwhile. */
  readonly hotCount: number;
  readonly touchedCount: number;
  readonly linkCount: number;
  readonly killCount: number;
  readonly virtualMs: number;
}

/** The world did something that it must not do. */
class Wrong extends Error {}

const eventCountMax = 150_000;
/** After healing the target must equal the source within this time. */
const healMsMax = 300_000;
const bytesInFlightMax = 33_554_432 + 4_194_304;
const folder = { source: "source", target: "target", state: "state" } as const;

export class Simulation {
  readonly options: SimulationOptions;
  readonly chance: Chance;
  readonly trace: Trace = new Trace();
  readonly clock: SimClock = new SimClock();
  readonly sourceDisk: SimDisk;
  readonly targetDisk: SimDisk;
  readonly faults: Faults;
  readonly history: History;
  readonly #held: HeldCalls;
  app!: SourceApp;
  source: Running | undefined;
  target: Running | undefined;
  capture: SimCapture | undefined;
  mirror: Mirror | undefined;
  wire: SimWire | undefined;
  /** The target's present session, as far as it has been checked. */
  #session: { own: TargetSession; epoch: number; fuzzy: number; wasLive: boolean } | undefined;
  #failure: string | undefined;
  #moment = 0;
  readonly #appChance: Chance;
  /** The application stores through mappings. */
  readonly #stores: boolean;
  /** The capture reads what is hot in one call. */
  readonly #readsHot: boolean;
  /** The target has all but the smallest epochs in slices of a few operations. */
  readonly #isSlicing: boolean;
  /** The capture knows which calls are under way. */
  readonly #knowsCalls: boolean;
  #heat = 0;
  #stepsLeft = 0;
  isHealing = false;
  /** Of the target's host. */
  bootCount = 0;
  /** The next mirror reads all content: the target has lost its power. */
  isChecksumWanted = false;
  readonly #scratch: { files: Files; fd: number };
  readonly #counts = {
    commit: 0,
    checked: 0,
    recovered: 0,
    fuzzy: 0,
    link: 0,
    kill: 0,
    event: 0,
    hot: 0,
    touched: 0,
  };

  constructor(options: SimulationOptions) {
    this.options = options;
    if (options.listen !== undefined) this.trace.listen = options.listen;
    this.chance = new Chance(options.seed);
    const disk = (name: string, device: number): SimDisk =>
      new SimDisk({
        chance: this.chance.fork(name),
        wallUs: () => this.clock.wallUs,
        device,
        pageCountMax: 100_000,
        isCoarse: options.isCoarse ?? options.faults.length === 0,
      });
    this.sourceDisk = disk("source", 11);
    this.targetDisk = disk("target", 12);
    this.#appChance = this.chance.fork("interleaving");
    this.#stores = this.chance.fork("stores").is(1, 4);
    this.#isSlicing = this.chance.fork("slices").is(1, 2);
    this.#readsHot = this.chance.fork("hot").is(3, 4);
    this.#knowsCalls = this.chance.fork("calls").is(3, 4);
    this.history = new History(this.#stores ? "names" : "cut", options.explains ?? false);
    this.#held = new HeldCalls({
      disk: this.sourceDisk,
      clock: this.clock,
      chance: this.chance.fork("under way"),
      capture: () => this.capture,
    });
    this.faults = new Faults(this, options.faults);
    const files = native();
    const fd = files.openPath(Buffer.from(tmpdir()), Open.temporary | Open.readWrite);
    this.#scratch = { files, fd };
  }

  async run(): Promise<SimulationResult> {
    try {
      this.#prepare();
      await this.#safety();
      await this.#heal();
    } catch (error) {
      if (!(error instanceof Wrong)) this.fail(describeError(error));
    }
    this.#stop();
    const { commit, checked, recovered, fuzzy, link, kill, event, hot, touched } = this.#counts;
    return {
      seed: this.options.seed,
      digest: this.trace.digest,
      failure: this.#failure,
      faults: this.faults.kinds,
      eventCount: event,
      stateCount: this.history.count,
      commitCount: commit,
      checkedCount: checked,
      recoveredCount: recovered,
      fuzzyCount: fuzzy,
      hotCount: hot,
      touchedCount: touched,
      linkCount: link,
      killCount: kill,
      virtualMs: Math.floor(this.clock.nowUs / 1000),
    };
  }

  /** The first reason counts. */
  fail(why: string): void {
    this.trace.say(`failure: ${why}`);
    this.#failure ??= why;
  }

  // --- the two hosts -----------------------------------------------------------------------------

  #prepare(): void {
    for (const [disk, name] of [
      [this.sourceDisk, folder.source],
      [this.targetDisk, folder.target],
      [this.targetDisk, folder.state],
    ] as const) {
      const inode = disk.make(0o040755);
      disk.attach(disk.root, Buffer.from(name), inode);
      inode.nlink = 2;
      inode.parent = disk.root;
      disk.syncAll();
    }
    this.startApp();
    const chance = this.chance.fork("prepare");
    this.#heat = chance.pick([0, 2, 10, 30]);
    this.#stepsLeft = this.options.steps;
    const before = chance.below(120);
    for (let i = 0; i < before; i++) this.app.step();
    this.startTarget();
    this.startSource();
  }

  startApp(): void {
    this.app = new SourceApp({
      disk: this.sourceDisk,
      chance: this.chance.fork(`app ${this.history.count}`),
      folder: `/${folder.source}`,
      tell: this.#held.hold(this.#forward()),
      nowUs: () => this.clock.nowUs,
      onChange: (what) => this.noteChange(what),
      stores: this.#stores,
      nameCount: 6,
      fileBytesMax: 30_000,
    });
    this.noteChange("start");
  }

  noteChange(what: string): void {
    this.trace.say(`app ${what}`);
    this.sourceDisk.beginCall();
    this.history.add(rootOf(this.sourceDisk, folder.source), what, this.#held.stepped());
  }

  /** What the disk tells goes to the capture that is open, if one is. */
  #forward(): ChangeSink {
    const sink: Record<string, unknown> = {};
    for (const name of Object.keys(deafSink) as (keyof ChangeSink)[]) {
      sink[name] = (...args: unknown[]): void => {
        const tell = this.capture?.tell[name] as ((...args: unknown[]) => void) | undefined;
        tell?.(...args);
      };
    }
    return sink as unknown as ChangeSink;
  }

  #process(name: "source" | "target", onKill: () => void): Running {
    return new Running({
      name,
      disk: name === "source" ? this.sourceDisk : this.targetDisk,
      clock: this.clock,
      chance: this.chance.fork(`${name} ${this.#counts.kill} ${this.#counts.event}`),
      trace: this.trace,
      scratch: this.#scratch,
      between: (call) => this.#between(name, call),
      onLog: (level, message, detail) => {
        this.trace.say(`${name} logs ${level} ${message} ${detail}`);
        if (level === "error") this.fail(`${name}: ${message} ${detail}`);
      },
      onKill: () => {
        this.#counts.kill++;
        onKill();
      },
    });
  }

  /** Between two calls of the engine: the application goes on, commits are looked at. */
  #between(name: "source" | "target", call: keyof Files): number | undefined {
    if (name === "target") {
      this.#checkCommit();
      return this.faults.injected(call);
    }
    this.#interleave();
    return undefined;
  }

  #interleave(): void {
    if (this.isHealing || this.#heat === 0) return;
    for (let i = 0; i < 4 && this.#stepsLeft > 0 && this.#appChance.is(this.#heat, 100); i++) {
      this.#stepsLeft--;
      this.app.step();
    }
  }

  startSource(): void {
    if (this.source?.isAlive === true) return;
    const isOpen = (): boolean => running.isAlive;
    const running = this.#process("source", () => {
      this.capture = undefined;
      this.wire?.near.lose(this.faults.isHeard());
    });
    this.source = running;
    const { files, world } = running;
    const capture = new SimCapture({
      clock: this.clock,
      chance: this.chance.fork(`capture ${this.#counts.event}`),
      trace: this.trace,
      isAlive: isOpen,
      between: () => this.#interleave(),
      files: this.#readsHot ? files : undefined,
      held: this.#knowsCalls ? this.#held : undefined,
      onHot: (touchedCount) => {
        this.#counts.hot++;
        if (touchedCount > 0) this.#counts.touched++;
      },
      ...this.faults.captureLimits(),
    });
    this.capture = capture;
    const rootFd = files.openPath(Buffer.from(`/${folder.source}`), Open.read | Open.directory);
    const problems = new ProblemLog((problem) => {
      if (this.faults.isMeant(problem) || !isOpen()) return;
      this.fail(`a problem of the ${problem.side}: ${JSON.stringify(problem)}`);
    });
    const mirror = new Mirror({
      world,
      files,
      backend: capture,
      rootFd,
      rootPath: Buffer.from(`/${folder.source}`),
      problems,
      share: "",
      subpath: "",
      device: "simulated",
      checksum: this.isChecksumWanted,
      ...(this.chance.fork("digests").is(1, 2) && {
        digestUse: { treeMin: 0, directoryMin: 0 },
      }),
      connect: () => this.#connect(running),
      onLive: () => this.trace.say("live"),
      onRetry: (error, delayMs) => this.#onRetry(error, delayMs),
    });
    this.mirror = mirror;
    mirror.run().then(
      () => isOpen() && this.fail("the mirror has ended by itself"),
      (error: unknown) => isOpen() && this.fail(`the mirror has ended: ${describeError(error)}`),
    );
  }

  #onRetry(error: SyncError, delayMs: number): void {
    this.trace.say(`retry after ${delayMs}: ${error.code} ${error.message}`);
    if (!this.faults.explains(error)) this.fail(`without a fault: ${error.code} ${error.message}`);
  }

  startTarget(): void {
    if (this.target?.isAlive === true) return;
    const running = this.#process("target", () => {
      this.#session = undefined;
      this.wire?.far.lose(this.faults.isHeard());
    });
    this.target = running;
    this.faults.startsTarget(running);
    this.#recover(running);
    running.callsToLive = undefined;
    // Whoever dies while it finishes what another has left is followed by a third.
    if (!running.isAlive) this.clock.after(1000, () => this.startTarget());
  }

  /** As `promote` does it: the target is then a past state of the source, without the source. */
  #recover(target: Running): void {
    const { files, world } = target;
    const open = (name: string): number =>
      files.openPath(Buffer.from(`/${name}`), Open.read | Open.directory);
    const [dirFd, rootFd] = [open(folder.state), open(folder.target)];
    let recovery: Recovery | undefined;
    try {
      const place = journalPlace(`/${folder.target}`, { files, dirFd }, world, this.bootId);
      const file = JournalFile.openExisting(place);
      if (file === undefined) return;
      const problems = new ProblemLog(() => {});
      recovery = recover({ files, rootFd, file, problems, bootId: this.bootId });
      file.close();
    } catch (error) {
      if (!target.isAlive) return;
      const isTold = error instanceof SyncError && this.faults.explains(error);
      if (!isTold) this.fail(`recovery: ${describeError(error)}`);
    } finally {
      files.close(dirFd);
      files.close(rootFd);
    }
    if (recovery === undefined || !target.isAlive) return;
    const { cut, redone, lost } = recovery;
    this.trace.say(`recovered: ${cut?.epoch} ${redone} ${lost}`);
    if (lost !== "" && !this.faults.mayLoseCut) this.fail(`the cut is lost: ${lost}`);
    if (cut === undefined || cut.isFuzzy) return;
    this.#counts.recovered++;
    this.#checkState(`recovery to epoch ${cut.epoch} by ${redone} operations`);
  }

  get bootId(): string {
    return `boot ${this.bootCount}`;
  }

  #connect(source: Running): Promise<Link> {
    return new Promise((resolve, reject) => {
      const { target } = this;
      this.clock.after(this.chance.between(50, 3000), () => {
        if (!source.isAlive) return;
        if (target === undefined || !target.isAlive || !this.faults.isReachable) {
          reject(new SyncError("PEER_UNREACHABLE", "connection refused"));
          return;
        }
        this.#counts.link++;
        const wire = new SimWire(
          {
            clock: this.clock,
            chance: this.chance.fork(`link ${this.#counts.link}`),
            trace: this.trace,
            ...this.faults.network(),
          },
          () => source.isAlive,
          () => target.isAlive,
        );
        this.wire = wire;
        this.#serve(target, wire.far);
        resolve(wire.near);
      });
    });
  }

  #serve(target: Running, link: Link): void {
    const { files, world } = target;
    const open = (name: string): number =>
      files.openPath(Buffer.from(`/${name}`), Open.read | Open.directory);
    const stateFd = open(folder.state);
    const problems = new ProblemLog((problem) => {
      if (target.isAlive && !this.faults.isMeant(problem))
        this.fail(`a problem: ${JSON.stringify(problem)}`);
    });
    serveLink(link, {
      world,
      files,
      spool: { files, dirFd: stateFd },
      privileged: true,
      bootId: this.bootId,
      durability: this.faults.durability,
      ...(this.#isSlicing && { slices: { fromBytes: 200, lookBytes: 3000, us: 0 } }),
      ...this.faults.space(),
      grant: () => ({
        rootFd: open(folder.target),
        path: `/${folder.target}`,
        problems,
        onSession: (own) => {
          this.#session = { own, epoch: 0, fuzzy: 0, wasLive: false };
        },
      }),
    }).then(
      () => target.isAlive && files.close(stateFd),
      (error: unknown) => {
        if (target.isAlive) this.fail(`serving: ${describeError(error)}`);
      },
    );
  }

  // --- the oracles -------------------------------------------------------------------------------

  /** If the target has applied one more epoch its tree is to be one of the source's. */
  #checkCommit(): void {
    const session = this.#session;
    if (session === undefined) return;
    const { status } = session.own;
    if (status.epoch === session.epoch) return;
    session.epoch = status.epoch;
    this.#counts.commit++;
    const isFuzzy = status.fuzzyEpochs > session.fuzzy;
    session.fuzzy = status.fuzzyEpochs;
    if (isFuzzy) this.#counts.fuzzy++;
    this.trace.say(`commit ${status.epoch}${isFuzzy ? " fuzzy" : ""}${status.live ? "" : " seed"}`);
    if (isFuzzy || !status.live) return;
    this.#counts.checked++;
    this.#checkState(`commit ${status.epoch}`);
  }

  #checkState(when: string): void {
    const root = rootOf(this.targetDisk, folder.target);
    const state = stateOf(root, this.history.depth);
    this.trace.text(state);
    const parts = this.#held.parts(root);
    const from = this.#moment;
    const moment = this.history.find(state, from) ?? this.history.findPart(root, parts, from);
    if (moment !== undefined) {
      this.#moment = moment;
      return;
    }
    const isOlder = this.history.find(state, 0) !== undefined;
    const what = isOlder
      ? "the target went back to an older state of the source"
      : "the target is as the source has never been";
    const lines = this.history.explain(root, this.#moment);
    this.fail(`${what}, at ${when}\n${lines.join("\n")}`);
  }

  #checkQueues(): void {
    const status = this.mirror?.status();
    if (status === undefined || this.source?.isAlive !== true) return;
    if (status.bytesInFlight > bytesInFlightMax)
      this.fail(`${status.bytesInFlight} bytes in flight`);
    const session = this.#session;
    if (session === undefined || status.ackedEpoch === 0 || this.wire?.isOver === true) return;
    // An acknowledgement that is older than this session was of the one before.
    if (status.ackedEpoch > session.own.status.epoch && status.live && session.own.status.live) {
      this.fail(`epoch ${status.ackedEpoch} is acknowledged, not applied`);
    }
  }

  // --- the phases --------------------------------------------------------------------------------

  async #safety(): Promise<void> {
    const chance = this.chance.fork("pace");
    const act = (): void => {
      if (this.isHealing || this.#stepsLeft <= 0) return;
      this.#stepsLeft--;
      this.app.step();
      const isPause = chance.is(1, 40);
      this.clock.after(isPause ? chance.between(1000, 400_000) : chance.between(5, 2500), act);
    };
    this.clock.after(1000, act);
    this.faults.begin();
    while (this.#stepsLeft > 0) await this.#event();
  }

  async #heal(): Promise<void> {
    this.isHealing = true;
    this.faults.heal();
    this.app.finish();
    this.#held.end();
    this.trace.say("healing");
    const untilUs = this.clock.nowUs + healMsMax * 1000;
    for (let i = 0; ; i++) {
      await this.#event();
      if (i % 16 === 0 && this.#isEqual()) return;
      if (this.clock.nowUs > untilUs) break;
    }
    this.fail(`no convergence: ${this.#difference()}`);
  }

  #isEqual(): boolean {
    const status = this.mirror?.status();
    if (status === undefined || !status.live || this.capture?.isEmpty !== true) return false;
    if (status.dirtyNames + status.dirtyNodes > 0) return false;
    if (status.sentEpoch !== status.ackedEpoch || status.bytesInFlight > 0) return false;
    return this.#difference() === "";
  }

  #difference(): string {
    const source = rootOf(this.sourceDisk, folder.source);
    const target = rootOf(this.targetDisk, folder.target);
    if (stateOf(source, "all") === stateOf(target, "all")) {
      const left = [...target.entries!.keys()].filter((name) => name.startsWith(".lockstep-"));
      return left.length === 0 ? "" : `${left.join(", ")} is left in the target`;
    }
    const [here, there] = [describe(source, "all"), describe(target, "all")];
    const lines: string[] = [];
    for (const path of new Set([...here.keys(), ...there.keys()])) {
      const [own, other] = [here.get(path) ?? "(nothing)", there.get(path) ?? "(nothing)"];
      if (own !== other) lines.push(`\n${path}\n  source ${own}\n  target ${other}`);
    }
    const status = JSON.stringify(this.mirror?.status());
    return `${lines.slice(0, 8).join("")}\n${lines.length} paths differ; ${status}`;
  }

  async #event(): Promise<void> {
    this.#counts.event++;
    if (this.#counts.event > eventCountMax) this.fail("events without end");
    const { kill } = this.#counts;
    try {
      if (!this.clock.step()) this.fail("nothing happens any more");
    } catch (error) {
      // The last words of what has just died.
      if (this.#counts.kill === kill) throw error;
    }
    // What promises have to do is done before the next event.
    await new Promise((resolve) => setImmediate(resolve));
    this.#checkCommit();
    this.#checkQueues();
    if (this.#failure !== undefined) throw new Wrong(this.#failure);
  }

  #stop(): void {
    this.isHealing = true;
    this.source?.kill();
    this.target?.kill();
    this.#scratch.files.close(this.#scratch.fd);
  }
}

export function rootOf(disk: SimDisk, name: string): Inode {
  return disk.root.entries!.get(name)!.inode;
}

function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `\ncaused by ${error.cause.stack}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
