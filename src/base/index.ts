export { assert, AssertionError, unreachable } from "./assert.ts";
export { errorTable, isErrorCode, ExitCode, SyncError } from "./errors.ts";
export type { ErrorCode, ErrorKind } from "./errors.ts";
