/**
 * The express lane of the addon (native/addon/express.c): a small write to a file that was
 * written lately passes an end of a link before JavaScript is called, which says beforehand what it
 * expects and does the same work afterwards. Both share the slots, and the bytes that passed.
 */

/** Places in the shared doubles; the same in native/addon/express.c. */
export const ExpressSlot = {
  /** 1: go ahead. The addon takes it back with whatever it does. */
  armed: 0,
  /** Of the connection: as `tlsWrite`, or `tlsRead`. */
  result: 1,
  /** Source: of the write that the kernel told of. */
  position: 2,
  length: 3,
  /** Files that are expected to be written, from `files` on, of `expressFileSlots` each. */
  fileCount: 4,
  /** Which of them it was. */
  chosen: 5,
  /** Target. 1: what was read is one epoch, and its content has been written. */
  written: 6,
  /** Source: bytes of a write that is sent this way. */
  lengthMax: 7,
  /** Source: the number of the epoch that it becomes. */
  epoch: 8,
  /** Source: when the write happened, monotonic. */
  timeUs: 9,
  /** Source: wall clock of the cut. */
  wallMs: 10,
  /** Source: bytes of the frames. */
  frameBytes: 11,
  /** Source: before the content is read. For tests, in which much is to happen meanwhile. */
  pauseUs: 12,
  /** Source: the stat record that was read just before the content, of `statSlots`. */
  stat: 16,
  /** Target: the journal, -1 for none; where its next record goes, and up to where; its names. */
  journalFd: 16,
  journalAt: 17,
  journalEnd: 18,
  journalGeneration: 19,
  journalNumber: 20,
  files: 32,
} as const;

/** Of one file. The target has no use for more than the first two. */
export const ExpressFile = {
  /** Open for reading at the source, for writing at the target. */
  fd: 0,
  node: 1,
  /** As records of the capture tell it. */
  ino: 2,
  gen: 3,
  /** Of its stat record, which must be the same. */
  mode: 4,
  /** 1: TIMES carries the time of the last change. */
  hasOrigin: 5,
} as const;

export const expressFileSlots = 8;
export const expressFileCountMax = 4;
export const expressSlots: number = ExpressSlot.files + expressFileCountMax * expressFileSlots;
/** Where the content is in the bytes that the source sends. */
export const expressContentAt = 17;
/** Bytes of the frames without content, at most. */
export const expressFixedBytes = 128;

export interface ExpressPort {
  /**
   * The source's end, on the poll of its capture; without a capture the target's, on that of its
   * connection. Before one of the three is closed the lane must be.
   */
  expressOpen(
    poll: unknown,
    capture: unknown,
    tls: unknown,
    slots: Float64Array,
    bytes: Uint8Array,
  ): unknown;
  /** At the target: what is mapped (`Files.mapFile`) of the journal that the slots name. */
  expressJournal(handle: unknown, map: unknown): void;
  /** Idempotent. */
  expressClose(handle: unknown): void;
}
