/**
 * What a comparison of two trees can find, and how a finding is printed.
 *
 * In: findings of the walk. Out: `Difference` values and one line of text for each.
 * Invariant: printed text holds no control character and no invalid UTF-8, whatever bytes a file
 * name has, so a name cannot forge a line or drive a terminal; distinct names print differently.
 */

/** Every kind of finding. The first eleven and `holes` are differences for certain. */
export const DifferenceKind = {
  /** In the source only. A missing directory is one difference, not one for each entry below. */
  missing: "missing",
  /** In the target only. */
  extra: "extra",
  /** A file on one side, a directory (or link, device, …) on the other. */
  kind: "kind",
  size: "size",
  content: "content",
  mode: "mode",
  /** Owning user or group. */
  owner: "owner",
  /** Modification time, to the nanosecond, of directories and links too. */
  mtime: "mtime",
  /** Extended attributes; access control lists and file capabilities are among them. */
  attributes: "attributes",
  /** Where a symbolic link points. */
  symlink: "symlink",
  /** Device number of a block or character device. */
  device: "device",
  /** Names that share an inode on one side and do not on the other. */
  hardLink: "hardLink",
  /** Sparse in the source, allocated in the target (rule and tolerance: holes.ts). */
  holes: "holes",
  /** Changed each time it was compared, so nothing can be said. Not a difference. */
  changing: "changing",
  /** Could not be read on one side, so nothing can be said. Not a difference. */
  unreadable: "unreadable",
} as const;
export type DifferenceKind = (typeof DifferenceKind)[keyof typeof DifferenceKind];

export const differenceKinds: readonly DifferenceKind[] = Object.values(DifferenceKind);

export interface Difference {
  readonly kind: DifferenceKind;
  /** Path below the roots, as bytes, without a leading slash; `.` for the roots themselves. */
  readonly path: Uint8Array;
  /** Both values, for a person; may be empty. Printable as it is. */
  readonly detail: string;
}

/** One line without its end: kind, escaped path, detail. */
export function formatDifference(difference: Difference): string {
  const { kind, path, detail } = difference;
  const head = `${kind} ${escapeBytes(path)}`;
  return detail === "" ? head : `${head}: ${detail}`;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/u;

/** Printable text for any bytes: valid UTF-8 stays, all else becomes `\xHH`, `\` becomes `\\`. */
export function escapeBytes(bytes: Uint8Array): string {
  const parts: string[] = [];
  let at = 0;
  while (at < bytes.length) {
    const first = bytes[at] ?? 0;
    const length = sequenceBytes(first);
    const text = first === 0x5c ? "\\\\" : printable(bytes.subarray(at, at + length));
    parts.push(text ?? `\\x${first.toString(16).padStart(2, "0")}`);
    at += text === undefined ? 1 : length;
  }
  return parts.join("");
}

/** Length of a UTF-8 sequence by its first byte; 1 where none can start (RFC 3629, section 4). */
function sequenceBytes(first: number): number {
  if (first >= 0xf0) return 4;
  if (first >= 0xe0) return 3;
  return first >= 0xc2 ? 2 : 1;
}

function printable(sequence: Uint8Array): string | undefined {
  try {
    const text = decoder.decode(sequence);
    // A sequence of four bytes that holds several characters was not one sequence.
    return [...text].length === 1 && !unprintable.test(text) ? text : undefined;
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
