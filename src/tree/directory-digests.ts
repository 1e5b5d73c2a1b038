/**
 * `DirectoryDigests`: one hash for everything below a directory, so that two trees can be compared
 * without telling their entries.
 *
 * The nodes below a directory have consecutive ids, in an order that both sides have in common
 * (see TreeScan): where digests are equal, ids differ by a constant. A directory with the second
 * name of a file, or that could not be read, has no digest, nor have those above it.
 * Pure: the hash comes from outside. Memory: 4 bytes a node and 44 a directory.
 */
import type { Origins } from "./origins.ts";
import type { Tree } from "./tree.ts";

export const directoryDigestBytes = 32;

const typeMask = 0o170000;
const regularType = 0o100000;
const fixedBytes = 48;

export class DirectoryDigests {
  readonly #tree: Tree;
  readonly #sha256: (bytes: Uint8Array) => Uint8Array;
  readonly #origins: Origins | undefined;
  /** By node: where its directory stands in the columns below, 0 for none. */
  #places: Uint32Array = new Uint32Array(1024);
  #first: Uint32Array = new Uint32Array(64);
  #end: Uint32Array = new Uint32Array(64);
  #isOpen: Uint8Array = new Uint8Array(64);
  #digests: Uint8Array = new Uint8Array(64 * directoryDigestBytes);
  #count = 0;
  #scratch: Uint8Array = new Uint8Array(65536);
  #view: DataView = new DataView(this.#scratch.buffer);

  /** `origins`: they are part of what is compared. */
  constructor(tree: Tree, sha256: (bytes: Uint8Array) => Uint8Array, origins?: Origins) {
    this.#tree = tree;
    this.#sha256 = sha256;
    this.#origins = origins;
  }

  /**
   * All below the directory is in the tree, as the ids from `first` to before `end`; directories
   * below it were added before. `isOpen`: it is to have no digest.
   */
  add(directory: number, first: number, end: number, isOpen: boolean): void {
    const place = ++this.#count;
    if (place >= this.#first.length) this.#growPlaces();
    while (directory >= this.#places.length) this.#places = grown(this.#places);
    this.#places[directory] = place;
    this.#first[place] = first;
    this.#end[place] = end;
    const used = isOpen ? -1 : this.#encode(directory);
    this.#isOpen[place] = used < 0 ? 1 : 0;
    if (used < 0) return;
    const digest = this.#sha256(this.#scratch.subarray(0, used));
    this.#digests.set(digest, place * directoryDigestBytes);
  }

  has(directory: number): boolean {
    return directory < this.#places.length && this.#places[directory] !== 0;
  }

  /** The first id below the directory. */
  first(directory: number): number {
    return this.#first[this.#places[directory]!]!;
  }

  /** Nodes below the directory. */
  count(directory: number): number {
    const place = this.#places[directory]!;
    return this.#end[place]! - this.#first[place]!;
  }

  /** A view, empty when the directory has none. */
  digest(directory: number): Uint8Array {
    const place = this.#places[directory]!;
    const from = place * directoryDigestBytes;
    return this.#digests.subarray(
      from,
      this.#isOpen[place] === 1 ? from : from + directoryDigestBytes,
    );
  }

  /** Bytes used of the scratch, or -1 when a directory below has no digest. */
  #encode(directory: number): number {
    const { names, firstChild } = this.#tree;
    let at = 0;
    for (let id = firstChild[directory]!; id !== 0; id = names.nextSibling[id]!) {
      const next = this.#encodeEntry(names.node[id]!, names.bytes(id), at);
      if (next < 0) return -1;
      at = next;
    }
    return at;
  }

  #encodeEntry(node: number, name: Uint8Array, start: number): number {
    const tree = this.#tree;
    const link = tree.symlinkTarget.size > 0 ? tree.symlinkTarget.get(node) : undefined;
    const attributes = tree.attributes.size > 0 ? tree.attributes.get(node) : undefined;
    const variableBytes = name.length + (link?.length ?? 0) + (attributes?.length ?? 0);
    this.#fit(start + fixedBytes + 24 + directoryDigestBytes + variableBytes);
    const view = this.#view;
    const scratch = this.#scratch;
    const mode = tree.mode[node]!;
    view.setUint32(start, name.length | ((link?.length ?? 0) << 8), true);
    view.setUint32(start + 4, attributes?.length ?? 0, true);
    view.setUint32(start + 8, mode, true);
    view.setUint32(start + 12, tree.uid[node]!, true);
    view.setUint32(start + 16, tree.gid[node]!, true);
    view.setUint32(start + 20, tree.mtimeNsec[node]!, true);
    view.setFloat64(start + 24, tree.mtimeSec[node]!, true);
    view.setFloat64(start + 32, tree.rdev[node]!, true);
    // The size of anything else is its filesystem's affair.
    const isFile = (mode & typeMask) === regularType;
    view.setFloat64(start + 40, isFile ? tree.size[node]! : 0, true);
    let at = start + 48;
    if (this.#origins !== undefined) at = this.#encodeOrigin(this.#origins, node, isFile, at);
    scratch.set(name, at);
    at += name.length;
    if (link !== undefined) {
      scratch.set(link, at);
      at += link.length;
    }
    if (attributes !== undefined) {
      scratch.set(attributes, at);
      at += attributes.length;
    }
    if (!tree.isDirectory(node)) return at;
    const digest = this.has(node) ? this.digest(node) : undefined;
    if (digest === undefined || digest.length === 0) return -1;
    scratch.set(digest, at);
    return at + directoryDigestBytes;
  }

  #encodeOrigin(origins: Origins, node: number, isFile: boolean, at: number): number {
    const view = this.#view;
    view.setFloat64(at, origins.ino[node] ?? 0, true);
    view.setUint32(at + 8, origins.gen[node] ?? 0, true);
    // Of anything but a file it changes for other reasons too.
    view.setFloat64(at + 12, isFile ? (origins.ctimeSec[node] ?? 0) : 0, true);
    view.setUint32(at + 20, isFile ? (origins.ctimeNsec[node] ?? 0) : 0, true);
    return at + 24;
  }

  #fit(bytes: number): void {
    if (bytes <= this.#scratch.length) return;
    const fresh = new Uint8Array(Math.max(bytes, this.#scratch.length * 2));
    fresh.set(this.#scratch);
    this.#scratch = fresh;
    this.#view = new DataView(fresh.buffer);
  }

  #growPlaces(): void {
    this.#first = grown(this.#first);
    this.#end = grown(this.#end);
    const isOpen = new Uint8Array(this.#first.length);
    isOpen.set(this.#isOpen);
    this.#isOpen = isOpen;
    const digests = new Uint8Array(this.#first.length * directoryDigestBytes);
    digests.set(this.#digests);
    this.#digests = digests;
  }
}

function grown(old: Uint32Array): Uint32Array {
  const fresh = new Uint32Array(old.length * 2);
  fresh.set(old);
  return fresh;
}
