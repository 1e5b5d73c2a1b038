/**
 * Makes the extended attributes of one node equal to a serialised list (Files.getAttributes' form:
 * sorted, u16 name bytes, name, u32 value bytes, value). What is missing is set, what is too much
 * is removed. POSIX ACLs and file capabilities are extended attributes and come along.
 */
import { SyncError } from "../base/index.ts";
import type { Tree } from "../tree/index.ts";
import type { Files } from "../world/index.ts";
import { attributesBytesMax } from "../wire/index.ts";

type Refused = (operation: string, result: number) => void;

const scratch: Uint8Array = new Uint8Array(attributesBytesMax);

export function applyAttributes(
  files: Files,
  dirFd: number,
  name: Uint8Array,
  wanted: Uint8Array,
  refused: Refused,
): void {
  const bytes = files.getAttributes(dirFd, name, scratch);
  const present = parseAttributes(scratch.subarray(0, Math.max(bytes, 0)));
  const target = parseAttributes(wanted);
  for (const [key, { attribute }] of present) {
    if (target.has(key)) continue;
    refused("removexattr", files.removeAttribute(dirFd, name, attribute));
  }
  for (const [key, { attribute, value }] of target) {
    const old = present.get(key);
    if (old !== undefined && Buffer.compare(old.value, value) === 0) continue;
    refused("setxattr", files.setAttribute(dirFd, name, attribute, value));
  }
}

const accessAclName = Buffer.from("system.posix_acl_access");
const defaultAclName = Buffer.from("system.posix_acl_default");

/** Whether what is made in this directory inherits ACLs (man 5 acl). Mostly no node has any. */
export function passesAclsOn(tree: Tree, directory: number): boolean {
  if (tree.attributes.size === 0) return false;
  const attributes = tree.attributes.get(directory);
  return attributes !== undefined && Buffer.from(attributes).includes(defaultAclName);
}

/**
 * Takes the ACLs away that something new has inherited: it has those that the source tells, and no
 * other. Its mode is told after this. A symbolic link has none and refuses; so may the filesystem.
 */
export function dropInheritedAcls(
  files: Files,
  dirFd: number,
  name: Uint8Array,
  isDirectory: boolean,
): void {
  files.removeAttribute(dirFd, name, accessAclName);
  if (isDirectory) files.removeAttribute(dirFd, name, defaultAclName);
}

interface Attribute {
  attribute: Uint8Array;
  value: Uint8Array;
}

/** By name as latin-1 text. Throws PEER_MALFORMED on a list that does not have its form. */
export function parseAttributes(bytes: Uint8Array): Map<string, Attribute> {
  const list = new Map<string, Attribute>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length;) {
    if (at + 2 > bytes.length) malformed();
    const nameEnd = at + 2 + view.getUint16(at, true);
    if (nameEnd + 4 > bytes.length || nameEnd === at + 2) malformed();
    const valueEnd = nameEnd + 4 + view.getUint32(nameEnd, true);
    if (valueEnd > bytes.length) malformed();
    const attribute = bytes.subarray(at + 2, nameEnd);
    if (attribute.includes(0)) malformed();
    const key = Buffer.from(attribute).toString("latin1");
    list.set(key, { attribute, value: bytes.subarray(nameEnd + 4, valueEnd) });
    at = valueEnd;
  }
  return list;
}

function malformed(): never {
  throw new SyncError("PEER_MALFORMED", "a list of attributes does not have its form");
}
