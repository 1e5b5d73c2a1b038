/**
 * A process of the simulated world: what it is given (files, clock, entropy, log) goes through
 * here, so that it can be killed at any call, others can act between two of its calls, and all
 * that it does is in the trace. What is dead does nothing any more: its code may run on for a
 * while, but its calls fail and change nothing, its clock stands still, and nobody hears it.
 */
import { createHash } from "node:crypto";
import { Errno, type Files, type World } from "../../src/world/index.ts";
import type { Chance, Trace } from "./chance.ts";
import type { SimClock } from "./sim-clock.ts";
import type { SimDisk } from "./sim-disk.ts";
import { SimProcess } from "./sim-files.ts";
import type { SimFilesOptions } from "./sim-table.ts";

export interface RunningOptions {
  readonly name: string;
  readonly disk: SimDisk;
  readonly clock: SimClock;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly scratch: NonNullable<SimFilesOptions["scratch"]>;
  /** Others act now; a negative errno is injected. */
  readonly between: (call: keyof Files) => number | undefined;
  readonly onLog: (level: string, message: string, detail: string) => void;
  readonly onKill: () => void;
}

export class Running {
  readonly world: World;
  readonly files: Files;
  isAlive = true;
  /** Calls until it is killed; never when undefined. */
  callsToLive: number | undefined;
  callCount = 0;
  readonly #process: SimProcess;
  readonly #options: RunningOptions;

  constructor(options: RunningOptions) {
    this.#options = options;
    const { disk, clock, scratch, chance } = options;
    this.#process = new SimProcess({
      disk,
      scratch,
      nowUs: () => clock.nowUs,
      before: (call) => this.#before(call),
      after: (call, args, result) => this.#after(call, args, result),
    });
    this.files = this.#process.files;
    this.world = {
      clock: clock.view(() => this.isAlive),
      entropy: { bytes: (count) => chance.bytes(count) },
      hashes: {
        sha256(...parts) {
          const hash = createHash("sha256");
          for (const part of parts) hash.update(part);
          return hash.digest();
        },
      },
      log: {
        write: (level, message, fields) => {
          if (this.isAlive) options.onLog(level, message, describeFields(fields));
        },
      },
    };
  }

  /** Without a word to anybody; the kernel closes what it had open. */
  kill(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.#process.kill();
    this.#options.trace.say(`${this.#options.name} is killed`);
    this.#options.onKill();
  }

  get openCount(): number {
    return this.#process.openCount;
  }

  #before(call: keyof Files): number | undefined {
    if (!this.isAlive) return -Errno.EIO;
    this.callCount++;
    this.#options.disk.beginCall();
    const { clock, chance, between } = this.#options;
    clock.spend(chance.between(1, 4));
    if (this.callsToLive !== undefined && this.callsToLive-- <= 0) {
      this.kill();
      return -Errno.EIO;
    }
    const injected = between(call);
    // What happened between may have been its end.
    return this.isAlive ? injected : -Errno.EIO;
  }

  #after(call: keyof Files, args: readonly unknown[], result: number): void {
    const { trace, name } = this.#options;
    if (!this.isAlive) return;
    if (trace.listen !== undefined) {
      const told = args.map((arg) => describeArg(arg)).join(" ");
      trace.listen(`${name} ${call} ${told} = ${result}`);
    }
    trace.number(call.length * 256 + call.charCodeAt(1));
    for (const arg of args) if (typeof arg === "number") trace.number(arg);
    trace.number(result);
  }
}

function describeArg(arg: unknown): string {
  if (typeof arg === "number") return `${arg}`;
  if (!(arg instanceof Uint8Array)) return "-";
  const text = Buffer.from(arg.subarray(0, 40)).toString("latin1");
  return arg.length <= 40 ? JSON.stringify(text) : `[${arg.length}]`;
}

function describeFields(fields: Readonly<Record<string, unknown>> | undefined): string {
  return Object.entries(fields ?? {})
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}
