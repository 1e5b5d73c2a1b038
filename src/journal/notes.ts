/**
 * What a record says of the tree before its operations: the nodes that they name and that no
 * record of this generation has named so far, and the new files that were written ahead of them.
 *
 * Node: id, mode, size, inode and generation at the target, time. Name: node, parent, name. Staged:
 * id, mode, device, and of a file its size and name in the root, of a link where it leads.
 */
import { f64, u32 } from "../wire/index.ts";
import { NoteType } from "./journal-format.ts";

/** A growing piece of memory with notes as frames. */
export class NoteWriter {
  #bytes: Uint8Array = new Uint8Array(4096);
  #view: DataView = new DataView(this.#bytes.buffer);
  #at = 0;

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  get length(): number {
    return this.#at;
  }

  clear(): void {
    this.#at = 0;
    if (this.#bytes.length <= 1048576) return;
    this.#bytes = new Uint8Array(4096);
    this.#view = new DataView(this.#bytes.buffer);
  }

  node(note: NodeNote): void {
    const at = this.#begin(NoteType.node, nodeBytes);
    const view = this.#view;
    view.setUint32(at, note.node, true);
    view.setUint32(at + 4, note.mode, true);
    view.setFloat64(at + 8, note.size, true);
    view.setFloat64(at + 16, note.ino, true);
    view.setUint32(at + 24, note.gen, true);
    view.setFloat64(at + 28, note.mtimeSec, true);
    view.setUint32(at + 36, note.mtimeNsec, true);
  }

  name(node: number, parent: number, name: Uint8Array): void {
    const at = this.#begin(NoteType.name, 8 + name.length);
    this.#view.setUint32(at, node, true);
    this.#view.setUint32(at + 4, parent, true);
    this.#bytes.set(name, at + 8);
  }

  staged(note: StagedNote): void {
    const at = this.#begin(NoteType.staged, 40 + note.text.length);
    const view = this.#view;
    view.setUint32(at, note.node, true);
    view.setUint32(at + 4, note.mode, true);
    view.setFloat64(at + 8, note.rdev, true);
    view.setFloat64(at + 16, note.ino, true);
    view.setUint32(at + 24, note.gen, true);
    view.setUint32(at + 28, note.isKept ? 1 : 0, true);
    view.setFloat64(at + 32, note.size, true);
    this.#bytes.set(note.text, at + 40);
  }

  attributes(node: number, attributes: Uint8Array): void {
    const at = this.#begin(NoteType.attributes, 4 + attributes.length);
    this.#view.setUint32(at, node, true);
    this.#bytes.set(attributes, at + 4);
  }

  /** Operations, and among them those on names, that have been carried out for good. */
  mark(operations: number, nameOperations: number): void {
    const at = this.#begin(NoteType.mark, 16);
    this.#view.setFloat64(at, operations, true);
    this.#view.setFloat64(at + 8, nameOperations, true);
  }

  /** Ids that are in use end before this one. */
  end(endId: number): void {
    const at = this.#begin(NoteType.end, 4);
    this.#view.setUint32(at, endId, true);
  }

  #begin(type: number, length: number): number {
    const end = this.#at + 5 + length;
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(end * 2);
      larger.set(this.#bytes.subarray(0, this.#at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#view.setUint32(this.#at, length + 1, true);
    this.#bytes[this.#at + 4] = type;
    const at = this.#at + 5;
    this.#at = end;
    return at;
  }
}

const nodeBytes = 40;

export interface NodeNote {
  readonly node: number;
  readonly mode: number;
  readonly size: number;
  readonly ino: number;
  readonly gen: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
}

export interface StagedNote {
  readonly node: number;
  readonly mode: number;
  readonly rdev: number;
  /** Of a file that lies under a name; else 0. */
  readonly ino: number;
  readonly gen: number;
  /** It lies under a key: see `Applier.keep`. */
  readonly isKept: boolean;
  /** Of what is written already. */
  readonly size: number;
  /** Of a file: its name in the root; of a symbolic link: where it leads. */
  readonly text: Uint8Array;
}

export interface Notes {
  node(note: NodeNote): void;
  name(node: number, parent: number, name: Uint8Array): void;
  staged(note: StagedNote): void;
  end(endId: number): void;
  attributes(node: number, attributes: Uint8Array): void;
  mark(operations: number, nameOperations: number): void;
}

export function isNote(type: number): boolean {
  return type <= NoteType.mark;
}

/** Decodes one note. False for a frame of another type. */
export function decodeNote(
  type: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  to: Notes,
): boolean {
  switch (type) {
    case NoteType.node:
      to.node({
        node: u32(bytes, start),
        mode: u32(bytes, start + 4),
        size: f64(bytes, start + 8),
        ino: f64(bytes, start + 16),
        gen: u32(bytes, start + 24),
        mtimeSec: f64(bytes, start + 28),
        mtimeNsec: u32(bytes, start + 36),
      });
      return true;
    case NoteType.name:
      to.name(u32(bytes, start), u32(bytes, start + 4), bytes.slice(start + 8, end));
      return true;
    case NoteType.staged:
      to.staged({
        node: u32(bytes, start),
        mode: u32(bytes, start + 4),
        rdev: f64(bytes, start + 8),
        ino: f64(bytes, start + 16),
        gen: u32(bytes, start + 24),
        isKept: u32(bytes, start + 28) === 1,
        size: f64(bytes, start + 32),
        text: bytes.slice(start + 40, end),
      });
      return true;
    case NoteType.attributes:
      to.attributes(u32(bytes, start), bytes.slice(start + 4, end));
      return true;
    case NoteType.mark:
      to.mark(f64(bytes, start), f64(bytes, start + 8));
      return true;
    case NoteType.end:
      to.end(u32(bytes, start));
      return true;
    default:
      return false;
  }
}
