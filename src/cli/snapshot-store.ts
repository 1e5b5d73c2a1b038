/**
 * `SnapshotStore`: a folder of snapshots. Each is a folder NAME, and beside it NAME.json, which
 * says which cut it is.
 *
 * Invariants: what is not whole has a name that begins with `.lockstep-hold.`, in the same folder;
 * it gets its own by one rename, after its record. A record without a folder is none. One process
 * at a time changes the folder (its lock); who has the lock removes what others have left behind.
 * Snapshots are nobody else's business: the folder is made with mode 0700.
 * Limits: recordBytesMax for a record, snapshotCountMax of them listed.
 */
import {
  constants,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { SyncError } from "../base/index.ts";
import { TreeRemoval } from "../session/index.ts";
import { errnoName, type Files, Open, Rename } from "../world/index.ts";
import { contains, openDirectory, plannedTarget } from "./places.ts";

export interface SnapshotRecord {
  readonly name: string;
  /** The folder that it is a copy of. */
  readonly target: string;
  readonly epoch: number;
  /** The source's wall clock at the cut. */
  readonly cutWallMs: number;
  readonly cut: string;
  /** Whether it is of one moment of the source; an epoch that could not be closed at one is not. */
  readonly clean: boolean;
  readonly takenAt: string;
  readonly seconds: number;
  readonly entries: number;
  readonly files: number;
  readonly contentBytes: number;
  /** `shared` with the target by reflink, or `copied`. */
  readonly content: "shared" | "copied";
  /** Owners, attributes and the like that could not be kept. */
  readonly problems: number;
}

const recordBytesMax = 65_536;
const snapshotCountMax = 10_000;
const holdPrefix = ".lockstep-hold.";
/** Names given here, and those under which a removal puts what lies too deep. */
const leftover = /^\.lockstep-hold\.(?:(?:snapshot|removed)-[0-9a-f]{16}|\d+)$/;
const suffix = ".json";
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$/;

/** Throws USAGE. */
export function checkSnapshotName(name: string): string {
  if (namePattern.test(name) && !name.endsWith(suffix)) return name;
  const expected = "expected up to 128 letters, digits and . _ : @ + -, not a dot first";
  throw new SyncError(
    "USAGE",
    `snapshot name ${JSON.stringify(name)}: ${expected}, nor .json last`,
  );
}

/** Where snapshots of a folder are, unless another place is named: beside it. */
export function snapshotPlace(target: string): string {
  return `${target}.snapshots`;
}

/** What is in a place, oldest first; nothing when there is no such folder. */
export function listSnapshots(place: string): SnapshotRecord[] {
  const names = namesIn(place);
  const folders = new Set(names);
  const records = names
    .filter((name) => name.endsWith(suffix) && folders.has(name.slice(0, -suffix.length)))
    .slice(0, snapshotCountMax)
    .flatMap((name) => readRecord(join(place, name)) ?? []);
  return records.sort((a, b) => a.cutWallMs - b.cutWallMs || (a.name < b.name ? -1 : 1));
}

function namesIn(place: string): string[] {
  try {
    return readdirSync(place);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw placeError(place, error);
  }
}

/** Undefined for what is no record of ours. */
function readRecord(path: string): SnapshotRecord | undefined {
  try {
    if (statSync(path).size > recordBytesMax) return undefined;
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    const isRecord = typeof value === "object" && value !== null && "epoch" in value;
    return isRecord ? (value as SnapshotRecord) : undefined;
  } catch {
    // Whoever reads a list can do nothing about one that cannot be read: it is not listed.
    return undefined;
  }
}

function placeError(place: string, error: unknown): SyncError {
  const { code, message } = error as NodeJS.ErrnoException;
  const text = `snapshots in ${place}: ${code ?? message}`;
  return new SyncError("SNAPSHOT_PLACE", text, { cause: error });
}

export class SnapshotStore {
  readonly path: string;
  readonly #files: Files;
  readonly #dirFd: number;

  /**
   * Makes the folder if need be, and locks it. `apart`: folders that it must lie apart from,
   * because they are mirrored. Throws SNAPSHOT_PLACE.
   */
  constructor(files: Files, path: string, apart: readonly string[]) {
    this.#files = files;
    checkApart(plannedTarget(path), apart);
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      this.path = realpathSync(path);
    } catch (error) {
      throw placeError(path, error);
    }
    checkApart(this.path, apart);
    this.#dirFd = openDirectory(files, this.path);
    const locked = files.lockFile(this.#dirFd);
    if (locked >= 0) return;
    files.close(this.#dirFd);
    const message = `another snapshot in ${this.path} is being taken or removed`;
    throw new SyncError("SNAPSHOT_FAILED", message);
  }

  close(): void {
    this.#files.close(this.#dirFd);
  }

  get device(): number {
    return statSync(this.path).dev;
  }

  has(name: string): boolean {
    return namesIn(this.path).includes(name);
  }

  /** Whether files of this filesystem can share their content. */
  sharesContent(folder: string): boolean {
    const [from, to] = [join(this.path, folder, "probe"), join(this.path, folder, "probed")];
    writeFileSync(from, Buffer.alloc(4096, 1));
    try {
      copyFileSync(from, to, constants.COPYFILE_FICLONE_FORCE);
      return true;
    } catch {
      // Whatever refuses it, copying is what is left.
      return false;
    }
  }

  /** A folder for what is not whole yet, and its name. */
  makeFolder(): string {
    const name = `${holdPrefix}snapshot-${randomBytes(8).toString("hex")}`;
    try {
      mkdirSync(join(this.path, name), { mode: 0o700 });
    } catch (error) {
      throw placeError(this.path, error);
    }
    return name;
  }

  /** `tree` of the folder gets its name, with its record. */
  commit(folder: string, record: SnapshotRecord): void {
    const { name } = record;
    if (this.has(name)) throw new SyncError("SNAPSHOT_EXISTS", `${this.path}/${name} exists`);
    const text = `${JSON.stringify(record, undefined, 2)}\n`;
    writeFileSync(join(this.path, folder, "record"), text, { flush: true, mode: 0o600 });
    renameSync(join(this.path, folder, "record"), join(this.path, name + suffix));
    this.#rename(`${folder}/tree`, name);
    this.#files.fsync(this.#dirFd, 0);
  }

  #rename(from: string, to: string): void {
    const [files, dirFd] = [this.#files, this.#dirFd];
    const slash = from.lastIndexOf("/");
    const flags = Open.read | Open.directory | Open.noFollow;
    const name = Buffer.from(from.slice(slash + 1));
    const ownFd =
      slash < 0 ? dirFd : files.openBeneath(dirFd, Buffer.from(from.slice(0, slash)), flags, 0);
    const result =
      ownFd < 0 ? ownFd : files.rename(ownFd, name, dirFd, Buffer.from(to), Rename.noReplace);
    if (ownFd >= 0 && ownFd !== dirFd) files.close(ownFd);
    if (result < 0) throw placeError(this.path, new Error(`${to}: ${errnoName(result)}`));
  }

  /** Gone at once, then removed in steps. Throws SNAPSHOT_MISSING. */
  async remove(name: string): Promise<void> {
    if (!this.has(name)) {
      throw new SyncError("SNAPSHOT_MISSING", `${this.path} has no snapshot ${name}`);
    }
    const folder = `${holdPrefix}removed-${randomBytes(8).toString("hex")}`;
    this.#rename(name, folder);
    this.#files.unlink(this.#dirFd, Buffer.from(name + suffix), 0);
    await this.discard(folder);
  }

  /** Removes what was not finished, by whomever. */
  async removeLeftovers(): Promise<void> {
    for (const name of namesIn(this.path)) if (leftover.test(name)) await this.discard(name);
  }

  /** Removes a folder with all that is in it, or says why it could not. */
  async discard(folder: string): Promise<void> {
    const name = Buffer.from(folder);
    const removal = new TreeRemoval(this.#files, this.#dirFd, this.#dirFd, name);
    let result = removal.step();
    for (; result > 0; result = removal.step()) await setImmediate();
    if (result < 0) throw placeError(this.path, new Error(`${folder}: ${errnoName(result)}`));
  }
}

function checkApart(path: string, places: readonly string[]): void {
  for (const place of places) {
    const isInside = contains(place, path, "/");
    if (!isInside && !contains(path, place, "/")) continue;
    const how = path === place ? "is" : isInside ? "lies inside" : "contains";
    const message = `the folder for snapshots, ${path}, ${how} ${place}, which is mirrored`;
    throw new SyncError("SNAPSHOT_PLACE", message);
  }
}
