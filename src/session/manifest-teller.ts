/**
 * `ManifestTeller`: tells the source what the target has. Either every entry, while the target is
 * scanned; or, to a source that knows digests, first one digest of everything, and then the entries
 * of those directories that it asks for.
 *
 * In: steps while there is room on the link, and `expand` frames. Out: frames, in order.
 * A directory is told once: what asks for more than there is breaks the protocol. What is to be
 * told waits as ids of directories, so there are at most as many as the target has.
 */
import { entryOf, keptEntry, TargetScan, type TargetScanOptions } from "../apply/index.ts";
import { SyncError } from "../base/index.ts";
import { DirectoryDigests, rootId, type Tree } from "../tree/index.ts";
import {
  encodeExpanded,
  encodeSubtree,
  type Expand,
  FrameType,
  type ManifestEntry,
  type OpWriter,
  tellEntry,
} from "../wire/index.ts";

const noName: Uint8Array = new Uint8Array(0);
/** Batches of directory entries scanned in one step. */
const scanStepsPerStep = 8;
/** Names told in one step. */
const nameCountPerStep = 1024;

export interface ManifestTellerOptions extends Omit<TargetScanOptions, "tell" | "left"> {
  /** The source knows digests; this is the hash. */
  sha256: ((bytes: Uint8Array) => Uint8Array) | undefined;
  /** The target has been read. Mount points in it were left out. */
  scanned: (mounts: readonly string[]) => void;
  /** The frames leave with its next flush. */
  writer: OpWriter;
}

/** A directory to be told; `isDeep`: with everything below. */
interface Wanted {
  directory: number;
  isDeep: boolean;
}

export class ManifestTeller {
  readonly #of: ManifestTellerOptions;
  readonly #tree: Tree;
  readonly #scan: TargetScan;
  readonly #digests: DirectoryDigests | undefined;
  /** Asked for, in order; the first `#done` have been told. */
  #wanted: Wanted[] = [];
  #done = 0;
  /** The directory that is being told, or 0; and its names that are left, the next one last. */
  #directory = 0;
  readonly #names: number[] = [];
  /** Directories below a deep one that wait, the next one last. */
  readonly #below: number[] = [];
  readonly #told: Set<number> = new Set();
  isScanning = true;

  constructor(options: ManifestTellerOptions) {
    this.#of = options;
    const { tree, sha256 } = options;
    this.#tree = tree;
    const digests =
      sha256 === undefined ? undefined : new DirectoryDigests(tree, sha256, options.origins);
    this.#digests = digests;
    this.#scan = new TargetScan({
      ...options,
      ...(digests === undefined
        ? { tell: (entry) => this.#tell(entry) }
        : { left: (node, first, end, isWhole) => digests.add(node, first, end, !isWhole) }),
    });
  }

  /** The source asks. */
  expand({ directories, isDeep }: Expand): void {
    for (const directory of directories) {
      const isKnown = this.#digests?.has(directory) === true && !this.isScanning;
      if (!isKnown || this.#told.has(directory)) {
        throw new SyncError("PEER_MALFORMED", "the source asks for a directory that it may not");
      }
      this.#told.add(directory);
      this.#wanted.push({ directory, isDeep });
    }
  }

  /** Scans or tells a little. False when there is nothing to do, until the source asks. */
  step(): boolean {
    if (!this.isScanning) return this.#tellNames() || this.#open();
    for (let i = 0; i < scanStepsPerStep; i++) {
      if (this.#scan.step()) continue;
      this.#scanned();
      break;
    }
    return true;
  }

  #scanned(): void {
    this.isScanning = false;
    this.#of.scanned(this.#scan.mounts);
    const digests = this.#digests;
    if (digests === undefined) return this.#of.writer.controlLater(FrameType.manifestEnd, noName);
    for (const [node, key] of this.#scan.keptFiles) this.#tell(keptEntry(this.#tree, node, key));
    this.#tell(entryOf(this.#of, rootId, 0, noName));
    this.#tellDigest(rootId);
  }

  /** Begins the next directory that waits. False when none does. */
  #open(): boolean {
    const next = this.#below.pop() ?? this.#wanted[this.#done]?.directory;
    if (next === undefined) {
      this.#wanted = [];
      this.#done = 0;
      return false;
    }
    const { names, firstChild } = this.#tree;
    this.#directory = next;
    for (let id = firstChild[next]!; id !== 0; id = names.nextSibling[id]!) this.#names.push(id);
    if (!this.#wanted[this.#done]!.isDeep) return true;
    // The list has the last name first, as this one is to have it.
    for (const id of this.#names) {
      const node = names.node[id]!;
      if (this.#tree.isDirectory(node)) this.#below.push(node);
    }
    return true;
  }

  /** Tells names of the open directory. False when none is open. */
  #tellNames(): boolean {
    const directory = this.#directory;
    if (directory === 0) return false;
    const { isDeep } = this.#wanted[this.#done]!;
    const { names } = this.#tree;
    for (let told = 0; told < nameCountPerStep && this.#names.length > 0; told++) {
      const id = this.#names.pop()!;
      const node = names.node[id]!;
      this.#tell(entryOf(this.#of, node, directory, names.bytes(id)));
      if (!this.#tree.isDirectory(node)) continue;
      if (isDeep) this.#told.add(node);
      else this.#tellDigest(node);
    }
    if (this.#names.length > 0) return true;
    this.#directory = 0;
    if (this.#below.length > 0) return true;
    this.#of.writer.controlLater(
      FrameType.expanded,
      encodeExpanded(this.#wanted[this.#done]!.directory),
    );
    this.#done++;
    return true;
  }

  #tellDigest(directory: number): void {
    const digests = this.#digests!;
    const frame = encodeSubtree({
      directory,
      first: digests.first(directory),
      count: digests.count(directory),
      digest: digests.digest(directory),
    });
    this.#of.writer.controlLater(FrameType.subtree, frame);
  }

  #tell(entry: ManifestEntry): void {
    tellEntry(this.#of.writer, entry);
  }
}
