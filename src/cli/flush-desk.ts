/**
 * How a running sync answers `lockstep flush`. For each target that is asked for it
 * waits until that has everything which was written before the request came (session/barriers.ts),
 * and meanwhile says which target it waits for, and why.
 *
 * In: `{"targets": […]}`, all of them if absent. Out: lines `waiting` (again whenever the reason is
 * another one), `reached`, `failed` for a target that is given up; then `end`: `done`, or `failed`.
 */
import { statfsSync } from "node:fs";
import { mappedInodes } from "./mapped-files.ts";
import type { Talk, TalkAnswers } from "./control-talk.ts";
import type { TargetReport } from "./sync-report.ts";
import type { TargetRun } from "./target-run.ts";

/** A target that is live says nothing for so long: mostly it has everything by then. */
const patienceMs = 1000;
const lookMs = 250;
/** man 2 statfs */
const tmpfsMagic = 0x01021994;

/** What a sync with these targets answers; `tellsExtents`: its way of capture does. */
export function flushAnswers(
  runs: readonly TargetRun[],
  source: string,
  tellsExtents: boolean,
): TalkAnswers {
  // Of a page of tmpfs the kernel tells once, and never again.
  const tellsStores = tellsExtents && statfsSync(source).type !== tmpfsMagic;
  return {
    flush: (asked, talk) => {
      const names = namesIn(asked);
      const chosen = runs.filter(({ text }) => names?.includes(text) ?? true);
      const unknown = names?.find((name) => !chosen.some(({ text }) => text === name));
      if (unknown !== undefined) {
        return talk.end("refused", { message: `it has no target ${unknown}` });
      }
      // Looked for before anything is drained: what is mapped later is stored to later.
      new Flush(talk, chosen, tellsStores ? [] : mappedInodes()).begin();
    },
  };
}

class Flush {
  readonly #talk: Talk;
  readonly #runs: readonly TargetRun[];
  readonly #mapped: readonly number[];
  /** Those that are waited for, with what was said of them last and how to wait no longer. */
  readonly #waiting: Map<TargetRun, { said: string; leave: () => void }> = new Map();
  #hasFailed = false;
  #timer: NodeJS.Timeout | undefined;
  #looks = 0;

  constructor(talk: Talk, runs: readonly TargetRun[], mapped: readonly number[]) {
    this.#talk = talk;
    this.#runs = runs;
    this.#mapped = mapped;
  }

  begin(): void {
    for (const run of this.#runs) this.#waiting.set(run, { said: "", leave: () => {} });
    for (const run of this.#runs) {
      const leave = run.barrier({
        mappedInodes: this.#mapped,
        reached: ({ epoch, wallMs }) => {
          this.#waiting.delete(run);
          this.#talk.tell({ reached: { target: run.text, epoch, cutWallMs: wallMs } });
          this.#endIfOver();
        },
      });
      const waiting = this.#waiting.get(run);
      if (waiting !== undefined) waiting.leave = leave;
    }
    if (this.#waiting.size === 0) return;
    this.#talk.onGone = () => this.#end();
    this.#timer = setInterval(() => this.#look(), lookMs);
    this.#timer.unref();
    this.#look();
  }

  #look(): void {
    this.#looks++;
    for (const [run, waiting] of this.#waiting) {
      const report = run.report();
      const { target, state } = report;
      if (run.isGivenUp) {
        this.#hasFailed = true;
        this.#waiting.delete(run);
        this.#talk.tell({ failed: { target, state, ...report.error } });
        continue;
      }
      if (state === "live" && this.#looks * lookMs < patienceMs) continue;
      const reason = reasonOf(report);
      if (reason === waiting.said) continue;
      waiting.said = reason;
      this.#talk.tell({ waiting: { target, state, reason } });
    }
    this.#endIfOver();
  }

  #endIfOver(): void {
    if (this.#waiting.size > 0) return;
    this.#end();
    this.#talk.end(this.#hasFailed ? "failed" : "done");
  }

  #end(): void {
    clearInterval(this.#timer);
    for (const { leave } of this.#waiting.values()) leave();
    this.#waiting.clear();
  }
}

function namesIn(asked: unknown): readonly string[] | undefined {
  const { targets }: { targets?: unknown } = asked as object;
  return Array.isArray(targets) ? targets.map((target: unknown) => String(target)) : undefined;
}

/** Why a target does not have everything yet. It stays the same while nothing happens. */
function reasonOf({ state, halts, error }: TargetReport): string {
  const [halt] = halts;
  if (halt !== undefined) return `it is halted: ${halt.message} (${halt.code})`;
  switch (state) {
    case "live":
      return "changes are on their way to it";
    case "seeding":
      return "it is being made equal to the source";
    case "retrying": {
      const why = error === undefined ? "" : `: ${error.message}`;
      return `it is out of reach${why}; it is tried again`;
    }
    default:
      return `it is ${state}`;
  }
}
