/**
 * `RootHalt`: the source's folder is gone or another one. No target can go on, and all of them have
 * ended; a person looks, and says that the folder which is there now is the source.
 */
import { SyncError } from "../base/index.ts";
import type { CommandIo } from "./command-io.ts";
import type { ResumeAnswer } from "./control-socket.ts";
import { tellHalt, tellResume } from "./halts.ts";
import { checkSource } from "./places.ts";

export class RootHalt {
  readonly #io: CommandIo;
  readonly #source: string;
  readonly #place: Readonly<Record<string, string>>;
  #halt: SyncError | undefined;
  #isStopping = false;
  #end: (isRight: boolean) => void = () => {};

  /** `source` as the user wrote it; `place` as it is told. */
  constructor(io: CommandIo, source: string, place: Readonly<Record<string, string>>) {
    this.#io = io;
    this.#source = source;
    this.#place = place;
  }

  get isOn(): boolean {
    return this.#halt !== undefined;
  }

  /** False when it is to end instead: at once with `once`, or asked to stop meanwhile. */
  async untilResumed(halt: SyncError, once: boolean): Promise<boolean> {
    tellHalt(this.#io, this.#place, halt);
    if (once || this.#isStopping) return false;
    this.#halt = halt;
    const isRight = await new Promise<boolean>((resolve) => (this.#end = resolve));
    if (isRight) tellResume(this.#io, this.#place, halt);
    return isRight;
  }

  /** A person has looked; refused while there is no folder that can be read. */
  resume(): ResumeAnswer {
    try {
      checkSource(this.#source);
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      return { refused: error.message };
    }
    this.#end(true);
    return { resumed: this.#halt === undefined ? [] : [this.#halt.code] };
  }

  stop(): void {
    this.#isStopping = true;
    this.#end(false);
  }
}
