/** Who we are and what we speak, for hello and welcome; and what a bye from the peer means. */
import { isErrorCode, SyncError } from "../base/index.ts";
import type { Log } from "../world/index.ts";
import { type Bye, protocolVersion } from "../wire/index.ts";

export const programVersion = "0.1.0";
/** Features of this version; both sides use what both have. */
export const deltaFeature = "delta";
export const digestsFeature = "digests";
export const keepFeature = "keep";
export const scrubFeature = "scrub";
export const originsFeature = "origins";
export const verifyFeature = "verify";
const features: readonly string[] = [
  deltaFeature,
  digestsFeature,
  keepFeature,
  "halts",
  scrubFeature,
  originsFeature,
  verifyFeature,
];

/** What both sides say of themselves first. `without`: a feature that is not to be had now. */
export function ourSide(without?: string): {
  protocol: number;
  version: string;
  features: string[];
} {
  const own = features.filter((feature) => feature !== without);
  return { protocol: protocolVersion, version: programVersion, features: own };
}

export function checkProtocol(theirs: number): void {
  if (theirs === protocolVersion) return;
  throw new SyncError(
    "PEER_VERSION",
    `the peer speaks protocol ${theirs}, this program ${protocolVersion}`,
  );
}

/** The peer's reason as an error of ours; an unknown code is a plain refusal. */
export function byeError(bye: Bye): SyncError {
  const { code, message } = bye;
  return new SyncError(isErrorCode(code) ? code : "PEER_REFUSED", `peer: ${message}`);
}

/** What a bye means for the session that hears it; nothing when the peer just ends. */
export function closingError(bye: Bye): SyncError | undefined {
  return bye.code === "" ? undefined : byeError(bye);
}

/** What ended a session: an error as it is; a bug with its stack in the log, for both sides. */
export function asFailure(cause: unknown, side: "source" | "target", log: Log): SyncError {
  if (cause instanceof SyncError) return cause;
  const detail = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
  log.write("error", `a bug has ended the session of the ${side}`, { detail });
  const message = cause instanceof Error ? cause.message : String(cause);
  return new SyncError("SESSION_FAILED", `a bug in the ${side}: ${message}`, { cause });
}

export function asSyncError(error: unknown): SyncError {
  if (error instanceof SyncError) return error;
  throw error;
}
