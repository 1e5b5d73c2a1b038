/** The real world: Node's clocks, strong randomness, structured lines on standard error. */
import { createHash, randomBytes } from "node:crypto";
import type { NetworkWorld } from "../network.ts";
import type { Clock, Entropy, Hashes, Log, LogLevel, Timer } from "../ports.ts";
import { native } from "./native.ts";

/** CLOCK_MONOTONIC, as the kernel stamps its events; performance.now() is much cheaper to ask. */
const measureOriginUs = (): number =>
  Number(process.hrtime.bigint()) / 1000 - performance.now() * 1000;
/** The largest of some: what passes between the two questions, at first much, makes it smaller. */
const originUs = Math.max(measureOriginUs(), measureOriginUs(), measureOriginUs());

const clock: Clock = {
  monotonicUs: () => originUs + performance.now() * 1000,
  wallMs: () => Date.now(),
  after(delayMs: number, fire: () => void): Timer {
    const timeout = setTimeout(fire, delayMs);
    timeout.unref();
    return { cancel: () => clearTimeout(timeout) };
  },
  defer(fire: () => void): void {
    setImmediate(fire);
  },
};

const entropy: Entropy = { bytes: (count) => randomBytes(count) };

const hashes: Hashes = {
  sha256(...parts) {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    return hash.digest();
  },
};

const levels: readonly LogLevel[] = ["error", "warn", "info", "debug"];

/** Writes lines up to `least` to standard error: `level message key=value …`. */
export function stderrLog(least: LogLevel): Log {
  const limit = levels.indexOf(least);
  return {
    write(level, message, fields) {
      if (levels.indexOf(level) > limit) return;
      const detail = Object.entries(fields ?? {})
        .map(
          ([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
        )
        .join("");
      process.stderr.write(
        `lockstep: ${level === "info" ? "" : `${level}: `}${message}${detail}\n`,
      );
    },
  };
}

/** The network's part throws NATIVE_MISSING when it is first asked for without the addon. */
export function nodeWorld(log: Log): NetworkWorld {
  return {
    clock,
    entropy,
    hashes,
    log,
    get network() {
      return native();
    },
  };
}
