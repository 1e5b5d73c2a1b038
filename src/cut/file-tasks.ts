/**
 * `FileTasks`: the tasks that bring content over: of new files, and of files that the target has.
 *
 * Content that nobody can tell the changed part of is sent as a delta when it is long enough and
 * the target has a file to start from; such a task waits for an answer while others go on.
 */
import type { Directories } from "../descriptors/index.ts";
import { type ExtentList, rootId, type Tree } from "../tree/index.ts";
import { type Clock, type Files, Stat, statSlots } from "../world/index.ts";
import { BasisFinder } from "./basis-finder.ts";
import { contentShare } from "./content-share.ts";
import { type ContentReader, startReading, startReadingAll } from "./content-reader.ts";
import { DeltaContent, type DeltaContext, type DeltaStep } from "./delta-content.ts";
import type { DirtySet } from "./dirty-set.ts";
import { deltaLiveBytesMin, deltaSeedBytesMin, openAttemptsMax } from "./limits.ts";
import type { KeptFiles } from "./kept-files.ts";
import type { MetadataComparer } from "./metadata-comparer.ts";
import type { NamePlanner } from "./name-planner.ts";
import type { OriginTeller } from "./origin-teller.ts";
import { isGone, seenFile, type SourceFiles } from "./source-files.ts";
import { type Task, type TaskWeight, weightless, weightOf } from "./task.ts";

const noName: Uint8Array = new Uint8Array(0);

export type NewFileTask = Task & { kind: "newFile" };
export type ContentTask = Task & { kind: "content" };
/** `room`: it waits for room, `more`: for its next turn, `waiting`: for the target's answer. */
export type TaskResult = "done" | "room" | "more" | "waiting";

export interface FileTasksOptions {
  clock: Clock;
  files: Files;
  tree: Tree;
  dirty: DirtySet;
  directories: Directories;
  sources: SourceFiles;
  reader: ContentReader;
  metadata: MetadataComparer;
  origins: OriginTeller;
  planner: NamePlanner;
  kept: KeptFiles;
  delta: DeltaContext | undefined;
  deltaBytesMin?: number;
  tellsExtents?: boolean;
  /** The target is being made equal for the first time. */
  isSeeding: () => boolean;
  problem: (node: number, operation: string, result: number) => void;
  problemAt: (parent: number, name: Uint8Array, operation: string, result: number) => void;
}

export class FileTasks {
  readonly #of: FileTasksOptions;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly bases: BasisFinder;

  constructor(options: FileTasksOptions) {
    this.#of = options;
    this.bases = new BasisFinder(
      options.tree,
      options.dirty,
      options.deltaBytesMin ?? deltaSeedBytesMin,
    );
  }

  /** A task for all content of a new file, which gets its name when it is done. */
  newFile(node: number, parent: number, name: Uint8Array, stat: Float64Array): NewFileTask {
    const birth = this.#of.tree.birth[node]!;
    const size = stat[Stat.size]!;
    // A kept file is a node of the target before it has content of ours: it has a size.
    const isKept = this.#of.tree.size[node]! > 0;
    const found = !isKept && this.#isWorth(size) ? this.bases.find(node, parent, name, stat) : 0;
    const basis = isKept ? node : found;
    const delta = this.#delta(node, basis);
    return {
      kind: "newFile",
      node,
      birth,
      weight: weightOf(1, contentShare(stat)),
      parent,
      name,
      reading: startReadingAll(node),
      delta,
      fd: -1,
      seen: seenFile(stat, this.#of.clock.wallMs()),
    };
  }

  /** A new epoch has begun. */
  beginEpoch(): void {
    if (this.#sentWhole.size > 0) this.#sentWhole.clear();
  }

  /**
   * Whether this epoch has all content of the file already, and again nobody can tell what has
   * changed: what it costs to send it once more is saved by a delta to what this epoch makes of the
   * target's file, and that is the next epoch's. On a backend that tells extents it does not pay:
   * there this is rare, and the epoch would be fuzzy.
   */
  mustWait(node: number, extents: ExtentList): boolean {
    return this.#sentWhole.has(node) && extents.from(0) === 0 && extents.to(0) === Infinity;
  }

  /** Files of which all content was read in this epoch, if they are long enough for a delta. */
  readonly #sentWhole: Set<number> = new Set();

  #noteWhole(node: number): void {
    if (this.#of.tellsExtents === false && this.#isWorth(this.#of.tree.size[node]!)) {
      this.#sentWhole.add(node);
    }
  }

  /** A task for the dirty extents of a file that the target has. */
  content(
    node: number,
    extents: ExtentList,
    attempts: number,
    weight: TaskWeight = weightless,
  ): ContentTask {
    const { tree, dirty } = this.#of;
    const isUnknown = extents.from(0) === 0 && extents.to(0) === Infinity;
    const isFit = isUnknown && this.#isWorth(tree.size[node]!) && !dirty.wasRead(node);
    const delta = this.#delta(node, isFit ? node : 0);
    const birth = tree.birth[node]!;
    const reading = startReading(node, extents);
    return { kind: "content", node, birth, weight, reading, delta, attempts };
  }

  #isWorth(bytes: number): boolean {
    const { delta, isSeeding } = this.#of;
    const bytesMin = isSeeding() ? deltaSeedBytesMin : deltaLiveBytesMin;
    if (delta === undefined || bytes < (this.#of.deltaBytesMin ?? bytesMin)) return false;
    return delta.signatures.isWorth(bytes);
  }

  #delta(node: number, basis: number): DeltaContent | undefined {
    const { delta, tree } = this.#of;
    if (delta === undefined || basis === 0 || !this.#isWorth(tree.size[basis]!)) return undefined;
    return new DeltaContent(delta, node, basis);
  }

  doNewFile(task: NewFileTask): TaskResult {
    const { node, parent, name } = task;
    const { sources, metadata, planner } = this.#of;
    const opened = task.fd < 0;
    if (opened) task.fd = sources.open(parent, name, node, task.seen);
    if (task.fd < 0) return this.#giveUp(task, task.fd);
    const known = opened ? sources.stat : undefined;
    // The target's root gets a name that goes again.
    if (known !== undefined && this.#of.kept.keep(node, known)) planner.touched.add(rootId);
    const isFresh = opened && task.delta === undefined;
    const step = this.#stepDelta(task, task.fd);
    const done =
      step === "whole"
        ? this.#of.reader.read(task.reading, task.fd, isFresh ? known : undefined)
        : step;
    const result = resultOf(done);
    if (typeof result === "number") return this.#giveUp(task, result);
    if (result !== "done") return result;
    // What has changed since it was opened is told: metadata is never newer than the content.
    const stat = isFresh ? sources.stat : this.#stat;
    if (isFresh || this.#of.files.statAt(task.fd, noName, stat) === 0) {
      metadata.compare(node, stat, task.fd, noName);
    }
    metadata.tellTimes(node, stat);
    planner.place(node, parent, name);
    this.#noteWhole(node);
    sources.put(node, task.fd);
    task.fd = -1;
    return "done";
  }

  /** "whole" when there is no delta, or no longer. */
  #stepDelta(task: NewFileTask | ContentTask, fd: number): DeltaStep {
    const { delta } = task;
    if (delta === undefined) return "whole";
    if (this.#of.files.fstat(fd, this.#stat) < 0) return "whole";
    const step = delta.step(fd, this.#stat[Stat.size]!);
    if (step !== "whole") return step;
    delta.abandon();
    task.delta = undefined;
    return "whole";
  }

  #giveUp(task: NewFileTask, result: number): TaskResult {
    const { node, parent, name } = task;
    this.abandon(task);
    const gone = isGone(result);
    if (!gone) this.#of.problemAt(parent, name, "read", result);
    this.#of.planner.abandon(node);
    // Gone or replaced: its events are on the way; look at the name again all the same.
    if (gone && this.#of.tree.isLive(parent)) this.#of.dirty.addName(parent, name, 0);
    return "done";
  }

  /** Lets go of what the task holds. */
  abandon(task: NewFileTask | ContentTask): void {
    task.delta?.abandon();
    task.delta = undefined;
    if (task.kind !== "newFile" || task.fd < 0) return;
    this.#of.files.close(task.fd);
    task.fd = -1;
  }

  doContent(task: ContentTask): TaskResult {
    const { node, reading } = task;
    const { sources, reader, tree, dirty, metadata } = this.#of;
    const fd = sources.get(node);
    const step = fd < 0 ? fd : this.#stepDelta(task, fd);
    const result = resultOf(step === "whole" ? reader.read(reading, fd) : step);
    if (typeof result === "number") {
      this.#retryContent(task, result);
      return "done";
    }
    if (result !== "done") return result;
    if (reading.extents.to(0) === Infinity) this.#noteWhole(node);
    if (reading.extents.from(0) === 0 && reading.extents.to(0) === Infinity) {
      this.#of.origins.readWhole(node);
    }
    const { stat } = reader;
    if (stat[Stat.mode] !== tree.mode[node]) dirty.addMetadata(node);
    metadata.tellTimes(node, stat, true);
    return "done";
  }

  /** The file could not be opened by the name we know: it may just have been renamed or removed. */
  #retryContent(task: ContentTask, result: number): void {
    const { node, reading, attempts } = task;
    const { dirty } = this.#of;
    this.abandon(task);
    if (!isGone(result)) {
      this.#of.problem(node, "read", result);
      this.#of.origins.unreadable(node);
      return;
    }
    if (attempts >= openAttemptsMax) {
      dirty.rescan = true;
      return;
    }
    // What is known to have changed is read before the cut closes.
    dirty.conflict = true;
    for (let i = 0; i < reading.extents.count; i++) {
      const again = dirty.addExtent(node, reading.extents.from(i), reading.extents.to(i));
      again.attempts = attempts + 1;
    }
    dirty.addNamesOf(node);
  }
}

/** What a step of a delta, or a read (1 done, 0 no room), is for the task; a number is an errno. */
function resultOf(step: Exclude<DeltaStep, "whole">): TaskResult | number {
  if (typeof step !== "number" || step < 0) return step;
  return step === 0 ? "room" : "done";
}
