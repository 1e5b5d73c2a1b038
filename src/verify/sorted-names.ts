/**
 * The names of a directory in the order of their bytes, one after the other, so that two machines
 * can go through the same directory together.
 *
 * Names are sorted in runs of a fixed length, which are merged as they are taken: no step is long,
 * whatever the directory has. Memory: its names.
 */
import type { Pause } from "./content.ts";
import type { DirectoryReader } from "./directory-reader.ts";

const runNames = 4096;

export class SortedNames {
  /** A heap of sorted runs, taken from their ends, by the name that is next of each. */
  readonly #runs: string[][];

  /** Of any names; they are taken over. */
  constructor(names: Iterable<string>) {
    this.#runs = [];
    let run: string[] = [];
    for (const name of names) {
      run.push(name);
      if (run.length < runNames) continue;
      this.#add(run);
      run = [];
    }
    if (run.length > 0) this.#add(run);
  }

  /** Those in the directory of a descriptor, at its start; a negative errno; "cancelled". */
  static async read(
    reader: DirectoryReader,
    directoryFd: number,
    pause: Pause,
  ): Promise<SortedNames | number | "cancelled"> {
    const sorted = new SortedNames([]);
    let run: string[] = [];
    reader.start(directoryFd);
    while (reader.next()) {
      run.push(reader.name);
      if (run.length < runNames) continue;
      sorted.#add(run);
      run = [];
      if (await pause(0)) return "cancelled";
    }
    if (reader.errno < 0) return reader.errno;
    if (run.length > 0) sorted.#add(run);
    return sorted;
  }

  get next(): string | undefined {
    return this.#runs[0]?.at(-1);
  }

  take(): string | undefined {
    const first = this.#runs[0];
    const name = first?.pop();
    if (first === undefined) return undefined;
    if (first.length === 0) {
      const last = this.#runs.pop()!;
      if (last !== first) this.#runs[0] = last;
    }
    this.#sink();
    return name;
  }

  #add(run: string[]): void {
    run.sort().reverse();
    const runs = this.#runs;
    let at = runs.push(run) - 1;
    for (let above = (at - 1) >> 1; at > 0 && isBefore(run, runs[above]!); above = (at - 1) >> 1) {
      runs[at] = runs[above]!;
      runs[above] = run;
      at = above;
    }
  }

  #sink(): void {
    const runs = this.#runs;
    for (let at = 0; ;) {
      let least = at;
      for (const below of [2 * at + 1, 2 * at + 2]) {
        if (below < runs.length && isBefore(runs[below]!, runs[least]!)) least = below;
      }
      if (least === at) return;
      [runs[at], runs[least]] = [runs[least]!, runs[at]!];
      at = least;
    }
  }
}

function isBefore(run: readonly string[], other: readonly string[]): boolean {
  return run.at(-1)! < other.at(-1)!;
}
