/**
 * Compares what the target says that it has of a node with what the source has: the judgement of
 * the scrub, without its doings. Pure but for the hash.
 *
 * What an unprivileged target cannot set is no difference: owners, set-ID bits, devices, attributes
 * other than a file's owner's. Nor are nanoseconds that the target's filesystem does not keep.
 */
import { Mode, Stat } from "../world/index.ts";
import { comparableAttributes, type Digest, DigestFlag, type Sha256 } from "../wire/index.ts";

export type ScrubKind =
  | "missing"
  | "kind"
  | "names"
  | "link"
  | "device"
  | "mode"
  | "owner"
  | "times"
  | "attributes"
  | "size"
  | "content";

/** What only a comparison of everything can mend. */
export const structuralKinds: ReadonlySet<ScrubKind> = new Set([
  "missing",
  "kind",
  "names",
  "link",
  "device",
]);

const setIdBits = 0o6000;

/** `hash` is that of the source's content, names or link; undefined when it is not compared. */
export interface Own {
  stat: Float64Array;
  attributes: Uint8Array;
  hash: Uint8Array | undefined;
  count: number;
}

export interface Terms {
  privileged: boolean;
  salt: Uint8Array;
  sha256: Sha256;
}

export function differencesOf(own: Own, theirs: Digest, terms: Terms): ScrubKind[] {
  const { stat } = own;
  const kind = stat[Stat.mode]! & Mode.typeMask;
  if (theirs.mode === 0) return ["missing"];
  if ((theirs.mode & Mode.typeMask) !== kind) {
    // Without the right to make devices the target has an empty file in its place.
    return isDevice(kind) && !terms.privileged ? [] : ["kind"];
  }
  const found = metadataDifferences(own, theirs, terms);
  if (isDevice(kind) && theirs.rdev !== stat[Stat.rdev]) found.push("device");
  if (kind === Mode.regular && theirs.size !== stat[Stat.size]) found.push("size");
  const isHashed = own.hash !== undefined && (theirs.flags & DigestFlag.content) !== 0;
  const isEqual =
    !isHashed || (own.count === theirs.count && Buffer.compare(own.hash!, theirs.content) === 0);
  if (!isEqual)
    found.push(kind === Mode.directory ? "names" : kind === Mode.symlink ? "link" : "content");
  return found;
}

function metadataDifferences(own: Own, theirs: Digest, terms: Terms): ScrubKind[] {
  const { stat } = own;
  const found: ScrubKind[] = [];
  const isLink = (stat[Stat.mode]! & Mode.typeMask) === Mode.symlink;
  const modeMask = terms.privileged ? Mode.permissionMask : Mode.permissionMask & ~setIdBits;
  if (!isLink && ((stat[Stat.mode]! ^ theirs.mode) & modeMask) !== 0) found.push("mode");
  const isOwned = theirs.uid === stat[Stat.uid] && theirs.gid === stat[Stat.gid];
  if (terms.privileged && !isOwned) found.push("owner");
  const isTime = theirs.mtimeNsec === stat[Stat.mtimeNsec] || theirs.mtimeNsec === 0;
  if (theirs.mtimeSec !== stat[Stat.mtimeSec] || !isTime) found.push("times");
  if ((theirs.flags & DigestFlag.attributes) !== 0) {
    const list = comparableAttributes(own.attributes, terms.privileged);
    const hash = terms.sha256(terms.salt, list);
    if (Buffer.compare(hash, theirs.attributes) !== 0) found.push("attributes");
  }
  return found;
}

function isDevice(kind: number): boolean {
  return kind === Mode.blockDevice || kind === Mode.characterDevice;
}
