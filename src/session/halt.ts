/**
 * `HaltState`: whether a mirror waits for a person, and what for.
 *
 * In: errors of kind `halt` from a session or about the source's folder, and what the target says
 * of itself. Out: each is told once, `onHalt`, however often trying again finds it; `onResume` when
 * a person has agreed or when it has mended itself.
 */
import type { SyncError } from "../base/index.ts";

export class HaltState {
  #current: SyncError | undefined;
  readonly #onHalt: (halt: SyncError) => void;
  readonly #onResume: (halt: SyncError) => void;

  constructor(options: {
    onHalt?: (halt: SyncError) => void;
    onResume?: (halt: SyncError) => void;
  }) {
    this.#onHalt = options.onHalt ?? (() => {});
    this.#onResume = options.onResume ?? (() => {});
  }

  get current(): SyncError | undefined {
    return this.#current;
  }

  enter(halt: SyncError): void {
    const isKnown = this.#current?.code === halt.code;
    this.#current = halt;
    if (!isKnown) this.#onHalt(halt);
  }

  leave(): void {
    const halt = this.#current;
    this.#current = undefined;
    if (halt !== undefined) this.#onResume(halt);
  }
}
