/**
 * What the program says and how it ends when a command throws: an expected failure has its code,
 * message and advice; anything else is a bug of ours, with its stack and the request to report it.
 */
import { ExitCode, SyncError } from "../base/index.ts";

export interface Failure {
  readonly exit: ExitCode;
  /** `INTERNAL` for a bug. */
  readonly code: string;
  readonly message: string;
  /** For people, on standard error. */
  readonly lines: readonly string[];
}

export function failureOf(error: unknown): Failure {
  if (error instanceof SyncError) {
    const { exitCode: exit, code, message, advice } = error;
    return { exit, code, message, lines: [`lockstep: ${code}: ${message}`, `  ${advice}`] };
  }
  const message = error instanceof Error ? error.message : String(error);
  const stack = error instanceof Error ? (error.stack ?? message) : message;
  const lines = [
    `lockstep: INTERNAL: ${message}`,
    stack,
    "  this is a bug in Lockstep: please report it with these lines and the log",
  ];
  return { exit: ExitCode.internal, code: "INTERNAL", message, lines };
}
