/**
 * `SourceMounts`: the filesystems below the source of a `sync --cross-mounts`: which are followed,
 * told on the command line, and remembered from run to run, so that one that is not mounted when a
 * sync begins is not taken for an emptied folder.
 *
 * What has gone is a safety halt of its place alone: it is told and shown like one, and
 * `lockstep resume` ends it; everything else goes on meanwhile.
 */
import { SyncError } from "../base/index.ts";
import { type CaptureBackend, FollowedMounts } from "../capture/index.ts";
import { MountLog } from "../model/index.ts";
import type { Files } from "../world/index.ts";
import type { Native } from "../world/node/index.ts";
import type { CommandIo } from "./command-io.ts";
import { type ShownHalt, shownHalts, tellHalt } from "./halts.ts";
import { tellFollowed, tellMount } from "./mount-notice.ts";
import { MountStateFile } from "./mount-state.ts";
import { openDirectory, type Target } from "./places.ts";

export interface SourceMountsOptions {
  readonly io: CommandIo;
  readonly files: Native;
  readonly backend: CaptureBackend;
  readonly source: string;
  readonly rootFd: number;
  readonly stateDir: string;
  readonly targets: readonly Target[];
  /** Of a backup folder; absent without one. */
  readonly backupFd?: number;
  /** Capture tells of no store to a page that was dirty when a filesystem is first followed. */
  readonly onFollowed: () => void;
}

export class SourceMounts {
  /** Undefined without `--cross-mounts`. */
  readonly followed: FollowedMounts | undefined;
  /** For the source's side of each target. */
  readonly files: Files;
  readonly leftOut: MountLog;
  readonly #of: SourceMountsOptions;

  constructor(options: SourceMountsOptions, crossMounts: boolean) {
    this.#of = options;
    const { io, source, files, rootFd, backend } = options;
    this.leftOut = new MountLog((path, why) => tellMount(io, "source", `${source}/${path}`, why));
    if (!crossMounts) {
      this.files = files;
      return;
    }
    const states = options.targets.map(
      (target) => new MountStateFile(options.stateDir, source, target),
    );
    const avoided = options.targets.flatMap((target) =>
      target.kind === "local" ? [openDirectory(files, target.path)] : [],
    );
    try {
      this.followed = new FollowedMounts({
        system: files,
        backend,
        rootFd,
        rootPath: Buffer.from(source),
        avoided: options.backupFd === undefined ? avoided : [...avoided, options.backupFd],
        remembered: states.flatMap((state) => state.read()),
        leftOut: this.leftOut,
        remember: (places) => states.forEach((state) => state.write(places, io.world.log)),
        onFollowed: (place) => {
          tellFollowed(io, this.#pathOf(place));
          options.onFollowed();
        },
        onGone: (place) => tellHalt(io, { source }, this.#haltOf(place)),
        onBack: (place) => this.#tellResume(place, "is mounted again: it is compared"),
      });
    } finally {
      for (const fd of avoided) files.close(fd);
    }
    this.files = this.followed.files;
    this.followed.start();
  }

  close(): void {
    this.followed?.close();
  }

  /** For the status of the process. */
  describe(): Record<string, unknown> {
    const mounts = this.leftOut.paths;
    if (this.followed === undefined) return { mounts };
    const texts = (places: readonly string[]): string[] => places.map(textOf);
    return { mounts, followed: texts(this.followed.places), gone: texts(this.followed.gone) };
  }

  get halts(): readonly ShownHalt[] {
    return (this.followed?.gone ?? []).flatMap((place) => shownHalts(this.#haltOf(place)));
  }

  /** The halt that is left at the end, if there is one. */
  get halt(): SyncError | undefined {
    const place = this.followed?.gone[0];
    return place === undefined ? undefined : this.#haltOf(place);
  }

  /** A person has looked: what has gone is gone. Gives the codes of the halts. */
  resume(): readonly string[] {
    return (this.followed?.confirmGone() ?? []).map((place) => {
      this.#tellResume(place, "is gone for good: its copy goes, too");
      return "MOUNT_GONE";
    });
  }

  #tellResume(place: string, what: string): void {
    const { io, source } = this.#of;
    const path = this.#pathOf(place);
    io.event("resume", { source, code: "MOUNT_GONE", path });
    io.say(`${path} ${what}`);
  }

  #haltOf(place: string): SyncError {
    const path = this.#pathOf(place);
    const message = `${path} is not mounted any more: what the target has of it is kept`;
    return new SyncError("MOUNT_GONE", message);
  }

  #pathOf(place: string): string {
    return `${this.#of.source}/${textOf(place)}`;
  }
}

/** Places are Latin-1, one character a byte. */
function textOf(place: string): string {
  return Buffer.from(place, "latin1").toString("utf8");
}
