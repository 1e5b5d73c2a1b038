/**
 * What every scenario shares: its settings, its result, and how subjects take turns.
 *
 * Rounds are interleaved: in each round every subject runs once, and the order rotates from round
 * to round, so that slow drift of a shared machine falls on all alike. Each turn has a fresh pair
 * of folders and a fresh start of the product. A subject that cannot run, or fails, is skipped
 * with its reason from then on; it never fails the bench.
 */
import { ProcessError } from "../processes.ts";
import type { RunningSubject, Subject } from "../subjects/index.ts";
import { makeFile, makePair, type Pair, removePair } from "../workspace.ts";
import { join } from "node:path";

export interface Settings {
  /** Where temporary folders are made; also the filesystem that is measured. */
  readonly folder: string;
  readonly quick: boolean;
  /** Overrides a scenario's number of rounds. */
  readonly rounds: number | undefined;
  /** Whether a subject of this name takes part. */
  readonly takesPart: (name: string) => boolean;
  /** The same of a load, in the scenario that has several. */
  readonly takesLoad: (name: string) => boolean;
  /** Progress for a person; never on stdout. */
  readonly say: (text: string) => void;
}

export interface ScenarioResult {
  readonly scenario: string;
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly notes: readonly string[];
  readonly skipped: readonly Skip[];
  /** Everything measured, for machines. */
  readonly data: unknown;
}

export interface Skip {
  readonly subject: string;
  readonly reason: string;
}

export type Scenario = (settings: Settings) => Promise<ScenarioResult>;

/** What takes turns: a subject, or anything else that has a name and may be missing. */
export type Entrant = Pick<Subject, "name" | "unavailable">;

/** Which subjects still take part, and why the others do not. */
export class Field<T extends Entrant = Subject> {
  readonly #skips: Skip[] = [];
  #subjects: T[] = [];
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Asks each subject whether it can run here. */
  async admit(subjects: readonly T[]): Promise<this> {
    for (const subject of subjects) {
      if (!this.#settings.takesPart(subject.name)) continue;
      const reason = await subject.unavailable();
      if (reason === undefined) this.#subjects.push(subject);
      else this.skip(subject.name, reason);
    }
    return this;
  }

  get skips(): readonly Skip[] {
    return this.#skips;
  }

  has(subject: T): boolean {
    return this.#subjects.includes(subject);
  }

  /** The order of turns in `round`: rotated by one each round. */
  turns(round: number): T[] {
    return rotated(this.#subjects, round);
  }

  skip(name: string, reason: string): void {
    this.#skips.push({ subject: name, reason });
    this.#subjects = this.#subjects.filter((subject) => subject.name !== name);
    this.#settings.say(`  skipped ${name}: ${reason}`);
  }

  /** Runs one turn; a failing product is skipped from now on and yields undefined. */
  async attempt<R>(name: string, work: () => Promise<R>): Promise<R | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      this.skip(name, error.message.slice(0, 300));
      return undefined;
    }
  }
}

/** The same in another order, which comes again after as many steps as there are entries. */
export function rotated<T>(all: readonly T[], by: number): T[] {
  const shift = all.length === 0 ? 0 : by % all.length;
  return [...all.slice(shift), ...all.slice(0, shift)];
}

export interface FileTurn {
  readonly file: string;
  readonly bytes: number;
  readonly sparse: boolean;
}

/** A subject that runs, on a pair of its own. */
export interface Live {
  readonly subject: Subject;
  readonly pair: Pair;
  readonly running: RunningSubject;
  /** Ends it and clears all away. */
  end(): Promise<void>;
}

/** Makes a pair with one file and starts `subject` on it. */
export async function begin(settings: Settings, subject: Subject, turn: FileTurn): Promise<Live> {
  const pair = await makePair(settings.folder);
  try {
    await makeFile(join(pair.source, turn.file), turn.bytes, turn.sparse);
    const running = await subject.start({ pair, file: turn.file, fileBytes: turn.bytes });
    const end = async (): Promise<void> => {
      try {
        await running.stop();
      } finally {
        await removePair(pair);
      }
    };
    return { subject, pair, running, end };
  } catch (error) {
    await removePair(pair);
    throw error;
  }
}

/** The same for as long as `work` takes. */
export async function withSubject<T>(
  settings: Settings,
  subject: Subject,
  turn: FileTurn,
  work: (pair: Pair, running: RunningSubject) => Promise<T>,
): Promise<T> {
  const live = await begin(settings, subject, turn);
  try {
    return await work(live.pair, live.running);
  } finally {
    await live.end();
  }
}

/**
 * Runs `work` with all of them live at once, less those that do not start. What differs by
 * microseconds is told apart only by turns that are short against what the machine does meanwhile.
 */
export async function withAllLive(
  settings: Settings,
  field: Field,
  subjects: readonly Subject[],
  file: FileTurn,
  work: (live: readonly Live[]) => Promise<void>,
): Promise<void> {
  const all: Live[] = [];
  try {
    for (const subject of subjects) {
      const live = await field.attempt(subject.name, () => begin(settings, subject, file));
      if (live !== undefined) all.push(live);
    }
    await work(all);
  } finally {
    for (const live of all) await live.end();
  }
}
