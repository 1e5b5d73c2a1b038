/**
 * `TargetNames`: what the target's tree is after each operation on names, and which nodes have
 * none: `staged` ones, which CREATE announced and PLACE has not named, and `held` ones, which step
 * aside.
 *
 * Pure bookkeeping: the applier makes the system call first and then tells what it did; redo tells
 * it what an interrupted process had done already. Arguments have been checked, or are checked here
 * before anything changes (PEER_MALFORMED).
 */
import { rootId, type Tree } from "../tree/index.ts";
import { malformed } from "./failed-call.ts";
import { keepName } from "./hold-name.ts";
import { type Staged, stagedNode } from "./staged.ts";

export interface NameHooks {
  /** The node has changed: what is remembered of it is old. */
  mark(node: number): void;
  /** The node is gone. */
  forget(node: number): void;
}

export class TargetNames {
  readonly tree: Tree;
  /** Announced, without a name so far. */
  readonly staged: Map<number, Staged> = new Map();
  /** Without a name for a while: each waits in the root under its hold name. */
  readonly held: Set<number> = new Set();
  /** All of them hear. */
  readonly hooks: NameHooks[] = [];

  constructor(tree: Tree) {
    this.tree = tree;
  }

  #mark(node: number): void {
    for (const hooks of this.hooks) hooks.mark(node);
  }

  #removeNode(node: number): void {
    this.tree.removeNode(node, (gone) => {
      for (const hooks of this.hooks) hooks.forget(gone);
    });
  }

  /** The name's id. */
  #existing(parent: number, name: Uint8Array): number {
    const id = this.tree.isLive(parent) ? this.tree.names.find(parent, name) : 0;
    if (id === 0) malformed("there is no such name");
    return id;
  }

  #directory(node: number): void {
    const { tree } = this;
    if (!tree.isLive(node) || !tree.isDirectory(node)) malformed(`node ${node} is no directory`);
  }

  created(node: number, mode: number, rdev: number, symlinkTarget: Uint8Array): void {
    const { tree } = this;
    if (tree.isLive(node) || node > tree.endId || node === 0) {
      malformed(`node ${node} cannot be created`);
    }
    const staged = stagedNode(mode, rdev, symlinkTarget.slice());
    tree.addNode(mode, node);
    if (symlinkTarget.length > 0) tree.symlinkTarget.set(node, staged.symlinkTarget);
    this.staged.set(node, staged);
  }

  /** What an earlier process has left of a staged node lies under this key. */
  adopted(node: number, key: Uint8Array): void {
    const staged = stagedNode(this.tree.mode[node]!, 0, new Uint8Array(0));
    this.staged.set(node, { ...staged, name: keepName(key), isKept: true });
  }

  placed(node: number, parent: number, name: Uint8Array): void {
    this.#directory(parent);
    if (!this.staged.delete(node) && !this.held.delete(node)) {
      malformed(`node ${node} has a place already`);
    }
    this.#replaceName(parent, name, node);
  }

  renamed(
    fromParent: number,
    fromName: Uint8Array,
    toParent: number,
    toName: Uint8Array,
    exchange: boolean,
  ): void {
    const { tree } = this;
    const from = this.#existing(fromParent, fromName);
    const to = exchange ? this.#existing(toParent, toName) : 0;
    this.#directory(toParent);
    const node = tree.names.node[from]!;
    const other = tree.names.node[to]!;
    tree.removeName(from);
    if (!exchange) return this.#replaceName(toParent, toName, node);
    tree.removeName(to);
    tree.addName(fromParent, fromName, other);
    tree.addName(toParent, toName, node);
    this.#mark(node);
    this.#mark(other);
  }

  linked(node: number, parent: number, name: Uint8Array): void {
    this.#live(node);
    this.#directory(parent);
    this.#replaceName(parent, name, node);
  }

  unlinked(parent: number, name: Uint8Array): void {
    const id = this.#existing(parent, name);
    const node = this.tree.names.node[id]!;
    this.tree.removeName(id);
    this.#dropIfNameless(node);
  }

  removed(node: number): void {
    this.#live(node);
    if (node === rootId) malformed("the root is not removed");
    this.staged.delete(node);
    this.held.delete(node);
    this.#removeNode(node);
  }

  detached(node: number): void {
    this.#live(node);
    const id = this.tree.firstName[node]!;
    if (id === 0) malformed(`node ${node} cannot be detached`);
    this.held.add(node);
    this.tree.removeName(id);
  }

  #live(node: number): void {
    if (!this.tree.isLive(node)) malformed(`there is no node ${node}`);
  }

  /** The name now means `node`; what it meant before is gone unless it has other names. */
  #replaceName(parent: number, name: Uint8Array, node: number): void {
    const { tree } = this;
    this.#mark(node);
    const id = tree.names.find(parent, name);
    if (id !== 0) {
      const former = tree.names.node[id]!;
      if (former === node) return;
      tree.removeName(id);
      this.#dropIfNameless(former);
    }
    tree.addName(parent, name, node);
  }

  #dropIfNameless(node: number): void {
    this.#mark(node);
    if (this.tree.firstName[node] === 0) this.#removeNode(node);
  }
}
