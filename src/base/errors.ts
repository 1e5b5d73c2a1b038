/**
 * The error taxonomy: every failure that a caller can react to has a code here and a row in
 * ERRORS.md (tools/tidy.ts compares the two in both directions).
 *
 * A broken invariant is not in this list: it is a bug, raised by assert() and never caught.
 * A failure on one path is data (`Problem` in src/model), not an error.
 * Source: FoundationDB's rule, "a separate error should be defined if and only if there is a
 * sensible situation in which code could catch and react specifically to that error".
 */

/** How a caller reacts: retry with backoff, fall back, close the connection, wait for a person, or
 * stop. */
export type ErrorKind = "retry" | "uncertain" | "degrade" | "reject" | "halt" | "fatal";

/** Process exit codes, the contract of the command line (ERRORS.md lists them for users). */
export const ExitCode = {
  done: 0,
  differences: 1,
  usage: 2,
  cannotStart: 3,
  peer: 4,
  halted: 5,
  internal: 70,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Every code with its kind, the exit code when it ends the program, and what the user can do. */
export const errorTable = {
  ROOT_MISSING: { kind: "fatal", exit: 3, advice: "create the folder or correct the path" },
  ROOT_REPLACED: {
    kind: "halt",
    exit: 5,
    advice: "look what became of it; when the folder is right, run `lockstep resume`",
  },
  ROOT_EMPTIED: {
    kind: "halt",
    exit: 5,
    advice: "look at the source; to delete it all on the target too, run `lockstep resume`",
  },
  TOO_MANY_DELETES: {
    kind: "halt",
    exit: 5,
    advice: "look at the source; to delete as much on the target, run `lockstep resume`",
  },
  ROOT_NOT_DIRECTORY: { kind: "fatal", exit: 3, advice: "name a folder, not a file" },
  ROOT_UNREADABLE: { kind: "fatal", exit: 3, advice: "run as a user who may read it, or as root" },
  ROOT_UNWRITABLE: { kind: "fatal", exit: 3, advice: "run as a user who may write it, or as root" },
  ROOTS_OVERLAP: {
    kind: "fatal",
    exit: 3,
    advice: "choose folders that do not contain each other",
  },
  BACKEND_UNAVAILABLE: {
    kind: "degrade",
    exit: 3,
    advice: "run `lockstep doctor`; use --backend auto to fall back",
  },
  NATIVE_MISSING: { kind: "fatal", exit: 3, advice: "run `npm run build:native`" },
  STATE_UNUSABLE: { kind: "fatal", exit: 3, advice: "make the state directory writable" },
  KEY_UNUSABLE: {
    kind: "fatal",
    exit: 3,
    advice: "give the key file mode 0600 and your ownership",
  },
  RULES_UNUSABLE: { kind: "fatal", exit: 3, advice: "make the file readable and correct the line" },
  USAGE: { kind: "fatal", exit: 2, advice: "see `lockstep help`" },
  PEER_UNREACHABLE: { kind: "retry", exit: 4, advice: "check address, port and firewall" },
  PEER_UNTRUSTED: { kind: "reject", exit: 4, advice: "pair the devices with `lockstep pair`" },
  PEER_REFUSED: { kind: "reject", exit: 4, advice: "ask the other side for a grant on the share" },
  PEER_MALFORMED: { kind: "reject", exit: 4, advice: "use matching versions on both sides" },
  PEER_VERSION: { kind: "reject", exit: 4, advice: "use matching versions on both sides" },
  LINK_LOST: { kind: "retry", exit: 4, advice: "the link is retried by itself" },
  PAIRING_FAILED: { kind: "reject", exit: 4, advice: "start `lockstep pair` anew on both sides" },
  SESSION_FAILED: { kind: "retry", exit: 70, advice: "report this with the log of both sides" },
  TARGET_BUSY: {
    kind: "retry",
    exit: 4,
    advice: "it is tried again for a while; end the other sync into this target",
  },
  TARGET_FULL: {
    kind: "halt",
    exit: 5,
    advice: "free space on the target; it goes on by itself, or at once by `lockstep resume`",
  },
  TARGET_LOW: {
    kind: "halt",
    exit: 5,
    advice: "free space on the target; it goes on by itself, or at once by `lockstep resume`",
  },
  MOUNT_GONE: {
    kind: "halt",
    exit: 5,
    advice: "mount it again; or run `lockstep resume` to have the target lose it, too",
  },
  TARGET_MOUNT: {
    kind: "fatal",
    exit: 3,
    advice: "unmount what is mounted below the target, or give the source's entry another name",
  },
  JOURNAL_FAILED: {
    kind: "retry",
    exit: 3,
    advice: "look at the disk of the target's state directory; it is tried again by itself",
  },
  TARGET_PROMOTED: {
    kind: "halt",
    exit: 5,
    advice: "to mirror into it again, run `lockstep promote --undo TARGET` where it is",
  },
  TARGET_INCOMPLETE: {
    kind: "fatal",
    exit: 1,
    advice: "let a source make it equal first, or take it as it is with --force",
  },
  TARGET_UNSUPPORTED: { kind: "fatal", exit: 3, advice: "choose a target on a Linux filesystem" },
  TARGET_DIVERGED: { kind: "retry", exit: 1, advice: "the target is reconciled by itself" },
  BACKUP_UNUSABLE: {
    kind: "fatal",
    exit: 3,
    advice: "name a folder outside of source and target, on the target's filesystem",
  },
  BACKUP_FAILED: {
    kind: "halt",
    exit: 5,
    advice: "mend the target's backup folder, then run `lockstep resume`; nothing was lost",
  },
  NOTHING_HALTED: { kind: "fatal", exit: 1, advice: "see `lockstep status`" },
  RESUME_REFUSED: { kind: "fatal", exit: 5, advice: "mend that first, then resume again" },
  NO_SYNC: { kind: "fatal", exit: 3, advice: "start it; `lockstep status` shows what runs" },
  FLUSH_EXPIRED: {
    kind: "fatal",
    exit: 1,
    advice: "see `lockstep status`; mend what is told there, or wait longer",
  },
  FLUSH_BROKEN: { kind: "fatal", exit: 4, advice: "look why it ended; flush again when it runs" },
  NO_TARGET: {
    kind: "fatal",
    exit: 3,
    advice: "`lockstep status` shows the targets of this device",
  },
  SNAPSHOT_EXISTS: { kind: "fatal", exit: 1, advice: "choose another name, or --remove that one" },
  SNAPSHOT_MISSING: { kind: "fatal", exit: 1, advice: "see `lockstep snapshot --list`" },
  SNAPSHOT_PLACE: {
    kind: "fatal",
    exit: 3,
    advice: "name a folder of this user with --to, apart from what is mirrored",
  },
  SNAPSHOT_FAILED: { kind: "fatal", exit: 1, advice: "mend that and try again; nothing is left" },
  CHANNEL_CLOSED: { kind: "uncertain", exit: 70, advice: "report this with the log" },
} as const satisfies Record<string, { kind: ErrorKind; exit: ExitCode; advice: string }>;

export type ErrorCode = keyof typeof errorTable;

/** Whether what another program has said is a code of this one. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(errorTable, code);
}

/** An expected failure that some caller reacts to. The message names path and errno, no secrets. */
export class SyncError extends Error {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "SyncError";
    this.code = code;
    this.kind = errorTable[code].kind;
  }

  get exitCode(): ExitCode {
    return errorTable[this.code].exit;
  }

  get advice(): string {
    return errorTable[this.code].advice;
  }
}
