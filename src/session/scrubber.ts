/**
 * `Scrubber`: while a target is live, looks again and again at everything, a piece at a time and
 * at a bounded rate: asks the target what it really has, compares it with what the source has, and
 * has what differs sent again. It should find nothing.
 *
 * In: the tree, by node id round and round. Out: asks (one at a time), counters, problems of paths,
 * and marks in the dirty set; or the end of the session, when only comparing everything can help.
 *
 * When a comparison counts. Before the ask everything that the kernel has told is sent, and the
 * node has rested (`restMs` since its ctime, which nobody can set). After the answer its inode,
 * times and size must be what they were. A difference counts when all that still holds, nothing at
 * all is dirty, and two more looks, `confirmMs` apart, find the very same bytes on both sides. In
 * doubt it is left for the next pass.
 *
 * Repair: the source's tree believes the target equal, so it is told what is really there; the cut
 * then finds the difference by itself.
 * Cost when it has nothing to do: one timer. A step reads and hashes `pieceBytes` at most; nothing
 * is asked while anything live is under way, and among live changes it goes slower still.
 * Holes of the source are not compared.
 */
import { SyncError } from "../base/index.ts";
import { type Cutter, SourceLook } from "../cut/index.ts";
import type { ProblemLog } from "../model/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { type Files, Mode, Stat, statSlots, type Timer, type World } from "../world/index.ts";
import {
  attributesBytesMax,
  type Digest,
  digestRangeBytesMax,
  NamesHash,
  saltBytes,
  symlinkBytesMax,
  type Welcome,
} from "../wire/index.ts";
import type { Asker } from "./asker.ts";
import { scrubFeature } from "./greeting.ts";
import type { Scrub } from "./scrub.ts";
import type { SourceSessionOptions } from "./source-options.ts";
import { differencesOf, type Own, type ScrubKind, structuralKinds } from "./scrub-comparison.ts";

/** Before the first pass, and between two at least; at most, and in proportion to a pass. */
const restMsMin = 1000;
const restMsLongest = 3_600_000;
const restFactor = 4;
/** A node that changed less long ago is left for the next pass. */
const restMs = 200;
/** Until it is tried again when something is under way. */
const busyMs = 20;
/**
 * Between two pieces while there are live changes: 250 ms at the usual rate, so that hardly one
 * of them meets a piece; less for who wants more.
 */
const liveMsLongest = 250;
const liveBytes = 1_000_000;
const confirmMs = 300;
const confirmCount = 2;
/** Looks at a node that keeps changing before it is left for the next pass. */
export const unsureCountMax = 8;
/** What a node costs of the rate, however little there is to read. */
const nodeBytes = 16_384;
const pieceBytesMin = 65_536;
/** Free node ids passed over, and names of a directory hashed, in one step. */
const idCountPerStep = 4096;
const nameCountPerStep = 256;
/** Paths remembered for which a link was ended, and for how long it is not ended for them again. */
export const endedForMax = 64;
const endAgainMs = 3_600_000;
/** Nodes remembered that were sent again; and how often, while each time they still differ. */
export const mendedCountMax = 4096;
export const mendTimesMax = 3;

/** A list of attributes that no file has: whatever the source has differs from it. */
const noList: Uint8Array = Uint8Array.of(1, 0, 63, 0, 0, 0, 0);
const none: Uint8Array = new Uint8Array(0);

/** What the session lends. */
export interface ScrubParts {
  tree: Tree;
  cutter: Cutter;
  asker: Asker;
  /** Has the dirty set told everything that has happened so far. */
  drain: () => void;
  /** Something live waits to be sent, or much of it is on its way. */
  isSending: () => boolean;
  /** Sends what was written; cuts what was marked. */
  wakeCut: () => void;
  /** Ends the session: the next one compares everything. */
  diverged: (error: SyncError) => void;
  failed: (cause: unknown) => void;
}

interface ScrubberOptions extends ScrubParts {
  world: World;
  files: Files;
  look: SourceLook;
  problems: ProblemLog;
  scrub: Scrub;
  /** The target may set everything. */
  privileged: boolean;
}

/** A scrub, if it is wanted and the target can answer it. */
export function startScrub(
  { world, files, problems, rootFd, scrub }: SourceSessionOptions,
  { features, privileged }: Welcome,
  parts: ScrubParts,
): Scrubber | undefined {
  if (!features.includes(scrubFeature) || scrub === undefined || scrub.bytesPerSecond === 0) {
    return undefined;
  }
  const look = new SourceLook(files, rootFd, parts.tree, parts.cutter);
  return new Scrubber({ ...parts, world, files, problems, scrub, privileged, look });
}

/** The node that is being looked at. */
interface Visit {
  readonly node: number;
  readonly birth: number;
  readonly stat: Float64Array;
  /** Of a regular file; opened when it is first needed. */
  fd: number;
  position: number;
  length: number;
  salt: Uint8Array;
  /** Of a directory, while they are hashed. */
  names: NamesHash | undefined;
  nextName: number;
  unsureCount: number;
  /** The difference that was found before, as text, and how often since. */
  finding: string;
  foundCount: number;
}

export class Scrubber {
  readonly #of: ScrubberOptions;
  readonly #pieceBytes: number;
  readonly #liveMs: number;
  readonly #stat: Float64Array = new Float64Array(statSlots);
  readonly #pair: Float64Array = new Float64Array(2);
  #piece: Uint8Array = new Uint8Array(0);
  #attributes: Uint8Array = new Uint8Array(0);
  #timer: Timer | undefined;
  #isStopped = false;
  #visit: Visit | undefined;
  #cursor: number;
  /** Ids that the present pass has still to look at. */
  #left = 0;
  #isPassing = false;
  /** What the present pass takes at its rate, whatever it had to wait for. */
  #passMs = 0;
  /** Of the dirty set, when the last piece was done. */
  #changeCount = 0;
  /** How often a node was sent again, until it was found equal. */
  readonly #mended: Map<number, { birth: number; times: number }> = new Map();

  constructor(options: ScrubberOptions) {
    this.#of = options;
    const { bytesPerSecond } = options.scrub;
    const wanted = Math.round(bytesPerSecond / 64);
    this.#pieceBytes = Math.min(digestRangeBytesMax, Math.max(pieceBytesMin, wanted));
    this.#liveMs = Math.min(liveMsLongest, (liveBytes / bytesPerSecond) * 1000);
    // Somewhere: links that do not last must not look at the same beginning each time.
    const random = options.world.entropy.bytes(4);
    this.#cursor = new DataView(random.buffer, random.byteOffset, 4).getUint32(0, true);
    this.#after(restMsMin);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#leave();
  }

  #after(delayMs: number): void {
    if (this.#isStopped) return;
    this.#timer = this.#of.world.clock.after(Math.max(1, delayMs), () => this.#guarded(this.#tick));
  }

  #guarded(step: () => void): void {
    if (this.#isStopped) return;
    try {
      step.call(this);
    } catch (cause) {
      this.#of.failed(cause);
    }
  }

  #tick(): void {
    if (this.#visit?.names !== undefined) return this.#hashNames(this.#visit);
    this.#of.drain();
    if (!this.#isQuiet() || !this.#of.asker.isQuiet) return this.#after(busyMs);
    const visit = this.#visit ?? this.#enter();
    if (visit === undefined) return;
    if (!this.#isRested(visit)) return this.#skip();
    // What is looked at once more is to give the same hash.
    if (visit.finding === "") visit.salt = this.#of.world.entropy.bytes(saltBytes);
    visit.length = this.#nextLength(visit);
    const { node, position, length, salt } = visit;
    this.#of.asker.askDigest({ node, from: position, length, salt }, (digest) => {
      this.#guarded(() => this.#onDigest(visit, digest));
    });
    this.#of.wakeCut();
  }

  /** Nothing is dirty, being cut or waiting to be sent. */
  #isQuiet(): boolean {
    const { cutter, isSending } = this.#of;
    return cutter.isIdle && cutter.stores.count === 0 && !isSending();
  }

  /** The next node; undefined when the pass has ended, or only free ids came. */
  #enter(): Visit | undefined {
    const { tree, scrub } = this.#of;
    if (!this.#isPassing) {
      this.#isPassing = true;
      this.#left = tree.endId;
      this.#passMs = 0;
    }
    for (let step = 0; step < idCountPerStep && this.#left > 0; step++) {
      this.#left--;
      this.#cursor = (this.#cursor + 1) % tree.endId;
      const node = this.#cursor;
      if (!tree.isLive(node) || (node !== rootId && tree.firstName[node] === 0)) continue;
      this.#visit = {
        node,
        birth: tree.birth[node]!,
        stat: new Float64Array(statSlots),
        fd: -1,
        position: 0,
        length: 0,
        salt: new Uint8Array(saltBytes),
        names: undefined,
        nextName: 0,
        unsureCount: 0,
        finding: "",
        foundCount: 0,
      };
      return this.#visit;
    }
    if (this.#left > 0) {
      this.#after(1);
      return undefined;
    }
    this.#isPassing = false;
    scrub.counters.scrubPasses++;
    this.#after(Math.min(restMsLongest, Math.max(restMsMin, restFactor * this.#passMs)));
    return undefined;
  }

  /** Looks at the source's node; true when it is there, and as it was for a while. */
  #isRested(visit: Visit): boolean {
    const { stat } = visit;
    if (!this.#isSameNode(visit) || this.#of.look.stat(visit.node, stat) < 0) return false;
    const ctimeMs = stat[Stat.ctimeSec]! * 1000 + stat[Stat.ctimeNsec]! / 1e6;
    return this.#of.world.clock.wallMs() - ctimeMs >= restMs;
  }

  #isSameNode({ node, birth }: Visit): boolean {
    return this.#of.tree.isSame(node, birth);
  }

  /** Nothing has happened to the source's node since it was asked about. */
  #isUnchanged(visit: Visit): boolean {
    const now = this.#stat;
    if (!this.#isSameNode(visit) || this.#of.look.stat(visit.node, now) < 0) return false;
    const slots = [Stat.mode, Stat.uid, Stat.gid, Stat.size, Stat.mtimeSec, Stat.mtimeNsec];
    const isSame = (slot: number): boolean => now[slot] === visit.stat[slot];
    return [...slots, Stat.ctimeSec, Stat.ctimeNsec].every(isSame);
  }

  /** Of the next piece of a regular file; moves the position past a hole. 0 for all else. */
  #nextLength(visit: Visit): number {
    const size = visit.stat[Stat.size]!;
    if ((visit.stat[Stat.mode]! & Mode.typeMask) !== Mode.regular || size === 0) return 0;
    if (visit.fd < 0) visit.fd = this.#of.look.open(visit.node);
    if (visit.fd < 0) return 0;
    // It has become shorter since its last piece.
    if (visit.position > size) visit.position = 0;
    const { position } = visit;
    const end = Math.min(size, position + this.#pieceBytes);
    if (end < size) {
      const pairs = this.#of.files.dataExtents(visit.fd, position, size, this.#pair);
      const dataAt = pairs === 0 ? size : pairs > 0 ? this.#pair[0]! : position;
      // The last piece is looked at all the same: a hole there has no end that would tell.
      visit.position = Math.max(position, Math.min(dataAt, size - this.#pieceBytes));
    }
    return Math.min(this.#pieceBytes, size - visit.position);
  }

  #onDigest(visit: Visit, digest: Digest | undefined): void {
    this.#of.drain();
    if (this.#visit !== visit) return;
    // Whoever cannot say what it has is not asked for more of it.
    if (digest === undefined) return this.#skip();
    if (!this.#isUnchanged(visit)) return this.#unsure(visit);
    const kind = visit.stat[Stat.mode]! & Mode.typeMask;
    // The target may have ignored names that the tree does not know.
    const areNamesKnown = !this.#of.cutter.rules.isActive;
    const isDirectory = kind === Mode.directory && (digest.mode & Mode.typeMask) === kind;
    if (isDirectory && areNamesKnown) {
      const { sha256 } = this.#of.world.hashes;
      visit.names = new NamesHash(sha256, visit.salt);
      visit.nextName = this.#of.tree.firstChild[visit.node]!;
      this.#theirs = digest;
      return this.#hashNames(visit);
    }
    this.#judge(visit, digest, this.#ownHash(visit, kind));
  }

  /** Of the directory whose names are being hashed. */
  #theirs: Digest | undefined;

  /** As long as the directory does not change, nor do its names in the tree. */
  #hashNames(visit: Visit): void {
    const names = visit.names!;
    const { tree } = this.#of;
    if (!this.#isUnchanged(visit)) {
      visit.names = undefined;
      return this.#unsure(visit);
    }
    for (let step = 0; step < nameCountPerStep && visit.nextName !== 0; step++) {
      names.add(tree.names.bytes(visit.nextName));
      visit.nextName = tree.names.nextSibling[visit.nextName]!;
    }
    if (visit.nextName !== 0) return this.#after(1);
    visit.names = undefined;
    this.#judge(visit, this.#theirs!, { hash: names.value(), count: names.count });
  }

  #ownHash(visit: Visit, kind: number): { hash: Uint8Array | undefined; count: number } {
    const { files, look, world } = this.#of;
    let count = -1;
    if (kind === Mode.symlink) {
      this.#piece = roomFor(this.#piece, symlinkBytesMax);
      count = look.link(visit.node, this.#piece.subarray(0, symlinkBytesMax));
    } else if (kind === Mode.regular && visit.length > 0) {
      this.#piece = roomFor(this.#piece, this.#pieceBytes);
      count = files.pread(visit.fd, this.#piece, 0, visit.length, visit.position);
    }
    if (count < 0) return { hash: undefined, count: 0 };
    const bytes = this.#piece.subarray(0, count);
    return { hash: world.hashes.sha256(visit.salt, bytes), count };
  }

  #judge(visit: Visit, theirs: Digest, own: Pick<Own, "hash" | "count">): void {
    const { look, world, privileged, scrub } = this.#of;
    const { stat, salt } = visit;
    let bytes = 0;
    if (stat[Stat.attributeBytes] !== 0) {
      this.#attributes = roomFor(this.#attributes, attributesBytesMax);
      bytes = look.attributes(visit.node, this.#attributes);
    }
    if (bytes < 0) return this.#skip();
    const attributes = this.#attributes.subarray(0, bytes);
    const terms = { privileged, salt, sha256: world.hashes.sha256 };
    const found = differencesOf({ stat, attributes, ...own }, theirs, terms);
    if (found.length > 0) return this.#suspect(visit, theirs, own, found);
    visit.foundCount = 0;
    visit.position += visit.length;
    scrub.counters.scrubbedBytes += visit.length;
    const isEnd = visit.length === 0 || visit.position >= stat[Stat.size]!;
    const cost = Math.max(nodeBytes, visit.length);
    if (!isEnd) return this.#afterBytes(cost);
    scrub.counters.scrubbedFiles++;
    this.#mended.delete(visit.node);
    this.#leave();
    this.#afterBytes(cost);
  }

  /** It differs; but perhaps only just now. */
  #suspect(visit: Visit, theirs: Digest, own: Pick<Own, "hash">, found: ScrubKind[]): void {
    if (!this.#isQuiet() || !this.#isUnchanged(visit)) return this.#unsure(visit);
    const { mode, uid, gid, size, mtimeSec, mtimeNsec, count, content, attributes } = theirs;
    const hashes = [own.hash ?? none, content, attributes].map((hash) => Buffer.from(hash));
    const finding = [
      found.join(", "),
      ...[mode, uid, gid, size, mtimeSec, mtimeNsec, count, visit.position],
      ...hashes.map((hash) => hash.toString("hex")),
    ].join(" ");
    visit.foundCount = finding === visit.finding ? visit.foundCount + 1 : 0;
    visit.finding = finding;
    if (visit.foundCount < confirmCount) return this.#after(confirmMs);
    this.#diverged(visit, theirs, found);
  }

  #unsure(visit: Visit): void {
    visit.foundCount = 0;
    visit.finding = "";
    visit.unsureCount++;
    if (visit.unsureCount > unsureCountMax) this.#skip();
    else this.#after(busyMs);
  }

  /** The present node is left for the next pass. */
  #skip(): void {
    this.#leave();
    this.#afterBytes(nodeBytes);
  }

  #leave(): void {
    const fd = this.#visit?.fd ?? -1;
    if (fd >= 0) this.#of.files.close(fd);
    this.#visit = undefined;
  }

  #afterBytes(bytes: number): void {
    const delayMs = Math.max(1, (bytes / this.#of.scrub.bytesPerSecond) * 1000);
    this.#passMs += delayMs;
    const { changeCount } = this.#of.cutter.dirty;
    const isLive = changeCount !== this.#changeCount;
    this.#changeCount = changeCount;
    this.#after(isLive ? Math.max(this.#liveMs, delayMs) : delayMs);
  }

  #diverged(visit: Visit, theirs: Digest, found: readonly ScrubKind[]): void {
    const { tree, scrub } = this.#of;
    const { node } = visit;
    this.#leave();
    const path = tree.path(node);
    const isStructural = found.some((kind) => structuralKinds.has(kind));
    if (isStructural) return this.#end(path, found);
    const known = this.#mended.get(node);
    const times = known?.birth === visit.birth ? known.times : 0;
    this.#afterBytes(nodeBytes);
    if (times >= mendTimesMax) return;
    scrub.counters.scrubDivergences++;
    this.#remember(visit, times + 1);
    this.#tell(path, found, times + 1 < mendTimesMax ? "sent again" : "sent for the last time");
    this.#mark(node, theirs, found);
  }

  /** Only a comparison of everything helps. Not again and again, if it does not. */
  #end(path: string, found: readonly ScrubKind[]): void {
    const { scrub, world, diverged } = this.#of;
    const { endedFor } = scrub;
    const now = world.clock.monotonicUs();
    const last = endedFor.get(path) ?? -Infinity;
    if (now - last < endAgainMs * 1000) return this.#afterBytes(nodeBytes);
    const oldest = endedFor.keys().next();
    if (endedFor.size >= endedForMax && oldest.done !== true) endedFor.delete(oldest.value);
    endedFor.delete(path);
    endedFor.set(path, now);
    scrub.counters.scrubDivergences++;
    this.#tell(path, found, "everything is compared anew");
    const message = `${path} on the target is not as it was sent: ${found.join(", ")}`;
    diverged(new SyncError("TARGET_DIVERGED", message));
  }

  #remember({ node, birth }: Visit, times: number): void {
    const oldest = this.#mended.keys().next();
    if (this.#mended.size >= mendedCountMax && oldest.done !== true) {
      this.#mended.delete(oldest.value);
    }
    this.#mended.set(node, { birth, times });
  }

  #tell(path: string, found: readonly ScrubKind[], what: string): void {
    const errno = `differs (${found.join(", ")}); ${what}`;
    this.#of.problems.add({ side: "target", path, operation: "scrub", errno });
  }

  /** Tells the tree what the target has, so that the cut sees what is to be sent. */
  #mark(node: number, theirs: Digest, found: readonly ScrubKind[]): void {
    const { tree, cutter, privileged } = this.#of;
    const { typeMask, permissionMask } = Mode;
    if (found.includes("mode") || found.includes("owner")) {
      tree.mode[node] = (tree.mode[node]! & typeMask) | (theirs.mode & permissionMask);
      if (privileged) tree.uid[node] = theirs.uid;
      if (privileged) tree.gid[node] = theirs.gid;
    }
    if (found.includes("times")) {
      tree.mtimeSec[node] = theirs.mtimeSec;
      tree.mtimeNsec[node] = theirs.mtimeNsec;
    }
    if (found.includes("attributes")) tree.attributes.set(node, noList);
    if (found.includes("size") || found.includes("content")) {
      // The rest of the file is as suspect as this piece: what is equal costs a signature at most.
      tree.size[node] = theirs.size;
      cutter.dirty.addExtent(node, 0, Infinity);
    }
    cutter.dirty.addMetadata(node);
    this.#of.wakeCut();
  }
}

function roomFor(room: Uint8Array, bytes: number): Uint8Array {
  return room.length >= bytes ? room : new Uint8Array(bytes);
}
