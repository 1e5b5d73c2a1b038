/**
 * What the tests of this room share: a target folder of their own with an Applier on it, and a
 * generator of operation sequences that look valid, mixed with some that no correct source sends.
 *
 * Operations go the whole way: writer, frames, reader, decoder, Applier. After each the disk must
 * be what the tree says, or a SyncError was thrown; nothing outside of the root may ever change.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SyncError } from "../base/index.ts";
import { type Problem, ProblemLog } from "../model/index.ts";
import { rootId, Tree } from "../tree/index.ts";
import { decodeOperation, FrameReader, OpWriter } from "../wire/index.ts";
import { type Files, type Lanes, Open } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { Applier } from "./applier.ts";
import type { Discard } from "./discard.ts";
import { NewFileLane } from "./new-file-lane.ts";

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
export const noBytes = new Uint8Array(0);

/** A target with a neighbour folder that must never change. */
export class TargetRig {
  readonly folder: string;
  readonly root: string;
  readonly outside: string;
  readonly rootFd: number;
  readonly files: Files;
  readonly tree: Tree = new Tree();
  readonly problems: Problem[] = [];
  readonly applier: Applier;
  readonly lane: NewFileLane | undefined;
  readonly writer: OpWriter;
  readonly #before: string;

  /** `root`: a folder made by the caller (a mount), else one is made. */
  constructor(
    files: Files = native(),
    root?: string,
    makeDiscard?: (rig: TargetRig, problems: ProblemLog) => Discard,
    lanes?: Lanes,
  ) {
    this.files = files;
    this.folder = fs.mkdtempSync(join(tmpdir(), "lockstep-apply-"));
    this.root = root ?? join(this.folder, "root");
    this.outside = join(this.folder, "outside");
    if (root === undefined) fs.mkdirSync(this.root);
    fs.mkdirSync(join(this.outside, "inner"), { recursive: true });
    fs.writeFileSync(join(this.outside, "canary"), "alive");
    fs.writeFileSync(join(this.outside, "inner/canary"), "alive too");
    this.#before = outline(this.outside);
    this.rootFd = native().openPath(Buffer.from(this.root), Open.read | Open.directory);
    assert.ok(this.rootFd >= 0);
    const problems = new ProblemLog((problem) => this.problems.push(problem));
    const discard = makeDiscard?.(this, problems);
    this.applier = new Applier(files, this.rootFd, this.tree, problems, discard);
    const { applier, tree, rootFd } = this;
    if (lanes !== undefined) this.lane = new NewFileLane({ lanes, applier, tree, rootFd });
    const to = this.lane ?? applier;
    const reader = new FrameReader((type, bytes, start, end) =>
      decodeOperation(type, bytes, start, end, to),
    );
    this.writer = new OpWriter((piece) => reader.push(piece));
  }

  /** Sends operations through the wire; the first refusal is thrown. */
  send(...operations: ((writer: OpWriter) => void)[]): void {
    for (const one of operations) {
      one(this.writer);
      this.writer.flush();
    }
  }

  path(name: string): string {
    return join(this.root, name);
  }

  /** Makes a file at a name of the root, as a source does. */
  file(node: number, name: string, content: string, parent = rootId): void {
    this.send(
      (w) => w.create(node, 0o100644, 0, noBytes),
      (w) => write(w, node, 0, bytesOf(content)),
      (w) => w.meta(node, 0o644, process.getuid!(), process.getgid!()),
      (w) => w.place(node, parent, bytesOf(name)),
    );
  }

  folderNode(node: number, name: string, parent = rootId): void {
    this.send(
      (w) => w.create(node, 0o040755, 0, noBytes),
      (w) => w.place(node, parent, bytesOf(name)),
      (w) => w.meta(node, 0o755, process.getuid!(), process.getgid!()),
    );
  }

  checkOutside(): void {
    assert.equal(outline(this.outside), this.#before, "something outside of the root changed");
  }

  /** The disk has what the tree says, and nothing else. */
  checkDisk(content?: ReadonlyMap<number, Buffer>): void {
    const { tree } = this;
    this.lane?.settle();
    const inodes = new Map<number, number>();
    const pending: [number, Buffer][] = [[rootId, Buffer.from(this.root)]];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const [node, path] = next;
      const known = new Map<string, number>();
      for (let id = tree.firstChild[node]!; id !== 0; id = tree.names.nextSibling[id]!) {
        known.set(Buffer.from(tree.names.bytes(id)).toString("latin1"), tree.names.node[id]!);
      }
      const present = fs
        .readdirSync(path, { encoding: "latin1" as BufferEncoding })
        .filter(isNoHold);
      assert.deepEqual(present.sort(), [...known.keys()].sort(), `names in ${path.toString()}`);
      for (const [name, child] of known) {
        // Names are bytes, and so are paths made of them.
        const at = Buffer.concat([path, Buffer.from(`/${name}`, "latin1")]);
        const stat = fs.lstatSync(at);
        assert.equal(stat.mode & 0o170000, tree.mode[child]! & 0o170000, at.toString());
        assert.equal(inodes.get(child) ?? stat.ino, stat.ino, `${at.toString()} is another file`);
        inodes.set(child, stat.ino);
        if (stat.isDirectory()) pending.push([child, at]);
        if (stat.isSymbolicLink()) {
          const target = Buffer.from(tree.symlinkTarget.get(child)!).toString();
          assert.equal(fs.readlinkSync(at), target);
        }
        if (stat.isFile()) {
          assert.equal(stat.size, tree.size[child], at.toString());
          const wanted = content?.get(child);
          if (wanted !== undefined)
            assert.ok(fs.readFileSync(at).equals(wanted), `bytes of ${at.toString()}`);
        }
      }
    }
    assert.equal(new Set(inodes.values()).size, inodes.size, "two nodes are one file");
  }

  holdNames(): string[] {
    return fs.readdirSync(this.root).filter((name) => !isNoHold(name));
  }

  /** Closes all; with `keep` the folder stays. */
  end(): void {
    this.lane?.close();
    this.applier.close();
    assert.deepEqual(this.holdNames(), [], "a hold name was left behind");
    this.checkOutside();
    native().close(this.rootFd);
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

function isNoHold(name: string): boolean {
  return !name.startsWith(".lockstep-hold.");
}

export function write(writer: OpWriter, node: number, position: number, bytes: Uint8Array): void {
  const space = writer.beginWrite(node, position, bytes.length);
  space.bytes.set(bytes, space.offset);
  writer.endWrite(bytes.length);
}

/** Everything below a folder as text: kinds, modes, times, content. */
function outline(folder: string): string {
  const lines: string[] = [];
  for (const name of fs.readdirSync(folder, { recursive: true }) as string[]) {
    const path = join(folder, name);
    const stat = fs.lstatSync(path, { bigint: true });
    const content = stat.isFile() ? fs.readFileSync(path, "latin1") : "";
    lines.push(`${name} ${stat.mode} ${stat.uid} ${stat.nlink} ${stat.mtimeNs} ${content}`);
  }
  return lines.sort().join("\n");
}

export function sequence(seed: number): (below: number) => number {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

type Pick = (below: number) => number;

/** Another `Discard`, what there is at first, and what must hold at the end. */
export interface FuzzVariant {
  readonly makeDiscard: (rig: TargetRig, problems: ProblemLog) => Discard;
  readonly begin: (rig: TargetRig, content: Map<number, Buffer>) => void;
  readonly check: (rig: TargetRig) => void;
}

/**
 * Runs a sequence; returns the counts of operations done and refused. Throws when a rule breaks.
 */
export function fuzzApplier(
  seed: number,
  steps: number,
  variant?: FuzzVariant,
  lanes?: Lanes,
): { done: number; refused: number } {
  const pick = sequence(seed);
  const rig = new TargetRig(native(), undefined, variant?.makeDiscard, lanes);
  const content = new Map<number, Buffer>();
  variant?.begin(rig, content);
  const labels: string[] = [];
  let done = 0;
  let refused = 0;
  let isEnded = false;
  try {
    for (let i = 0; i < steps && !isEnded; i++) {
      const { send, note } = operationFor(pick, rig, content);
      labels.push(labelOf(send));
      try {
        rig.send(send);
        done++;
        note();
      } catch (error) {
        labels.push(`  ${String(error)}`);
        assert.ok(error instanceof SyncError, String(error));
        refused++;
        // What the disk refused ends a session; what the protocol forbids must have changed
        // nothing.
        isEnded = error.code !== "PEER_MALFORMED";
      }
      if (pick(4) === 0) rig.applier.closeIdle();
      const isDue = lanes === undefined ? refused > 0 || i % 4 === 0 : pick(16) === 0;
      if (!isEnded && isDue) rig.checkDisk(content);
    }
    if (!isEnded) rig.checkDisk(content);
    rig.lane?.close();
    rig.applier.close();
    variant?.check(rig);
    rig.end();
  } catch (cause) {
    fs.rmSync(rig.folder, { recursive: true, force: true });
    const last = labels.slice(-8).join("\n");
    throw new Error(`applier fuzz, seed ${seed}: ${String(cause)}\nafter\n${last}`, { cause });
  }
  return { done, refused };
}

/** The calls of an operation as text, for the report of a failure. */
function labelOf(send: (writer: OpWriter) => void): string {
  const labels: string[] = [];
  const lent = { bytes: new Uint8Array(65536), offset: 0 };
  const shown = (value: unknown): string =>
    value instanceof Uint8Array ? `"${Buffer.from(value).toString("latin1")}"` : String(value);
  const notes = new Proxy(
    {},
    {
      get:
        (_, method) =>
        (...values: unknown[]) => {
          labels.push(`${String(method)}(${values.map(shown).join(", ")})`);
          return lent;
        },
    },
  );
  send(notes as OpWriter);
  return labels.join(" ");
}

interface Generated {
  send: (writer: OpWriter) => void;
  /** Keeps the model of contents in step, once the operation has passed. */
  note: () => void;
}

/** An operation on nodes that exist, most of the time. */
function operationFor(pick: Pick, rig: TargetRig, content: Map<number, Buffer>): Generated {
  const { tree } = rig;
  const live: number[] = [];
  for (let id = 1; id < tree.endId; id++) if (tree.isLive(id)) live.push(id);
  const wild = pick(25) === 0;
  const any = (): number =>
    wild && pick(2) === 0
      ? [0, 1, tree.endId, 99999, 0xffffffff][pick(5)]!
      : live[pick(live.length)]!;
  const directory = (): number => {
    const list = live.filter((id) => tree.isDirectory(id));
    return wild ? any() : list[pick(list.length)]!;
  };
  const regular = (): number => {
    const list = live.filter((id) => (tree.mode[id]! & 0o170000) === 0o100000);
    return wild || list.length === 0 ? any() : list[pick(list.length)]!;
  };
  const detached = (): number => {
    const list = live.filter((id) => id !== rootId && tree.firstName[id] === 0);
    return wild || list.length === 0 ? any() : list[pick(list.length)]!;
  };
  const name = (): Uint8Array => bytesOf(`n${pick(12)}`);
  // Names that are taken are refused by the disk too often to get anywhere.
  const free = (parent: number): Uint8Array => {
    let at = name();
    for (let i = 0; i < 3 && tree.child(parent, at) !== 0; i++) at = name();
    return at;
  };
  const namedChild = (): [number, Uint8Array] => {
    const named = live.filter((id) => tree.firstName[id] !== 0);
    if (wild || named.length === 0) return [directory(), name()];
    const id = tree.firstName[named[pick(named.length)]!]!;
    return [tree.names.parent[id]!, new Uint8Array(tree.names.bytes(id))];
  };
  const nothing = (): void => {};
  if (rig.lane !== undefined && pick(3) === 0) {
    const [node, parent] = [freeId(tree), directory()];
    return wholeFile(node, parent, name(), Buffer.alloc(pick(9000), 65 + pick(26)), content);
  }
  const kind = pick(18);
  if (kind <= 3) {
    const node = wild ? any() : freeId(tree);
    const type = [0o100000, 0o100000, 0o040000, 0o120000, 0o010000][pick(5)]!;
    const target = type === 0o120000 ? bytesOf(`../../outside/t${pick(9)}`) : noBytes;
    const note = (): void => void content.set(node, Buffer.alloc(0));
    return { send: (w) => w.create(node, type | 0o600, 0, target), note };
  }
  if (kind <= 7) {
    const [node, parent] = [detached(), directory()];
    const at = free(parent);
    return { send: (w) => w.place(node, parent, at), note: nothing };
  }
  if (kind <= 9) {
    const [node, position] = [regular(), pick(30_000)];
    const bytes = new Uint8Array(1 + pick(9000)).fill(pick(256));
    const note = (): void => splice(content, node, position, bytes, position + bytes.length);
    return { send: (w) => write(w, node, position, bytes), note };
  }
  if (kind === 10) {
    const [node, position, length] = [regular(), pick(30_000), pick(20_000)];
    const note = (): void => {
      const old = content.get(node);
      old?.fill(0, Math.min(old.length, position), Math.min(old.length, position + length));
    };
    return { send: (w) => w.zero(node, position, length), note };
  }
  if (kind === 11 && pick(2) === 0) {
    const [node, from, position] = [regular(), regular(), pick(30_000)];
    const [fromPosition, length] = [pick(3000), 1 + pick(6000)];
    const note = (): void => {
      const end = fromPosition + length;
      const bytes = content.get(from)?.subarray(fromPosition, end) ?? noBytes;
      splice(content, node, position, Buffer.from(bytes), position + length);
    };
    const source = { node: from, position: fromPosition };
    return { send: (w) => w.clone(node, position, source, length), note };
  }
  if (kind === 11) {
    const [node, size] = [regular(), pick(40_000)];
    const note = (): void => {
      const fresh = Buffer.alloc(size);
      content.get(node)?.copy(fresh);
      content.set(node, fresh);
    };
    return { send: (w) => w.truncate(node, size), note };
  }
  if (kind <= 13) {
    const [[from, fromName], to] = [namedChild(), directory()];
    const toName = free(to);
    const exchange = pick(3) === 0;
    const [other, otherName] = exchange && pick(4) > 0 ? namedChild() : [to, toName];
    const send = (w: OpWriter): void =>
      w.rename(from, fromName, other, otherName, exchange ? 1 : 0);
    return { send, note: nothing };
  }
  if (kind === 14) {
    const [node, parent] = [regular(), directory()];
    const at = free(parent);
    return { send: (w) => w.link(node, parent, at), note: nothing };
  }
  if (kind === 15) {
    const [parent, at] = namedChild();
    return { send: (w) => w.unlink(parent, at), note: nothing };
  }
  const node = any();
  if (kind === 16 && pick(3) === 0) return { send: (w) => w.remove(node), note: nothing };
  if (kind === 16) return { send: (w) => w.detach(node), note: nothing };
  if (pick(2) === 0) return { send: (w) => w.times(node, pick(2 ** 31), pick(1e9)), note: nothing };
  return { send: (w) => w.meta(node, 0o600 | pick(0o200), 0, 0), note: nothing };
}

/** A new file as a source tells it. */
function wholeFile(
  node: number,
  parent: number,
  name: Uint8Array,
  bytes: Buffer,
  content: Map<number, Buffer>,
): Generated {
  const send = (w: OpWriter): void => {
    w.create(node, 0o100600, 0, noBytes);
    if (bytes.length > 0) write(w, node, 0, bytes);
    // Its place may be refused.
    content.set(node, bytes);
    w.meta(node, 0o640, 0, 0);
    w.times(node, 1_600_000_000, node);
    w.place(node, parent, name);
  };
  return { send, note: () => {} };
}

function freeId(tree: Tree): number {
  for (let id = 2; ; id++) if (!tree.isLive(id)) return id;
}

function splice(
  content: Map<number, Buffer>,
  node: number,
  position: number,
  bytes: Uint8Array,
  end: number,
): void {
  const old = content.get(node) ?? Buffer.alloc(0);
  const fresh = Buffer.alloc(Math.max(old.length, end));
  old.copy(fresh);
  fresh.set(bytes, position);
  content.set(node, fresh);
}
