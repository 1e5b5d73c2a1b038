/**
 * The records that one native drain writes: 10 doubles and a name padded to 8 bytes.
 * The same numbers stand in native/addon/capture_names.h and native/bpf/capture.h.
 */

export const RecordSlot = {
  kind: 0,
  ino: 1,
  gen: 2,
  /** Byte position; for a name the child's inode. */
  position: 3,
  /** Bytes; for a name the child's generation. */
  length: 4,
  timeUs: 5,
  flags: 6,
  processId: 7,
  directoryFd: 8,
  nameBytes: 9,
} as const;
export const recordSlots = 10;

export const RecordKind = {
  write: 1,
  truncate: 2,
  unknown: 3,
  store: 4,
  mapped: 5,
  attr: 6,
  path: 7,
  rescan: 8,
  name: 16,
  attributes: 17,
  closed: 18,
  overflow: 19,
  lost: 20,
  modified: 21,
} as const;

export const RecordFlag = { sharedPosition: 1, mapped: 2, alias: 4, append: 8 } as const;

export const CaptureMode = { bpf: 1, names: 2, modify: 4, follow: 8 } as const;
