/**
 * `Cutter`: takes consistent cuts of the source and turns each into one epoch of operations.
 *
 * The algorithm is a seqlock over the kernel's event streams (DESIGN 2): drain; plan and read what
 * is dirty; drain again; if nothing that was read has changed since, what was read is one moment of
 * the source: COMMIT. Otherwise only what changed is read again, and its operations are added to
 * the same epoch, which is applied as a unit. After `roundCountMax` rounds the epoch is committed
 * as `fuzzy`.
 *
 * In: the dirty set, filled by capture. Out: frames through the writer. It stops wherever the
 * writer has no room and goes on from there: `step` may be called at any time.
 * The tree is the source as the target will have it once everything written is applied.
 */
import { Directories } from "../descriptors/index.ts";
import { ExtentList, rootId, type Tree } from "../tree/index.ts";
import { errnoName, type Files, Mode, statSlots } from "../world/index.ts";
import { CommitFlag, type OpWriter } from "../wire/index.ts";
import { ContentReader } from "./content-reader.ts";
import { contentShare, isCounted } from "./content-share.ts";
import { CutMoment } from "./cut-moment.ts";
import { CutMarks } from "./cut-marks.ts";
import { type CutCounters, type CutterOptions, newCounters } from "./cutter-options.ts";
import { DeletionGuard } from "./deletion-guard.ts";
import { tellDirectoryTimes } from "./directory-times.ts";
import { DirectoryScanner } from "./directory-scanner.ts";
import { DirtySet } from "./dirty-set.ts";
import { FileTasks, type TaskResult } from "./file-tasks.ts";
import type { ReadAlready } from "./lone-forecast.ts";
import { orderedBytesMax, roundCountMax } from "./limits.ts";
import { HotExtents } from "./hot-extents.ts";
import { KeptFiles } from "./kept-files.ts";
import { KnownNodes } from "./known-nodes.ts";
import { LackCheck } from "./lack-check.ts";
import type { ManifestResult } from "./manifest-taker.ts";
import { MappedStores } from "./mapped-stores.ts";
import { MetadataComparer } from "./metadata-comparer.ts";
import { MountChanges } from "./mount-changes.ts";
import { NameObserver } from "./name-observer.ts";
import { NamePlanner, type PlannedTasks } from "./name-planner.ts";
import { OriginTeller } from "./origin-teller.ts";
import { NameFilter } from "./name-filter.ts";
import { NameLook } from "./name-look.ts";
import { resolvePaths } from "./path-resolver.ts";
import { RuleFiles } from "./rule-files.ts";
import { SourceFiles } from "./source-files.ts";
import { TaskQueue } from "./task-queue.ts";
import { forgetReads } from "./unvalidated.ts";
import { placeOf, type Task, type TaskWeight, weightless, weightOf } from "./task.ts";

/** Tasks done, and entries scanned, in one step before the event loop has its turn. */
const taskCountPerStep = 64;
const entryCountPerStep = 2048;

const noName: Uint8Array = new Uint8Array(0);

export class Cutter {
  readonly dirty: DirtySet;
  readonly stores: MappedStores;
  readonly rules: RuleFiles;
  readonly marks: CutMarks = new CutMarks();
  /** Its drains are the caller's to tell. */
  readonly moment: CutMoment;
  readonly counters: CutCounters = newCounters();
  readonly #options: CutterOptions;
  readonly #files: Files;
  readonly #tree: Tree;
  readonly #writer: OpWriter;
  readonly #directories: Directories;
  readonly sources: SourceFiles;
  readonly #metadata: MetadataComparer;
  readonly #filter: NameFilter;
  readonly #look: NameLook;
  readonly #planner: NamePlanner;
  readonly #known: KnownNodes;
  readonly #scanner: DirectoryScanner;
  readonly #observer: NameObserver;
  /** Throws, out of `step`, when more is about to be deleted than a person was asked for. */
  readonly guard: DeletionGuard;
  readonly #reader: ContentReader;
  readonly #fileTasks: FileTasks;
  readonly #hot: HotExtents | undefined;
  readonly #lacks: LackCheck;
  readonly #mountChanges: MountChanges | undefined;
  readonly kept: KeptFiles;
  /** What the target remembers of our inodes. */
  readonly origins: OriginTeller;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly #tasks: TaskQueue = new TaskQueue();
  #round = 0;
  #liveWanted = false;
  /** Monotonic µs of the oldest change in the present epoch, for lag; Infinity when unknown. */
  epochOldestUs = Infinity;
  /** Set while a round is only repeated. */
  again: ReadAlready | undefined;
  onCommit: (epoch: number, live: boolean, oldestUs: number, wallMs: number) => void = () => {};

  constructor(options: CutterOptions) {
    this.#options = options;
    this.moment = new CutMoment(options.clock.wallMs());
    this.#files = options.files;
    this.#tree = options.tree;
    this.#writer = options.writer;
    this.stores = new MappedStores(options.files, options.storesCleaned);
    const onStore = (node: number, from: number, to: number): void =>
      this.stores.add(node, from, to, options.clock.monotonicUs());
    this.dirty = new DirtySet(options.tree, onStore, options.unknownStores);
    if (options.validatesCuts === false) forgetReads(this.dirty);
    this.#directories = new Directories(options.files, options.rootFd, options.tree);
    this.sources = new SourceFiles(options.files, options.tree, this.#directories);
    const problem = this.#problem.bind(this);
    this.origins = new OriginTeller(options.tree, options.writer);
    this.#metadata = new MetadataComparer({
      ...options,
      dirty: this.dirty,
      origins: this.origins,
      problem,
      readsAll: () => this.#liveWanted && (options.checksum ?? false),
    });
    this.kept = new KeptFiles(options.tree, options.writer);
    this.guard = new DeletionGuard(options);
    const shared = { ...options, dirty: this.dirty, directories: this.#directories };
    this.rules = new RuleFiles(shared);
    this.#filter = new NameFilter(shared, this.rules, (node) => this.#planner.release(node));
    this.#look = new NameLook({ ...shared, filter: this.#filter });
    this.#planner = new NamePlanner({
      ...shared,
      guard: this.guard,
      filter: this.#filter,
      look: this.#look,
      forget: (node) => this.#forget(node),
      tasks: this.#makePlannedTasks(),
    });
    this.#observer = new NameObserver({
      ...shared,
      planner: this.#planner,
      look: this.#look,
      rules: this.rules,
      problem,
    });
    this.#known = new KnownNodes({
      ...shared,
      metadata: this.#metadata,
      moves: this.#planner.moves,
      planExtent: this.#planExtent.bind(this),
      problem,
    });
    this.#scanner = new DirectoryScanner({
      ...shared,
      metadata: this.#metadata,
      filter: this.#filter,
      look: this.#look,
      planner: this.#planner,
      looked: this.#observer.looked,
      counters: this.counters,
      planScan: (node, deep, attempts) => this.#planScan(node, deep, attempts),
      planCompare: (node, stat) => this.#planCompare(node, stat),
      problem,
    });
    const { files, tree, writer, hasRoom } = options;
    this.#reader = new ContentReader(files, tree, writer, this.dirty, hasRoom);
    this.#fileTasks = this.#makeFileTasks(problem);
    this.#mountChanges = this.#makeMountChanges();
    this.#hot = this.#makeHot();
    this.#lacks = new LackCheck({ ...options, dirty: this.dirty, moment: this.moment });
  }

  #makeHot(): HotExtents | undefined {
    const { readHot, followed } = this.#options;
    // What is mounted and followed must be looked at with every round.
    if (readHot === undefined || followed !== undefined) return undefined;
    const { dirty, sources, rules, origins, counters } = this;
    const own = { dirty, sources, rules, origins, counters, metadata: this.#metadata };
    return new HotExtents({ ...this.#options, ...own, readHot });
  }

  #makePlannedTasks(): PlannedTasks {
    return {
      newFile: (node, parent, name, stat) =>
        this.#tasks.plan(this.#fileTasks.newFile(node, parent, name, stat)),
      claimKept: (stat) => this.kept.claim(stat),
      moved: (node, parent, name) => {
        this.#mountChanges?.moving(node, parent, name);
        this.#fileTasks.bases.left(parent, name, node);
      },
      linkLater: (node, parent, name) => this.#planLink(node, parent, name),
      scan: (node, deep) => this.#planScan(node, deep, 0),
      compare: (node, stat) => this.#planCompare(node, stat),
    };
  }

  #makeMountChanges(): MountChanges | undefined {
    const { followed } = this.#options;
    if (followed === undefined) return undefined;
    const own = { dirty: this.dirty, directories: this.#directories, sources: this.sources };
    const isAtRest = (): boolean => this.#tasks.isEmpty;
    return new MountChanges({ ...this.#options, followed, ...own, filter: this.#filter, isAtRest });
  }

  #makeFileTasks(problem: (node: number, operation: string, result: number) => void): FileTasks {
    const { signatures } = this.#options;
    const isSeeding = (): boolean => this.#liveWanted;
    const [dirty, reader] = [this.dirty, this.#reader];
    return new FileTasks({
      ...this.#options,
      dirty,
      directories: this.#directories,
      sources: this.sources,
      reader,
      metadata: this.#metadata,
      origins: this.origins,
      planner: this.#planner,
      kept: this.kept,
      delta:
        signatures === undefined
          ? undefined
          : { ...this.#options, dirty, reader, signatures, isSeeding },
      isSeeding,
      problem,
      problemAt: (parent, name, operation, result) =>
        this.#problem(parent, operation, result, name),
    });
  }

  /** Of the source, as the cut keeps them open; `sources`, too. */
  get directories(): Directories {
    return this.#directories;
  }

  get isIdle(): boolean {
    return this.#tasks.isEmpty && this.dirty.isEmpty && this.#writer.operationCount === 0;
  }

  /** Of the last comparison of everything: names of files and bytes of content done with. */
  get progress(): { filesDone: number; contentBytes: number } {
    const filesDone = Math.max(0, this.#scanner.foundFiles - this.#tasks.fileCount);
    const contentBytes = Math.max(0, this.#scanner.foundBytes - this.#tasks.byteCount);
    return { filesDone, contentBytes };
  }

  /**
   * Compares the source with the tree; the epoch that ends it is marked live. What the manifest has
   * shown to be equal is not read again, unless all content is to be.
   */
  begin(manifest?: ManifestResult): void {
    this.#liveWanted = true;
    const moved = manifest?.moved ?? [];
    this.#planner.moves.expect(moved);
    this.origins.begin(this.#options.clock.wallMs(), moved);
    const rest = this.#options.checksum === true ? "all" : (manifest?.rest ?? "all");
    if (!this.dirty.release() || rest === "all") {
      this.dirty.rescan = true;
    } else {
      this.#scanner.foundFiles = manifest!.equalFiles;
      this.#scanner.foundBytes = manifest!.equalBytes;
      if (rest === "different") this.dirty.addScan(rootId, false, 0);
      this.dirty.addMetadata(rootId);
    }
    this.guard.begin();
    if (this.#options.signatures !== undefined) this.#fileTasks.bases.learn();
  }

  /**
   * Works until nothing is dirty or there is no room. True when it stopped only to take a breath.
   */
  step(): boolean {
    const scannedMax = this.counters.filesScanned + entryCountPerStep;
    for (let i = 0; i < taskCountPerStep && this.counters.filesScanned < scannedMax; i++) {
      if (!this.#options.hasRoom()) return false;
      const task = this.#tasks.next();
      if (task !== undefined) {
        const result = this.#do(task);
        if (result === "room") return false;
        if (result === "more") return true;
        continue;
      }
      if (!this.#tasks.isEmpty) return false;
      this.#mountChanges?.rest();
      if (!this.#next()) return false;
    }
    return true;
  }

  /** It can go on only when the target has answered. */
  get isWaiting(): boolean {
    return this.#tasks.isWaiting;
  }

  /** Closes descriptors that have rested. */
  closeIdle(): void {
    if (!this.#tasks.isEmpty) return;
    this.#lacks.rest();
    this.sources.clear();
    this.#directories.clear();
  }

  close(): void {
    for (const task of this.#tasks.takeAll()) this.#letGo(task);
    this.#mountChanges?.close();
    this.dirty.leave(this.stores.nodes);
    this.sources.clear();
    this.#directories.clear();
  }

  /** Plans the next round, or commits. False when there is nothing to do. */
  #next(): boolean {
    if (this.#round > 0 && !this.kept.isEmpty) {
      // All new files are known: what is left was of files that have gone.
      this.kept.dropAll();
      this.#planner.touched.add(rootId);
    }
    if (this.#planner.limboCount + this.#planner.touched.size + this.#observer.looked.size > 0) {
      this.#endRound();
      return true;
    }
    const isOpen = this.#writer.operationCount > 0 || (this.#liveWanted && !this.dirty.rescan);
    if (isOpen) {
      this.#options.drain(this.dirty);
      if (!this.#lacks.isTorn(this.#round) || this.#round >= roundCountMax) return this.#commit();
      this.dirty.conflict = false;
      if (this.#closeHot()) {
        this.counters.rounds++;
        return true;
      }
    } else {
      // What was planned has made no operation: no epoch has begun.
      if (this.#round > 0) this.#beginEpoch();
      if (this.dirty.isEmpty && this.#hot?.rest() !== true) {
        this.marks.rested(this.counters.epochs);
        return false;
      }
      this.marks.done(this.counters.epochs, this.dirty);
    }
    this.#plan();
    return true;
  }

  /** Commits with what is dirty, if that can be read at one moment. */
  #closeHot(): boolean {
    const wallMs = this.#options.clock.wallMs();
    if (this.again !== undefined || this.#hot?.close() !== true) return false;
    this.moment.heardMs = wallMs;
    this.moment.planned();
    this.epochOldestUs = Math.min(this.epochOldestUs, this.dirty.takeOldestUs());
    if (this.dirty.isEmpty && this.#postponed.length === 0) {
      this.marks.planned(this.dirty.putBackCount);
    }
    this.#lacks.closed();
    return this.#commit();
  }

  #commit(): true {
    if (this.guard.hasRemoved) this.guard.checkEpoch();
    const postponed = this.#postponed;
    const fuzzy = this.dirty.conflict || this.#lacks.isLacking || postponed.length > 0;
    const live = this.#liveWanted && !this.dirty.rescan;
    const wallMs = this.again?.wallMs ?? this.moment.take(!fuzzy && this.dirty.isEmpty);
    this.origins.commit(this.dirty, this.stores, postponed, wallMs);
    const epoch = ++this.counters.epochs;
    if (fuzzy) this.counters.fuzzyEpochs++;
    this.counters.operations += this.#writer.operationCount;
    const flags = (fuzzy ? CommitFlag.fuzzy : 0) | (live ? CommitFlag.live : 0);
    this.#writer.commit(epoch, flags, wallMs);
    if (live) {
      this.#liveWanted = false;
      this.#fileTasks.bases.forgetKnown();
      this.guard.live(this.#options.clock.monotonicUs());
    }
    this.onCommit(epoch, live, this.epochOldestUs, wallMs);
    this.marks.done(this.counters.epochs, this.dirty);
    this.epochOldestUs = Infinity;
    this.#beginEpoch();
    for (const node of postponed) {
      if (this.#tree.isLive(node)) this.dirty.addExtent(node, 0, Infinity);
    }
    postponed.length = 0;
    return true;
  }

  #beginEpoch(): void {
    this.#round = 0;
    this.dirty.beginEpoch();
    this.#lacks.beginEpoch();
    this.#fileTasks.beginEpoch();
  }

  /** Nodes whose content is to be read in the next epoch. */
  readonly #postponed: number[] = [];

  #plan(): void {
    const { dirty } = this;
    this.#round++;
    this.#planner.beginRound();
    this.counters.rounds++;
    this.epochOldestUs = Math.min(this.epochOldestUs, dirty.oldestUs);
    this.#lacks.isPart = this.#planOrdered();
    if (this.#lacks.isPart) return;
    dirty.takeOldestUs();
    this.moment.planned();
    if (this.#readLone()) return this.marks.planned(dirty.putBackCount);
    if (this.#hot?.isWarm === true && this.#round === 1 && this.#closeHot()) return;
    resolvePaths(this.#files, this.#tree, this.#directories, this.#options.rootPath, dirty, () => {
      if (this.#mountChanges?.scanUnheard() !== true) dirty.rescan = true;
    });
    // Before names: what comes with a rule file is judged by it.
    this.rules.hear(dirty.nodes());
    const slots = this.#observer.observe();
    if (slots.length > 0) this.#planner.plan(slots, false);
    if (dirty.rescan) {
      dirty.rescan = false;
      if (dirty.takeMissed()) this.origins.missed();
      this.counters.rescans++;
      this.#scanner.foundFiles = 0;
      this.#scanner.foundBytes = 0;
      this.#planScan(rootId, true, 0);
      if (this.#files.statAt(this.#options.rootFd, noName, this.#stat) === 0) {
        this.#planCompare(rootId, this.#stat.slice());
      }
    }
    for (const [node, { deep, attempts }] of dirty.takeScans()) {
      this.#planScan(node, deep, attempts);
    }
    this.#planNodes();
    this.#tasks.putFirst();
    dirty.clearMoved();
    if (dirty.isEmpty && this.#postponed.length === 0) this.marks.planned(dirty.putBackCount);
  }

  /** A part of a file that is being written in order, an epoch of its own. */
  #planOrdered(): boolean {
    // Stores are told late: they may be older than what was written.
    if (this.stores.count > 0 || this.marks.isAnySet || this.#liveWanted) return false;
    const bytes = this.#options.orderedBytes ?? orderedBytesMax;
    const part = this.dirty.takeOrdered(bytes, this.moment.heardMs, this.#round > 1);
    if (part === undefined) return false;
    this.moment.plannedPart(part.wholeMs);
    const { node, from } = part;
    if (this.rules.isRuleFile(node)) this.rules.fileChanged(node);
    if (part.isCut) this.#reader.cut(node, from);
    this.#planExtent(node, from, part.to);
    this.#tasks.putFirst();
    return true;
  }

  /** The most frequent round by far is one small write: it is read at once, without a task. */
  #readLone(): boolean {
    const { dirty } = this;
    const node = dirty.loneNode;
    if (node === 0 || !this.#tree.isLive(node)) return false;
    if ((this.#tree.mode[node]! & Mode.typeMask) !== Mode.regular) return false;
    if (this.rules.isRuleFile(node)) return false;
    const fd = this.sources.get(node);
    const { loneFrom, loneTo } = dirty;
    if (fd < 0 || !this.#reader.readSmall(node, loneFrom, loneTo, fd, this.again)) return false;
    dirty.clearLone();
    dirty.clearMoved();
    this.#metadata.tellTimes(node, this.#reader.stat, true);
    return true;
  }

  #planScan(node: number, deep: boolean, attempts: number): void {
    this.#tasks.plan({ kind: "scan", ...this.#idOf(node), weight: weightless, deep, attempts });
  }

  #planLink(node: number, parent: number, name: Uint8Array): void {
    const weight = weightOf(1, 0);
    this.#tasks.plan({ kind: "link", ...this.#idOf(node), weight, parent, name });
  }

  #planCompare(node: number, stat: Float64Array): void {
    const weight = isCounted(stat) ? weightOf(1, contentShare(stat)) : weightless;
    this.#tasks.plan({ kind: "compare", ...this.#idOf(node), weight, stat });
  }

  #planContent(
    node: number,
    extents: ExtentList,
    attempts: number,
    weight: TaskWeight = weightless,
  ): void {
    if (this.#fileTasks.mustWait(node, extents)) this.#postponed.push(node);
    else this.#tasks.plan(this.#fileTasks.content(node, extents, attempts, weight));
  }

  #idOf(node: number): { node: number; birth: number } {
    return { node, birth: this.#tree.birth[node]! };
  }

  #planNodes(): void {
    for (const [node, dirty] of this.dirty.takeNodes()) {
      if (!this.#tree.isLive(node) || this.#planner.putsOff(node, dirty)) continue;
      const isFile = (this.#tree.mode[node]! & Mode.typeMask) === Mode.regular;
      if (isFile && this.#round > 1 && this.#hot?.putOff(node, dirty) === true) continue;
      if (isFile && !dirty.extents.isEmpty) {
        this.#planContent(node, dirty.extents, dirty.attempts);
      }
      if (dirty.metadata || (dirty.closed && dirty.extents.isEmpty)) this.#known.look(node, dirty);
    }
  }

  #planExtent(node: number, from: number, to: number, weight?: TaskWeight): void {
    const extents = new ExtentList();
    extents.add(from, to);
    this.#planContent(node, extents, 0, weight);
  }

  /** No task is left: what was found nowhere goes, and directories get their times back. */
  #endRound(): void {
    this.#planner.bury();
    const shared = { ...this.#options, dirty: this.dirty, directories: this.#directories };
    const own = { metadata: this.#metadata, stat: this.#stat };
    tellDirectoryTimes({ ...shared, ...own }, this.#planner.touched, this.#observer.looked);
  }

  /** Does a task, or a part of it. */
  #do(task: Task): TaskResult {
    this.#mountChanges?.settle();
    if (!this.#tree.isSame(task.node, task.birth) || this.#filter.isHidden(placeOf(task))) {
      this.#tasks.pop();
      this.#drop(task);
      return "done";
    }
    if (task.kind === "newFile" || task.kind === "content") {
      const result =
        task.kind === "newFile" ? this.#fileTasks.doNewFile(task) : this.#fileTasks.doContent(task);
      if (result === "done") this.#tasks.pop();
      else this.#tasks.advance(task);
      if (result === "waiting") this.#tasks.putOff();
      return result;
    }
    this.#tasks.pop();
    if (task.kind === "scan") this.#scanner.scan(task.node, task.deep, task.attempts);
    else if (task.kind === "compare") this.#known.compare(task.node, task.stat, task.weight);
    else this.#link(task.node, task.parent, task.name);
    this.#tasks.putFirst();
    return "done";
  }

  #letGo(task: Task): void {
    if (task.kind === "newFile" || task.kind === "content") this.#fileTasks.abandon(task);
  }

  /** The node has left the tree, or is ignored now. What waited for it is looked at anew. */
  #drop(task: Task): void {
    this.#letGo(task);
    if (task.kind !== "newFile" && task.kind !== "link") return;
    if (task.kind === "newFile" && this.#tree.isSame(task.node, task.birth)) {
      this.#planner.abandon(task.node);
    }
    if (this.#tree.isLive(task.parent)) this.dirty.addName(task.parent, task.name, 0);
  }

  #link(node: number, parent: number, name: Uint8Array): void {
    if (!this.#tree.isLive(parent)) return;
    // The file that was to be linked has no name yet: look at the name anew.
    if (this.#tree.firstName[node] === 0) {
      this.dirty.addName(parent, name, 0);
    } else {
      this.#planner.link(node, parent, name);
    }
  }

  #forget(node: number): void {
    const tree = this.#tree;
    if (tree.isDirectory(node) && tree.ino[node] !== 0) {
      this.#options.unwatchDirectory(tree.ino[node]!, tree.gen[node]!);
    }
    this.#observer.looked.delete(node);
    this.sources.forget(node);
    this.#directories.forget(node);
    this.origins.forget(node);
    this.#hot?.forget(node);
    this.dirty.forget(node);
    this.stores.forget(node);
    this.rules.forget(node);
  }

  /** Cleans mapped files that have rested and marks what must be read. */
  settleStores(nowUs: number): void {
    this.stores.settle(
      nowUs,
      (node) => this.sources.getNamed(node),
      (node, from, to) => this.dirty.addChanged(node, from, to),
    );
  }

  /** `name`: of a child that is no node yet. */
  #problem(node: number, operation: string, result: number, name?: Uint8Array): void {
    const path = name === undefined ? this.#tree.path(node) : this.#tree.childPath(node, name);
    this.#options.problems.add({ side: "source", path, operation, errno: errnoName(result) });
  }
}
