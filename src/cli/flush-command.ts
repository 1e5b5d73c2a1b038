/**
 * `lockstep flush [TARGET…]`: returns when everything that was written before the call is at the
 * targets of the running syncs of this state directory, or at those that are named.
 *
 * In: what they publish (control-socket.ts) and what they say while they are waited for
 * (flush-desk.ts). Out: a line or event for each target that has everything, and why another one
 * has not; NO_SYNC, FLUSH_EXPIRED or FLUSH_BROKEN when that does not come to a good end.
 */
import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import { ExitCode, SyncError } from "../base/index.ts";
import { type CommandIo, stateDirectory } from "./command-io.ts";
import { collectStatuses, openTalk, type ProcessStatus } from "./control-socket.ts";

export interface FlushOptions {
  /** As `status` shows them; all when there are none. */
  readonly targets: readonly string[];
  /** Only syncs of this source. */
  readonly source: string | undefined;
  /** Seconds. */
  readonly timeout: string | undefined;
}

/** A year: longer waits are none. */
const timeoutSecondsMax = 31_536_000;

/** Each of them lasts a moment for a process that does not answer. */
const statusTriesMax = 5;

interface Sync {
  readonly pid: number;
  readonly source: string;
  readonly targets: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

export async function runFlush(options: FlushOptions, io: CommandIo): Promise<ExitCode> {
  const timeoutMs = parseTimeout(options.timeout);
  const stateDir = stateDirectory(process.env);
  const syncs = chosen(await askAll(stateDir), options);
  const waits = syncs.map((sync) => new SyncWait(stateDir, sync, io));
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => waits.forEach((wait) => wait.expire()), timeoutMs);
  io.onStop(() => waits.forEach((wait) => wait.expire()));
  try {
    const faults = (await Promise.all(waits.map((wait) => wait.end()))).flat();
    const broken = faults.find(({ code }) => code === "FLUSH_BROKEN") ?? faults[0];
    if (broken === undefined) return ExitCode.done;
    throw new SyncError(broken.code, faults.map(({ message }) => message).join("; "));
  } finally {
    clearTimeout(timer);
  }
}

/** What does not answer may be a sync, with changes under way: it is not passed over in silence. */
async function askAll(stateDir: string): Promise<readonly ProcessStatus[]> {
  for (let tries = 1; ; tries++) {
    const processes = await collectStatuses(stateDir);
    const mute = processes.find(({ status }) => status === undefined);
    if (mute === undefined) return processes;
    if (tries >= statusTriesMax) {
      throw new SyncError("FLUSH_BROKEN", `process ${mute.pid} runs and does not answer`);
    }
  }
}

/** Milliseconds; undefined for as long as it takes. Throws USAGE. */
export function parseTimeout(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = /^\d{1,9}(\.\d{1,6})?$/.test(text) ? Number(text) : 0;
  if (seconds > 0 && seconds <= timeoutSecondsMax) return seconds * 1000;
  throw new SyncError("USAGE", `--timeout ${text}: expected seconds, such as 30 or 0.5`);
}

/** The syncs that are asked, and the targets of each. Throws NO_SYNC. */
function chosen(processes: readonly ProcessStatus[], options: FlushOptions): Sync[] {
  const all = processes.flatMap(({ pid, status }) => syncOf(pid, status ?? {}) ?? []);
  if (all.length === 0) throw new SyncError("NO_SYNC", "no sync is running");
  const { source } = options;
  const syncs = source === undefined ? all : all.filter((sync) => isPlace(source, sync.source));
  if (syncs.length === 0) {
    throw new SyncError("NO_SYNC", `no running sync has the source ${source}`);
  }
  if (options.targets.length === 0) return syncs;
  for (const target of options.targets) {
    if (syncs.some((sync) => sync.targets.some((known) => isPlace(target, known)))) continue;
    const known = syncs.flatMap((sync) => sync.targets).join(", ");
    throw new SyncError("NO_SYNC", `no running sync has the target ${target}; of: ${known}`);
  }
  return syncs.flatMap((sync) => {
    const targets = sync.targets.filter((known) =>
      options.targets.some((target) => isPlace(target, known)),
    );
    return targets.length === 0 ? [] : [{ ...sync, targets }];
  });
}

function syncOf(pid: number, status: Fields): Sync | undefined {
  const { command, source, targets } = status;
  if (command !== "sync" || typeof source !== "string" || !Array.isArray(targets)) return undefined;
  const names = targets.flatMap((target: unknown) => {
    const name: unknown = typeof target === "object" && target && Reflect.get(target, "target");
    return typeof name === "string" ? [name] : [];
  });
  return { pid, source, targets: names };
}

/** As it is shown, or another way to write the same folder. */
function isPlace(wanted: string, shown: string): boolean {
  if (wanted === shown || resolve(wanted) === shown) return true;
  try {
    return realpathSync(wanted) === shown;
  } catch {
    // It is not there, or out of reach: then no other name of it leads there either.
    return false;
  }
}

interface Fault {
  readonly code: "FLUSH_EXPIRED" | "FLUSH_BROKEN";
  readonly message: string;
}

/** One sync that is waited for. */
class SyncWait {
  readonly #sync: Sync;
  readonly #io: CommandIo;
  readonly #ended: Promise<Fields>;
  /** What is missing, with the reason that was told last. */
  readonly #missing: Map<string, string>;
  readonly #failures: Fault[] = [];
  readonly #startedUs: number;
  readonly #close: () => void;

  constructor(stateDir: string, sync: Sync, io: CommandIo) {
    this.#sync = sync;
    this.#io = io;
    this.#startedUs = io.world.clock.monotonicUs();
    this.#missing = new Map(sync.targets.map((target) => [target, ""]));
    const request = `flush ${JSON.stringify({ targets: sync.targets })}`;
    const { ended, close } = openTalk(stateDir, sync.pid, request, (line) => this.#heard(line));
    this.#ended = ended;
    this.#close = close;
  }

  expire(): void {
    this.#close();
  }

  /** What is wrong; nothing when every target has everything. */
  async end(): Promise<readonly Fault[]> {
    const { end, message } = await this.#ended;
    if (this.#missing.size === 0) return this.#failures;
    const missing = [...this.#missing].map(([target, reason]) => {
      return `${target} does not have everything yet${reason === "" ? "" : `: ${reason}`}`;
    });
    const where = `the sync of ${this.#sync.source} (process ${this.#sync.pid})`;
    if (end === "closed") return [{ code: "FLUSH_EXPIRED", message: missing.join("; ") }];
    const why =
      end === "refused"
        ? `refused: ${typeof message === "string" ? message : "for no reason"}`
        : end === "unheard"
          ? "does not answer"
          : "has ended";
    const { length } = this.#failures;
    return length > 0 ? this.#failures : [{ code: "FLUSH_BROKEN", message: `${where} ${why}` }];
  }

  #heard({ reached, waiting, failed }: Fields): void {
    const { pid, source } = this.#sync;
    const io = this.#io;
    if (isFields(reached)) {
      const { target, epoch, cutWallMs } = reached;
      const seconds = (io.world.clock.monotonicUs() - this.#startedUs) / 1e6;
      this.#missing.delete(String(target));
      io.event("flushed", { pid, source, target, epoch, cutWallMs, seconds });
      io.say(`${source} -> ${String(target)}: everything is there (epoch ${String(epoch)})`);
    } else if (isFields(waiting)) {
      const { target, state, reason } = waiting;
      this.#missing.set(String(target), String(reason));
      io.event("waiting", { pid, source, target, state, reason });
      io.world.log.write("info", `waiting for ${String(target)}: ${String(reason)}`);
    } else if (isFields(failed)) {
      const target = String(failed["target"]);
      const reason = typeof failed["message"] === "string" ? `: ${failed["message"]}` : "";
      const message = `${target} is given up by its sync${reason}`;
      this.#failures.push({ code: "FLUSH_BROKEN", message });
      io.event("failed", { pid, source, ...failed });
    }
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}
