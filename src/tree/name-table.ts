/**
 * `NameTable`: the names of the tree. A name ties a directory (parent node) to a node; a node with
 * several hard links has several names.
 *
 * Columns of typed arrays plus one arena for the bytes; found by (parent, bytes) through a hash,
 * and linked in two lists: siblings below one parent, and names of one node. Name id 0 means none.
 * About 30 bytes a name plus its bytes. Freed bytes are reclaimed when half of the arena is waste.
 */
import { assert } from "../base/index.ts";

const arenaBytesMin = 65536;

export class NameTable {
  parent: Uint32Array = new Uint32Array(1024);
  node: Uint32Array = new Uint32Array(1024);
  nextSibling: Uint32Array = new Uint32Array(1024);
  previousSibling: Uint32Array = new Uint32Array(1024);
  nextOfNode: Uint32Array = new Uint32Array(1024);
  #start: Uint32Array = new Uint32Array(1024);
  #length: Uint16Array = new Uint16Array(1024);
  #slots: Uint32Array = new Uint32Array(2048);
  #arena: Uint8Array = new Uint8Array(arenaBytesMin);
  #arenaEnd = 0;
  #arenaWaste = 0;
  #end = 1;
  #free = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** A view of the name's bytes, valid until the next name is added. */
  bytes(id: number): Uint8Array {
    const start = this.#start[id]!;
    return this.#arena.subarray(start, start + this.#length[id]!);
  }

  find(parent: number, name: Uint8Array): number {
    const mask = this.#slots.length - 1;
    for (let at = hash(parent, name, 0, name.length) & mask; ; at = (at + 1) & mask) {
      const id = this.#slots[at]!;
      if (id === 0) return 0;
      if (this.parent[id] === parent && this.#equals(id, name)) return id;
    }
  }

  /** Adds a name that must not exist yet; the lists are the tree's to link. */
  add(parent: number, name: Uint8Array, node: number): number {
    const id = this.#allocate();
    this.parent[id] = parent;
    this.node[id] = node;
    this.#store(id, name);
    if ((this.#count + 1) * 2 > this.#slots.length) this.#rehash(this.#slots.length * 2);
    this.#place(id);
    this.#count++;
    return id;
  }

  remove(id: number): void {
    this.#displace(id);
    this.#arenaWaste += this.#length[id]!;
    this.#count--;
    this.parent[id] = 0;
    this.node[id] = 0;
    this.nextSibling[id] = this.#free;
    this.#free = id;
  }

  #equals(id: number, name: Uint8Array): boolean {
    const length = this.#length[id]!;
    if (length !== name.length) return false;
    const start = this.#start[id]!;
    for (let i = 0; i < length; i++) if (this.#arena[start + i] !== name[i]) return false;
    return true;
  }

  #hashOf(id: number): number {
    const start = this.#start[id]!;
    return hash(this.parent[id]!, this.#arena, start, start + this.#length[id]!);
  }

  #place(id: number): void {
    const mask = this.#slots.length - 1;
    let at = this.#hashOf(id) & mask;
    while (this.#slots[at] !== 0) at = (at + 1) & mask;
    this.#slots[at] = id;
  }

  /** Takes `id` out of the hash, shifting later entries back: no tombstones. */
  #displace(id: number): void {
    const mask = this.#slots.length - 1;
    let at = this.#hashOf(id) & mask;
    while (this.#slots[at] !== id) {
      assert(this.#slots[at] !== 0, "removing a name that the table does not hold");
      at = (at + 1) & mask;
    }
    for (let next = (at + 1) & mask; ; next = (next + 1) & mask) {
      const other = this.#slots[next]!;
      if (other === 0) break;
      const home = this.#hashOf(other) & mask;
      if (at <= next ? at < home && home <= next : at < home || home <= next) continue;
      this.#slots[at] = other;
      at = next;
    }
    this.#slots[at] = 0;
  }

  #rehash(size: number): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(size);
    for (const id of old) if (id !== 0) this.#place(id);
  }

  #allocate(): number {
    if (this.#free !== 0) {
      const id = this.#free;
      this.#free = this.nextSibling[id]!;
      this.nextSibling[id] = 0;
      return id;
    }
    if (this.#end === this.parent.length) this.#grow();
    return this.#end++;
  }

  #grow(): void {
    const size = this.parent.length * 2;
    const larger = (old: Uint32Array): Uint32Array => {
      const fresh = new Uint32Array(size);
      fresh.set(old);
      return fresh;
    };
    this.parent = larger(this.parent);
    this.node = larger(this.node);
    this.nextSibling = larger(this.nextSibling);
    this.previousSibling = larger(this.previousSibling);
    this.nextOfNode = larger(this.nextOfNode);
    this.#start = larger(this.#start);
    const lengths = new Uint16Array(size);
    lengths.set(this.#length);
    this.#length = lengths;
  }

  #store(id: number, name: Uint8Array): void {
    if (this.#arenaEnd + name.length > this.#arena.length) this.#reclaim(name.length);
    this.#arena.set(name, this.#arenaEnd);
    this.#start[id] = this.#arenaEnd;
    this.#length[id] = name.length;
    this.#arenaEnd += name.length;
  }

  /** Copies the live names into an arena with room for `more` bytes. */
  #reclaim(more: number): void {
    const live = this.#arenaEnd - this.#arenaWaste;
    const old = this.#arena;
    this.#arena = new Uint8Array(Math.max(arenaBytesMin, (live + more) * 2));
    let end = 0;
    for (const id of this.#slots) {
      if (id === 0) continue;
      const start = this.#start[id]!;
      const length = this.#length[id]!;
      this.#arena.set(old.subarray(start, start + length), end);
      this.#start[id] = end;
      end += length;
    }
    this.#arenaEnd = end;
    this.#arenaWaste = 0;
  }
}

/** FNV-1a over the bytes, mixed with the parent. */
function hash(parent: number, bytes: Uint8Array, start: number, end: number): number {
  let h = 0x811c9dc5 ^ Math.imul(parent, 0x9e3779b1);
  for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193);
  h ^= h >>> 15;
  return h >>> 0;
}
