/** Who we are and what we speak, for hello and welcome; and what a bye from the peer means. */
import { errorTable, type ErrorCode, SyncError } from "../base/index.ts";
import { type Bye, protocolVersion } from "../wire/index.ts";

export const programVersion = "0.1.0";
/** Features of this version; both sides use what both have. */
export const features: readonly string[] = [];

export function checkProtocol(theirs: number): void {
  if (theirs === protocolVersion) return;
  throw new SyncError(
    "PEER_VERSION",
    `the peer speaks protocol ${theirs}, this program ${protocolVersion}`,
  );
}

/** The peer's reason as an error of ours; an unknown code is a plain refusal. */
export function byeError(bye: Bye): SyncError {
  const known = Object.hasOwn(errorTable, bye.code);
  return new SyncError(known ? (bye.code as ErrorCode) : "PEER_REFUSED", `peer: ${bye.message}`);
}

export function asSyncError(error: unknown): SyncError {
  if (error instanceof SyncError) return error;
  throw error;
}
