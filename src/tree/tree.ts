/**
 * `Tree`: a folder as a graph of nodes and names. Pure: it does no I/O and knows no paths of the
 * machine. Both sides hold one: the source the tree as the target has it (the synced tree), the
 * target its own; the same operations keep the two equal, so a node has one id on both sides.
 *
 * Nodes are ids (1 is the root), found by (inode, generation); names are ids found by (parent, name
 * bytes). A rename of a directory changes one name, whatever lies below it.
 * Columns of typed arrays: about 100 bytes a node, 45 a name, plus the name's bytes.
 *
 * Invariants: a node with no name is detached (staged, parked, or the root); a directory has at
 * most one name; children of a removed directory are removed with it.
 */
import { assert } from "../base/index.ts";
import { InodeMap } from "./inode-map.ts";
import { NameTable } from "./name-table.ts";

export const rootId = 1;

/** Slots of a stat record, as world/files.ts orders them; tree takes records, it makes none. */
const Slot = {
  ino: 0,
  gen: 1,
  mode: 2,
  nlink: 3,
  uid: 4,
  gid: 5,
  rdev: 6,
  size: 7,
  mtimeSec: 8,
  mtimeNsec: 9,
  ctimeSec: 10,
  ctimeNsec: 11,
} as const;

const none: readonly number[] = [];

const typeMask = 0o170000;
const directoryType = 0o040000;

export class Tree {
  readonly names: NameTable = new NameTable();
  mode: Uint32Array = new Uint32Array(1024);
  uid: Uint32Array = new Uint32Array(1024);
  gid: Uint32Array = new Uint32Array(1024);
  rdev: Float64Array = new Float64Array(1024);
  size: Float64Array = new Float64Array(1024);
  mtimeSec: Float64Array = new Float64Array(1024);
  mtimeNsec: Uint32Array = new Uint32Array(1024);
  ino: Float64Array = new Float64Array(1024);
  gen: Uint32Array = new Uint32Array(1024);
  firstName: Uint32Array = new Uint32Array(1024);
  firstChild: Uint32Array = new Uint32Array(1024);
  /** Ids are used again; a birth number is not: it tells a node from an earlier one of its id. */
  birth: Float64Array = new Float64Array(1024);
  #births = 0;
  /** Bytes as the capture room and apply agree on: see Files.getAttributes. Sparse. */
  readonly attributes: Map<number, Uint8Array> = new Map();
  readonly symlinkTarget: Map<number, Uint8Array> = new Map();
  readonly #inodes: InodeMap = new InodeMap(
    () => this.ino,
    () => this.gen,
  );
  #live: Uint8Array = new Uint8Array(1024);
  #end = 1;
  readonly #free: number[] = [];
  /** Ids freed since the last takeFreedIds, which must not be used again yet. */
  #freed: number[] = [];
  #count = 0;

  constructor() {
    const root = this.addNode(directoryType);
    assert(root === rootId, "the root is the first node");
  }

  /** Nodes in the tree, the root included. */
  get nodeCount(): number {
    return this.#count;
  }

  get nameCount(): number {
    return this.names.count;
  }

  /** The birth number given last: nodes made later have a larger one. */
  get birthCount(): number {
    return this.#births;
  }

  isLive(node: number): boolean {
    return node < this.#live.length && this.#live[node] === 1;
  }

  /** Whether the id still means the node that had this birth number. */
  isSame(node: number, birth: number): boolean {
    return this.isLive(node) && this.birth[node] === birth;
  }

  isDirectory(node: number): boolean {
    return (this.mode[node]! & typeMask) === directoryType;
  }

  /** One past the largest id ever used: for walks over all nodes. */
  get endId(): number {
    return this.#end;
  }

  /** Ids below this one have been in use: the next new one is not among them. */
  startIdsAt(end: number): void {
    if (end > this.#end) this.#end = end;
  }

  /** Node of this inode and generation, or 0. */
  byInode(ino: number, gen: number): number {
    return ino === 0 ? 0 : this.#inodes.get(ino, gen);
  }

  /** The node at a name, or 0. */
  child(parent: number, name: Uint8Array): number {
    const id = this.names.find(parent, name);
    return id === 0 ? 0 : this.names.node[id]!;
  }

  /** A detached node without inode; `id` when the other side has chosen it, else a free one. */
  addNode(mode: number, id?: number): number {
    const node = id ?? this.#freeId();
    while (node >= this.mode.length) this.#grow();
    assert(this.#live[node] === 0 && node > 0, "a node id is used twice");
    if (node >= this.#end) this.#end = node + 1;
    this.#live[node] = 1;
    this.#count++;
    this.birth[node] = ++this.#births;
    this.mode[node] = mode;
    this.uid[node] = 0;
    this.gid[node] = 0;
    this.rdev[node] = 0;
    this.size[node] = 0;
    this.mtimeSec[node] = 0;
    this.mtimeNsec[node] = 0;
    this.ino[node] = 0;
    this.gen[node] = 0;
    this.firstName[node] = 0;
    this.firstChild[node] = 0;
    return node;
  }

  #freeId(): number {
    for (let id = this.#free.pop(); id !== undefined; id = this.#free.pop()) {
      if (this.#live[id] === 0) return id;
    }
    return this.#end;
  }

  /** Hears of each node that gets an inode. */
  onBind: ((node: number, ino: number, gen: number) => void) | undefined;

  /** Ties the node to what the kernel calls it; a former holder of that identity loses it. */
  bindInode(node: number, ino: number, gen: number): void {
    if (this.ino[node] === ino && this.gen[node] === gen) return;
    this.unbindInode(node);
    const former = this.byInode(ino, gen);
    if (former !== 0) this.unbindInode(former);
    this.ino[node] = ino;
    this.gen[node] = gen;
    if (ino === 0) return;
    this.#inodes.add(node);
    this.onBind?.(node, ino, gen);
  }

  unbindInode(node: number): void {
    if (this.ino[node] !== 0) this.#inodes.remove(node);
    this.ino[node] = 0;
    this.gen[node] = 0;
  }

  /** Copies owner, mode, device and times of a stat record; size and identity are set apart. */
  setMetadata(node: number, stat: Float64Array): void {
    this.mode[node] = stat[Slot.mode]!;
    this.uid[node] = stat[Slot.uid]!;
    this.gid[node] = stat[Slot.gid]!;
    this.rdev[node] = stat[Slot.rdev]!;
    this.mtimeSec[node] = stat[Slot.mtimeSec]!;
    this.mtimeNsec[node] = stat[Slot.mtimeNsec]!;
  }

  addName(parent: number, name: Uint8Array, node: number): number {
    assert(this.#live[parent] === 1 && this.#live[node] === 1, "a name joins live nodes");
    assert(this.isDirectory(parent), "only a directory has names");
    const id = this.names.add(parent, name, node);
    const next = this.firstChild[parent]!;
    this.names.nextSibling[id] = next;
    this.names.previousSibling[id] = 0;
    if (next !== 0) this.names.previousSibling[next] = id;
    this.firstChild[parent] = id;
    this.names.nextOfNode[id] = this.firstName[node]!;
    this.firstName[node] = id;
    return id;
  }

  /** Names of a node. */
  countNames(node: number): number {
    let count = 0;
    for (let id = this.firstName[node]!; id !== 0; id = this.names.nextOfNode[id]!) count++;
    return count;
  }

  /** Makes a name the first of its node. */
  preferName(id: number): void {
    const { names, firstName } = this;
    const node = names.node[id]!;
    if (firstName[node] === id) return;
    let at = firstName[node]!;
    while (names.nextOfNode[at] !== id) at = names.nextOfNode[at]!;
    names.nextOfNode[at] = names.nextOfNode[id]!;
    names.nextOfNode[id] = firstName[node]!;
    firstName[node] = id;
  }

  /** Takes a name away; its node stays, perhaps detached. */
  removeName(id: number): void {
    const { names } = this;
    const parent = names.parent[id]!;
    const node = names.node[id]!;
    const next = names.nextSibling[id]!;
    const previous = names.previousSibling[id]!;
    if (previous !== 0) names.nextSibling[previous] = next;
    else this.firstChild[parent] = next;
    if (next !== 0) names.previousSibling[next] = previous;
    if (this.firstName[node] === id) {
      this.firstName[node] = names.nextOfNode[id]!;
    } else {
      let at = this.firstName[node]!;
      while (names.nextOfNode[at] !== id) at = names.nextOfNode[at]!;
      names.nextOfNode[at] = names.nextOfNode[id]!;
    }
    names.remove(id);
  }

  /** Removes a node with its names; below a directory everything that has no name elsewhere. */
  removeNode(node: number, removed?: (node: number) => void): void {
    assert(node !== rootId, "the root is not removed");
    const pending = [node];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      while (this.firstName[at] !== 0) this.removeName(this.firstName[at]!);
      while (this.firstChild[at] !== 0) {
        const name: number = this.firstChild[at]!;
        const child = this.names.node[name]!;
        this.removeName(name);
        if (this.firstName[child] === 0) pending.push(child);
      }
      removed?.(at);
      this.#release(at);
    }
  }

  #release(node: number): void {
    this.unbindInode(node);
    this.attributes.delete(node);
    this.symlinkTarget.delete(node);
    this.#live[node] = 0;
    this.#count--;
    this.#freed.push(node);
  }

  /**
   * Ids that have become free. They are used again only when they are given back: the other side
   * may still have to hear of the removal, and must not hear of a new node by that id before.
   */
  takeFreedIds(): readonly number[] {
    if (this.#freed.length === 0) return none;
    const freed = this.#freed;
    this.#freed = [];
    return freed;
  }

  giveBackIds(ids: readonly number[]): void {
    for (const id of ids) this.#free.push(id);
  }

  /** Whether `node` is `ancestor` or lies below it (by its first name; a detached node by none). */
  isWithin(node: number, ancestor: number): boolean {
    for (let at: number = node; at !== 0;) {
      if (at === ancestor) return true;
      const name: number = this.firstName[at]!;
      if (name === 0) return false;
      at = this.names.parent[name]!;
    }
    return false;
  }

  /**
   * Names from the root down to the node, empty for the root; undefined below a detached node,
   * unless `detachedName` knows the name in the root where that node waits.
   */
  pathComponents(
    node: number,
    detachedName?: (node: number) => Uint8Array | undefined,
  ): Uint8Array[] | undefined {
    const components: Uint8Array[] = [];
    for (let at: number = node; at !== rootId;) {
      const name: number = this.firstName[at]!;
      if (name === 0) {
        const waiting = detachedName?.(at);
        if (waiting === undefined) return undefined;
        components.push(waiting);
        break;
      }
      components.push(this.names.bytes(name));
      at = this.names.parent[name]!;
    }
    return components.reverse();
  }

  /** The path below the root, `/`-joined, for messages; `?` stands for a detached ancestor. */
  path(node: number): string {
    const components = this.pathComponents(node);
    if (components === undefined) return "?";
    return components.map((name) => Buffer.from(name).toString("utf8")).join("/") || ".";
  }

  /** The same for a name in a directory, which need not be a node's. */
  childPath(parent: number, name: Uint8Array): string {
    const text = Buffer.from(name).toString("utf8");
    return parent === rootId ? text : `${this.path(parent)}/${text}`;
  }

  #grow(): void {
    const size = this.mode.length * 2;
    const u32 = (old: Uint32Array): Uint32Array => {
      const fresh = new Uint32Array(size);
      fresh.set(old);
      return fresh;
    };
    const f64 = (old: Float64Array): Float64Array => {
      const fresh = new Float64Array(size);
      fresh.set(old);
      return fresh;
    };
    this.mode = u32(this.mode);
    this.uid = u32(this.uid);
    this.gid = u32(this.gid);
    this.mtimeNsec = u32(this.mtimeNsec);
    this.gen = u32(this.gen);
    this.firstName = u32(this.firstName);
    this.firstChild = u32(this.firstChild);
    this.rdev = f64(this.rdev);
    this.size = f64(this.size);
    this.mtimeSec = f64(this.mtimeSec);
    this.ino = f64(this.ino);
    this.birth = f64(this.birth);
    const live = new Uint8Array(size);
    live.set(this.#live);
    this.#live = live;
  }
}
