/**
 * `DirectoryScanner`: looks at everything in a directory of the source and gives what differs from
 * the tree to the planner; and what may differ in metadata or content to the cut, as tasks.
 */
import { type Directories, DirectoryEntries } from "../descriptors/index.ts";
import { type Tree } from "../tree/index.ts";
import { type Files, Open, Stat, statSlots } from "../world/index.ts";
import { contentShare, isCounted } from "./content-share.ts";
import type { CutCounters } from "./cutter-options.ts";
import type { DirtySet } from "./dirty-set.ts";
import { openAttemptsMax } from "./limits.ts";
import type { MetadataComparer } from "./metadata-comparer.ts";
import type { NameFilter } from "./name-filter.ts";
import type { NameLook } from "./name-look.ts";
import type { NamePlanner } from "./name-planner.ts";
import type { Slot } from "./slot.ts";
import { isGone } from "./source-files.ts";

const noName: Uint8Array = new Uint8Array(0);

export interface DirectoryScannerOptions {
  files: Files;
  rootFd: number;
  tree: Tree;
  dirty: DirtySet;
  directories: Directories;
  metadata: MetadataComparer;
  filter: NameFilter;
  look: NameLook;
  planner: NamePlanner;
  /** Directories whose times are to be compared when the round ends. */
  looked: Set<number>;
  counters: CutCounters;
  watchDirectory: (fd: number, ino: number, gen: number) => number;
  planScan: (node: number, deep: boolean, attempts: number) => void;
  planCompare: (node: number, stat: Float64Array) => void;
  problem: (node: number, operation: string, result: number) => void;
}

export class DirectoryScanner {
  readonly #of: DirectoryScannerOptions;
  readonly #entries: DirectoryEntries;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  /** Names of files that scans have found, and bytes of their content; for progress. */
  foundFiles = 0;
  foundBytes = 0;

  constructor(options: DirectoryScannerOptions) {
    this.#of = options;
    this.#entries = new DirectoryEntries(options.files);
  }

  /** `deep`: known subdirectories too. `attempts`: times that it could not be opened. */
  scan(node: number, deep: boolean, attempts: number): void {
    const { tree, look, filter, metadata, counters, planner } = this.#of;
    const { rules } = filter;
    const fd = this.#open(node, deep, attempts);
    if (fd < 0) return;
    const slots: Slot[] = [];
    const seen = new Set<number>();
    const subdirectories: number[] = [];
    let ruleFile: Float64Array | undefined;
    let files = 0;
    let bytes = 0;
    let used: number;
    do {
      used = this.#entries.next(fd, (name, stat) => {
        counters.filesScanned++;
        const id = tree.names.find(node, name);
        if (id !== 0) seen.add(id);
        if (look.isReserved(node, name)) return;
        if (rules.isRuleName(name)) ruleFile = stat.slice();
        look.checkMountPoint(id, node, stat);
        if (filter.isActive) {
          const verdict = filter.judge(node, name, stat);
          if (verdict === "gone" && id !== 0) seen.delete(id);
          if (verdict !== "see") return;
        }
        if (!look.isOurs(stat, node, name)) return;
        if (isCounted(stat)) {
          files++;
          bytes += contentShare(stat);
        }
        const known = id === 0 ? 0 : tree.names.node[id]!;
        if (known !== 0 && tree.ino[known] === 0 && metadata.adopt(known, id, stat)) return;
        const same =
          known !== 0 && tree.ino[known] === stat[Stat.ino] && tree.gen[known] === stat[Stat.gen];
        if (!same || planner.moves.isExpected(known)) {
          slots.push({ parent: node, name: name.slice(), stat: stat.slice() });
          return;
        }
        if (!metadata.isEqual(known, stat)) this.#of.planCompare(known, stat.slice());
        if (deep && tree.isDirectory(known)) subdirectories.push(known);
      });
    } while (used > 0);
    const isRuled = used === 0 && rules.scanned(node, fd, ruleFile);
    if (fd !== this.#of.rootFd) this.#of.files.close(fd);
    // What was seen was judged without the rules that were found.
    if (isRuled) return this.#of.planScan(node, true, attempts);
    if (used < 0) {
      // An incomplete list must not be taken for deletions.
      if (isGone(used)) this.#of.dirty.addNamesOf(node);
      else this.#of.problem(node, "scan", used);
      return;
    }
    this.foundFiles += files;
    this.foundBytes += bytes;
    for (let id = tree.firstChild[node]!; id !== 0; id = tree.names.nextSibling[id]!) {
      if (seen.has(id)) continue;
      const slot = look.observe(node, tree.names.bytes(id).slice());
      if (slot !== undefined) slots.push(slot);
    }
    planner.plan(slots, deep);
    for (const directory of subdirectories) this.#of.planScan(directory, deep, 0);
  }

  /** A descriptor of its own at the start of the directory, watched before it is read. */
  #open(node: number, deep: boolean, attempts: number): number {
    const { files, tree, dirty, problem } = this.#of;
    const at = this.#of.directories.get(node);
    const fd = at < 0 ? at : files.openBeneath(at, noName, Open.read | Open.directory, 0);
    if (fd < 0) {
      if (!isGone(fd)) {
        problem(node, "open", fd);
      } else if (attempts < openAttemptsMax) {
        dirty.addNamesOf(node);
        dirty.addScan(node, deep, attempts + 1);
      } else {
        dirty.rescan = true;
      }
      return fd;
    }
    const stat = this.#stat;
    const result = files.statAt(fd, noName, stat);
    if (result === 0) tree.bindInode(node, stat[Stat.ino]!, stat[Stat.gen]!);
    const watched = this.#of.watchDirectory(fd, stat[Stat.ino]!, stat[Stat.gen]!);
    if (watched < 0) problem(node, "watch", watched);
    // Names that came and went before it was watched left nothing behind but its time.
    const again = files.statAt(fd, noName, stat);
    if (again === 0 && this.#of.metadata.timesDiffer(node, stat)) this.#of.looked.add(node);
    return fd;
  }
}
