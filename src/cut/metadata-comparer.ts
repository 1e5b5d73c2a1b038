/**
 * `MetadataComparer`: compares what was looked at with the tree and writes what differs, for mode,
 * owner, extended attributes and modification time. The tree is changed with each operation.
 *
 * In: stat records of nodes that both trees have. Out: META, ATTRIBUTES and TIMES frames.
 */
import type { Tree } from "../tree/index.ts";
import { type Files, Mode, Stat, statSlots } from "../world/index.ts";
import { attributesBytesMax, type OpWriter } from "../wire/index.ts";
import { capabilityName, withoutAttribute } from "./attribute-list.ts";
import type { DirtySet } from "./dirty-set.ts";
import type { OriginTeller } from "./origin-teller.ts";
import { isGone } from "./source-files.ts";

const noName: Uint8Array = new Uint8Array(0);

export class MetadataComparer {
  readonly #files: Files;
  readonly #tree: Tree;
  readonly #writer: OpWriter;
  readonly #dirty: DirtySet;
  readonly #origins: OriginTeller;
  readonly #problem: (node: number, operation: string, result: number) => void;
  readonly #readsAll: () => boolean;
  /** Files of several names whose content is being read because of `readsAll`. */
  readonly #linked: Set<number> = new Set();
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly #attributes: Uint8Array = new Uint8Array(attributesBytesMax);

  constructor(options: {
    files: Files;
    tree: Tree;
    writer: OpWriter;
    dirty: DirtySet;
    origins: OriginTeller;
    problem: (node: number, operation: string, result: number) => void;
    /** Size and time are not to be trusted now: all content is read. */
    readsAll?: () => boolean;
  }) {
    this.#files = options.files;
    this.#tree = options.tree;
    this.#writer = options.writer;
    this.#dirty = options.dirty;
    this.#origins = options.origins;
    this.#problem = options.problem;
    this.#readsAll = options.readsAll ?? (() => false);
  }

  /** True if something was told: that explains a ctime that has changed. */
  compare(node: number, stat: Float64Array, dirFd: number, name: Uint8Array): boolean {
    const tree = this.#tree;
    let isTold = false;
    const uid = stat[Stat.uid]!;
    const gid = stat[Stat.gid]!;
    const mode = stat[Stat.mode]!;
    if (tree.uid[node] !== uid || tree.gid[node] !== gid || tree.mode[node] !== mode) {
      tree.uid[node] = uid;
      tree.gid[node] = gid;
      tree.mode[node] = mode;
      this.#writer.meta(node, mode, uid, gid);
      isTold = true;
      if (tree.attributes.size > 0) this.#loseCapability(node);
    }
    const present = tree.attributes.get(node);
    if (stat[Stat.attributeBytes] === 0 && present === undefined) return isTold;
    if (name.length > 0 && !this.#isStill(node, dirFd, name)) {
      this.#dirty.retryMetadata(node);
      return isTold;
    }
    const bytes = this.#files.getAttributes(dirFd, name, this.#attributes);
    if (bytes < 0) {
      if (isGone(bytes)) this.#dirty.retryMetadata(node);
      else this.#problem(node, "getxattr", bytes);
      return isTold;
    }
    const attributes = this.#attributes.subarray(0, bytes);
    if (Buffer.compare(present ?? noName, attributes) === 0) return isTold;
    if (bytes > 0) tree.attributes.set(node, attributes.slice());
    else tree.attributes.delete(node);
    this.#writer.attributes(node, attributes);
    return true;
  }

  /** The name may have been given to another file meanwhile. */
  #isStill(node: number, dirFd: number, name: Uint8Array): boolean {
    const { ino, gen } = this.#tree;
    const stat = this.#stat;
    const isThere = this.#files.identifyAt(dirFd, name, stat) === 0;
    return isThere && stat[Stat.ino] === ino[node] && stat[Stat.gen] === gen[node];
  }

  /** Whether there is nothing to tell of a node that was found like this. */
  isEqual(node: number, stat: Float64Array): boolean {
    const tree = this.#tree;
    return (
      !this.timesDiffer(node, stat) &&
      !this.contentDiffers(node, stat) &&
      !this.#isUnread(node, stat) &&
      !this.#origins.differs(node, stat) &&
      tree.mode[node] === stat[Stat.mode] &&
      tree.uid[node] === stat[Stat.uid] &&
      tree.gid[node] === stat[Stat.gid] &&
      stat[Stat.attributeBytes] === 0 &&
      !tree.attributes.has(node)
    );
  }

  /**
   * Binds a regular file of the manifest to the inode found at its name, if it has no other name
   * and nothing is to be told of it: at a restart that is nearly every file.
   */
  adopt(node: number, name: number, stat: Float64Array): boolean {
    if ((stat[Stat.mode]! & Mode.typeMask) !== Mode.regular || stat[Stat.nlink] !== 1) return false;
    const tree = this.#tree;
    const ino = stat[Stat.ino]!;
    const gen = stat[Stat.gen]!;
    if (!this.isEqual(node, stat) || tree.byInode(ino, gen) !== 0) return false;
    tree.bindInode(node, ino, gen);
    tree.preferName(name);
    this.#origins.looked(node, stat);
    return true;
  }

  /** Whether content has to be read when the node is compared. Once for a file of many names. */
  mustRead(node: number, stat: Float64Array): boolean {
    const isUnread = this.#isUnread(node, stat);
    if (isUnread && stat[Stat.nlink]! > 1) this.#linked.add(node);
    return isUnread || this.contentDiffers(node, stat);
  }

  /**
   * Whether a file of the same size and time has changed all the same, or may have: its ctime is
   * not the one that was told, and nothing that is known, `isExplained`, has changed it.
   */
  isSuspect(node: number, stat: Float64Array, isExplained: boolean): boolean {
    const origins = this.#origins;
    if (!origins.differs(node, stat)) return false;
    const isKnown = isExplained || origins.isExplained(node);
    const isLinked = this.#tree.countNames(node) !== stat[Stat.nlink];
    return (origins.isInDoubt(node) || !(isKnown || isLinked)) && origins.suspect(node);
  }

  /** A file that this epoch has not read, when all are to be read. */
  #isUnread(node: number, stat: Float64Array): boolean {
    if (!this.#readsAll() || (stat[Stat.mode]! & Mode.typeMask) !== Mode.regular) return false;
    return !this.#dirty.wasRead(node) && !this.#linked.has(node);
  }

  contentDiffers(node: number, stat: Float64Array): boolean {
    const tree = this.#tree;
    return (
      (stat[Stat.mode]! & Mode.typeMask) === Mode.regular &&
      (stat[Stat.size] !== tree.size[node] || this.timesDiffer(node, stat))
    );
  }

  timesDiffer(node: number, stat: Float64Array): boolean {
    const { mtimeSec, mtimeNsec } = this.#tree;
    return stat[Stat.mtimeSec] !== mtimeSec[node] || stat[Stat.mtimeNsec] !== mtimeNsec[node];
  }

  /** `always`: also when they are the same, because what was written has changed them. */
  tellTimes(node: number, stat: Float64Array, always = false): void {
    if (!always && !this.timesDiffer(node, stat)) return this.#origins.looked(node, stat);
    const tree = this.#tree;
    // The source may have set it again after it was written, which no comparison would show.
    if (always && tree.attributes.size > 0 && this.#loseCapability(node)) {
      this.#dirty.addMetadata(node);
    }
    tree.mtimeSec[node] = stat[Stat.mtimeSec]!;
    tree.mtimeNsec[node] = stat[Stat.mtimeNsec]!;
    this.#origins.times(node, stat, always);
  }

  /** What was told of the node's content or owner has cost it its file capability. */
  #loseCapability(node: number): boolean {
    const { attributes } = this.#tree;
    const present = attributes.get(node);
    if (present === undefined) return false;
    const rest = withoutAttribute(present, capabilityName);
    if (rest.length === present.length) return false;
    if (rest.length > 0) attributes.set(node, rest);
    else attributes.delete(node);
    return true;
  }
}
