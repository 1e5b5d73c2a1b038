/**
 * Compares what can be compared without opening a file: the stat records of two entries, their
 * extended attributes and the targets of symbolic links.
 *
 * In: stat records (world/files.ts, `Stat`), and directory descriptor and name for what is not in
 * them. Out: findings, appended to a list.
 * A directory's size and link count are the filesystem's business and not compared; a symbolic
 * link has no mode of its own.
 */
import { assert } from "../base/index.ts";
import { Errno, errnoName, Mode, Stat } from "../world/index.ts";
import type { Files } from "../world/index.ts";
import { DifferenceKind, escapeBytes } from "./difference.ts";
import type { Side } from "./directory-stack.ts";

export interface Finding {
  readonly kind: DifferenceKind;
  readonly detail: string;
}

/** One entry on one side: where to look, and what was seen there. */
export interface Look {
  readonly directory: number;
  readonly stat: Float64Array;
}

const attributesBytesMin = 64 * 1024;
/** All attributes of one entry. Linux allows 64 KiB for a value; ext4 far less for all. */
const attributesBytesMax = 16 * 1024 * 1024;
const linkBytesMax = 4096;
/** Attributes named in one finding. */
const attributesShownMax = 16;

const kindNames: ReadonlyMap<number, string> = new Map([
  [Mode.directory, "directory"],
  [Mode.regular, "file"],
  [Mode.symlink, "symbolic link"],
  [Mode.socket, "socket"],
  [Mode.fifo, "pipe"],
  [Mode.blockDevice, "block device"],
  [Mode.characterDevice, "character device"],
]);

export function typeOf(stat: Float64Array): number {
  return (stat[Stat.mode] ?? 0) & Mode.typeMask;
}

export function kindName(stat: Float64Array): string {
  return kindNames.get(typeOf(stat)) ?? "unknown kind";
}

/** Compares the stat records of two entries of the same kind. */
export function compareStats(source: Float64Array, target: Float64Array, out: Finding[]): void {
  const type = typeOf(source);
  const s = (slot: number): number => source[slot] ?? 0;
  const t = (slot: number): number => target[slot] ?? 0;
  const found = (kind: DifferenceKind, left: string, right: string): void => {
    out.push({ kind, detail: `source ${left}, target ${right}` });
  };
  if (type === Mode.regular && s(Stat.size) !== t(Stat.size)) {
    found(DifferenceKind.size, `${s(Stat.size)} bytes`, `${t(Stat.size)} bytes`);
  }
  const [sourceMode, targetMode] = [modeText(source), modeText(target)];
  if (type !== Mode.symlink && sourceMode !== targetMode) {
    found(DifferenceKind.mode, sourceMode, targetMode);
  }
  if (s(Stat.uid) !== t(Stat.uid) || s(Stat.gid) !== t(Stat.gid)) {
    const [left, right] = [source, target].map((x) => `${x[Stat.uid] ?? 0}:${x[Stat.gid] ?? 0}`);
    found(DifferenceKind.owner, left ?? "", right ?? "");
  }
  if (s(Stat.mtimeSec) !== t(Stat.mtimeSec) || s(Stat.mtimeNsec) !== t(Stat.mtimeNsec)) {
    found(DifferenceKind.mtime, timeText(source), timeText(target));
  }
  const isDevice = type === Mode.blockDevice || type === Mode.characterDevice;
  if (isDevice && s(Stat.rdev) !== t(Stat.rdev)) {
    found(DifferenceKind.device, deviceText(s(Stat.rdev)), deviceText(t(Stat.rdev)));
  }
}

function modeText(stat: Float64Array): string {
  return ((stat[Stat.mode] ?? 0) & Mode.permissionMask).toString(8).padStart(4, "0");
}

function timeText(stat: Float64Array): string {
  return `${stat[Stat.mtimeSec] ?? 0}.${String(stat[Stat.mtimeNsec] ?? 0).padStart(9, "0")}`;
}

/** The addon folds a device number as major << 20 | minor. */
function deviceText(rdev: number): string {
  return `${Math.floor(rdev / 2 ** 20)}:${rdev % 2 ** 20}`;
}

/** Compares what needs further system calls, with buffers that are kept. Not for two at once. */
export class MetadataComparer {
  readonly #files: Files;
  readonly #sourceLink: Buffer = Buffer.alloc(linkBytesMax);
  readonly #targetLink: Buffer = Buffer.alloc(linkBytesMax);
  #sourceAttributes: Buffer = Buffer.alloc(attributesBytesMin);
  #targetAttributes: Buffer = Buffer.alloc(attributesBytesMin);

  constructor(files: Files) {
    this.#files = files;
  }

  /** True when an entry vanished meanwhile. */
  compareLinks(source: Look, target: Look, name: Uint8Array, out: Finding[]): boolean {
    const left = this.#files.readlink(source.directory, name, this.#sourceLink);
    const right = this.#files.readlink(target.directory, name, this.#targetLink);
    return judgeLinks(
      left < 0 ? left : this.#sourceLink.subarray(0, left),
      right < 0 ? right : this.#targetLink.subarray(0, right),
      out,
    );
  }

  /** True when an entry vanished meanwhile. */
  compareAttributes(source: Look, target: Look, name: Uint8Array, out: Finding[]): boolean {
    const none = (look: Look): boolean => look.stat[Stat.attributeBytes] === 0;
    if (none(source) && none(target)) return false;
    const left = this.#readAttributes("source", source.directory, name);
    const right = this.#readAttributes("target", target.directory, name);
    return judgeAttributes(
      left < 0 ? left : this.#sourceAttributes.subarray(0, left),
      right < 0 ? right : this.#targetAttributes.subarray(0, right),
      out,
    );
  }

  /** A view, until the next read: the target of a link, or a negative errno. */
  readLink(directory: number, name: Uint8Array): Uint8Array | number {
    const count = this.#files.readlink(directory, name, this.#sourceLink);
    return count < 0 ? count : this.#sourceLink.subarray(0, count);
  }

  /** A view, until the next read: the list of attributes, or a negative errno. */
  readAttributes(directory: number, name: Uint8Array): Uint8Array | number {
    const count = this.#readAttributes("source", directory, name);
    return count < 0 ? count : this.#sourceAttributes.subarray(0, count);
  }

  #readAttributes(side: Side, directory: number, name: Uint8Array): number {
    for (let bytes = attributesBytesMin; ; bytes *= 4) {
      const present = side === "source" ? this.#sourceAttributes : this.#targetAttributes;
      const buffer = present.length >= bytes ? present : Buffer.alloc(bytes);
      if (side === "source") this.#sourceAttributes = buffer;
      else this.#targetAttributes = buffer;
      const result = this.#files.getAttributes(directory, name, buffer);
      if (result !== -Errno.ERANGE || bytes >= attributesBytesMax) return result;
    }
  }
}

export function isGone(result: number): boolean {
  return result === -Errno.ENOENT;
}

type BytesRead = Uint8Array | number;

/** Of two targets of links, or the errnos of reading them. True when an entry vanished. */
export function judgeLinks(source: BytesRead, target: BytesRead, out: Finding[]): boolean {
  // EINVAL: something else has taken the name of the link.
  if (hasVanished(source) || hasVanished(target)) return true;
  if (source === -Errno.EINVAL || target === -Errno.EINVAL) return true;
  const isSourceRead = isRead("source", source, "link", out);
  if (!isRead("target", target, "link", out) || !isSourceRead) return false;
  if (!isEqual(source, target)) {
    const detail = `source -> ${escapeBytes(source)}, target -> ${escapeBytes(target)}`;
    out.push({ kind: DifferenceKind.symlink, detail });
  }
  return false;
}

/** Of two lists of attributes, or the errnos of reading them. True when an entry vanished. */
export function judgeAttributes(source: BytesRead, target: BytesRead, out: Finding[]): boolean {
  if (hasVanished(source) || hasVanished(target)) return true;
  const isSourceRead = isRead("source", source, "attributes", out);
  if (!isRead("target", target, "attributes", out) || !isSourceRead) return false;
  if (isEqual(source, target)) return false;
  const detail = attributesDetail(parseAttributes(source), parseAttributes(target));
  out.push({ kind: DifferenceKind.attributes, detail });
  return false;
}

function hasVanished(read: BytesRead): boolean {
  return typeof read === "number" && isGone(read);
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

function isRead(side: Side, read: BytesRead, what: string, out: Finding[]): read is Uint8Array {
  if (typeof read !== "number") return true;
  const detail = `${side} ${what}: ${errnoName(read)}`;
  out.push({ kind: DifferenceKind.unreadable, detail });
  return false;
}

/** Name (Latin-1) to value. Layout: world/files.ts, `Files.getAttributes`. */
export function parseAttributes(list: Uint8Array): Map<string, Buffer> {
  const bytes = Buffer.from(list.buffer, list.byteOffset, list.length);
  const attributes = new Map<string, Buffer>();
  let at = 0;
  while (at < bytes.length) {
    const nameEnd = at + 2 + bytes.readUInt16LE(at);
    const valueEnd = nameEnd + 4 + bytes.readUInt32LE(nameEnd);
    assert(valueEnd <= bytes.length, "attributes are whole");
    const value = bytes.subarray(nameEnd + 4, valueEnd);
    attributes.set(bytes.toString("latin1", at + 2, nameEnd), value);
    at = valueEnd;
  }
  return attributes;
}

function attributesDetail(source: Map<string, Buffer>, target: Map<string, Buffer>): string {
  const escape = (name: string): string => escapeBytes(Buffer.from(name, "latin1"));
  const parts: string[] = [];
  for (const [name, value] of source) {
    const other = target.get(name);
    if (other === undefined) parts.push(`${escape(name)} is missing`);
    else if (!other.equals(value)) parts.push(`${escape(name)} has another value`);
  }
  for (const name of target.keys()) {
    if (!source.has(name)) parts.push(`${escape(name)} is extra`);
  }
  const more = parts.length - attributesShownMax;
  if (more <= 0) return parts.join(", ");
  return `${parts.slice(0, attributesShownMax).join(", ")} and ${more} more`;
}
