/**
 * `SourceSurvey`: what the source has, read once while the target reads what it has, so that the
 * two can be compared by digests before a single entry has been told.
 *
 * What is equal then is not read again: whatever changes from the beginning of the survey on is
 * held back by the dirty set, until the tree has been taken. So directories are watched before they
 * are read, as in a scan.
 * Left out is what the cut leaves out: ignored entries, other mounts, reserved names. A directory
 * that has any of these, or a rule file, or that cannot be read, has no digest, because the cut has
 * something to learn from it. In steps. Memory: a tree, until the manifest has been taken.
 */
import type { FollowedMounts } from "../capture/index.ts";
import { TreeScan } from "../descriptors/index.ts";
import { type IgnoreSettings, RuleChain } from "../ignore/index.ts";
import { DirectoryDigests, Origins, rootId, Tree } from "../tree/index.ts";
import { type Files, Mode, Stat, statSlots } from "../world/index.ts";
import { isHoldName } from "../wire/index.ts";
import { latin1 } from "./dirty-set.ts";
import { type FolderRules, folderRules, isIgnoredIn, isRuleFileName } from "./folder-rules.ts";

const noName: Uint8Array = new Uint8Array(0);

export interface SourceSurveyOptions {
  readonly files: Files;
  readonly rootFd: number;
  /** No rules when absent. */
  readonly ignore?: IgnoreSettings;
  /** Filesystems below the root that are mirrored, too; none when absent. */
  readonly followed?: FollowedMounts;
  readonly sha256: (bytes: Uint8Array) => Uint8Array;
  /** The target remembers them: they are part of what is compared. */
  readonly hasOrigins: boolean;
  /** To be called before a directory is read; 0, or a negative errno. */
  readonly watchDirectory: (fd: number, ino: number, gen: number) => number;
}

export class SourceSurvey {
  readonly tree: Tree = new Tree();
  readonly digests: DirectoryDigests;
  readonly origins: Origins | undefined;
  /** It has ended, complete or not. */
  isOver = false;
  isComplete = false;
  readonly #of: SourceSurveyOptions;
  readonly #scan: TreeScan | undefined;
  /** Of the directories on the way to the one that is being read, where there are rules. */
  readonly #rules: Map<number, FolderRules> = new Map();
  readonly #base: RuleChain;
  /** Directories from which the cut has something to learn. */
  readonly #strange: Set<number> = new Set();
  readonly #stat: Float64Array = new Float64Array(statSlots);
  #mount = 0;

  constructor(options: SourceSurveyOptions) {
    this.#of = options;
    const { files, rootFd, ignore } = options;
    this.#base = new RuleChain(ignore?.first ?? [], ignore?.last ?? []);
    this.origins = options.hasOrigins ? new Origins() : undefined;
    this.digests = new DirectoryDigests(this.tree, options.sha256, this.origins);
    const stat = this.#stat;
    if (files.statAt(rootFd, noName, stat) < 0) {
      this.stop();
      return;
    }
    this.#mount = stat[Stat.mount]!;
    this.#scan = new TreeScan(files, rootFd, this.tree, stat, {
      admits: (parent, name, one) => this.#admits(parent, name, one),
      entering: (directory, dirFd) => this.#enter(directory, dirFd),
      entered: (node, _, __, one) => this.#bind(node, one),
      left: (directory, first, end, isWhole) => {
        this.#rules.delete(directory);
        this.digests.add(directory, first, end, !isWhole || this.#strange.delete(directory));
      },
      unreadable: () => {},
    });
  }

  /** Reads one batch of entries; false when it is over. */
  step(): boolean {
    if (this.isOver) return false;
    if (this.#scan!.step()) return true;
    this.isComplete = true;
    this.isOver = true;
    return false;
  }

  stop(): void {
    this.isOver = true;
    this.#scan?.close();
  }

  #enter(directory: number, dirFd: number): void {
    const { ino, gen } = this.tree;
    const watched = this.#of.watchDirectory(dirFd, ino[directory]!, gen[directory]!);
    if (watched < 0) this.#strange.add(directory);
    // Names that came and went before it was watched left nothing behind but its time.
    const again = this.#of.files.statAt(dirFd, noName, this.#stat);
    if (again === 0) this.tree.setMetadata(directory, this.#stat);
    else this.#strange.add(directory);
    const { files, ignore } = this.#of;
    const { tree } = this;
    const above = this.#rules.get(tree.names.parent[tree.firstName[directory]!]!);
    const chain = above?.chain ?? this.#base;
    const components = (): readonly Uint8Array[] => tree.pathComponents(directory) ?? [];
    const rules = folderRules(files, dirFd, chain, ignore, components);
    if (!rules.chain.isEmpty) this.#rules.set(directory, rules);
  }

  #pathOf(directory: number): string {
    const components = this.tree.pathComponents(directory) ?? [];
    return components.map((name) => `${latin1(name)}/`).join("");
  }

  #bind(node: number, stat: Float64Array): void {
    const [ino, gen] = [stat[Stat.ino]!, stat[Stat.gen]!];
    this.tree.bindInode(node, ino, gen);
    const isFile = (stat[Stat.mode]! & Mode.typeMask) === Mode.regular;
    const ctimeSec = isFile ? stat[Stat.ctimeSec]! : 0;
    const ctimeNsec = isFile ? stat[Stat.ctimeNsec]! : 0;
    this.origins?.set(node, { ino, gen, ctimeSec, ctimeNsec });
  }

  #admits(parent: number, name: Uint8Array, stat: Float64Array): boolean {
    const isAdmitted = this.#isMirrored(parent, name, stat);
    if (!isAdmitted || isRuleFileName(name)) this.#strange.add(parent);
    return isAdmitted;
  }

  #isMirrored(parent: number, name: Uint8Array, stat: Float64Array): boolean {
    if (parent === rootId && isHoldName(name)) return false;
    const { followed } = this.#of;
    if (followed === undefined && stat[Stat.mount] !== this.#mount) return false;
    if (followed?.hasGone && followed.covers(this.#pathOf(parent) + latin1(name))) return false;
    // Only what is not ignored is followed.
    return !this.#isIgnored(parent, name, stat) && followed?.admits(stat) !== false;
  }

  #isIgnored(parent: number, name: Uint8Array, stat: Float64Array): boolean {
    const rules = this.#rules.get(parent);
    const isFolder = (stat[Stat.mode]! & Mode.typeMask) === Mode.directory;
    return rules !== undefined && isIgnoredIn(rules, this.#of.ignore, name, isFolder);
  }
}
