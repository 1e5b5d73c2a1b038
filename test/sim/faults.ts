/**
 * The faults of a run: which there are is drawn from the seed, and when. All of them end when the
 * world heals.
 */
import type { SyncError } from "../../src/base/index.ts";
import type { Problem } from "../../src/model/index.ts";
import type { FreeLimit } from "../../src/session/index.ts";
import { Errno, type Files } from "../../src/world/index.ts";
import type { Chance } from "./chance.ts";
import type { Running } from "./sim-process.ts";
import type { Simulation } from "./simulation.ts";

export const faultKinds = [
  /** The link ends, what is under way is lost. */
  "cut",
  /** Nothing arrives for a while, in one direction or both. */
  "stall",
  /** The link dies and one side does not hear of it. */
  "halfOpen",
  /** Nobody can be reached for a while. */
  "unreachable",
  "killSource",
  "killTarget",
  /** The kernel's ring is small. */
  "loss",
  /** The kernel forgets everything that it has not told. */
  "overflow",
  /** The target's disk is full for a while. */
  "space",
  /** Calls of the target fail. */
  "errors",
  "powerSource",
  "powerTarget",
] as const;
export type FaultKind = (typeof faultKinds)[number];

const everyUsMin = 2_000;
const everyUsMax = 400_000;

export class Faults {
  readonly kinds: readonly FaultKind[];
  readonly durability: "process" | "power";
  readonly #simulation: Simulation;
  readonly #chance: Chance;
  #unreachableUntilUs = 0;
  #isOver = false;
  #errorsLeft = 0;
  /** Whether any fault has happened so far: without one nothing may go wrong. */
  #count = 0;

  constructor(simulation: Simulation, allowed: readonly FaultKind[]) {
    this.#simulation = simulation;
    this.#chance = simulation.chance.fork("faults");
    this.kinds = allowed.filter(() => this.#chance.is(1, 2));
    this.durability = this.#chance.is(1, 3) ? "power" : "process";
  }

  begin(): void {
    this.#simulation.trace.say(`faults: ${this.kinds.join(" ") || "none"}`);
    if (this.#active.length > 0) this.#next();
  }

  /** Faults that happen at a moment. */
  get #active(): FaultKind[] {
    return this.kinds.filter((kind) => kind !== "loss");
  }

  #next(): void {
    const { clock } = this.#simulation;
    clock.after(this.#chance.between(everyUsMin, everyUsMax), () => {
      if (this.#isOver) return;
      this.#make(this.#chance.pick(this.#active));
      this.#next();
    });
  }

  #make(kind: FaultKind): void {
    const { trace, clock, wire } = this.#simulation;
    trace.say(`fault: ${kind}`);
    this.#count++;
    const until = (msMax: number): number => clock.nowUs + this.#chance.between(1, msMax) * 1000;
    switch (kind) {
      case "cut":
        return wire?.cut({ near: true, far: true });
      case "stall":
        return wire?.stall(until(3000), this.#chance.pick(["toNear", "toFar", "both"] as const));
      case "halfOpen":
        return wire?.cut({ near: this.#chance.is(1, 2), far: this.#chance.is(1, 2) });
      case "unreachable":
        this.#unreachableUntilUs = until(4000);
        return wire?.cut({ near: true, far: true });
      case "killSource":
        return this.#killSource(false);
      case "killTarget":
        return this.#killTarget(false);
      case "overflow":
        return this.#simulation.capture?.overflow();
      case "space":
        return this.#fill();
      case "errors":
        this.#errorsLeft = this.#chance.between(1, 3);
        return;
      case "powerSource":
        return this.#killSource(true);
      case "powerTarget":
        return this.#killTarget(true);
      case "loss":
    }
  }

  /** At one of its next calls; then it is started again. */
  #killSource(isPower: boolean): void {
    const simulation = this.#simulation;
    const { source, clock } = simulation;
    if (source?.isAlive !== true) return;
    if (isPower) {
      // Content may be torn with size and time intact: whoever had this reads everything.
      simulation.isChecksumWanted = true;
      source.kill();
      simulation.app.kill();
      simulation.sourceDisk.powerCut(this.#chance);
      simulation.startApp();
    } else source.callsToLive = this.#chance.below(60);
    const again = (): void => {
      if (source.isAlive) source.kill();
      simulation.startSource();
    };
    clock.after(this.#chance.between(1000, 1_500_000), again);
  }

  #killTarget(isPower: boolean): void {
    const simulation = this.#simulation;
    const { target, clock } = simulation;
    if (target?.isAlive !== true) return;
    if (isPower) {
      target.kill();
      simulation.targetDisk.powerCut(this.#chance);
      simulation.bootCount++;
      simulation.isChecksumWanted = true;
      simulation.source?.kill();
      clock.after(this.#chance.between(1000, 1_000_000), () => {
        if (simulation.source?.isAlive !== true) simulation.startSource();
      });
    } else target.callsToLive = this.#chance.below(60);
    clock.after(this.#chance.between(1000, 1_500_000), () => {
      if (target.isAlive) target.kill();
      if (simulation.target?.isAlive !== true) simulation.startTarget();
    });
  }

  #fill(): void {
    const { targetDisk, clock } = this.#simulation;
    targetDisk.pageCountMax = targetDisk.usedPages + this.#chance.below(10);
    clock.after(this.#chance.between(1000, 500_000), () => (targetDisk.pageCountMax = 100_000));
  }

  /** From now on nothing goes wrong any more. */
  heal(): void {
    this.#isOver = true;
    this.#errorsLeft = 0;
    this.#unreachableUntilUs = 0;
    const simulation = this.#simulation;
    simulation.targetDisk.pageCountMax = 100_000;
    if (simulation.source !== undefined) simulation.source.callsToLive = undefined;
    if (simulation.target !== undefined) simulation.target.callsToLive = undefined;
  }

  get isReachable(): boolean {
    return this.#simulation.clock.nowUs >= this.#unreachableUntilUs;
  }

  /** Whether the other side's host hears that a process has died. */
  isHeard(): boolean {
    return this.#chance.is(3, 4);
  }

  /** A target that finishes what another has left may be killed, too. */
  startsTarget(target: Running): void {
    const isKilled = this.kinds.includes("killTarget") && !this.#isOver && this.#chance.is(1, 3);
    if (!isKilled) return;
    this.#count++;
    target.callsToLive = this.#chance.below(60);
  }

  /** Whether a crash of the target may end its being a past state of the source. */
  get mayLoseCut(): boolean {
    if (this.kinds.includes("errors")) return true;
    return this.kinds.includes("powerTarget") && this.durability === "process";
  }

  injected(call: keyof Files): number | undefined {
    if (this.#errorsLeft === 0 || call === "close" || !this.#chance.is(1, 20)) return undefined;
    const written: readonly (keyof Files)[] = ["pwrite", "fsync", "ftruncate", "fallocate"];
    if (!written.includes(call)) return undefined;
    this.#errorsLeft--;
    return -this.#chance.pick([Errno.EIO, Errno.ENOSPC]);
  }

  captureLimits(): { ringCountMax: number; lostCountMax: number; drainCountMax: number } {
    const isLossy = this.kinds.includes("loss") && !this.#isOver;
    return {
      ringCountMax: isLossy ? this.#chance.between(2, 40) : 100_000,
      lostCountMax: isLossy ? this.#chance.below(4) : 1000,
      drainCountMax: this.#chance.pick([8, 64, 4096]),
    };
  }

  network(): { delayUsMin: number; delayUsMax: number } {
    return this.#chance.pick([
      { delayUsMin: 20, delayUsMax: 60 },
      { delayUsMin: 200, delayUsMax: 1500 },
      { delayUsMin: 5_000, delayUsMax: 40_000 },
    ]);
  }

  space(): { minFree?: FreeLimit } {
    return {};
  }

  isMeant(problem: Problem): boolean {
    return this.kinds.includes("errors") && ["EIO", "ENOSPC"].includes(problem.errno);
  }

  /** Whether a link may end like this. */
  explains(error: SyncError): boolean {
    if (this.#count === 0) return false;
    if (error.code === "TARGET_DIVERGED") return this.kinds.includes("errors");
    return error.code !== "SESSION_FAILED";
  }
}
