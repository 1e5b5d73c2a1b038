/**
 * `OriginMemory`: keeps the target's index true, off the hot path.
 *
 * In: what a scan finds (`recall`); nodes that the applier has marked, and epochs that are whole.
 * Out: the origins that are known, for the manifest; records, written a while after the node has
 * come to rest, and at the end of the session. A record is of the target's file as it lies there:
 * it is written only when that is what the tree says, and believed only while it is just so.
 *
 * Limits: `recordCountPerTurn` nodes are looked at before the event loop has its turn.
 * Whatever goes wrong here is said once, and costs the next start a comparison by size and time.
 */
import { Directories } from "../descriptors/index.ts";
import { type Origins, rootId, type Tree } from "../tree/index.ts";
import {
  errnoName,
  type Files,
  Mode,
  Stat,
  statSlots,
  type Timer,
  type World,
} from "../world/index.ts";
import type { ChangedNodes } from "./changed-nodes.ts";
import { OriginFile, type OriginPlace } from "./origin-file.ts";

/** Between two looks at what has come to rest. */
export const flushMs = 2000;
const recordCountPerTurn = 64;
/** The kernel's coarse clock: a change this soon after another may not show in a ctime. */
const coarseMs = 20;
/** Looks at the end: a timer may ring a bit early. */
const closeTries = 3;
/** A file that changed so shortly before its cut may have been in the middle of a change. */
const middleMs = 1000;
const noName: Uint8Array = new Uint8Array(0);

export interface OriginMemoryOptions {
  files: Files;
  rootFd: number;
  tree: Tree;
  /** Whose nodes these are. */
  applier: { readonly origins: Origins; readonly changed: ChangedNodes };
  world: World;
  place: OriginPlace;
}

export class OriginMemory {
  readonly #of: OriginMemoryOptions;
  readonly #changed: ChangedNodes;
  readonly #directories: Directories;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly #rootStat: Float64Array = new Float64Array(statSlots);
  #file: OriginFile | undefined;
  /** Slot of each node, plus one. */
  #slotOf: Uint32Array = new Uint32Array(64);
  #timer: Timer | undefined;
  /** Of the last look: what was changed before has rested by the next. */
  #restedEnd = 0;
  /** Wall clock of the first cut since the last look; 0 when there was none. */
  #firstWallMs = 0;
  #pass: Promise<void> | undefined;
  /** Some node had changed too shortly before it was to be recorded. */
  #isSomeYoung = false;
  #isClosed = false;

  constructor(options: OriginMemoryOptions) {
    this.#of = options;
    const { files, rootFd, tree, applier } = options;
    this.#changed = applier.changed;
    this.#directories = new Directories(files, rootFd, tree);
    this.#file = OriginFile.open(options.place, (said) => this.#complain(said));
    this.#changed.isOn = this.#file !== undefined;
    files.identifyAt(rootFd, noName, this.#rootStat);
  }

  /** There is an index. */
  get isOn(): boolean {
    return this.#file !== undefined;
  }

  /** A scan has read this node. What it was at the source is known if it is as it was then. */
  recall(node: number, stat: Float64Array): void {
    const slot = this.#file?.find(stat) ?? -1;
    if (slot < 0) return;
    this.#setSlot(node, slot);
    this.#of.applier.origins.set(node, this.#file!.originAt(slot));
  }

  /** The scan has ended. */
  scanned(): void {
    this.#file?.scanned();
  }

  /** An epoch, cut at this time of the source's clock, has been applied as a whole. */
  committed(wallMs: number): void {
    const changed = this.#changed;
    if (!changed.isOn) return;
    changed.commit();
    if (this.#firstWallMs === 0) this.#firstWallMs = wallMs;
    if (this.#timer === undefined && changed.count > 0) this.#arm();
  }

  #arm(): void {
    this.#timer = this.#of.world.clock.after(flushMs, () => {
      this.#timer = undefined;
      if (this.#isClosed) return;
      this.#pass ??= this.#look().finally(() => {
        this.#pass = undefined;
        if (this.#changed.count > 0 && !this.#isClosed) this.#arm();
      });
    });
  }

  async #look(): Promise<void> {
    const changed = this.#changed;
    const { rested } = changed.take(this.#restedEnd, this.#restedEnd);
    this.#restedEnd = changed.epoch;
    this.#firstWallMs = 0;
    await this.#record(rested, Infinity);
  }

  /** Records what is left of whole epochs. Not `isOrderly`: the source has not said its last. */
  async close(isOrderly: boolean): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#pass;
    const changed = this.#changed;
    for (let tries = 0; tries < closeTries && changed.isOn; tries++) {
      const { rested, fresh } = changed.take(changed.epoch, this.#restedEnd);
      this.#isSomeYoung = false;
      await this.#record(rested, Infinity);
      await this.#record(fresh, isOrderly ? Infinity : this.#firstWallMs - middleMs);
      if (!this.#isSomeYoung) break;
      await new Promise<void>((resolve) => this.#of.world.clock.after(coarseMs + 2, resolve));
    }
    changed.isOn = false;
    this.#file?.close();
    this.#file = undefined;
  }

  /** `sureMs`: what changed at the source later than this may have been in the middle of it. */
  async #record(nodes: readonly number[], sureMs: number): Promise<void> {
    for (let at = 0; at < nodes.length; at += recordCountPerTurn) {
      if (at > 0) await new Promise<void>((resolve) => this.#of.world.clock.defer(resolve));
      for (const node of nodes.slice(at, at + recordCountPerTurn)) this.#recordNode(node, sureMs);
      this.#check(this.#file?.flush() ?? 0);
      // A directory's id may mean another one after the next epoch.
      this.#directories.clear();
    }
  }

  #recordNode(node: number, sureMs: number): void {
    const { tree, applier, world } = this.#of;
    const { origins, changed } = applier;
    const file = this.#file;
    if (file === undefined || !tree.isLive(node) || changed.isMarked(node)) return;
    const slot = (this.#slotOf[node] ?? 0) - 1;
    if (!origins.has(node)) {
      if (slot >= 0) this.#check(file.clear(slot));
      return;
    }
    if (!this.#isThere(node)) return;
    const stat = this.#stat;
    const ageMs = world.clock.wallMs() - stat[Stat.ctimeSec]! * 1000 - stat[Stat.ctimeNsec]! / 1e6;
    if (ageMs < coarseMs) {
      changed.again(node);
      this.#isSomeYoung = true;
      return;
    }
    const origin = origins.get(node);
    const isSure = origin.ctimeSec * 1000 + origin.ctimeNsec / 1e6 <= sureMs;
    const told = isSure ? origin : { ...origin, ctimeSec: 0, ctimeNsec: 0 };
    const at = file.put(slot, stat, told);
    if (this.#check(at)) this.#setSlot(node, at);
  }

  /** Whether what is at the node's place is what the tree says. */
  #isThere(node: number): boolean {
    const { tree, files, rootFd } = this.#of;
    const id = tree.firstName[node]!;
    if (id === 0 && node !== rootId) return false;
    const dirFd = node === rootId ? rootFd : this.#directories.get(tree.names.parent[id]!);
    const name = node === rootId ? noName : tree.names.bytes(id);
    const stat = this.#stat;
    if (dirFd < 0 || files.identifyAt(dirFd, name, stat) < 0) return false;
    const kind = stat[Stat.mode]! & Mode.typeMask;
    const isSame =
      kind === (tree.mode[node]! & Mode.typeMask) &&
      stat[Stat.dev] === this.#rootStat[Stat.dev] &&
      stat[Stat.mount] === this.#rootStat[Stat.mount] &&
      (tree.ino[node] === 0 || tree.ino[node] === stat[Stat.ino]);
    if (!isSame || kind !== Mode.regular) return isSame;
    return (
      stat[Stat.size] === tree.size[node] &&
      stat[Stat.mtimeSec] === tree.mtimeSec[node] &&
      stat[Stat.mtimeNsec] === tree.mtimeNsec[node]
    );
  }

  #check(result: number): boolean {
    if (result >= 0) return true;
    this.#complain(`cannot be written (${errnoName(result)}), and is done without`);
    this.#changed.isOn = false;
    this.#file?.close();
    this.#file = undefined;
    return false;
  }

  #complain(said: string): void {
    const then = "the next start compares by size and time what it does not know";
    this.#of.world.log.write("warn", `the index ${this.#of.place.name} ${said}; ${then}`);
  }

  #setSlot(node: number, slot: number): void {
    if (node >= this.#slotOf.length) {
      const wider = new Uint32Array(Math.max(node + 1, this.#slotOf.length * 2));
      wider.set(this.#slotOf);
      this.#slotOf = wider;
    }
    this.#slotOf[node] = slot + 1;
  }
}
