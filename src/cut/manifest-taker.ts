/**
 * `ManifestTaker`: takes what the target tells of its tree for the source's own. Of directories
 * whose digest is that of the source's survey nothing has to be told: their entries are the
 * survey's.
 *
 * In: frames as they arrive, and `step` until `isDone`. Out: what is to be expanded, through
 * `ask`. One round trip a level of what differs; small directories, and those that the source does
 * not have, are asked for as a whole.
 * The target may be hostile: what does not fit what came before is PEER_MALFORMED, and it cannot
 * have more memory reserved than in proportion to what it sends, or to what the source has.
 */
import { SyncError } from "../base/index.ts";
import { type Origins, rootId, type Tree } from "../tree/index.ts";
import {
  decodeExpanded,
  decodeManifestEntry,
  decodeManifestOrigin,
  decodeSubtree,
  type Expand,
  expandCountMax,
  FrameType,
  type ManifestEntry,
  type Subtree,
} from "../wire/index.ts";
import { adoptEntry } from "./adopt-manifest.ts";
import { Mode } from "../world/index.ts";
import type { KeptFiles } from "./kept-files.ts";
import type { SourceSurvey } from "./source-survey.ts";

/** Where digests pay: numbers of nodes. */
export interface DigestUse {
  /** A target that has fewer is told as a whole. */
  readonly treeMin: number;
  /** So is a directory that differs and has fewer below it. */
  readonly directoryMin: number;
}

const digestUseDefault: DigestUse = { treeMin: 16, directoryMin: 32 };
/** Where one side has so many times the nodes of the other, all is told. */
const surveyRatio = 4;
const surveyBatchesPerStep = 4;
const adoptCountPerStep = 8192;

/** A directory that is equal: its nodes, from `at` on, are yet to be adopted. */
interface Equal {
  target: number;
  first: number;
  source: number;
  sourceFirst: number;
  count: number;
  at: number;
}

export interface ManifestTakerOptions {
  tree: Tree;
  kept: KeptFiles;
  /** What the target remembers of our inodes. */
  origins: Origins;
  /** Absent when the target tells every entry by itself. */
  survey: SourceSurvey | undefined;
  ask: (expand: Expand) => void;
  use?: DigestUse | undefined;
}

/** What the cut has to know of it. */
export type ManifestResult = Pick<ManifestTaker, "moved" | "rest" | "equalFiles" | "equalBytes">;

export class ManifestTaker {
  readonly #of: ManifestTakerOptions;
  readonly #use: DigestUse;
  /** Directories of the target that the source has by the same path. */
  readonly #known: Map<number, number> = new Map([[rootId, rootId]]);
  readonly #equals: Equal[] = [];
  #expand: number[] = [];
  #expandDeep: number[] = [];
  readonly #awaited: Set<number> = new Set();
  /** What the target has told of its root, while the survey goes on. */
  #root: Subtree | undefined;
  /** One more than the largest id that the target may name; without digests they come in order. */
  #endId = 0;
  #isRootTold = false;
  #isRootEqual = false;
  #isEnded = false;
  /** Nodes that the source has by another name, tied to its inodes. */
  readonly moved: Set<number> = new Set();
  /** Of nodes that did not have to be told: files, and bytes of their content. */
  equalFiles = 0;
  equalBytes = 0;

  constructor(options: ManifestTakerOptions) {
    this.#of = options;
    this.#use = options.use ?? digestUseDefault;
  }

  /** All has been told, and taken. */
  get isDone(): boolean {
    if (this.#isEnded) return true;
    const isTold = this.#isRootTold && this.#root === undefined && this.#awaited.size === 0;
    return isTold && this.#equals.length === 0;
  }

  /**
   * What of the source has to be compared now: all of it, what is below the root and not equal, or
   * nothing but the root itself.
   */
  get rest(): "all" | "different" | "root" {
    if (this.#endId === 0) return "all";
    return this.#isRootEqual ? "root" : "different";
  }

  /** Takes a frame of the manifest. False when it is none. */
  take(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#isEnded) unfit();
    if (type === FrameType.manifestEntry) this.#entry(decodeManifestEntry(bytes, start, end));
    else if (type === FrameType.manifestOrigin)
      this.#entry(decodeManifestOrigin(bytes, start, end));
    else if (type === FrameType.subtree) this.#subtree(decodeSubtree(bytes, start, end));
    else if (type === FrameType.expanded) this.#expanded(decodeExpanded(bytes, start, end));
    else if (type === FrameType.manifestEnd) this.#end();
    else return false;
    return true;
  }

  #entry(entry: ManifestEntry): void {
    const { tree, kept, origins, survey } = this.#of;
    adoptEntry(tree, entry, kept, origins, Math.max(this.#endId, tree.endId + 1));
    if (this.#endId === 0 || survey === undefined || entry.parent === 0) return;
    const above = this.#known.get(entry.parent) ?? 0;
    const there = above === 0 ? 0 : survey.tree.child(above, entry.name);
    const own = this.#ownOf(entry, survey.tree);
    if (own !== 0 && own !== there) this.#bindMoved(entry, own);
    else if (own !== 0) this.moved.delete(entry.node);
    const source = own === 0 ? there : own;
    if (survey.digests.has(source) && tree.isDirectory(entry.node)) {
      this.#known.set(entry.node, source);
    }
  }

  /** What the source has of this node, by its inode: a file or a directory of one name, or 0. */
  #ownOf({ origin, mode }: ManifestEntry, from: Tree): number {
    const node = from.byInode(origin.ino, origin.gen);
    const kind = mode & Mode.typeMask;
    if (node === 0 || (kind !== Mode.regular && kind !== Mode.directory)) return 0;
    const isOne = from.names.nextOfNode[from.firstName[node]!] === 0;
    return isOne && (from.mode[node]! & Mode.typeMask) === kind ? node : 0;
  }

  /** The node is elsewhere at the source now. */
  #bindMoved({ node, origin }: ManifestEntry, own: number): void {
    const { tree } = this.#of;
    if (own === rootId || tree.ino[node] !== 0 || tree.byInode(origin.ino, origin.gen) !== 0)
      return;
    tree.bindInode(node, origin.ino, origin.gen);
    this.moved.add(node);
  }

  /** Every entry has been told, without digests. */
  #end(): void {
    if (this.#of.survey !== undefined) unfit();
    this.#isEnded = true;
  }

  #subtree(subtree: Subtree): void {
    const { tree, survey } = this.#of;
    const { directory, first, count } = subtree;
    const isDirectory = tree.isLive(directory) && tree.isDirectory(directory);
    if (survey === undefined || !isDirectory || first < 2) unfit();
    if (directory === rootId) {
      if (this.#isRootTold) unfit();
      this.#isRootTold = true;
      this.#root = { ...subtree, digest: subtree.digest.slice() };
    } else if (this.#endId === 0 || first + count > this.#endId) {
      unfit();
    } else {
      this.#judge(subtree, survey);
    }
  }

  #expanded(directory: number): void {
    if (!this.#awaited.delete(directory)) unfit();
  }

  /** Works a little: to be called after frames have arrived, and until it says false. */
  step(): boolean {
    const { survey } = this.#of;
    if (survey === undefined) return false;
    for (let i = 0; i < surveyBatchesPerStep && !survey.isOver; i++) survey.step();
    const root = this.#root;
    if (root !== undefined) this.#judgeRoot(root, survey);
    this.#adoptSome(survey);
    this.#flush();
    return !survey.isOver || this.#equals.length > 0;
  }

  /** Asks for what has been found to differ. */
  #flush(): void {
    this.#expand = this.#askFor(this.#expand, false);
    this.#expandDeep = this.#askFor(this.#expandDeep, true);
  }

  #askFor(directories: number[], isDeep: boolean): number[] {
    if (directories.length === 0) return directories;
    for (let at = 0; at < directories.length; at += expandCountMax) {
      this.#of.ask({ isDeep, directories: directories.slice(at, at + expandCountMax) });
    }
    return [];
  }

  /** When the two are far from equal, digests would only be in the way. */
  #judgeRoot(root: Subtree, survey: SourceSurvey): void {
    const { nodeCount } = survey.tree;
    const isFewer = root.count < this.#use.treeMin || nodeCount > root.count * surveyRatio;
    if (!survey.isOver && !isFewer) return;
    this.#root = undefined;
    const isMore = root.count > nodeCount * surveyRatio;
    if (isFewer || isMore || !survey.isComplete) {
      survey.stop();
      this.#want(rootId, true);
      return;
    }
    this.#endId = root.first + root.count;
    const { ino, gen } = survey.tree;
    this.#of.tree.bindInode(rootId, ino[rootId]!, gen[rootId]!);
    this.#judge(root, survey);
    this.#isRootEqual = !this.#awaited.has(rootId);
  }

  #judge({ directory, first, count, digest }: Subtree, survey: SourceSurvey): void {
    const { digests } = survey;
    const source = this.#known.get(directory) ?? 0;
    const isEqual =
      source !== 0 &&
      digest.length > 0 &&
      digests.count(source) === count &&
      Buffer.compare(digests.digest(source), digest) === 0;
    if (!isEqual) return this.#want(directory, source === 0 || count < this.#use.directoryMin);
    if (count === 0) return;
    const sourceFirst = digests.first(source);
    this.#equals.push({ target: directory, first, source, sourceFirst, count, at: 0 });
  }

  #want(directory: number, isDeep: boolean): void {
    if (this.#awaited.has(directory)) unfit();
    this.#awaited.add(directory);
    (isDeep ? this.#expandDeep : this.#expand).push(directory);
  }

  #adoptSome(survey: SourceSurvey): void {
    for (let left = adoptCountPerStep; left > 0 && this.#equals.length > 0; left--) {
      const equal = this.#equals.at(-1)!;
      this.#adopt(equal, survey);
      if (++equal.at === equal.count) this.#equals.pop();
    }
  }

  /** A node of the survey becomes one of the tree, by the id that the target has given it. */
  #adopt(equal: Equal, survey: SourceSurvey): void {
    const { tree } = this.#of;
    const from = survey.tree;
    const node = equal.first + equal.at;
    const source = equal.sourceFirst + equal.at;
    const id = firstNameOf(from, source);
    const above = from.names.parent[id]!;
    const parent = above === equal.source ? equal.target : above - equal.sourceFirst + equal.first;
    const name = from.names.bytes(id);
    if (!tree.isLive(parent) || tree.child(parent, name) !== 0) unfit();
    if (!tree.isLive(node)) tree.addNode(from.mode[source]!, node);
    // Told before: a file, by another name that it has in a directory that is not equal.
    else if (tree.isDirectory(node) || tree.mode[node] !== from.mode[source]) unfit();
    tree.uid[node] = from.uid[source]!;
    tree.gid[node] = from.gid[source]!;
    tree.rdev[node] = from.rdev[source]!;
    tree.size[node] = from.size[source]!;
    tree.mtimeSec[node] = from.mtimeSec[source]!;
    tree.mtimeNsec[node] = from.mtimeNsec[source]!;
    const link = from.symlinkTarget.get(source);
    if (link !== undefined) tree.symlinkTarget.set(node, link);
    const attributes = from.attributes.get(source);
    if (attributes !== undefined) tree.attributes.set(node, attributes);
    tree.addName(parent, name, node);
    tree.bindInode(node, from.ino[source]!, from.gen[source]!);
    this.moved.delete(node);
    if (survey.origins !== undefined) this.#of.origins.set(node, survey.origins.get(source));
    if ((from.mode[source]! & Mode.typeMask) !== Mode.regular) return;
    this.equalFiles++;
    this.equalBytes += from.size[source]!;
  }
}

/** The name that came first in the scan: it says where the node has its id from. */
function firstNameOf({ names, firstName }: Tree, node: number): number {
  let id = firstName[node]!;
  while (names.nextOfNode[id] !== 0) id = names.nextOfNode[id]!;
  return id;
}

function unfit(): never {
  throw new SyncError("PEER_MALFORMED", "a part of the manifest does not fit the tree");
}
