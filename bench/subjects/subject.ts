/**
 * What the bench measures: something that keeps a target equal to a source. Each product is one
 * file here; scenarios know only this interface.
 *
 * Invariants: a subject runs wholly inside its pair's folders and on 127.0.0.1; start() resolves
 * when a change of the source flows to the target; stop() ends every process that start() made.
 */
import type { Pair } from "../workspace.ts";

export interface StartRequest {
  readonly pair: Pair;
  /** The one file that matters, by name in the source. The floor mirrors nothing else. */
  readonly file: string;
  readonly fileBytes: number;
}

export interface RunningSubject {
  /** The TCP port whose connections carry the data; undefined when there is none to count. */
  readonly port: number | undefined;
  stop(): Promise<void>;
}

export interface Subject {
  readonly name: string;
  /** "slow" subjects react in tens of milliseconds to seconds and get fewer samples. */
  readonly speed: "fast" | "slow";
  /** Where a reader learns how it was configured. One line. */
  readonly configuration: string;
  /** Why it cannot run here, or undefined when it can. Asked once. */
  unavailable(): Promise<string | undefined>;
  start(request: StartRequest): Promise<RunningSubject>;
}

/** Ends the parts of a subject in order, all of them even if one fails. */
export async function stopAll(parts: readonly { end(): Promise<void> }[]): Promise<void> {
  const results = await Promise.allSettled(parts.map((part) => part.end()));
  for (const result of results) {
    if (result.status === "rejected") throw result.reason;
  }
}
