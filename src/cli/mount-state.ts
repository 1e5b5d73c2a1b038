/**
 * Where filesystems were followed below a source, in the state directory: a file for each source
 * and target, written whole and put in place. It decides whether an empty folder is a filesystem
 * that is not mounted, so what cannot be read back ends the sync, and is not taken for nothing.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { SyncError } from "../base/index.ts";
import type { Log } from "../world/index.ts";
import type { Target } from "./places.ts";

/** A longer file is not one of ours. */
const mountStateBytesMax = 8_388_608;

const schema = v.object({
  version: v.literal(1),
  source: v.string(),
  target: v.string(),
  /** Places, relative to the source, Latin-1, one character a byte; and their numbers. */
  followed: v.array(
    v.tuple([v.string(), v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1022))]),
  ),
});

export class MountStateFile {
  readonly #folder: string;
  readonly #path: string;
  readonly #source: string;
  readonly #target: string;
  #written = "";

  constructor(stateDir: string, source: string, target: Target) {
    this.#source = source;
    this.#target =
      target.kind === "local"
        ? target.path
        : `lockstep://${target.peerId}/${target.share}/${target.subpath}`;
    const key = JSON.stringify([source, this.#target]);
    const name = createHash("sha256").update(key).digest("hex").slice(0, 32);
    this.#folder = join(stateDir, "mounts");
    this.#path = join(this.#folder, `${name}.json`);
  }

  /** Throws STATE_UNUSABLE. */
  read(): readonly (readonly [string, number])[] {
    let text: string;
    try {
      if (statSync(this.#path).size > mountStateBytesMax) throw new Error("it is too large");
      text = readFileSync(this.#path, "utf8");
      return v.parse(schema, JSON.parse(text)).followed;
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      if (code === "ENOENT") return [];
      throw new SyncError(
        "STATE_UNUSABLE",
        `${this.#path}, which says what was mounted below ${this.#source}: ${message}; ` +
          "mount all of it and remove that file",
        { cause },
      );
    }
  }

  /** What cannot be written is told each time: the next run would not know of it. */
  write(places: ReadonlyMap<string, number>, log: Log): void {
    const followed = [...places].sort(([one], [other]) => (one < other ? -1 : 1));
    const whole = { version: 1, source: this.#source, target: this.#target, followed };
    const text = JSON.stringify(whole);
    if (text === this.#written) return;
    const fresh = `${this.#path}.${process.pid}`;
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      writeFileSync(fresh, text, { mode: 0o600 });
      renameSync(fresh, this.#path);
      this.#written = text;
    } catch (error) {
      log.write("error", `write ${this.#path}: ${(error as Error).message}`, {
        code: "STATE_UNUSABLE",
      });
    }
  }
}
