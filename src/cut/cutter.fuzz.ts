/**
 * What the tests of this room share: a source and a target folder on a real filesystem, a Cutter on
 * the one and an Applier on the other, joined through the wire in one process, and no capture: the
 * script that changes the source tells the dirty set itself, exactly, or more widely, in any order.
 *
 * The property: whenever an epoch is committed and not marked fuzzy, and nothing has changed since
 * the last drain that is still to be handled, the two trees are equal, as src/verify judges, which
 * shares no code with either.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Applier, TargetScan } from "../apply/index.ts";
import {
  type CallsUnderWay,
  type ChangeSink,
  deafSink,
  type HotReading,
  NameChange,
} from "../capture/index.ts";
import { blockBytesOf, type Signature, SignatureReader, SignatureWriter } from "../delta/index.ts";
import type { IgnoreSettings } from "../ignore/index.ts";
import { type Problem, ProblemLog } from "../model/index.ts";
import { type Origins, rootId, Tree } from "../tree/index.ts";
import { compareTrees } from "../verify/index.ts";
import {
  CommitFlag,
  decodeCommit,
  decodeManifestEntry,
  decodeOperation,
  encodeManifestEntry,
  type ManifestEntry,
  FrameReader,
  FrameType,
  OpWriter,
} from "../wire/index.ts";
import { type Clock, type Files, Open, Stat, statSlots } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { adoptEntry } from "./adopt-manifest.ts";
import { Cutter } from "./cutter.ts";
import type { DeletionLimit } from "./deletion-guard.ts";
import type { SignaturePort } from "./delta-content.ts";
import { orderedBytesMax } from "./limits.ts";

type Event = (sink: ChangeSink) => void;
export type Pick = (below: number) => number;

/** Small numbers that look random; the same for the same seed. */
export function sequence(seed: number): Pick {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const noName = new Uint8Array(0);
const hotPassCount = 8;
const frameNames: ReadonlyMap<number, string> = new Map(
  Object.entries(FrameType).map(([name, type]) => [type, name]),
);

export interface Epoch {
  fuzzy: boolean;
  live: boolean;
  /** The moment that it is said to be of. */
  wallMs: number;
  /** Frames by name: how many of each. */
  frames: Record<string, number>;
  /** Bytes of WRITE payloads. */
  dataBytes: number;
}

export class CutRig {
  readonly folder: string = fs.mkdtempSync(join(tmpdir(), "lockstep-cut-"));
  readonly source: string = join(this.folder, "source");
  readonly target: string = join(this.folder, "target");
  readonly epochs: Epoch[] = [];
  readonly problems: Problem[] = [];
  readonly sourceTree: Tree = new Tree();
  readonly targetTree: Tree = new Tree();
  cutter!: Cutter;
  /** Called at each drain, before events are told: changes made here happen just before it. */
  onDrain: () => void = () => {};
  /** Called between any two tasks and reads of a cut: changes made here happen in its midst. */
  onRoom: () => void = () => {};
  onCommit: () => void = () => {};
  onHot: (reading: HotReading) => void = () => {};
  /** How the events of one drain are told. */
  shuffle: (events: Event[]) => Event[] = (events) => events;
  isPaused = false;
  orderedBytes: number = orderedBytesMax;
  /** The target remembers the source's inodes. */
  takesOrigins = false;
  ignore: IgnoreSettings = { first: [], last: [], readsFiles: false };
  maxDelete: DeletionLimit | undefined;
  timeUs = 0;
  wallMs = 0;
  /** Content of at least so many bytes is sent as a delta; undefined: none is. */
  deltaBytesMin: number | undefined;
  /** Epochs are applied when they are whole, as a live target does; else frame by frame. */
  isHeld = false;
  /** Extents that are hot can be read together, as a capture does that knows extents. */
  readsHot = false;
  isReadingHot = false;
  /** Whether a call of others is under way that may be in what was read (CallsUnderWay). */
  isUnderWay: CallsUnderWay["mayBeRead"] = () => false;
  /** Capture knows of calls under way. */
  knowsCalls = true;
  /** Of the answers to asks: how many times one is not there yet, and whether it is refused. */
  pick: Pick = () => 0;
  #held: Uint8Array[] = [];
  #events: Event[] = [];
  #frames: Record<string, number> = {};
  #dataBytes = 0;
  #applier!: Applier;
  #writer!: OpWriter;
  #sourceFd = -1;
  #targetFd = -1;

  constructor() {
    fs.mkdirSync(this.source);
    fs.mkdirSync(this.target);
  }

  /** Scans the target as it stands, sends its manifest, and makes cutter and applier. */
  start(files: Files = native()): void {
    const open = (path: string): number =>
      native().openPath(Buffer.from(path), Open.read | Open.directory);
    this.#sourceFd = open(this.source);
    this.#targetFd = open(this.target);
    const problems = new ProblemLog((problem) => this.problems.push(problem));
    this.#applier = new Applier(native(), this.#targetFd, this.targetTree, problems);
    const reader = new FrameReader((type, bytes, start, end) =>
      this.#onFrame(type, bytes, start, end),
    );
    this.#writer = new OpWriter((piece) => reader.push(piece));
    const clock: Clock = {
      monotonicUs: () => ++this.timeUs,
      wallMs: () => this.wallMs,
      after: () => ({ cancel: () => {} }),
      defer: () => {},
    };
    this.cutter = new Cutter({
      files,
      clock,
      rootFd: this.#sourceFd,
      rootPath: Buffer.from(this.source),
      tree: this.sourceTree,
      writer: this.#writer,
      problems,
      drain: (dirty) => this.drain(dirty),
      watchDirectory: () => 0,
      unwatchDirectory: () => {},
      readHot: this.readsHot ? (reading, dirty) => this.#readHot(files, reading, dirty) : undefined,
      hasRoom: () => {
        this.onRoom();
        return !this.isPaused;
      },
      ...(this.knowsCalls && { backend: { underWay: this.#underWay() } }),
      orderedBytes: this.orderedBytes,
      ignore: this.ignore,
      ...(this.maxDelete === undefined ? {} : { maxDelete: this.maxDelete }),
      ...(this.deltaBytesMin === undefined
        ? {}
        : { deltaBytesMin: this.deltaBytesMin, signatures: this.#signatures() }),
    });
    this.cutter.origins.isEnabled = this.takesOrigins;
    const tell = (entry: ManifestEntry): void => {
      const bytes = encodeManifestEntry(entry);
      const told = decodeManifestEntry(bytes, 0, bytes.length);
      adoptEntry(this.sourceTree, told, this.cutter.kept, this.cutter.origins.told);
    };
    const place = { files: native(), rootFd: this.#targetFd, tree: this.targetTree };
    const scan = new TargetScan({ ...place, tell });
    while (scan.step());
    this.cutter.begin();
  }

  #underWay(): CallsUnderWay {
    const mayBeRead: CallsUnderWay["mayBeRead"] = (...asked) => this.isUnderWay(...asked);
    return { nextLook: 0, mayBeRead, rest: () => {} };
  }

  /** Drains so far, and one more. */
  lookCount = 1;

  #readHot(files: Files, reading: HotReading, sink: ChangeSink): boolean {
    const pread: Files["pread"] = (fd, into, offset, length, position) => {
      const result = files.pread(fd, into, offset, length, position);
      this.onRoom();
      return result;
    };
    const fstat: Files["fstat"] = (fd, out) => files.fstat(fd, out);
    const drain = (heard: ChangeSink): boolean => {
      this.drain(heard);
      return false;
    };
    this.isReadingHot = true;
    const more = reading.readBy({ fstat, pread }, drain, sink, hotPassCount);
    this.isReadingHot = false;
    this.onHot(reading);
    return more;
  }

  /** Signatures of what the target has applied, as a session and its target give them. */
  #signatures(): SignaturePort {
    const asked = new Map<number, { signature: Signature | undefined; pauses: number }>();
    return {
      hasRoom: () => this.pick(10) > 0 && asked.size < 4,
      isWorth: () => true,
      ask: (node, fileBytes) => {
        this.#writer.flush();
        const id = this.#lastAsk++;
        const fd = this.#applier.openToRead(node);
        const salt = new Uint8Array(16).fill(id);
        const isRefused = fd < 0 || this.pick(10) === 1;
        const signature = isRefused ? undefined : signatureOf(fd, fileBytes, salt);
        if (fd >= 0) native().close(fd);
        asked.set(id, { signature, pauses: this.pick(4) });
        return id;
      },
      result: (id) => {
        const answer = asked.get(id)!;
        return answer.pauses-- > 0 ? "waiting" : (answer.signature ?? "refused");
      },
      forget: (id) => void asked.delete(id),
    };
  }

  #lastAsk = 1;

  drain(sink: ChangeSink): void {
    this.onDrain();
    // Changes made by onDrain are told by this drain.
    const cutter: Cutter | undefined = this.cutter;
    if (cutter?.dirty === sink) {
      cutter.moment.heardMs = this.wallMs;
      cutter.moment.heardLook = this.lookCount;
    }
    this.lookCount++;
    const events = this.shuffle(this.#events);
    this.#events = [];
    for (const event of events) event(sink);
  }

  tell(event: Event): void {
    this.#events.push(event);
  }

  get hasEvents(): boolean {
    return this.#events.length > 0;
  }

  #onFrame(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (type !== FrameType.commit) {
      const name = frameNames.get(type)!;
      this.#frames[name] = (this.#frames[name] ?? 0) + 1;
      if (type === FrameType.write) this.#dataBytes += end - start - 12;
      if (this.isHeld) this.#held.push(new Uint8Array(bytes.subarray(start - 1, end)));
      else decodeOperation(type, bytes, start, end, this.#applier);
      return;
    }
    for (const frame of this.#held) {
      decodeOperation(frame[0]!, frame, 1, frame.length, this.#applier);
    }
    this.#held = [];
    const { flags, wallMs } = decodeCommit(bytes, start, end);
    this.epochs.push({
      fuzzy: (flags & CommitFlag.fuzzy) !== 0,
      live: (flags & CommitFlag.live) !== 0,
      wallMs,
      frames: this.#frames,
      dataBytes: this.#dataBytes,
    });
    this.#frames = {};
    this.#dataBytes = 0;
    // The epoch is applied: to the source that is its acknowledgement.
    this.sourceTree.giveBackIds(this.sourceTree.takeFreedIds());
    this.onCommit();
  }

  /** Tells all that has happened and cuts until nothing is left to do. */
  settle(): Epoch[] {
    const before = this.epochs.length;
    for (let i = 0; ; i++) {
      assert.ok(i < 2000, "the cutter does not come to rest");
      this.drain(this.cutter.dirty);
      const more = this.cutter.step();
      if (this.isPaused) break;
      if (!more && this.cutter.isIdle && !this.hasEvents) break;
    }
    return this.epochs.slice(before);
  }

  /** `isMeant` lets a difference pass. */
  async assertEqual(
    message: string,
    isMeant: (kind: string, path: string) => boolean = () => false,
  ): Promise<void> {
    const summary = await compareTrees(
      native(),
      this.#sourceFd,
      this.#targetFd,
      {
        clock: { monotonicUs: () => ++this.timeUs, wallMs: () => 0, after, defer: setImmediate },
        content: true,
        ignore: new Set(),
        rules: this.ignore,
        settleMs: 0,
        differenceCountMax: 200,
      },
      {},
    );
    if (summary.clean) return;
    const list = summary.differences
      .filter(({ kind, path }) => !isMeant(kind, Buffer.from(path).toString()))
      .map(({ kind, path, detail }) => `${kind} ${Buffer.from(path).toString()}: ${detail}`);
    if (list.length > 0) assert.fail(`${message}: ${list.slice(0, 5).join("; ")}`);
  }

  /**
   * A file that is just as its origin says has all its content at the target: a restart would not
   * read it. To be called when all that has happened was told.
   */
  checkOrigins(): void {
    const { origins } = this.#applier;
    for (let node = rootId; node < this.targetTree.endId; node++) {
      if (!this.targetTree.isLive(node) || !origins.hasChangeTime(node)) continue;
      const path = this.targetTree.path(node);
      const at = join(this.source, path);
      const stat = presentStat(at);
      const { ino, ctimeSec, ctimeNsec } = origins.get(node);
      const isSame =
        stat?.ino === BigInt(ino) &&
        stat.ctimeNs === BigInt(ctimeSec) * 1_000_000_000n + BigInt(ctimeNsec);
      if (!isSame) continue;
      this.believedCount++;
      const isEqual = fs.readFileSync(at).equals(fs.readFileSync(join(this.target, path)));
      assert.ok(isEqual, `${path} would be believed at a restart`);
    }
  }

  believedCount = 0;

  /** What the target remembers of the source's inodes. */
  get targetOrigins(): Origins {
    return this.#applier.origins;
  }

  /** The node at a path of the target. */
  nodeAt(path: string): number {
    const names = path.split("/").map((name) => Buffer.from(name));
    return names.reduce((at, name) => this.targetTree.child(at, name), rootId);
  }

  /** (inode, generation) of a path, as the kernel would tell it. */
  identity(path: string): [number, number] {
    const fd = native().openPath(Buffer.from(path), Open.path | Open.noFollow);
    const stat = new Float64Array(statSlots);
    if (fd >= 0) native().statAt(fd, noName, stat);
    if (fd >= 0) native().close(fd);
    return [stat[Stat.ino]!, stat[Stat.gen]!];
  }

  end(): void {
    if (this.#sourceFd >= 0) {
      this.cutter.close();
      this.#applier.close();
      native().close(this.#sourceFd);
      native().close(this.#targetFd);
    }
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Undefined when there is nothing, nor perhaps a directory that it would be in. */
function presentStat(path: string): fs.BigIntStats | undefined {
  try {
    return fs.lstatSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}

function signatureOf(fd: number, fileBytes: number, salt: Uint8Array): Signature {
  const blockBytes = blockBytesOf(fileBytes);
  const writer = new SignatureWriter(native(), fd, { blockBytes, fileBytes, salt });
  const reader = new SignatureReader();
  for (let piece = writer.step(); piece !== undefined; piece = writer.step()) {
    assert.ok(typeof piece !== "number", "the basis can be read");
    reader.push(piece);
  }
  assert.equal(writer.missingBytes, 0, "the basis has the size that the source knows");
  return reader.take();
}

function after(delayMs: number, fire: () => void): { cancel: () => void } {
  const timer = setTimeout(fire, delayMs);
  return { cancel: () => clearTimeout(timer) };
}

/** Changes the source and tells each change as a kernel would. Paths are below the source. */
export class Script {
  readonly rig: CutRig;
  /** Every change, for the report of a failure. */
  readonly log: string[] = [];
  /** Widens what is told about a write. */
  widen: (from: number, to: number) => [number, number] = (from, to) => [from, to];

  constructor(rig: CutRig) {
    this.rig = rig;
  }

  at(path: string): string {
    return join(this.rig.source, path);
  }

  #name(path: string, child: [number, number], change: number): void {
    const full = this.at(path);
    const slash = full.lastIndexOf("/");
    const [ino, gen] = this.rig.identity(full.slice(0, slash));
    const name = new Uint8Array(Buffer.from(full.slice(slash + 1)));
    this.rig.tell((sink) => sink.name(ino, gen, name, child[0], child[1], change));
  }

  #attributes([ino, gen]: [number, number]): void {
    this.rig.tell((sink) => sink.attributes(ino, gen));
  }

  #written([ino, gen]: [number, number], from: number, to: number): void {
    const [a, b] = this.widen(from, to);
    this.rig.tell((sink) => sink.written(ino, gen, a, b, 1, false, false));
    this.rig.tell((sink) => sink.closed(ino, gen));
  }

  /** Opens, truncates, writes: as `echo > file`. */
  create(path: string, bytes: Uint8Array | string): void {
    this.log.push(`create ${path} ${bytes.length}`);
    const isNew = !fs.existsSync(this.at(path));
    fs.writeFileSync(this.at(path), bytes);
    const id = this.rig.identity(this.at(path));
    if (isNew) this.#name(path, id, NameChange.created);
    else this.rig.tell((sink) => sink.truncated(id[0], id[1], 0, 1));
    if (bytes.length > 0) this.#written(id, 0, bytes.length);
  }

  write(path: string, position: number, bytes: Uint8Array): void {
    this.log.push(`write ${path} ${position} ${bytes.length}`);
    const fd = fs.openSync(this.at(path), "r+");
    fs.writeSync(fd, bytes, 0, bytes.length, position);
    fs.closeSync(fd);
    this.#written(this.rig.identity(this.at(path)), position, position + bytes.length);
  }

  append(path: string, bytes: Uint8Array, exact: boolean): void {
    this.log.push(`append ${path} ${bytes.length}`);
    const size = fs.statSync(this.at(path)).size;
    fs.appendFileSync(this.at(path), bytes);
    const [ino, gen] = this.rig.identity(this.at(path));
    if (exact) this.#written([ino, gen], size, size + bytes.length);
    else this.rig.tell((sink) => sink.appended(ino, gen, 1));
  }

  /** `isTold`: that it was cut, and not that all from there on is another. */
  truncate(path: string, size: number, isTold = false): void {
    this.log.push(`truncate ${path} ${size} ${isTold}`);
    fs.truncateSync(this.at(path), size);
    const [ino, gen] = this.rig.identity(this.at(path));
    this.rig.tell((sink) => sink.truncated(ino, gen, size, 1, isTold));
  }

  rename(from: string, to: string, flags = 0): void {
    const child = this.rig.identity(this.at(from));
    const other = this.rig.identity(this.at(to));
    const root = native().openPath(Buffer.from(this.rig.source), Open.read | Open.directory);
    const [a, b] = [Buffer.from(from), Buffer.from(to)];
    const result = native().rename(root, a, root, b, flags);
    native().close(root);
    if (result < 0) throw new Error(`rename: ${result}`);
    this.log.push(`rename ${from} ${to} ${flags}`);
    // Two names of one file: rename(2) has done nothing.
    if (child[0] === other[0] && child[1] === other[1]) return;
    this.#name(from, child, NameChange.moved);
    this.#name(to, child, NameChange.moved);
    if (flags === 2) {
      this.#name(from, other, NameChange.moved);
      this.#name(to, other, NameChange.moved);
    } else if (other[0] !== 0) {
      this.#attributes(other);
    }
  }

  unlink(path: string): void {
    this.log.push(`unlink ${path}`);
    const id = this.rig.identity(this.at(path));
    fs.unlinkSync(this.at(path));
    this.#name(path, id, NameChange.deleted);
    this.#attributes(id);
  }

  mkdir(path: string): void {
    this.log.push(`mkdir ${path}`);
    fs.mkdirSync(this.at(path));
    this.#name(path, this.rig.identity(this.at(path)), NameChange.created);
  }

  removeAll(path: string): void {
    for (const entry of fs.readdirSync(this.at(path), { withFileTypes: true })) {
      const below = `${path}/${entry.name}`;
      if (entry.isDirectory()) this.removeAll(below);
      else this.unlink(below);
    }
    this.log.push(`rmdir ${path}`);
    const id = this.rig.identity(this.at(path));
    fs.rmdirSync(this.at(path));
    this.#name(path, id, NameChange.deleted);
  }

  link(from: string, to: string): void {
    this.log.push(`link ${from} ${to}`);
    fs.linkSync(this.at(from), this.at(to));
    const id = this.rig.identity(this.at(to));
    this.#name(to, id, NameChange.created);
    this.#attributes(id);
  }

  symlink(target: string, path: string): void {
    this.log.push(`symlink ${path}`);
    fs.symlinkSync(target, this.at(path));
    this.#name(path, this.rig.identity(this.at(path)), NameChange.created);
  }

  chmod(path: string, mode: number): void {
    this.log.push(`chmod ${path} ${mode.toString(8)}`);
    fs.chmodSync(this.at(path), mode);
    this.#attributes(this.rig.identity(this.at(path)));
  }

  utime(path: string, seconds: number): void {
    this.log.push(`utime ${path}`);
    fs.utimesSync(this.at(path), seconds, seconds);
    this.#attributes(this.rig.identity(this.at(path)));
  }

  attribute(path: string, name: string, value: Uint8Array): void {
    this.log.push(`setxattr ${path} ${name}`);
    const fd = native().openPath(Buffer.from(this.at(path)), Open.read);
    native().setAttribute(fd, noName, Buffer.from(name), value);
    native().close(fd);
    this.#attributes(this.rig.identity(this.at(path)));
  }
}

/** One random change; what the filesystem refuses is no change. */
export function randomChange(script: Script, pick: Pick): void {
  const files: string[] = [];
  const directories: string[] = [""];
  const pending = [""];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    for (const entry of fs.readdirSync(script.at(path), { withFileTypes: true })) {
      const below = path === "" ? entry.name : `${path}/${entry.name}`;
      if (!entry.isDirectory()) files.push(below);
      if (!entry.isDirectory()) continue;
      directories.push(below);
      pending.push(below);
    }
  }
  files.sort();
  directories.sort();
  const one = (list: readonly string[]): string => list[pick(list.length)] ?? "";
  const folder = one(directories);
  const fresh = `${folder === "" ? "" : `${folder}/`}n${pick(30)}`;
  const file = one(files);
  const bytes = (count: number): Uint8Array => new Uint8Array(count).fill(1 + pick(255));
  try {
    switch (pick(24)) {
      case 0:
      case 1:
      case 2:
        return script.create(fresh, bytes([0, 10, 5000, 70_000][pick(4)]!));
      case 3:
      case 4:
        return script.write(file, pick(60_000), bytes(1 + pick(3000)));
      case 5:
        return script.append(file, bytes(100), pick(2) === 0);
      case 6:
        return script.truncate(file, pick(50_000), pick(2) === 1);
      case 7:
      case 8:
        return script.rename(file, fresh);
      case 9:
        return script.rename(one(directories.slice(1)), fresh);
      case 10:
        return script.rename(file, one(files), 2);
      case 11:
        return script.rename(
          one(directories.slice(1)),
          one([...files, ...directories.slice(1)]),
          2,
        );
      case 12:
        return script.unlink(file);
      case 13:
        return script.mkdir(fresh);
      case 14:
        if (pick(3) === 0 && directories.length > 1) script.removeAll(one(directories.slice(1)));
        return;
      case 15:
        return script.link(file, fresh);
      case 16:
        return script.symlink(`x/y${pick(9)}`, fresh);
      case 17:
        return script.chmod(file, [0o600, 0o644, 0o755, 0o4755][pick(4)]!);
      case 18:
        return script.utime(pick(2) === 0 ? file : folder, pick(2 ** 30));
      case 19:
        return script.attribute(file, `user.a${pick(3)}`, bytes(10));
      case 20: {
        // A save by rename that keeps most of the old content, somewhere.
        const old = fs.readFileSync(script.at(file));
        const at = pick(old.length + 1);
        const saved = Buffer.concat([old.subarray(0, at), bytes(pick(50)), old.subarray(at)]);
        script.create(`${file}.tmp`, saved);
        return script.rename(`${file}.tmp`, file);
      }
      case 21: {
        const old = fs.readFileSync(script.at(file));
        const at = pick(old.length + 1);
        return script.create(file, Buffer.concat([old.subarray(at), old.subarray(0, at)]));
      }
      case 22:
        script.create(`${file}.tmp`, bytes(3000));
        return script.rename(`${file}.tmp`, file);
      default:
        if (pick(2) === 0) return script.write(file, 300_000, bytes(3));
        script.unlink(file);
        script.mkdir(file);
        return script.create(`${file}/k`, bytes(1));
    }
  } catch (error) {
    // ENOENT, EEXIST, ENOTEMPTY and the like: this change was none.
    if (error instanceof assert.AssertionError) throw error;
  }
}

/** Shuffles, doubles and repeats events of the past: all of it is allowed. */
export function disorder(pick: Pick): (events: Event[]) => Event[] {
  const past: Event[] = [];
  return (events) => {
    const told = [...events];
    for (const event of events) if (pick(5) === 0) told.push(event);
    if (past.length > 0 && pick(4) === 0) told.push(past[pick(past.length)]!);
    for (let at = told.length - 1; at > 0; at--) {
      const other = pick(at + 1);
      [told[at], told[other]] = [told[other]!, told[at]!];
    }
    past.push(...events.slice(0, 3));
    return told;
  };
}

/**
 * One seed: a tree is made, cut, changed many times, some of it in the midst of a cut, and compared
 * at each commit that claims to be a past state, and at the end. Returns the rig's epochs.
 */
export async function fuzzCutter(seed: number, rounds: number): Promise<Epoch[]> {
  const pick = sequence(seed);
  const rig = new CutRig();
  const script = new Script(rig);
  try {
    for (let i = 0; i < 25; i++) randomChange(script, pick);
    if (pick(2) === 0) fs.cpSync(rig.source, rig.target, { recursive: true });
    if (pick(2) === 0) fs.writeFileSync(join(rig.target, "n31"), "left over");
    rig.drain({ ...deafSink });
    script.widen = (from, to) =>
      pick(3) === 0 ? [Math.max(0, from - pick(9000)), to + pick(900)] : [from, to];
    rig.shuffle = disorder(pick);
    if (pick(2) === 0) rig.orderedBytes = 1000;
    if (pick(2) === 0) rig.deltaBytesMin = 1 + pick(3000);
    rig.isHeld = pick(2) === 0;
    rig.pick = pick;
    rig.takesOrigins = seed % 2 === 0;
    rig.readsHot = seed % 3 !== 0;
    rig.start();
    rig.settle();
    await rig.assertEqual("after the first epoch");
    for (let round = 0; round < rounds; round++) {
      script.log.push(`-- round ${round}`);
      for (let i = pick(12); i >= 0; i--) randomChange(script, pick);
      let budget = pick(3) === 0 ? pick(20) : 0;
      let changed = false;
      const interfere = (chance: number): void => {
        if (budget === 0 || pick(chance) > 0) return;
        budget--;
        changed = true;
        script.log.push("(in the midst)");
        randomChange(script, pick);
      };
      rig.onRoom = () => interfere(4);
      rig.onDrain = () => {
        interfere(3);
        changed = false;
      };
      rig.onCommit = () => {
        // Stops here, so that the target can be judged as it is at this commit.
        // What was told last and touches nothing that was read waits for the next epoch: then the
        // target is a past state, but not the present one.
        if (!changed && !rig.hasEvents) rig.checkOrigins();
        const isPresent = !changed && rig.cutter.dirty.isEmpty;
        rig.isPaused = isPresent && !rig.epochs[rig.epochs.length - 1]!.fuzzy;
        if (!rig.isPaused) return;
        rig.onRoom = () => {};
        budget = 0;
      };
      for (let i = 0; i < 50; i++) {
        rig.settle();
        if (!rig.isPaused) break;
        if (!rig.hasEvents) await rig.assertEqual(`at a commit in round ${round}`);
        rig.isPaused = false;
      }
      rig.onRoom = rig.onDrain = rig.onCommit = () => {};
      rig.settle();
      await rig.assertEqual(`after round ${round}`);
      rig.checkOrigins();
      if (pick(3) === 0) rig.cutter.closeIdle();
    }
    assert.deepEqual(rig.problems, []);
    return rig.epochs;
  } catch (cause) {
    const last = script.log.slice(-60).join("\n");
    throw new Error(`cutter fuzz, seed ${seed}: ${String(cause)}\nafter\n${last}`, { cause });
  } finally {
    rig.end();
  }
}
