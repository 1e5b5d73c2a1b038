/**
 * What the contract suite of capture is made of: a sink that records, snapshots of a folder, and
 * the judgement whether what was told covers what changed.
 *
 * The judgement is the contract of src/capture/backend.ts read strictly: every byte that differs
 * must lie in a told extent (or the backend must have said that it knows no extent), every name
 * that differs must be told with its directory, every other difference must be told of its node.
 * Telling more is allowed. Nothing here knows which change was made.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, existsSync, lstatSync, mkdirSync, openSync, readdirSync } from "node:fs";
import { readFileSync, readlinkSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CaptureBackend, ChangeSink, PathStart } from "../../src/capture/index.ts";
import { Stat, statSlots } from "../../src/world/index.ts";
import { native } from "../../src/world/node/index.ts";

/** What was told of the content of one node. */
interface ToldContent {
  ranges: [number, number][];
  everything: boolean;
  appended: boolean;
  sharedPosition: boolean;
  closed: boolean;
}

/** A sink that keeps what it was told, by node; the key is `inode/generation`. */
export class Recorder implements ChangeSink {
  readonly content = new Map<string, ToldContent>();
  readonly attributed = new Set<string>();
  readonly named = new Map<string, number>();
  readonly namedChildren = new Set<string>();
  readonly mappedEver = new Set<string>();
  readonly namesInOrder: string[] = [];
  lostCount = 0;
  overflowCount = 0;
  /** Paths of processes that had gone: whoever is told has to look at everything. */
  unresolvedCount = 0;

  /** Forgets everything but which files are mapped: that stays true. */
  clear(): void {
    this.content.clear();
    this.attributed.clear();
    this.named.clear();
    this.namedChildren.clear();
    this.namesInOrder.length = 0;
    this.lostCount = this.overflowCount = this.unresolvedCount = 0;
  }

  of(ino: number, gen: number): ToldContent {
    const key = `${ino}/${gen}`;
    let told = this.content.get(key);
    if (told === undefined) {
      told = {
        ranges: [],
        everything: false,
        appended: false,
        sharedPosition: false,
        closed: false,
      };
      this.content.set(key, told);
    }
    return told;
  }

  written(
    ino: number,
    gen: number,
    from: number,
    to: number,
    _timeUs: number,
    sharedPosition: boolean,
    mapped: boolean,
  ): void {
    const told = this.of(ino, gen);
    told.ranges.push([from, to]);
    if (sharedPosition) told.sharedPosition = true;
    if (mapped) this.mappedEver.add(`${ino}/${gen}`);
  }

  appended(ino: number, gen: number): void {
    this.of(ino, gen).appended = true;
  }

  truncated(ino: number, gen: number, size: number): void {
    this.of(ino, gen).ranges.push([size, Infinity]);
  }

  unknownContent(ino: number, gen: number): void {
    this.of(ino, gen).everything = true;
  }

  stored(ino: number, gen: number, from: number, to: number): void {
    this.of(ino, gen).ranges.push([from, to]);
  }

  mapped(ino: number, gen: number): void {
    this.mappedEver.add(`${ino}/${gen}`);
  }

  attributes(ino: number, gen: number): void {
    this.attributed.add(`${ino}/${gen}`);
  }

  closed(ino: number, gen: number): void {
    this.of(ino, gen).closed = true;
  }

  name(
    directoryIno: number,
    directoryGen: number,
    name: Uint8Array,
    childIno: number,
    childGen: number,
    change: number,
  ): void {
    const text = Buffer.from(name).toString();
    const key = `${directoryIno}/${directoryGen}/${text}`;
    this.named.set(key, (this.named.get(key) ?? 0) | change);
    this.namedChildren.add(`${childIno}/${childGen}`);
    this.namesInOrder.push(text);
  }

  path(path: Uint8Array, start: PathStart, truncatedTo: number): void {
    const key = resolvedNode(Buffer.from(path).toString(), start);
    if (key === undefined) {
      this.unresolvedCount++;
      return;
    }
    this.attributed.add(key);
    if (truncatedTo === Infinity) return;
    const [ino = "", gen = ""] = key.split("/");
    this.truncated(Number(ino), Number(gen), truncatedTo);
  }

  lost(ino: number, gen: number): void {
    this.of(ino, gen).everything = true;
    this.lostCount++;
  }

  overflow(): void {
    this.overflowCount++;
  }
}

function resolvedNode(
  path: string,
  { processId, directoryFd, ino, gen }: PathStart,
): string | undefined {
  const process = `/proc/${processId}`;
  const start = directoryFd === -100 ? `${process}/cwd` : `${process}/fd/${directoryFd}`;
  try {
    // What the kernel told of the folder must be that folder: the process may be gone when asked.
    if (!path.startsWith("/")) assert.equal(`${ino}/${gen}`, nodeKey(`${start}/.`, true));
    return nodeKey(path.startsWith("/") ? `${process}/root${path}` : `${start}/${path}`, true);
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    return undefined;
  }
}

const stat = new Float64Array(statSlots);

/** `inode/generation` of a path, as the engine sees it. */
export function nodeKey(path: string, follow = false): string {
  const target = follow ? realpathOf(path) : path;
  withDirectory(target, (fd, name) => native().statAt(fd, name, stat));
  return `${stat[Stat.ino]}/${stat[Stat.gen]}`;
}

/** Calls with the descriptor of the parent and the last component, as the engine does. */
function withDirectory(path: string, call: (fd: number, name: Buffer) => number): number {
  const fd = openSync(dirname(path), "r");
  const result = call(fd, Buffer.from(basename(path)));
  closeSync(fd);
  if (result < 0) throw new Error(`${path}: errno ${-result}`);
  return result;
}

/** Follows symbolic links, except the magic ones of /proc, whose text is meant for another root. */
function realpathOf(path: string): string {
  const magic = /^\/proc\/\d+\/(root|cwd|fd\/\d+)/.exec(path);
  if (magic === null) return realpathSync(path);
  statSync(path);
  return path;
}

interface Entry {
  readonly key: string;
  readonly directoryKey: string;
  readonly metadata: string;
  readonly content: Buffer | undefined;
}
export type Snapshot = ReadonlyMap<string, Entry>;

/** Everything below a folder, and the folder itself. */
export function snapshotOf(root: string): Snapshot {
  const entries = new Map<string, Entry>();
  const waiting = [root];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const s = lstatSync(path, { bigint: true });
    const key = nodeKey(path);
    const attributes = Buffer.alloc(4096);
    const attributeBytes = withDirectory(path, (fd, name) =>
      native().getAttributes(fd, name, attributes),
    );
    const link = s.isSymbolicLink() ? readlinkSync(path) : "";
    entries.set(path, {
      key,
      directoryKey: path === root ? "" : nodeKey(dirname(path)),
      metadata: [
        `${s.mode} ${s.uid} ${s.gid}`,
        s.isDirectory() ? "" : s.mtimeNs,
        link,
        attributes.subarray(0, attributeBytes).toString("hex"),
      ].join(" "),
      content: s.isFile() ? readFileSync(path) : undefined,
    });
    if (s.isDirectory()) for (const name of readdirSync(path)) waiting.push(join(path, name));
  }
  return entries;
}

/** How what was told is read: whether a mere close says "compare this file". */
export interface Judgement {
  readonly closedCounts: boolean;
}

/** What changed between the snapshots and was not told; empty when the contract holds. */
export function untold(
  before: Snapshot,
  after: Snapshot,
  told: Recorder,
  judgement: Judgement,
): string[] {
  const missing: string[] = [];
  if (told.overflowCount + told.unresolvedCount > 0) return missing;
  for (const path of new Set([...before.keys(), ...after.keys()])) {
    const was = before.get(path);
    const is = after.get(path);
    if (was?.key !== is?.key) {
      if (!nameIsTold(path, before, after, told)) missing.push(`name of ${path}`);
    } else if (was !== undefined && is !== undefined) {
      if (anyNameIsTold(is.key, before, told)) continue;
      const problem = untoldOfNode(was, is, told, judgement);
      if (problem !== undefined) missing.push(`${problem} of ${path}`);
    }
  }
  return missing;
}

/** Whether anything differs: a change that changes nothing would prove nothing. */
export function differs(before: Snapshot, after: Snapshot): boolean {
  if (before.size !== after.size) return true;
  for (const [path, was] of before) {
    const is = after.get(path);
    if (is === undefined || was.key !== is.key || was.metadata !== is.metadata) return true;
    if (was.content !== undefined && is.content?.equals(was.content) !== true) return true;
  }
  return false;
}

function nameIsTold(path: string, before: Snapshot, after: Snapshot, told: Recorder): boolean {
  const was = before.get(dirname(path));
  const is = after.get(dirname(path));
  // A directory that came is scanned, one that went is known to be gone.
  if (was === undefined || was.key !== is?.key) return true;
  return told.named.has(`${was.key}/${basename(path)}`);
}

/** A node is found by each of its names. */
function anyNameIsTold(key: string, before: Snapshot, told: Recorder): boolean {
  for (const [path, entry] of before) {
    if (entry.key !== key) continue;
    if (told.named.has(`${entry.directoryKey}/${basename(path)}`)) return true;
  }
  return false;
}

function untoldOfNode(
  was: Entry,
  is: Entry,
  told: Recorder,
  judgement: Judgement,
): string | undefined {
  const content = told.content.get(is.key);
  if (content?.everything === true) return undefined;
  // Writes at a shared position may be told at each other's place: what is owed is the flag.
  if (content?.sharedPosition === true) return undefined;
  if (judgement.closedCounts && content?.closed === true) return undefined;
  if (was.content !== undefined && is.content !== undefined && !was.content.equals(is.content)) {
    if (told.mappedEver.has(is.key)) return undefined;
    const ranges = content?.ranges ?? [];
    if (content?.appended === true) ranges.push([was.content.length, Infinity]);
    if (ranges.length === 0) return "content";
    const at = firstUncovered(was.content, is.content, ranges);
    if (at >= 0) return `byte ${at}`;
  }
  if (was.metadata !== is.metadata) {
    const known =
      told.attributed.has(is.key) ||
      told.namedChildren.has(is.key) ||
      told.mappedEver.has(is.key) ||
      (content !== undefined && content.ranges.length > 0) ||
      content?.appended === true;
    if (!known) return "metadata";
  }
  return undefined;
}

/** A byte that differs and lies in no range, or -1. New zeros count as a hole, told by the size. */
function firstUncovered(was: Buffer, is: Buffer, ranges: readonly [number, number][]): number {
  const sorted = [...ranges].sort((a, b) => a[0] - b[0]);
  let next = 0;
  let end = 0;
  for (let at = 0; at < is.length; at++) {
    if (is[at] === (at < was.length ? was[at] : 0)) continue;
    while (at >= end && next < sorted.length && sorted[next]![0] <= at) {
      end = Math.max(end, sorted[next++]![1]);
    }
    if (at >= end) return at;
  }
  return -1;
}

/** Drains until nothing waits. */
export function drainAll(backend: CaptureBackend, told: ChangeSink): void {
  for (let round = 0; round < 10_000; round++) if (!backend.drain(told)) return;
  throw new Error("draining does not end");
}

/** 64 KiB in which no two blocks are equal; every byte is below 128. */
export function pattern(seed: number, bytes = 65536): Buffer {
  const out = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++) out[at] = (at * 7 + (at >> 8) * 13 + seed * 31) & 127;
  return out;
}

/** Makes `folder` with the three files that changes expect. */
export function prepareFolder(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "file"), pattern(1));
  writeFileSync(join(folder, "other"), pattern(2));
  writeFileSync(join(folder, "bystander"), pattern(3));
}

let program: string | undefined;

/** The path of the program that makes changes; builds it on first use. */
export function changesProgram(): string {
  if (program !== undefined) return program;
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let up = 0; up < 6 && !existsSync(join(folder, "build")); up++) folder = dirname(folder);
  const build = realpathSync(join(folder, "build"));
  const made = spawnSync("make", ["-s", "-C", join(dirname(build), "test/native")], {
    encoding: "utf8",
  });
  if (made.status !== 0) throw new Error(`test/native cannot be built: ${made.stderr}`);
  program = join(build, "test/changes");
  return program;
}

/** Why a change could not be made here; anything else is a failure and throws. */
export function refusalOf(status: number | null, stderr: string): string | undefined {
  if (status === 0) return undefined;
  if (status === 77) return stderr.trim();
  throw new Error(`the change failed (${status}): ${stderr}`);
}

/** A change that prepares, waits, changes and waits. */
export class SteppedChange {
  readonly #child: ChildProcess;
  #stdout = "";
  #stderr = "";
  #reads = 0;
  readonly #ended: Promise<number | null>;

  constructor(args: readonly string[]) {
    const child = spawn(changesProgram(), args, { stdio: ["pipe", "pipe", "pipe"] });
    child.stdout.setEncoding("utf8").on("data", (text: string) => (this.#stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.#stderr += text));
    child.stdin.on("error", () => undefined);
    this.#child = child;
    this.#ended = new Promise((resolve) => child.on("close", resolve));
  }

  /** Until it waits; or why it cannot be made here. */
  async ready(): Promise<string | undefined> {
    this.#reads++;
    for (;;) {
      if (this.#stdout.split("ready").length > this.#reads) return undefined;
      const news = new Promise((resolve) => this.#child.stdout?.once("data", resolve));
      const ended = await Promise.race([news.then(() => "news"), this.#ended]);
      if (ended !== "news") return refusalOf(ended as number | null, this.#stderr) ?? "it ended";
    }
  }

  goOn(): void {
    this.#child.stdin?.write("x");
  }

  /** Until the end, which `goOn` must have allowed. */
  async end(): Promise<void> {
    refusalOf(await this.#ended, this.#stderr);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}
