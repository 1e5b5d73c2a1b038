/**
 * Backup folders as the command line names them: checked, opened, and rid of what is too old, at
 * the start and once a day.
 *
 * A backup folder lies apart from source and targets, on the filesystem of its target: what goes is
 * renamed into it, which works within one filesystem only.
 */
import { accessSync, constants, mkdirSync, realpathSync, statSync } from "node:fs";
import { SyncError } from "../base/index.ts";
import { BackupRetention } from "../session/index.ts";
import { type Clock, errnoName, type Files, type Log, Stat, statSlots } from "../world/index.ts";
import { contains, openDirectory, plannedTarget } from "./places.ts";

/** Days that a session's folder is kept when nothing else is said. */
export const keepDaysDefault = 30;
export const keepDaysMax = 36_500;
const dayMs = 86_400_000;
/** Between two steps of a removal, for everything else. */
const stepMs = 2;
const noName: Uint8Array = new Uint8Array(0);

/** Whole days, from 1 on. Throws USAGE. */
export function parseKeepDays(text: string | undefined): number {
  if (text === undefined) return keepDaysDefault;
  const days = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (days >= 1 && days <= keepDaysMax) return days;
  throw new SyncError("USAGE", `--backup-keep ${text}: expected days, from 1 to ${keepDaysMax}`);
}

/** `SHARE=DIR` texts as folders by share. Throws USAGE. */
export function parseBackupShares(
  texts: readonly string[],
  shares: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const folders = new Map<string, string>();
  for (const text of texts) {
    const equals = text.indexOf("=");
    const share = text.slice(0, equals);
    if (equals < 1 || equals === text.length - 1) {
      throw new SyncError("USAGE", `--backup-dir ${text}: expected SHARE=FOLDER`);
    }
    if (!shares.has(share)) {
      throw new SyncError("USAGE", `--backup-dir ${text}: there is no --share ${share}`);
    }
    if (folders.has(share)) {
      throw new SyncError("USAGE", `--backup-dir for the share ${share} is given twice`);
    }
    folders.set(share, text.slice(equals + 1));
  }
  return folders;
}

export interface BackupOptions {
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
  readonly keepDays: number;
}

export class BackupDir {
  readonly path: string;
  readonly dirFd: number;
  readonly #options: BackupOptions;
  readonly #retention: BackupRetention;
  #timer: { cancel(): void } | undefined;

  /**
   * Makes the folder if need be, and begins to remove what is too old. `targetPath`: the folder
   * whose backups these are; `others`: what it must lie apart from, too. Throws ROOTS_OVERLAP,
   * BACKUP_UNUSABLE.
   */
  constructor(options: BackupOptions, path: string, targetPath: string, others: readonly string[]) {
    const { files, clock, keepDays } = options;
    this.#options = options;
    const apart = [targetPath, ...others];
    checkApart(plannedTarget(path), apart);
    this.path = makeFolder(path);
    checkApart(this.path, apart);
    this.dirFd = openDirectory(files, this.path);
    try {
      checkFilesystem(files, this, targetPath);
    } catch (error) {
      files.close(this.dirFd);
      throw error;
    }
    const keepMs = keepDays * dayMs;
    const privileged = process.getuid?.() === 0;
    this.#retention = new BackupRetention({ files, dirFd: this.dirFd, clock, keepMs, privileged });
    this.#step();
  }

  close(): void {
    this.#timer?.cancel();
    this.#retention.close();
    this.#options.files.close(this.dirFd);
  }

  #step(): void {
    const { clock, log } = this.#options;
    const isMore = this.#retention.step((name, result) => {
      log.write("warn", `old backups: remove ${this.path}/${name}: ${errnoName(result)}`);
    });
    this.#timer = clock.after(isMore ? stepMs : dayMs, () => this.#step());
  }
}

function checkApart(path: string, places: readonly string[]): void {
  for (const place of places) {
    const isInside = contains(place, path, "/");
    if (!isInside && !contains(path, place, "/")) continue;
    const how = path === place ? "is" : isInside ? "lies inside" : "contains";
    throw new SyncError("ROOTS_OVERLAP", `backup folder ${path} ${how} ${place}`);
  }
}

/** Its real path. What is deleted may be nobody else's business: only its owner sees a new one. */
function makeFolder(path: string): string {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const real = realpathSync(path);
    if (!statSync(real).isDirectory()) throw new Error("it is not a folder");
    accessSync(real, constants.R_OK | constants.W_OK | constants.X_OK);
    return real;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new SyncError("BACKUP_UNUSABLE", `backup folder ${path}: ${code ?? message}`, { cause });
  }
}

function checkFilesystem(files: Files, backup: BackupDir, targetPath: string): void {
  const [own, target] = [new Float64Array(statSlots), new Float64Array(statSlots)];
  const targetFd = openDirectory(files, targetPath);
  files.statAt(backup.dirFd, noName, own);
  files.statAt(targetFd, noName, target);
  files.close(targetFd);
  if (own[Stat.dev] === target[Stat.dev] && own[Stat.mount] === target[Stat.mount]) return;
  const message =
    `backup folder ${backup.path} is not on the filesystem of ${targetPath}, or mounted apart ` +
    "from it: what goes is renamed into it, and must not leave the filesystem";
  throw new SyncError("BACKUP_UNUSABLE", message);
}
