/**
 * The layout of what read(2) on an inotify descriptor returns, and a parser of it.
 *
 * In: bytes of whole records, header then name: i32 watch, u32 mask, u32 cookie, u32 name bytes,
 * the name padded with NUL. Out: one call a record. The kernel's bytes are whole and sane; a parser
 * that trusted them would still be one flipped bit from reading beyond its buffer, so lengths are
 * checked, and what cannot be parsed is told to the caller, never skipped silently.
 * Source: man 7 inotify, "Reading events from an inotify file descriptor".
 */

/** Event and option bits of a mask. */
export const InotifyMask = {
  modify: 0x2,
  attrib: 0x4,
  closeWrite: 0x8,
  movedFrom: 0x40,
  movedTo: 0x80,
  create: 0x100,
  delete: 0x200,
  deleteSelf: 0x400,
  moveSelf: 0x800,
  unmount: 0x2000,
  queueOverflow: 0x4000,
  ignored: 0x8000,
  onlyDirectory: 0x1000000,
} as const;

/** Bytes of a record before its name. */
export const recordHeaderBytes = 16;

/** `name` is a copy without padding, the receiver's to keep; empty for the watched node itself. */
export type InotifyVisitor = (watch: number, mask: number, name: Uint8Array) => void;

const noName = new Uint8Array(0);

/**
 * Calls `visit` for each record in `bytes[0, end)`.
 * Out: the bytes parsed; less than `end` when the rest is no whole record.
 * Errors: none, whatever the bytes are. Cost: O(end), allocates the names.
 */
export function parseInotifyRecords(bytes: Uint8Array, end: number, visit: InotifyVisitor): number {
  const limit = Math.min(end, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  while (limit - at >= recordHeaderBytes) {
    const nameBytes = view.getUint32(at + 12, true);
    const nameStart = at + recordHeaderBytes;
    if (nameBytes > limit - nameStart) return at;
    visit(
      view.getInt32(at, true),
      view.getUint32(at + 4, true),
      nameBytes === 0 ? noName : nameOf(bytes.subarray(nameStart, nameStart + nameBytes)),
    );
    at = nameStart + nameBytes;
  }
  return at;
}

function nameOf(padded: Uint8Array): Uint8Array {
  const nul = padded.indexOf(0);
  // A Buffer's slice would share its bytes.
  return new Uint8Array(padded.subarray(0, nul < 0 ? padded.length : nul));
}
