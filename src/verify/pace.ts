/** Holds what is read to a rate: how long to wait after so many bytes. It has no clock. */

/** What may be made up for when reading was slower than the rate for a while. */
const slackUs = 250_000;

export class Pace {
  readonly #usPerByte: number;
  #freeAtUs = 0;

  /** Infinity is no limit. */
  constructor(bytesPerSecond: number) {
    this.#usPerByte = 1e6 / bytesPerSecond;
  }

  /** Milliseconds to wait after these bytes were read. */
  waitMs(bytes: number, nowUs: number): number {
    this.#freeAtUs = Math.max(this.#freeAtUs, nowUs - slackUs) + bytes * this.#usPerByte;
    return Math.max(0, this.#freeAtUs - nowUs) / 1000;
  }
}
