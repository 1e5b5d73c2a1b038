/**
 * How far an interrupted `verify` came, in the state directory: a file for each pair of folders and
 * way of comparing them, written whole and put in place, removed when the comparison has ended.
 *
 * What is read back is not believed: it must have its form, be of the same two folders (device and
 * inode) and not be older than `ageMsMax`; else the reason is given, and all is compared anew.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { SyncError } from "../base/index.ts";

/** An older place in a comparison is not gone on from. */
const ageMsMax = 7 * 86_400_000;
/** A longer file is not one of ours. */
const stateBytesMax = 4_194_304;

const names = v.array(v.string());
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const schema = v.object({
  version: v.literal(1),
  pair: v.string(),
  writtenMs: v.number(),
  cursor: v.object({ folder: names, large: names }),
  entries: count,
  bytes: count,
  counts: v.record(v.string(), count),
});
export type VerifyState = v.InferOutput<typeof schema>;

export interface VerifyPair {
  readonly source: string;
  readonly target: string;
  /** Of a target that is not a folder of this machine: what tells its folder from another. */
  readonly targetIdentity?: string;
  /** Everything else that decides what is compared. */
  readonly terms: unknown;
}

export class VerifyStateFile {
  readonly #folder: string;
  readonly #path: string;
  readonly #pair: string;

  constructor(stateDir: string, { source, target, targetIdentity, terms }: VerifyPair) {
    const key = JSON.stringify([source, target, terms]);
    const name = createHash("sha256").update(key).digest("hex").slice(0, 32);
    this.#folder = join(stateDir, "verify");
    this.#path = join(this.#folder, `${name}.json`);
    this.#pair = JSON.stringify([identityOf(source), targetIdentity ?? identityOf(target)]);
  }

  /** What an earlier verify left, or the reason why it cannot be gone on with. */
  read(nowMs: number): VerifyState | string {
    let text: string;
    try {
      if (statSync(this.#path).size > stateBytesMax) return "what was kept of it is damaged";
      text = readFileSync(this.#path, "utf8");
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return "no interrupted comparison of these two is known";
      return `what was kept of it cannot be read (${code ?? String(error)})`;
    }
    const parsed = v.safeParse(schema, parsedJson(text));
    if (!parsed.success) return "what was kept of it is damaged";
    const state = parsed.output;
    if (state.pair !== this.#pair) return "one of the two is another folder now";
    const ageMs = nowMs - state.writtenMs;
    if (!(ageMs >= 0 && ageMs <= ageMsMax)) return "it was interrupted too long ago";
    return state;
  }

  /** Throws STATE_UNUSABLE. */
  write(state: Omit<VerifyState, "version" | "pair">): void {
    const whole: VerifyState = { version: 1, pair: this.#pair, ...state };
    const fresh = `${this.#path}.${process.pid}`;
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      writeFileSync(fresh, JSON.stringify(whole), { mode: 0o600 });
      renameSync(fresh, this.#path);
    } catch (cause) {
      const message = `write ${this.#path}: ${(cause as Error).message}`;
      throw new SyncError("STATE_UNUSABLE", message, { cause });
    }
  }

  remove(): void {
    rmSync(this.#path, { force: true });
  }
}

function identityOf(path: string): string {
  const { dev, ino } = statSync(path, { bigint: true });
  return `${dev}:${ino}`;
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
