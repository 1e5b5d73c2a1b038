/**
 * `Replay`: the tree as a journal tells it, taken through notes and operations on names without
 * touching the disk. `Survey`: what can be known of a journal by reading it once.
 */
import { deafOperations, TargetNames } from "../apply/index.ts";
import { SyncError } from "../base/index.ts";
import { rootId, Tree } from "../tree/index.ts";
import {
  type Commit,
  decodeCommit,
  decodeOperation,
  firstOperationType,
  FrameType,
  type Operations,
  u32,
} from "../wire/index.ts";
import { Mode } from "../world/index.ts";
import { NoteType } from "./journal-format.ts";
import type { JournalFile } from "./journal-file.ts";
import { decodeNote, isNote, type NodeNote, type Notes, type StagedNote } from "./notes.ts";
import { isContentOperation, isNameOperation } from "./progress.ts";

const noName: Uint8Array = new Uint8Array(0);
const nothing = (): void => {};

const deafNotes: Notes = {
  node: nothing,
  name: nothing,
  staged: nothing,
  end: nothing,
  attributes: nothing,
  mark: nothing,
};

export function isOperation(type: number): boolean {
  return type >= firstOperationType && type !== FrameType.commit;
}

export class Survey {
  operationCount = 0;
  /** Operations, and among them those on names, that were marked as carried out. */
  markedOperations = 0;
  markedNames = 0;
  /** The last one. */
  commit: Commit | undefined;
  /**
   * In the root, of new files that were written ahead of any of the epochs. Where names are as they
   * were before, redo begins before it gets to the notes of files that it needs later.
   */
  readonly aheadNames: Set<string> = new Set();
  /** Of nodes that the journal announces: their first operations on content since each time. */
  readonly #content: Map<number, number[]> = new Map();
  /** Announced, without content since. */
  readonly #blank: Set<number> = new Set();
  readonly #notes: Notes = {
    ...deafNotes,
    mark: (operations, nameOperations) => {
      this.markedOperations = operations;
      this.markedNames = nameOperations;
    },
    staged: ({ node, mode, text }) => {
      this.#announce(node);
      const isFile = (mode & Mode.typeMask) === Mode.regular;
      if (isFile && text.length > 0) this.aheadNames.add(Buffer.from(text).toString("latin1"));
    },
  };

  see(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (decodeNote(type, bytes, start, end, this.#notes)) return true;
    if (type === FrameType.commit) this.commit = decodeCommit(bytes, start, end);
    if (!isOperation(type)) return true;
    if (type === FrameType.create) this.#announce(u32(bytes, start));
    if (isContentOperation(type)) this.#seeContent(u32(bytes, start));
    this.operationCount++;
    return true;
  }

  #announce(node: number): void {
    this.#blank.add(node);
  }

  /** Few of its operations count, however many there are. */
  #seeContent(node: number): void {
    if (!this.#blank.delete(node)) return;
    const known = this.#content.get(node);
    if (known === undefined) this.#content.set(node, [this.operationCount]);
    else known.push(this.operationCount);
  }

  /** The first operation on the content of a node that was announced at `bornAt`. */
  contentFrom(node: number, bornAt: number): number | undefined {
    return this.#content.get(node)?.find((at) => at >= bornAt);
  }
}

/** Which file of the target a node is. */
export interface Inode {
  readonly ino: number;
  /** 0 when it is not known. */
  readonly gen: number;
}

export class Replay {
  readonly tree: Tree = new Tree();
  readonly names: TargetNames;
  /** Of nodes whose inode the journal knows. */
  readonly inodes: Map<number, Inode> = new Map();
  /** Of nodes that the journal announces: how many operations came before. */
  readonly bornAt: Map<number, number> = new Map();
  /** New files whose first content is not in the journal. */
  readonly written: Set<number> = new Set();
  operations = 0;
  nameOperations = 0;
  /** Notes that announce a node. */
  announcements = 0;
  readonly #onTree: Operations;
  readonly #announced: Notes = { ...deafNotes, staged: (note) => this.#staged(note) };

  /**
   * Begins where the journal begins. What is noted of a node that was there before has been so from
   * the beginning on: the first operation that concerns it is what it is noted for.
   */
  constructor(file: JournalFile) {
    const { tree } = this;
    const names = new TargetNames(tree);
    this.names = names;
    names.hooks.push({
      mark: nothing,
      forget: (node) => {
        this.inodes.delete(node);
        this.bornAt.delete(node);
        this.written.delete(node);
      },
    });
    this.#onTree = {
      ...deafOperations,
      create: (node, mode, rdev, target) => {
        names.created(node, mode, rdev, target);
        this.bornAt.set(node, this.operations);
      },
      place: (node, parent, name) => names.placed(node, parent, name.slice()),
      link: (node, parent, name) => names.linked(node, parent, name.slice()),
      unlink: (parent, name) => names.unlinked(parent, name),
      write: (node, position, _, start, end) => this.#grow(node, position + end - start),
      clone: (node, position, _, length) => this.#grow(node, position + length),
      truncate: (node, size) => {
        if (tree.isLive(node)) tree.size[node] = size;
      },
      remove: (node) => names.removed(node),
      detach: (node) => names.detached(node),
      rename: (fromParent, fromName, toParent, toName, exchange) => {
        const isSame = tree.child(toParent, toName) === tree.child(fromParent, fromName);
        if (!exchange && isSame) return names.unlinked(fromParent, fromName);
        names.renamed(fromParent, fromName.slice(), toParent, toName.slice(), exchange);
      },
    };
    const own: Notes = { ...deafNotes };
    own.node = (note) => this.#node(note);
    own.name = (node, parent, name) => this.#name(node, parent, name);
    own.end = (endId) => tree.startIdsAt(endId);
    own.attributes = (node, attributes) => {
      if (tree.isLive(node)) tree.attributes.set(node, attributes);
    };
    file.each((...frame) => {
      decodeNote(...frame, own);
      return true;
    });
  }

  /** Takes in a note. False for another frame. */
  note(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (type !== NoteType.staged) return isNote(type);
    this.announcements++;
    return decodeNote(type, bytes, start, end, this.#announced);
  }

  /** Where a file ends decides what ZERO and CLONE do. */
  #grow(node: number, end: number): void {
    const { size } = this.tree;
    if (this.tree.isLive(node)) size[node] = Math.max(size[node]!, end);
  }

  /** Takes in one operation, of which only names and sizes count. */
  operate(type: number, bytes: Uint8Array, start: number, end: number): void {
    decodeOperation(type, bytes, start, end, this.#onTree);
    this.operations++;
    if (isNameOperation(type)) this.nameOperations++;
  }

  #node({ node, mode, size, ino, gen, mtimeSec, mtimeNsec }: NodeNote): void {
    const { tree } = this;
    if (tree.isLive(node)) return;
    tree.addNode(mode, node);
    tree.size[node] = size;
    tree.mtimeSec[node] = mtimeSec;
    tree.mtimeNsec[node] = mtimeNsec;
    if (ino !== 0) this.inodes.set(node, { ino, gen });
  }

  #name(node: number, parent: number, name: Uint8Array): void {
    const { tree } = this;
    const isKnown = tree.isLive(node) && tree.isLive(parent) && tree.isDirectory(parent);
    if (!isKnown || node === rootId) {
      throw new SyncError("TARGET_DIVERGED", "the journal names what it does not know");
    }
    if (tree.names.find(parent, name) === 0) tree.addName(parent, name, node);
  }

  #staged({ node, mode, rdev, ino, gen, isKept, size, text }: StagedNote): void {
    const { names, tree } = this;
    const isFile = (mode & Mode.typeMask) === Mode.regular;
    if (!tree.isLive(node)) {
      tree.startIdsAt(node);
      names.created(node, mode, rdev, isFile ? noName : text);
      this.bornAt.set(node, this.operations);
    }
    const staged = names.staged.get(node);
    if (staged !== undefined) tree.size[node] = size;
    if (staged === undefined || !isFile || text.length === 0) return;
    staged.name = text;
    staged.isKept = isKept;
    this.written.add(node);
    this.inodes.set(node, { ino, gen });
  }
}
