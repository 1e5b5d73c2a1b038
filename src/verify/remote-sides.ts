/**
 * `RemoteSides`: the source of a comparison is a folder of this machine, the target is asked.
 *
 * Both sides' names are taken in the order of their bytes, so neither has to be kept whole: what
 * the target says is kept for at most two pages and `aheadPairsMax` names. Answers take a while, so
 * they are asked for ahead: the next page, the first parts of files that come next (up to
 * `aheadBytesMax`), and the first pages of the folders that come next.
 * What a target says is checked where it could lead astray: names in order, parts that go forward.
 */
import { Errno, type Files, Mode, Open, Stat } from "../world/index.ts";
import { ContentComparer } from "./content.ts";
import { DifferenceKind } from "./difference.ts";
import { DirectoryReader, nameBytes } from "./directory-reader.ts";
import { DirectoryStack, type Frame, type StackError } from "./directory-stack.ts";
import {
  type Finding,
  isGone,
  judgeAttributes,
  judgeLinks,
  MetadataComparer,
  typeOf,
} from "./metadata.ts";
import { PartHasher, partBytesMax, partBytesMin } from "./part-hasher.ts";
import {
  hashedAttributes,
  type PartRun,
  refuseAnswer,
  type RemoteEntry,
  type RemotePage,
  type RemoteParts,
  type RemoteTree,
} from "./remote-tree.ts";
import {
  holesFinding,
  isSame,
  isStat,
  isStill,
  lookAt,
  openFailed,
  type Seen,
  type SeenPair,
  type Sides,
  type SidesContext,
  unreadable,
} from "./sides.ts";
import { SortedNames } from "./sorted-names.ts";

/** Names looked at before they are compared, and bytes of their files, at most. */
const aheadPairsMax = 32;
const aheadBytesMax = 8 * 1024 * 1024;
/** Folders whose first page is asked for before they are entered. */
const aheadFoldersMax = 3;
const aheadPagesMax = 64;

const noName = new Uint8Array(0);

export class RemoteSides implements Sides {
  readonly #files: Files;
  readonly #rootFd: number;
  readonly #remote: RemoteTree;
  readonly #context: SidesContext;
  readonly #stack: DirectoryStack;
  readonly #reader: DirectoryReader;
  readonly #content: ContentComparer;
  readonly #metadata: MetadataComparer;
  readonly #hasher: PartHasher;
  /** What the target said beside the stat record. */
  readonly #entries = new WeakMap<Float64Array, RemoteEntry>();
  /** Of the folder on top, by name. */
  readonly #parts = new Map<string, Promise<RemoteParts | number>>();
  /** First pages, by path. */
  readonly #pages = new Map<string, Promise<RemotePage | number>>();

  constructor(files: Files, rootFd: number, remote: RemoteTree, context: SidesContext) {
    this.#files = files;
    this.#rootFd = rootFd;
    this.#remote = remote;
    this.#context = context;
    this.#stack = new DirectoryStack(files, context.crosses);
    this.#reader = new DirectoryReader(files);
    this.#content = new ContentComparer(files);
    this.#metadata = new MetadataComparer(files);
    this.#hasher = new PartHasher(files, remote.sha256, remote.salt);
  }

  get top(): Frame | undefined {
    return this.#stack.top;
  }

  get targetAheadMs(): number {
    return this.#remote.aheadMs;
  }

  enterRoots(): StackError | undefined {
    return this.#stack.enterRoots(this.#rootFd, -1);
  }

  enter(name: string): StackError | undefined {
    const pending = this.#stack.top?.pending ?? [];
    for (const next of [name, ...pending.slice(-aheadFoldersMax).reverse()]) {
      if (this.#pages.size >= aheadPagesMax) break;
      const path = this.#pathOf(next);
      const key = keyOf(path);
      if (!this.#pages.has(key)) this.#pages.set(key, handled(this.#remote.list(path, "")));
    }
    const key = keyOf(this.#pathOf(name));
    const error = this.#stack.enter(name);
    if (error !== undefined) this.#pages.delete(key);
    return error;
  }

  leave(): StackError | undefined {
    return this.#stack.leave();
  }

  closeAll(): void {
    this.#stack.closeAll();
    this.#pages.clear();
    this.#parts.clear();
  }

  pathOf(name: string): Uint8Array {
    return this.#stack.pathOf(name);
  }

  /** As the target is asked: empty for the root. */
  #pathOf(name: string): Uint8Array {
    const isRoot = name === "" && this.#stack.top?.name === "";
    return isRoot ? noName : this.#stack.pathOf(name);
  }

  async *names(): AsyncGenerator<SeenPair, StackError | undefined, undefined> {
    const ahead: { readonly pair: SeenPair; readonly bytes: number }[] = [];
    let aheadBytes = 0;
    this.#parts.clear();
    const pairs = this.#pairs();
    let next = await pairs.next();
    for (;;) {
      while (next.done !== true && ahead.length < aheadPairsMax && aheadBytes < aheadBytesMax) {
        const pair = next.value;
        const bytes = this.#askAhead(pair);
        aheadBytes += bytes;
        ahead.push({ pair, bytes });
        next = await pairs.next();
      }
      const first = ahead.shift();
      if (first === undefined) return next.done === true ? next.value : undefined;
      yield first.pair;
      aheadBytes -= first.bytes;
      this.#parts.delete(first.pair.name);
    }
  }

  /** Asks for the first parts of a file that will be compared. Returns how much that may be. */
  #askAhead(pair: SeenPair): number {
    if (!this.#isAsked(pair) || !isStat(pair.source)) return 0;
    const { name } = pair;
    this.#parts.set(name, handled(this.#remote.parts(this.#pathOf(name), 0, partBytesMax)));
    return sizeAhead(pair.source);
  }

  #isAsked({ name, source, target }: SeenPair): boolean {
    const { content, cursor, see } = this.#context;
    if (!content || cursor.isDone(this.pathOf("")) || cursor.hasRead(name)) return false;
    const [s, t] = see(name, source, target);
    if (!isStat(s) || !isStat(t) || typeOf(s) !== Mode.regular) return false;
    const size = s[Stat.size] ?? 0;
    return typeOf(t) === Mode.regular && size > 0 && t[Stat.size] === size;
  }

  /** The names of both sides, each in order. */
  async *#pairs(): AsyncGenerator<SeenPair, StackError | undefined, undefined> {
    const frame = this.#stack.top;
    if (frame === undefined) return undefined;
    const path = this.#pathOf("");
    const key = keyOf(path);
    const first = this.#pages.get(key) ?? handled(this.#remote.list(path, ""));
    this.#pages.delete(key);
    const names = await SortedNames.read(this.#reader, frame.source, this.#context.pause);
    if (names === "cancelled") return undefined;
    if (typeof names === "number") return { side: "source", errno: names };
    const targets = this.#targets(path, first);
    let target = await targets.next();
    for (;;) {
      if (target.done === true && typeof target.value === "number") {
        return { side: "target", errno: target.value };
      }
      const entry = target.done === true ? undefined : target.value;
      const name = names.next;
      if (name === undefined && entry === undefined) return undefined;
      const isSource = name !== undefined && (entry === undefined || name <= entry.name);
      const isTarget = entry !== undefined && (!isSource || name === entry.name);
      if (isSource) names.take();
      yield {
        name: isSource ? name : entry!.name,
        source: isSource ? lookAt(this.#files, frame.source, nameBytes(name)) : "absent",
        target: isTarget ? this.#seen(entry) : "absent",
      };
      if (isTarget) target = await targets.next();
    }
  }

  /** Entries of a folder of the target, page after page; then an errno if it cannot go on. */
  async *#targets(
    path: Uint8Array,
    first: Promise<RemotePage | number>,
  ): AsyncGenerator<RemoteEntry, number | undefined, undefined> {
    let after = "";
    for (let next = first; ;) {
      const page = await next;
      if (typeof page === "number") return page;
      const { entries, hasMore } = page;
      for (const { name } of entries) {
        if (name <= after) refuseAnswer("has names that are out of order");
        after = name;
      }
      if (hasMore && entries.length === 0) refuseAnswer("has an empty page before the last");
      if (hasMore) next = handled(this.#remote.list(path, after));
      yield* entries;
      if (!hasMore) return undefined;
    }
  }

  #seen(entry: RemoteEntry): Seen {
    if (isStat(entry.stat)) this.#entries.set(entry.stat, entry);
    return entry.stat;
  }

  async look(name: string): Promise<[Seen, Seen]> {
    const asked = this.#remote.look(this.#pathOf(name));
    const entry = await asked;
    // The source afterwards: what it has told by now, the target may have.
    const source = lookAt(this.#files, this.#stack.top!.source, nameBytes(name));
    if (typeof entry === "number") return [source, isGone(entry) ? "absent" : entry];
    return [source, this.#seen(entry)];
  }

  compareLinks(name: string, _source: Float64Array, target: Float64Array, out: Finding[]): boolean {
    const left = this.#metadata.readLink(this.#stack.top!.source, nameBytes(name));
    return judgeLinks(left, this.#entries.get(target)?.link ?? -Errno.ENOENT, out);
  }

  compareAttributes(
    name: string,
    _source: Float64Array,
    target: Float64Array,
    out: Finding[],
  ): boolean {
    const list = this.#metadata.readAttributes(this.#stack.top!.source, nameBytes(name));
    const left = typeof list === "number" ? list : hashedAttributes(list, this.#remote);
    return judgeAttributes(left, this.#entries.get(target)?.attributes ?? -Errno.ENOENT, out);
  }

  async examineFile(
    name: string,
    source: Float64Array,
    target: Float64Array,
    out: Finding[],
  ): Promise<boolean> {
    const flags = Open.read | Open.noFollow | Open.nonBlock;
    const fd = this.#files.openBeneath(this.#stack.top!.source, nameBytes(name), flags, 0);
    if (fd < 0) return openFailed("source", fd, out);
    try {
      if (!isStill(this.#files, fd, source)) return true;
      const { content, cursor, pause } = this.#context;
      if (content && !cursor.hasRead(name)) {
        const outcome = await this.#compareContent(fd, name, target, out);
        if (outcome === "moved") return true;
        if (outcome === "equal") cursor.noteRead(name, source[Stat.size] ?? 0);
      }
      if (await this.#content.lostHoles(source, target, fd, pause)) {
        out.push(holesFinding(source, target));
      }
      return !isStill(this.#files, fd, source);
    } finally {
      this.#files.close(fd);
    }
  }

  /** `told`: something was found, or the comparison is to end. */
  async #compareContent(
    fd: number,
    name: string,
    target: Float64Array,
    out: Finding[],
  ): Promise<"equal" | "moved" | "told"> {
    const size = target[Stat.size] ?? 0;
    const path = this.#pathOf(name);
    let next = this.#parts.get(name) ?? handled(this.#remote.parts(path, 0, partBytesMax));
    this.#parts.delete(name);
    this.#hasher.start(fd, size, partBytesMax);
    for (let position = 0; position < size;) {
      const parts = await next;
      if (typeof parts === "number") return openFailed("target", parts, out) ? "moved" : "told";
      if (!parts.isUnchanged || !isSame(target, parts.stat)) return "moved";
      const end = checkedEnd(parts.runs, { position, size, partBytes: partBytesMax });
      if (end < size) next = handled(this.#remote.parts(path, end, partBytesMax));
      for (const run of parts.runs) {
        const different = await this.#compareRun(run, position, out);
        if (different === "told") return "told";
        if (different !== undefined) {
          const where = await this.#narrow(fd, path, size, different);
          const detail = `first difference in bytes ${where.from} to ${where.end - 1}`;
          out.push({ kind: DifferenceKind.content, detail });
          return "told";
        }
        position = run.end;
      }
    }
    return "equal";
  }

  /** What is different first; undefined when nothing is. */
  async #compareRun(
    run: PartRun,
    from: number,
    out: Finding[],
  ): Promise<{ from: number; end: number } | "told" | undefined> {
    const hasher = this.#hasher;
    for (let position = from; position < run.end;) {
      const result = hasher.step(position);
      if (result < 0) {
        out.push(unreadable("source", result));
        return "told";
      }
      const { hash, readBytes } = hasher;
      // A hole here may be longer than what the target has told of.
      const end = Math.min(hasher.end, run.end);
      const bytes = run.hash === undefined ? readBytes : end - position;
      if (!isEqualHash(hash, run.hash)) return { from: position, end };
      position = end;
      if (await this.#context.pause(bytes)) return "told";
    }
    return undefined;
  }

  /** Looks into a part that differs, to tell the place better. It may have changed meanwhile. */
  async #narrow(
    fd: number,
    path: Uint8Array,
    size: number,
    part: { from: number; end: number },
  ): Promise<{ from: number; end: number }> {
    const parts = await this.#remote.parts(path, part.from, partBytesMin);
    if (typeof parts === "number" || parts.stat[Stat.size] !== size) return part;
    const end = checkedEnd(parts.runs, { position: part.from, size, partBytes: partBytesMin });
    this.#hasher.start(fd, size, partBytesMin);
    let position = part.from;
    for (const run of parts.runs) {
      while (position < Math.min(run.end, part.end, end)) {
        if (this.#hasher.step(position) < 0) return part;
        const { hash } = this.#hasher;
        // Of what is zeros the first bytes are enough.
        const stepEnd = Math.min(this.#hasher.end, run.end, part.end);
        if (!isEqualHash(hash, run.hash)) {
          const isOne = hash !== undefined || run.hash !== undefined;
          return { from: position, end: isOne ? Math.min(position + partBytesMin, size) : stepEnd };
        }
        position = stepEnd;
      }
    }
    return part;
  }
}

/** Where the runs of an answer end; they go forward, in whole parts, and not beyond the file. */
function checkedEnd(
  runs: readonly PartRun[],
  { position, size, partBytes }: { position: number; size: number; partBytes: number },
): number {
  let at = position;
  for (const { end, hash } of runs) {
    const isWhole = end % partBytes === 0 || end === size;
    const isOne = hash === undefined || end === Math.min(at + partBytes, size);
    if (end <= at || end > size || !isWhole || !isOne) refuseAnswer("has parts out of order");
    at = end;
  }
  if (at === position) refuseAnswer("has no parts");
  return at;
}

function isEqualHash(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return Buffer.compare(one, other) === 0;
}

function sizeAhead(stat: Float64Array): number {
  return Math.min(stat[Stat.size] ?? 0, aheadBytesMax);
}

function keyOf(path: Uint8Array): string {
  return Buffer.from(path.buffer, path.byteOffset, path.length).toString("latin1");
}

/** What was asked for ahead may never be looked at; then nobody minds that it failed. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
