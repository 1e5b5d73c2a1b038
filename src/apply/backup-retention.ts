/**
 * `BackupRetention`: removes the folders of old sessions from a backup folder.
 *
 * In: the descriptor of the backup folder. Out: whole folders removed whose name is exactly a time
 * (backup-folder.ts) that is too long ago, in steps. Nothing else there is touched, but for names
 * that a removal itself has left there when it was interrupted (.lockstep-hold.…).
 * A folder is used for a day, so it goes a day later than its name says.
 */
import { DirectoryEntries } from "../descriptors/index.ts";
import { type Clock, type Files, Mode, Open, Stat } from "../world/index.ts";
import { folderTimeMs } from "./backup-folder.ts";
import { folderMsMax } from "./backup-tree.ts";
import { isHoldName } from "./hold-name.ts";
import { ownerFiles } from "./owner-files.ts";
import { TreeRemoval } from "./remove-tree.ts";

export class BackupRetention {
  readonly #files: Files;
  readonly #dirFd: number;
  readonly #clock: Clock;
  readonly #keepMs: number;
  #old: Uint8Array[] | undefined;
  #removal: { name: Uint8Array; removal: TreeRemoval } | undefined;

  constructor(options: {
    files: Files;
    dirFd: number;
    clock: Clock;
    keepMs: number;
    privileged: boolean;
  }) {
    this.#files = options.privileged ? options.files : ownerFiles(options.files);
    this.#dirFd = options.dirFd;
    this.#clock = options.clock;
    this.#keepMs = options.keepMs;
  }

  /**
   * One step of a round; false when it is over, and the next step begins another. `failed` hears
   * of a folder that could not be removed, with a negative errno; an empty name is the whole.
   */
  step(failed: (name: string, result: number) => void): boolean {
    if (this.#old === undefined) {
      this.#old = [];
      const result = this.#look(this.#old);
      if (result < 0) failed("", result);
    }
    this.#removal ??= this.#next(this.#old);
    if (this.#removal === undefined) {
      this.#old = undefined;
      return false;
    }
    const { name, removal } = this.#removal;
    const result = removal.step();
    if (result <= 0) this.#removal = undefined;
    if (result < 0) failed(Buffer.from(name).toString("utf8"), result);
    return true;
  }

  close(): void {
    this.#removal?.removal.close();
    this.#removal = undefined;
  }

  #next(old: Uint8Array[]): { name: Uint8Array; removal: TreeRemoval } | undefined {
    const name = old.pop();
    if (name === undefined) return undefined;
    return { name, removal: new TreeRemoval(this.#files, this.#dirFd, this.#dirFd, name) };
  }

  /** Notes what is to go. */
  #look(old: Uint8Array[]): number {
    const files = this.#files;
    const oldestMs = this.#clock.wallMs() - this.#keepMs - folderMsMax;
    const flags = Open.read | Open.directory;
    const fd = files.openBeneath(this.#dirFd, Buffer.from("."), flags, 0);
    if (fd < 0) return fd;
    const entries = new DirectoryEntries(files);
    const visit = (name: Uint8Array, stat: Float64Array): void => {
      if ((stat[Stat.mode]! & Mode.typeMask) !== Mode.directory) return;
      const timeMs = folderTimeMs(Buffer.from(name).toString("latin1"));
      if (timeMs !== undefined ? timeMs < oldestMs : isHoldName(name)) old.push(name.slice());
    };
    let used = entries.next(fd, visit);
    while (used > 0) used = entries.next(fd, visit);
    files.close(fd);
    return used;
  }
}
