/**
 * `EpochBackup`: what an epoch is going to change is kept before any of it is applied, a part in
 * each step of the session, as it may be much. Until the target is live; then nothing is copied.
 */
import { type Backup, changedFiles } from "../apply/index.ts";
import { decodeOperation } from "../wire/index.ts";
import type { HeldEpoch } from "./held-epoch.ts";

export class EpochBackup {
  readonly #backup: Backup;
  readonly #open: (node: number) => number;
  /** Its changes are noted. */
  #foreseen: HeldEpoch | undefined;

  /** `open` gives a descriptor for reading a file, or a negative errno. */
  constructor(backup: Backup, open: (node: number) => number) {
    this.#backup = backup;
    this.#open = open;
  }

  /** One step; true when the epoch may be applied. Throws as `Backup` does, and PEER_MALFORMED. */
  step(epoch: HeldEpoch): boolean {
    if (this.#foreseen !== epoch) {
      this.#foreseen = epoch;
      const changes = changedFiles((node) => this.#backup.note(node));
      epoch.each((type, frame, start, end) => decodeOperation(type, frame, start, end, changes));
    }
    const isKept = this.#backup.step(this.#open);
    if (isKept) this.#foreseen = undefined;
    return isKept;
  }
}
