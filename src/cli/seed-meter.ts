/**
 * `SeedMeter`: how far one target is on its way to being equal, from samples of its status.
 *
 * In: a sample every half second, with what the source has, as far as that is counted. Out: amounts
 * that never go back and never exceed the whole, a rate of the last seconds, and the time left.
 * A comparison that starts over (a lost link, an overflow) holds the amounts where they were until
 * it has got there again. Pure: the time comes with the sample.
 */

export interface SeedSample {
  readonly seconds: number;
  readonly filesDone: number;
  readonly contentBytes: number;
  /** Of the source, as far as it is counted; undefined before anybody counts. */
  readonly whole: SeedWhole | undefined;
}

export interface SeedWhole {
  readonly files: number;
  readonly bytes: number;
  readonly isComplete: boolean;
}

export interface SeedProgress {
  readonly files: number;
  readonly contentBytes: number;
  /** Lower bounds unless `isWhole`; undefined while nothing is known. */
  readonly filesTotal: number | undefined;
  readonly contentBytesTotal: number | undefined;
  /** The totals are those of the whole source. */
  readonly isWhole: boolean;
  /** Content that was found equal or sent, in the last seconds. */
  readonly bytesPerSecond: number | undefined;
  /** Undefined while it cannot be said. */
  readonly secondsLeft: number | undefined;
}

/** The rate is taken over these seconds; samples come late when the thread is busy. */
const rateSeconds = 5;
/** More than come in that time. */
const sampleCountMax = 20;
/** So short a time says nothing about the time left. */
const estimateSecondsMin = 2;
/** What a file costs besides its content, in bytes: many files may be empty. */
const fileCostBytes = 8192;

export class SeedMeter {
  /** Oldest first. */
  readonly #samples: { seconds: number; files: number; bytes: number }[] = [];
  #files = 0;
  #bytes = 0;

  /** Takes a sample, and tells where it stands now. */
  sample({ seconds, filesDone, contentBytes, whole }: SeedSample): SeedProgress {
    this.#files = Math.max(this.#files, filesDone);
    this.#bytes = Math.max(this.#bytes, Math.floor(contentBytes));
    const files = this.#files;
    const bytes = this.#bytes;
    this.#samples.push({ seconds, files, bytes });
    this.#forgetOld(seconds);
    // What came after it was counted is part of the whole, too.
    const isWhole = whole?.isComplete === true;
    const filesTotal = whole && totalOf(whole.files, files, isWhole);
    const contentBytesTotal = whole && totalOf(whole.bytes, bytes, isWhole);
    const rates = this.#rates();
    const left =
      isWhole && filesTotal !== undefined && contentBytesTotal !== undefined
        ? costOf(filesTotal - files, contentBytesTotal - bytes)
        : undefined;
    return {
      files,
      contentBytes: bytes,
      filesTotal,
      contentBytesTotal,
      isWhole,
      bytesPerSecond: rates && Math.round(rates.bytes),
      secondsLeft: rates && left !== undefined ? secondsFor(left, rates) : undefined,
    };
  }

  /** All is done: the whole is what has been done. */
  finish(sample: Omit<SeedSample, "whole">): SeedProgress {
    const { files, contentBytes, bytesPerSecond } = this.sample({ ...sample, whole: undefined });
    const totals = { filesTotal: files, contentBytesTotal: contentBytes, isWhole: true };
    return { files, contentBytes, ...totals, bytesPerSecond, secondsLeft: 0 };
  }

  /** Two are needed, however old the first is. */
  #forgetOld(seconds: number): void {
    const samples = this.#samples;
    while (samples.length > 2 && samples[0]!.seconds < seconds - rateSeconds) samples.shift();
    if (samples.length > sampleCountMax) samples.shift();
  }

  #rates(): { bytes: number; cost: number; seconds: number } | undefined {
    const first = this.#samples[0]!;
    const last = this.#samples.at(-1)!;
    const seconds = last.seconds - first.seconds;
    if (seconds <= 0) return undefined;
    const bytes = last.bytes - first.bytes;
    const cost = costOf(last.files - first.files, bytes);
    return { bytes: bytes / seconds, cost: cost / seconds, seconds };
  }
}

/** A count that is not complete, and behind what is done, says nothing. */
function totalOf(counted: number, done: number, isWhole: boolean): number | undefined {
  return isWhole || counted > done ? Math.max(counted, done) : undefined;
}

function costOf(files: number, bytes: number): number {
  return files * fileCostBytes + bytes;
}

function secondsFor(left: number, rates: { cost: number; seconds: number }): number | undefined {
  if (left === 0) return 0;
  if (rates.seconds < estimateSecondsMin || rates.cost <= 0) return undefined;
  return Math.ceil(left / rates.cost);
}
