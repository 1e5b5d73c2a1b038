/**
 * How a process with targets (`serve`, or `sync` with local ones) answers `lockstep snapshot`:
 * holds the target at a cut, copies its folder, lets it go on, and gives the copy its name.
 *
 *   hold (no epoch is applied) -> copy in steps -> let go -> written to disk -> record, name
 *
 * In: `{"name", "target", "to"}`. Out: lines `progress`, then `end`: `done` with the record, or
 * `failed` with a code. A client that goes, a link that is lost, a disk that is full: what was
 * copied is removed, and the target goes on.
 */
import { spawn } from "node:child_process";
import { statSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { join } from "node:path";
import { SyncError } from "../base/index.ts";
import { type HeldCut, ownerFiles, type TargetSession, TreeCopy } from "../session/index.ts";
import { errnoName, type Files, type World } from "../world/index.ts";
import { isHoldName } from "../wire/index.ts";
import type { Talk, TalkAnswers } from "./control-talk.ts";
import { openDirectory } from "./places.ts";
import {
  checkSnapshotName,
  snapshotPlace,
  type SnapshotRecord,
  SnapshotStore,
} from "./snapshot-store.ts";

/** One turn of copying; then the event loop has its own. */
const turnUs = 4000;
const progressUs = 1e6;
/** Bytes copied between two looks at the space that is left. */
const lookBytes = 64 << 20;

/** A folder that is a target now. */
export interface SnapshotTarget {
  /** Real. */
  readonly path: string;
  /** The share that it lies in, or itself: snapshots lie beside this. */
  readonly base: string;
  readonly session: TargetSession;
}

export interface SnapshotDesk {
  readonly world: World;
  readonly files: Files;
  readonly targets: () => readonly SnapshotTarget[];
  /** Folders that are mirrored from or to: nothing may be put into them. */
  readonly apart: () => readonly string[];
}

export function snapshotAnswers(desk: SnapshotDesk): TalkAnswers {
  return {
    snapshot: (asked, talk) => {
      const taking = new Taking(desk, talk);
      talk.onGone = () => taking.giveUp("nobody waits for it any more");
      taking.run(asked as Readonly<Record<string, unknown>>).then(
        (record) => talk.end("done", { record }),
        (thrown: unknown) => {
          const { code, message } = asFailure(thrown);
          talk.end("failed", { code, message });
        },
      );
    },
  };
}

class Taking {
  readonly #desk: SnapshotDesk;
  readonly #files: Files;
  readonly #talk: Talk;
  /** Why it ends early. */
  #fault = "";
  #wake: () => void = () => {};
  #problems = 0;

  constructor(desk: SnapshotDesk, talk: Talk) {
    this.#desk = desk;
    this.#files = process.getuid?.() === 0 ? desk.files : ownerFiles(desk.files);
    this.#talk = talk;
  }

  giveUp(fault: string): void {
    this.#fault ||= fault;
    this.#wake();
  }

  /** Throws USAGE and SNAPSHOT_…. */
  async run(asked: Readonly<Record<string, unknown>>): Promise<SnapshotRecord> {
    const name = checkSnapshotName(String(asked["name"]));
    const target = this.#desk.targets().find(({ path }) => path === asked["target"]);
    if (target?.session.status.live !== true) {
      const message = `${String(asked["target"])} is not live: no source is mirrored into it now`;
      throw new SyncError("SNAPSHOT_FAILED", message);
    }
    const { to } = asked;
    const place = typeof to === "string" ? to : snapshotPlace(target.base);
    const store = new SnapshotStore(this.#files, place, [...this.#desk.apart(), ...textsIn(asked)]);
    try {
      const isNear = store.device === statSync(target.path).dev;
      if (!isNear && typeof to !== "string") {
        const message = `${store.path} is not on the filesystem of ${target.path}; use --to`;
        throw new SyncError("SNAPSHOT_PLACE", message);
      }
      if (store.has(name)) throw exists(store, name);
      await store.removeLeftovers();
      const folder = store.makeFolder();
      try {
        return await this.#take(store, folder, { name, target, isNear });
      } finally {
        await store.discard(folder);
      }
    } finally {
      store.close();
    }
  }

  async #take(
    store: SnapshotStore,
    folder: string,
    { name, target, isNear }: { name: string; target: SnapshotTarget; isNear: boolean },
  ): Promise<SnapshotRecord> {
    const { clock } = this.#desk.world;
    const startedUs = clock.monotonicUs();
    const isShared = isNear && store.sharesContent(folder);
    const [held, letGo] = await this.#hold(target.session);
    const takenAt = new Date(clock.wallMs()).toISOString();
    let copy: TreeCopy;
    try {
      const spends = isNear && !isShared;
      copy = await this.#copy(target, join(store.path, folder), spends);
    } finally {
      letGo();
    }
    await this.#settle(store.path);
    this.#checkFault();
    const record: SnapshotRecord = {
      name,
      target: target.path,
      epoch: held.epoch,
      cutWallMs: held.wallMs,
      cut: new Date(held.wallMs).toISOString(),
      clean: !held.isFuzzy,
      takenAt,
      seconds: (clock.monotonicUs() - startedUs) / 1e6,
      entries: copy.entryCount,
      files: copy.fileCount,
      contentBytes: copy.contentBytes,
      content: isShared ? "shared" : "copied",
      problems: this.#problems,
    };
    store.commit(folder, record);
    return record;
  }

  /** The cut that the target stays at, and how to let it go on. */
  async #hold(session: TargetSession): Promise<[HeldCut, () => void]> {
    let letGo: (() => void) | undefined;
    let cut: HeldCut | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      letGo = session.hold({
        held: (held) => {
          cut = held;
          resolve();
        },
        lost: () => this.giveUp("the link to its source was lost meanwhile"),
      });
      if (letGo === undefined) this.giveUp("another snapshot of it is being taken");
      if (this.#fault !== "") resolve();
    });
    if (cut !== undefined && letGo !== undefined && this.#fault === "") return [cut, letGo];
    letGo?.();
    throw this.#failed(this.#fault);
  }

  async #copy(target: SnapshotTarget, folder: string, spends: boolean): Promise<TreeCopy> {
    const files = this.#files;
    const { clock } = this.#desk.world;
    const paths = [target.path, join(folder, "tree"), join(folder, "links")];
    const parentFd = openDirectory(files, folder);
    for (const name of ["tree", "links"]) files.mkdir(parentFd, Buffer.from(name), 0o700);
    files.close(parentFd);
    const fds = paths.map((path) => openDirectory(files, path));
    const [fromFd = -1, toFd = -1, linksFd = -1] = fds;
    const copy = new TreeCopy({
      files,
      fromFd,
      toFd,
      linksFd,
      isLeftOut: isHoldName,
      problem: (path, operation, errno) => this.#problem(path, operation, errno),
    });
    let toldUs = clock.monotonicUs();
    let lookedBytes = -lookBytes;
    try {
      for (let result = 1; result > 0;) {
        const endUs = clock.monotonicUs() + turnUs;
        while (result > 0 && clock.monotonicUs() < endUs) {
          this.#checkFault();
          if (spends && copy.contentBytes - lookedBytes >= lookBytes) {
            lookedBytes = copy.contentBytes;
            this.#checkSpace(target.session);
          }
          result = copy.step();
        }
        if (result < 0) throw this.#failed(`${copy.failedAt}: ${errnoName(result)}`);
        if (clock.monotonicUs() - toldUs >= progressUs) {
          toldUs = clock.monotonicUs();
          this.#talk.tell({ progress: { files: copy.fileCount, contentBytes: copy.contentBytes } });
        }
        await setImmediate();
      }
      this.#checkFault();
      return copy;
    } finally {
      copy.close();
      for (const fd of fds) files.close(fd);
    }
  }

  #checkSpace(session: TargetSession): void {
    if (session.roomBytes() >= lookBytes) return;
    throw this.#failed("copying it would leave less space than --min-free (ENOSPC)");
  }

  /** Told once for each kind, counted always. */
  #problem(path: string, operation: string, errno: string): void {
    this.#problems++;
    const kind = `${operation} ${errno}`;
    if (this.#toldKinds.has(kind)) return;
    this.#toldKinds.add(kind);
    this.#talk.tell({ problem: { path, operation, errno } });
  }

  readonly #toldKinds: Set<string> = new Set();

  /** Everything on its filesystem is on the disk, before it is called a snapshot. */
  async #settle(path: string): Promise<void> {
    await new Promise<void>((resolve) => {
      const sync = spawn("sync", ["-f", path], { stdio: "ignore" });
      sync.once("error", () => resolve());
      sync.once("close", () => resolve());
    });
  }

  #checkFault(): void {
    if (this.#fault !== "") throw this.#failed(this.#fault);
  }

  #failed(why: string): SyncError {
    return new SyncError("SNAPSHOT_FAILED", `no snapshot was taken: ${why}`);
  }
}

/** What other processes mirror, as the client has found it. */
function textsIn({ apart }: Readonly<Record<string, unknown>>): string[] {
  return Array.isArray(apart) ? apart.map((path: unknown) => String(path)) : [];
}

/** What the system refuses is no reason to end what is mirrored; a bug is. */
function asFailure(thrown: unknown): SyncError {
  if (thrown instanceof SyncError) return thrown;
  const isRefusal = thrown instanceof Error && "syscall" in thrown;
  if (!isRefusal) throw thrown;
  return new SyncError("SNAPSHOT_FAILED", `no snapshot was taken: ${thrown.message}`);
}

function exists(store: SnapshotStore, name: string): SyncError {
  return new SyncError("SNAPSHOT_EXISTS", `${store.path}/${name} exists`);
}
