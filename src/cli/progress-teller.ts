/**
 * `ProgressTeller`: tells how far the targets of a sync are, while one of them is not equal yet,
 * and how the live ones are: events for `--json`, a line for a terminal.
 *
 * In: reports of the targets, twice a second, and the moment when one is live. The totals are
 * counted beside the sync (`SourceCount`), once for all targets, from the time that the first of
 * them has taken `countAfterSeconds`: a short comparison is over before anybody asks how long.
 */
import { SourceCount, type SourceCountOptions } from "../session/index.ts";
import type { CommandIo } from "./command-io.ts";
import { SeedMeter, type SeedProgress } from "./seed-meter.ts";
import { progressFields, progressLine, type TargetReport } from "./sync-report.ts";

const countAfterSeconds = 2;

interface Seeding {
  readonly meter: SeedMeter;
  readonly startedSeconds: number;
  progress: SeedProgress | undefined;
}

export class ProgressTeller {
  readonly #io: CommandIo;
  readonly #count: SourceCountOptions;
  readonly #startedUs: number;
  /** By target: those that are being made equal. */
  readonly #seeding: Map<string, Seeding> = new Map();
  #whole: SourceCount | undefined;

  constructor(io: CommandIo, startedUs: number, count: SourceCountOptions) {
    this.#io = io;
    this.#count = count;
    this.#startedUs = startedUs;
  }

  /** To be called twice a second. */
  tell(reports: readonly TargetReport[]): void {
    const seconds = this.#seconds();
    for (const report of reports) {
      const seeding = this.#sample(report, seconds);
      if (seeding === undefined) continue;
      const fields = progressFields(report, seeding.progress, seconds);
      if (fields !== undefined) this.#io.event("progress", fields);
    }
    this.#countOrNot(reports, seconds);
    const line = progressLine(this.withProgress(reports));
    if (line !== undefined) this.#io.progress(line);
  }

  /** The target is live. If progress was told of, the last of it is that all is done. */
  finish(report: TargetReport): void {
    const seeding = this.#seeding.get(report.target);
    this.#seeding.delete(report.target);
    const { status } = report;
    if (seeding?.progress === undefined || status === undefined) return;
    const seconds = this.#seconds();
    const { filesDone, contentBytes } = status;
    const progress = seeding.meter.finish({ seconds, filesDone, contentBytes });
    const fields = progressFields({ ...report, state: "live" }, progress, seconds);
    if (fields !== undefined) this.#io.event("progress", fields);
  }

  /** The reports, with what is known of how far they are. */
  withProgress(reports: readonly TargetReport[]): TargetReport[] {
    return reports.map((report) => {
      const progress = this.#seeding.get(report.target)?.progress;
      return progress === undefined ? report : { ...report, progress };
    });
  }

  close(): void {
    this.#whole?.stop();
    this.#whole = undefined;
  }

  #seconds(): number {
    return (this.#io.world.clock.monotonicUs() - this.#startedUs) / 1e6;
  }

  #sample({ target, status }: TargetReport, seconds: number): Seeding | undefined {
    if (status?.live === true) {
      this.#seeding.delete(target);
      return undefined;
    }
    let seeding = this.#seeding.get(target);
    if (status === undefined) return undefined;
    if (seeding === undefined) {
      seeding = { meter: new SeedMeter(), startedSeconds: seconds, progress: undefined };
      this.#seeding.set(target, seeding);
    }
    const { filesDone, contentBytes } = status;
    const whole = this.#whole;
    seeding.progress = seeding.meter.sample({ seconds, filesDone, contentBytes, whole });
    return seeding;
  }

  /** Counts while somebody wants to know; anew if that begins again later. */
  #countOrNot(reports: readonly TargetReport[], seconds: number): void {
    for (const { target, state } of reports) {
      if (state === "stopped" || state === "failed") this.#seeding.delete(target);
    }
    if (this.#seeding.size === 0) return this.close();
    if (this.#whole !== undefined) return;
    const started = Math.min(...[...this.#seeding.values()].map((each) => each.startedSeconds));
    if (seconds - started < countAfterSeconds) return;
    this.#whole = new SourceCount(this.#count);
    this.#whole.start();
  }
}
