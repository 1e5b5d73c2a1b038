/**
 * What crashes.test.ts is made of: epochs of random operations that a correct source could have
 * sent, a folder that gets them one by one, and a folder that gets them through a journal, by a
 * process that may die at any call.
 *
 * Files above `largeBytes` are written as EarlyFiles does: ahead of their epoch, which does not
 * have their content then.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Applier } from "../apply/index.ts";
import { ProblemLog } from "../model/index.ts";
import { rootId, Tree } from "../tree/index.ts";
import {
  type Commit,
  CommitFlag,
  commitFrameBytes,
  decodeCommit,
  decodeOperation,
  encodeCommit,
  FrameReader,
  FrameType,
  OpWriter,
  u32,
} from "../wire/index.ts";
import { Errno, type Files, Open } from "../world/index.ts";
import { native, nodeWorld, stderrLog } from "../world/node/index.ts";
import type { Durability } from "./journal-format.ts";
import { JournalFile, type JournalPlace } from "./journal-file.ts";
import { type FrameCursor, Journal, type RecordedEpoch } from "./journal.ts";
import { recover, type Recovery } from "./recover.ts";

const noBytes = new Uint8Array(0);
const largeBytes = 20_000;
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const { hashes } = nodeWorld(stderrLog("error"));

// --- a process that may die ----------------------------------------------------------------------

/** What a dead process does: nothing at all. */
export class Died extends Error {}

/** Calls of one process, which ends at the call that `lives` counts down to. */
export class Mortal {
  readonly files: Files;
  lives: number;
  callCount = 0;
  /** At that call there is no space, once, instead. */
  readonly isFull: boolean;
  readonly #open = new Set<number>();

  constructor(lives: number, isFull = false) {
    this.lives = lives;
    this.isFull = isFull;
    const real = native();
    this.files = new Proxy(real, {
      get: (_, method: keyof Files) => {
        const call = real[method] as (...args: unknown[]) => number;
        return (...args: unknown[]): number => {
          const refused = this.#count(method, args);
          if (refused < 0) return refused;
          const result = call.apply(real, args);
          if (method === "openBeneath" && result >= 0) this.#open.add(result);
          if (method === "close") this.#open.delete(args[0] as number);
          return result;
        };
      },
    });
  }

  #count(method: keyof Files, args: unknown[]): number {
    const takes = ["pwrite", "link", "mkdir", "symlink", "rename", "ftruncate", "cloneRange"];
    this.callCount++;
    if (this.isFull && !takes.includes(method)) return 0;
    if (this.lives-- > 0) return 0;
    if (this.isFull) return this.lives === -1 ? -Errno.ENOSPC : 0;
    // What dies while it writes has written some of it.
    if (this.lives === -1 && method === "pwrite") {
      const [fd, from, offset, length, position] = args as Parameters<Files["pwrite"]>;
      native().pwrite(fd, from, offset, Math.floor(length / 2), position);
    }
    throw new Died();
  }

  get isDead(): boolean {
    return !this.isFull && this.lives < 0;
  }

  /** The kernel closes what it had open. */
  bury(): void {
    for (const fd of this.#open) native().close(fd);
    this.#open.clear();
  }

  get openCount(): number {
    return this.#open.size;
  }
}

// --- epochs --------------------------------------------------------------------------------------

export interface Frame {
  readonly type: number;
  readonly bytes: Uint8Array;
}

export interface Epoch {
  readonly frames: readonly Frame[];
  readonly commit: Commit;
  /** New files that are written ahead of it. */
  readonly early: ReadonlySet<number>;
}

/** Numbers that choose an operation and what it is done with. */
export type Choice = readonly [kind: number, a: number, b: number, c: number];

/** A folder and the applier on it. */
class Place {
  readonly path: string;
  readonly rootFd: number;
  readonly tree: Tree = new Tree();
  readonly problems: ProblemLog = new ProblemLog(() => {});
  readonly applier: Applier;

  constructor(path: string, files: Files) {
    this.path = path;
    fs.mkdirSync(path, { recursive: true });
    this.rootFd = native().openPath(Buffer.from(path), Open.read | Open.directory);
    this.applier = new Applier(files, this.rootFd, this.tree, this.problems);
  }

  carryOut({ type, bytes }: Frame): void {
    decodeOperation(type, bytes, 0, bytes.length, this.applier);
  }
}

/** Makes epochs, and applies them as it makes them. */
export class Author {
  readonly place: Place;
  /** What the folder was like after each epoch, by its number. */
  readonly outlines: string[] = [];
  readonly #writer: OpWriter;
  #frames: Frame[] = [];
  #commit: Commit | undefined;
  #early = new Set<number>();
  /** Not usable in this epoch and the next ones: see EarlyFiles. */
  readonly #freed: number[][] = [];
  #free: number[] = [];
  #touched = new Set<number>();
  #held = new Set<number>();
  #epoch = 0;
  #time = 1000;

  constructor(folder: string) {
    this.place = new Place(join(folder, "author"), native());
    const reader = new FrameReader((type, bytes, start, end) => {
      if (type === FrameType.commit) this.#commit = decodeCommit(bytes, start, end);
      else this.#frames.push({ type, bytes: bytes.slice(start, end) });
    });
    this.#writer = new OpWriter((piece) => reader.push(piece));
  }

  #send(one: (writer: OpWriter) => void): void {
    const from = this.#frames.length;
    one(this.#writer);
    this.#writer.flush();
    for (const frame of this.#frames.slice(from)) this.place.carryOut(frame);
  }

  /** What there is at first: files, folders, a file with three names, a link, a pipe. */
  seed(): Epoch {
    for (let i = 0; i < 3; i++) this.#folder(rootId, `d${i}`);
    const folders = this.#directories();
    for (let i = 0; i < 8; i++) this.#file(folders[i % 4]!, `f${i}`, 3000 * i, i);
    this.#file(rootId, "empty", 0, 0);
    const [first] = this.#files();
    for (const [i, parent] of folders.slice(1).entries()) {
      this.#send((w) => w.link(first!, parent, bytesOf(`also${i}`)));
    }
    return this.#end(CommitFlag.live);
  }

  epoch(choices: readonly Choice[]): Epoch {
    for (const choice of choices) this.#operate(choice);
    return this.#end(0);
  }

  /** More operations on names than redo finds out by looking. */
  manyNames(count: number): Epoch {
    const { tree } = this.place;
    const [node] = this.#files();
    for (let i = 0; i < count; i++) {
      const [parent, name] = this.#nameOf(node!);
      const to = i % 3 === 0 ? parent : rootId;
      this.#send((w) => w.rename(parent, name, to, bytesOf(`m${i}`), 0));
      this.#touch(parent, to);
      if (i % 200 === 199) this.#write(node!, i, 50, i);
    }
    assert.ok(tree.isLive(node!));
    return this.#end(0);
  }

  /** A large new file, of which something is zeroed and copied when it has its name. */
  aheadAndChanged(): Epoch {
    const [other] = this.#files();
    const node = this.#newId();
    const name = this.#freeName(rootId, node);
    this.#early.add(node);
    this.#send((w) => w.create(node, 0o100644, 0, noBytes));
    this.#write(node, 0, 3 * largeBytes, node);
    this.#send((w) => w.place(node, rootId, name));
    this.#send((w) => w.zero(node, 100, 2 * largeBytes));
    this.#send((w) => w.clone(other!, 500, { node, position: 2 * largeBytes }, 9000));
    this.#touch(rootId, node, other!);
    return this.#end(0);
  }

  /** A small file comes and goes, so that the names are as before; then comes a large new one. */
  comesAndGoes(): Epoch[] {
    const name = bytesOf("comes");
    const goes = (): void => {
      this.#send((w) => w.unlink(rootId, name));
      this.#touch(rootId);
    };
    const comes = (parent: number, length: number): Epoch => {
      this.#file(parent, name, length, length);
      return this.#end(0);
    };
    const first = comes(rootId, 500);
    goes();
    const gone = this.#end(0);
    const second = comes(rootId, 700);
    goes();
    return [first, gone, second, this.#end(0), comes(rootId, 2 * largeBytes)];
  }

  /** A folder in which much is written, and its end in the next epoch; some has other names. */
  folderThatGoes(): [filled: Epoch, gone: Epoch] {
    const { tree } = this.place;
    this.#folder(rootId, "going");
    const going = tree.child(rootId, bytesOf("going"));
    this.#folder(going, "below");
    const below = tree.child(going, bytesOf("below"));
    for (const [i, parent] of [going, below, below, going, going].entries()) {
      this.#file(parent, `g${i}`, 700 * i, i);
      const node = tree.child(parent, bytesOf(`g${i}`));
      this.#write(node, 50, 100, i);
      if (i % 2 === 0) continue;
      this.#send((w) => w.link(node, rootId, bytesOf(`stays${i}`)));
      this.#send((w) => w.link(node, going, bytesOf(`too${i}`)));
      this.#write(node, 200, 100, i);
      this.#touch(rootId, going);
    }
    const filled = this.#end(0);
    this.#send((w) => w.remove(going));
    this.#touch(rootId);
    return [filled, this.#end(0)];
  }

  #end(flags: number): Epoch {
    const { tree } = this.place;
    for (const node of this.#held) {
      const at = this.#freeName(rootId, node);
      this.#send((w) => w.place(node, rootId, at));
      this.#touch(rootId, node);
    }
    this.#held.clear();
    for (const node of this.#touched) {
      if (tree.isLive(node)) this.#send((w) => w.times(node, this.#time++, node));
    }
    this.#touched = new Set();
    this.#writer.commit(++this.#epoch, flags, this.#epoch * 100);
    this.#writer.flush();
    this.place.applier.closeIdle();
    this.outlines[this.#epoch] = outline(this.place.path);
    this.#freed.push([...tree.takeFreedIds()]);
    if (this.#freed.length > 4) this.#free.push(...this.#freed.shift()!);
    const epoch = { frames: this.#frames, commit: this.#commit!, early: this.#early };
    this.#frames = [];
    this.#early = new Set();
    return epoch;
  }

  #touch(...nodes: number[]): void {
    for (const node of nodes) this.#touched.add(node);
  }

  #live(): number[] {
    const { tree } = this.place;
    const nodes: number[] = [];
    for (let id = 2; id < tree.endId; id++) if (tree.isLive(id)) nodes.push(id);
    return nodes;
  }

  /** Those that the folder shows. */
  #isReachable(node: number): boolean {
    return this.place.tree.isWithin(node, rootId);
  }

  #directories(): number[] {
    const { tree } = this.place;
    const own = this.#live().filter((id) => tree.isDirectory(id) && this.#isReachable(id));
    return [rootId, ...own];
  }

  #files(): number[] {
    const { tree } = this.place;
    return this.#live().filter((id) => (tree.mode[id]! & 0o170000) === 0o100000);
  }

  #named(): number[] {
    return this.#live().filter((id) => this.#isReachable(id));
  }

  #nameOf(node: number, pick = 0): [number, Uint8Array] {
    const { names, firstName } = this.place.tree;
    const ids: number[] = [];
    for (let id = firstName[node]!; id !== 0; id = names.nextOfNode[id]!) ids.push(id);
    const id = ids[pick % ids.length]!;
    return [names.parent[id]!, names.bytes(id).slice()];
  }

  #freeName(parent: number, pick: number): Uint8Array {
    for (let i = pick; ; i++) {
      const name = bytesOf(`n${i}`);
      if (this.place.tree.child(parent, name) === 0) return name;
    }
  }

  /** Free, or of something that is no folder. */
  #anyName(parent: number, pick: number, not: number): Uint8Array {
    const { tree } = this.place;
    const name = bytesOf(`n${pick % 9}`);
    const child = tree.child(parent, name);
    const isTaken = child !== 0 && (tree.isDirectory(child) || child === not);
    return isTaken ? this.#freeName(parent, pick) : name;
  }

  #newId(): number {
    return this.#free.pop() ?? this.place.tree.endId;
  }

  #write(node: number, position: number, length: number, value: number): void {
    this.#send((w) => {
      const space = w.beginWrite(node, position, length);
      for (let i = 0; i < length; i++) space.bytes[space.offset + i] = (i * 7 + value) & 255;
      w.endWrite(length);
    });
    this.#touch(node);
  }

  #folder(parent: number, name: string | Uint8Array): void {
    const node = this.#newId();
    const at = typeof name === "string" ? bytesOf(name) : name;
    this.#send((w) => w.create(node, 0o040755, 0, noBytes));
    this.#send((w) => w.place(node, parent, at));
    this.#send((w) => w.meta(node, 0o755, process.getuid!(), process.getgid!()));
    this.#touch(parent, node);
  }

  #file(parent: number, name: string | Uint8Array, length: number, value: number): void {
    const node = this.#newId();
    const at = typeof name === "string" ? bytesOf(name) : name;
    const [uid, gid] = [process.getuid!(), process.getgid!()];
    if (length >= largeBytes) this.#early.add(node);
    this.#send((w) => w.create(node, 0o100644, 0, noBytes));
    if (length > 0) this.#write(node, 0, length, value);
    if (value % 3 === 0) this.#send((w) => w.truncate(node, length + 777));
    this.#send((w) => w.meta(node, 0o600 | (value & 0o77), uid, gid));
    this.#send((w) => w.times(node, this.#time++, 5));
    this.#send((w) => w.place(node, parent, at));
    this.#touch(rootId, parent, node);
  }

  #operate([kind, a, b, c]: Choice): void {
    const { tree } = this.place;
    const directories = this.#directories();
    const parent = directories[a % directories.length]!;
    const files = this.#files();
    const file = files[b % Math.max(1, files.length)];
    const named = this.#named();
    const node = named[b % Math.max(1, named.length)];
    switch (kind % 16) {
      case 0:
        return this.#file(parent, this.#anyName(parent, b, 0), (b % 3) * 600 + (b % 2), c);
      case 1:
        return this.#file(parent, this.#anyName(parent, b, 0), largeBytes + (c % 90_000), c);
      case 2:
        return this.#folder(parent, this.#freeName(parent, b % 5));
      case 3:
        return this.#special(parent, this.#anyName(parent, b, 0), c);
      case 4:
      case 5:
        if (file !== undefined) this.#write(file, a % 9000, 1 + (c % 5000), a);
        return;
      case 6:
        if (file === undefined) return;
        if (c % 2 === 0) this.#send((w) => w.truncate(file, a % 7000));
        else this.#send((w) => w.zero(file, a % 5000, 1 + (c % 4000)));
        return this.#touch(file);
      case 7:
        return this.#clone(files, a, b, c);
      case 8:
      case 9:
        return node === undefined ? undefined : this.#rename(node, parent, b, c);
      case 10:
        return this.#exchange(named, b, c);
      case 11: {
        const isLinkable = file !== undefined && this.#isReachable(file);
        if (!isLinkable) return;
        const name = this.#anyName(parent, c, file);
        this.#send((w) => w.link(file, parent, name));
        return this.#touch(rootId, parent);
      }
      case 12: {
        if (node === undefined || tree.isDirectory(node)) return;
        const [from, name] = this.#nameOf(node, c);
        this.#send((w) => w.unlink(from, name));
        return this.#touch(from);
      }
      case 13: {
        if (node === undefined) return;
        for (let i = 0; i < tree.countNames(node); i++) this.#touch(this.#nameOf(node, i)[0]);
        if (!tree.isWithin(parent, node)) this.#send((w) => w.remove(node));
        return;
      }
      case 14:
        return this.#stepAside(node, parent, c);
      default: {
        if (node === undefined) return;
        const isLink = (tree.mode[node]! & 0o170000) === 0o120000;
        const [uid, gid] = [process.getuid!(), process.getgid!()];
        if (!isLink) this.#send((w) => w.meta(node, 0o700 | (c & 0o77), uid, gid));
        this.#touch(node);
      }
    }
  }

  #special(parent: number, name: Uint8Array, value: number): void {
    const node = this.#newId();
    if (value % 2 === 0) this.#send((w) => w.create(node, 0o120777, 0, bytesOf(`to${value}`)));
    else this.#send((w) => w.create(node, 0o010644, 0, noBytes));
    this.#send((w) => w.place(node, parent, name));
    this.#touch(rootId, parent, node);
  }

  #clone(files: readonly number[], a: number, b: number, c: number): void {
    const { size } = this.place.tree;
    const from = files[a % Math.max(1, files.length)];
    const to = files[b % Math.max(1, files.length)];
    if (from === undefined || to === undefined || from === to || size[from] === 0) return;
    const length = 1 + (c % size[from]!);
    const position = size[from]! - length;
    this.#send((w) => w.clone(to, a % 6000, { node: from, position }, length));
    this.#touch(to);
    // What was copied changes afterwards, mostly.
    if (c % 4 > 0) this.#write(from, position, Math.min(length, 3000), c);
    if (c % 4 > 2) this.#clone(files, b, a, c >> 3);
  }

  #rename(node: number, parent: number, pick: number, c: number): void {
    const { tree } = this.place;
    if (tree.isWithin(parent, node)) return;
    const [from, name] = this.#nameOf(node, c);
    const isFolder = tree.isDirectory(node);
    const to = isFolder ? this.#freeName(parent, pick) : this.#anyName(parent, c, node);
    this.#send((w) => w.rename(from, name, parent, to, 0));
    this.#touch(from, parent);
  }

  #exchange(named: readonly number[], b: number, c: number): void {
    const { tree } = this.place;
    const one = named[b % Math.max(1, named.length)];
    const other = named[c % Math.max(1, named.length)];
    if (one === undefined || other === undefined || one === other) return;
    if (tree.isWithin(one, other) || tree.isWithin(other, one)) return;
    const [[from, name], [to, toName]] = [this.#nameOf(one, b), this.#nameOf(other, c)];
    if (tree.isWithin(from, other) || tree.isWithin(to, one)) return;
    this.#send((w) => w.rename(from, name, to, toName, 1));
    this.#touch(from, to);
  }

  /** Out of the way for others of the epoch, and back, perhaps only at its end. */
  #stepAside(node: number | undefined, parent: number, c: number): void {
    const { tree } = this.place;
    if (node === undefined || tree.countNames(node) !== 1) return;
    const [from] = this.#nameOf(node);
    this.#send((w) => w.detach(node));
    this.#touch(from, rootId);
    if (c % 3 === 0 || !tree.isLive(parent) || !this.#isReachable(parent)) {
      this.#held.add(node);
      return;
    }
    const isFolder = tree.isDirectory(node);
    if (c % 3 === 1) return this.#send((w) => w.remove(node));
    const name = isFolder ? this.#freeName(parent, c) : this.#anyName(parent, c, 0);
    this.#send((w) => w.place(node, parent, name));
    this.#touch(parent, node);
  }

  close(): void {
    this.place.applier.close();
    native().close(this.place.rootFd);
  }
}

// --- the target ----------------------------------------------------------------------------------

export interface Plan {
  readonly durability: Durability;
  /** Of a generation. */
  readonly recordBytesMax: number;
  /** How many epochs are recorded together, in turn. */
  readonly groups: readonly number[];
  /** One by itself is recorded as large ones are. */
  readonly isSliced?: boolean;
}

/** A folder that is kept by a journal, over processes that die. */
export class Subject {
  readonly folder: string;
  readonly path: string;
  readonly #stateFd: number;
  readonly #plan: Plan;
  /** Epochs that are recorded for sure, and those that may be. */
  recorded = 1;
  attempted = 1;

  constructor(folder: string, name: string, plan: Plan) {
    this.folder = join(folder, name);
    this.path = join(this.folder, "root");
    this.#plan = plan;
    fs.mkdirSync(this.path, { recursive: true });
    this.#stateFd = native().openPath(Buffer.from(this.folder), Open.read | Open.directory);
  }

  place(files: Files, bootId = "boot"): JournalPlace {
    return { files, dirFd: this.#stateFd, name: "journal-x", path: this.path, hashes, bootId };
  }

  /** The first process: it mirrors epochs until its end. The first of them makes the target. */
  live(mortal: Mortal, [seed, ...epochs]: readonly Epoch[]): void {
    // Death comes only when the target is at a cut.
    const { lives } = mortal;
    mortal.lives = Infinity;
    const file = JournalFile.open(this.place(mortal.files));
    const place = new Place(this.path, mortal.files);
    try {
      const { rootFd, tree, applier } = place;
      const { durability, recordBytesMax } = this.#plan;
      const own = { files: mortal.files, rootFd, tree, applier, file, durability };
      const journal = new Journal({ ...own, recordBytesMax });
      for (const frame of seed!.frames) place.carryOut(frame);
      tree.takeFreedIds();
      journal.complete(seed!.commit);
      mortal.lives = lives;
      mortal.callCount = 0;
      this.#mirror(place, journal, epochs);
      applier.close();
      journal.close(false);
    } catch (error) {
      if (!(error instanceof Died)) throw error;
    } finally {
      mortal.bury();
      native().close(place.rootFd);
    }
  }

  #mirror(place: Place, journal: Journal, epochs: readonly Epoch[]): void {
    const { groups } = this.#plan;
    const rest: Frame[][] = [];
    for (let at = 0, turn = 0; at < epochs.length; turn++) {
      const size = groups[turn % groups.length]!;
      const count = Math.min(epochs.length - at, this.#plan.durability === "power" ? size : 1);
      // Others may be on their way already.
      const arrived = Math.min(epochs.length, at + size);
      for (let i = rest.length; i < arrived; i++) rest.push(arrive(place, epochs[i]!));
      this.attempted = at + count + 1;
      const some = epochs.slice(at, at + count);
      this.#record(journal, some, rest.slice(at, at + count));
      this.recorded = at + count + 1;
      for (const [i, { commit }] of some.entries()) {
        for (const frame of rest[at + i]!) {
          journal.before(frame.type, frame.bytes, 0);
          place.carryOut(frame);
        }
        journal.applied(commit);
        place.tree.takeFreedIds();
        if (turn % 2 === 0) place.applier.closeIdle();
      }
      at += count;
    }
  }

  #record(journal: Journal, epochs: readonly Epoch[], frames: readonly Frame[][]): void {
    const [first, second] = epochs;
    if (second === undefined && this.#plan.isSliced === true) {
      const { commit } = first!;
      const [own] = frames;
      const bytes = own!.reduce((sum, frame) => sum + frame.bytes.length + 5, 0);
      const slices = journal.recordInSlices(
        { bytes, commit, cursor: () => cursorOf(own!) },
        () => true,
      );
      while (slices.next().done !== true);
      return;
    }
    if (second === undefined && first!.frames.length === frames[0]!.length) {
      if (journal.recordWhole(wholeOf(first!))) return;
    }
    const recorded = epochs.map(({ commit }, i): RecordedEpoch => {
      const own = frames[i]!;
      return {
        bytes: own.reduce((sum, { bytes }) => sum + bytes.length + 5, 0),
        commit,
        each: (visit) => {
          for (const { type, bytes } of own) visit(type, bytes, 0, bytes.length);
        },
      };
    });
    journal.record(recorded);
  }

  /** The next process: undefined when it dies, too. */
  recover(mortal: Mortal, bootId = "boot"): Recovery | undefined {
    const rootFd = native().openPath(Buffer.from(this.path), Open.read | Open.directory);
    let file: JournalFile | undefined;
    try {
      file = JournalFile.open(this.place(mortal.files, bootId));
      const problems = new ProblemLog(() => {});
      return recover({ files: mortal.files, rootFd, file, problems, bootId });
    } catch (error) {
      if (error instanceof Died) return undefined;
      throw error;
    } finally {
      if (!mortal.isDead) {
        mortal.lives = Infinity;
        file?.close();
        assert.equal(mortal.openCount, 0, "a descriptor was left open");
      }
      mortal.bury();
      native().close(rootFd);
    }
  }

  close(): void {
    native().close(this.#stateFd);
    fs.rmSync(this.folder, { recursive: true });
  }
}

function cursorOf(frames: readonly Frame[]): FrameCursor {
  let index = -1;
  return {
    next: () => ++index < frames.length,
    get type() {
      return frames[index]!.type;
    },
    get bytes() {
      return frames[index]!.bytes;
    },
    start: 0,
    get end() {
      return frames[index]!.bytes.length;
    },
  };
}

/** What is applied at once, as EarlyFiles does it; gives what is held. */
function arrive(place: Place, { frames, early }: Epoch): Frame[] {
  const created = new Set<number>();
  const written = new Set<number>();
  const own: readonly number[] = [
    FrameType.write,
    FrameType.zero,
    FrameType.truncate,
    FrameType.meta,
    FrameType.times,
  ];
  return frames.filter((frame) => {
    const node = u32(frame.bytes, 0);
    if (frame.type === FrameType.create) {
      if (node > place.tree.endId) return true;
      created.add(node);
      if (early.has(node)) written.add(node);
      place.carryOut(frame);
      return false;
    }
    if (frame.type === FrameType.clone) written.delete(node);
    if (frame.type === FrameType.place) written.delete(node);
    const isEarly = own.includes(frame.type) && created.has(node) && written.has(node);
    if (isEarly) place.carryOut(frame);
    return !isEarly;
  });
}

/** The bytes of an epoch as they come. */
function wholeOf({ frames, commit }: Epoch): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { type, bytes } of frames) {
    const head = Buffer.alloc(5);
    head.writeUInt32LE(bytes.length + 1);
    head[4] = type;
    parts.push(head, bytes);
  }
  const end = new Uint8Array(commitFrameBytes);
  encodeCommit(commit, end);
  return new Uint8Array(Buffer.concat([...parts, end]));
}

// --- what a folder is like -----------------------------------------------------------------------

/** All of a folder, and itself: kinds, modes, times, content, which names are one file. */
export function outline(folder: string): string {
  const lines: string[] = [];
  const firsts = new Map<number, string>();
  const names = (fs.readdirSync(folder, { recursive: true }) as string[]).sort();
  for (const name of ["", ...names]) {
    const path = join(folder, name);
    const stat = fs.lstatSync(path, { bigint: true });
    const first = firsts.get(Number(stat.ino)) ?? name;
    firsts.set(Number(stat.ino), first);
    let content = "";
    if (stat.isSymbolicLink()) content = fs.readlinkSync(path);
    if (stat.isFile()) {
      const hash = Buffer.from(hashes.sha256(fs.readFileSync(path)));
      content = `${stat.size} ${hash.toString("hex", 0, 8)}`;
    }
    lines.push(`${name}: ${stat.mode.toString(8)} ${stat.mtimeNs} =${first} ${content}`);
  }
  return lines.join("\n");
}

export function scratch(): string {
  return fs.mkdtempSync(join(tmpdir(), "lockstep-redo-"));
}
