/**
 * Promotion on this machine: by a process that has the target (`serve`, or `sync` with a local
 * one), asked by its control socket; or, where none has it, by the command itself.
 *
 * The session is ended with TARGET_PROMOTED, which its source takes for a halt; what has arrived
 * whole is applied before that. Then the folder is promoted (src/session/promotion.ts).
 */
import { existsSync, readFileSync } from "node:fs";
import { relative, sep } from "node:path";
import { SyncError } from "../base/index.ts";
import {
  finishTarget,
  knownTargets,
  promoteTarget,
  tellRecovery,
  type Promotion,
  type TargetSession,
} from "../session/index.ts";
import { errnoName, type Files, type World } from "../world/index.ts";
import type { TalkAnswers } from "./control-talk.ts";
import { contains, openDirectory, partsOf } from "./places.ts";

/** Of the machine's present run. */
export function readBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

export interface PromotionPlace {
  readonly world: World;
  readonly files: Files;
  /** Descriptor of the state directory. */
  readonly stateFd: number;
}

/** A folder that targets are in, and where what goes from them is kept. */
export interface TargetFolder {
  readonly path: string;
  readonly backup: { readonly dirFd: number; readonly path: string } | undefined;
}

/** Runs `work` with what a promotion needs, the folder locked. Throws TARGET_BUSY. */
export function withTarget<T>(
  { world, files, stateFd }: PromotionPlace,
  path: string,
  work: (options: Parameters<typeof promoteTarget>[0]) => T,
): T {
  const rootFd = openDirectory(files, path);
  try {
    const locked = files.lockFile(rootFd);
    if (locked < 0) {
      const message = `${path} is in use by another process (${errnoName(locked)})`;
      throw new SyncError("TARGET_BUSY", message);
    }
    const privileged = process.getuid?.() === 0;
    const state = { files, dirFd: stateFd };
    return work({ world, files, privileged, state, path, rootFd, bootId: readBootId() });
  } finally {
    files.close(rootFd);
  }
}

/** What a crash has left half applied in targets in these folders is finished, or said. */
export function finishTargets(place: PromotionPlace, folders: readonly TargetFolder[]): void {
  const { files, stateFd, world } = place;
  const { log } = world;
  for (const path of knownTargets(files, stateFd, world.hashes)) {
    const folder = folders.find((each) => contains(each.path, path, sep));
    if (folder === undefined || !existsSync(path)) continue;
    const below = partsOf(relative(folder.path, path)).map((part) => Buffer.from(part));
    const { backup } = folder;
    const kept = backup && { backup: { dirFd: backup.dirFd, path: backup.path, below } };
    try {
      const recovery = withTarget(place, path, (own) => finishTarget({ ...own, ...kept }));
      if (recovery !== undefined) tellRecovery(log, path, recovery);
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      log.write("warn", `${path}: what a crash has left is not finished: ${error.message}`);
    }
  }
}

export interface PromotionDesk extends PromotionPlace {
  readonly targets: () => readonly { readonly path: string; readonly session: TargetSession }[];
}

/** `promote {"target", "force"}`; ends with `done` and the promotion, or `failed` and a code. */
export function promotionAnswers(desk: PromotionDesk): TalkAnswers {
  return {
    promote: (asked, talk) => {
      const { target, force } = asked as Readonly<Record<string, unknown>>;
      promoteHere(desk, String(target), force === true).then(
        (promotion) => talk.end("done", { promotion }),
        (thrown: unknown) => {
          if (!(thrown instanceof SyncError)) throw thrown;
          talk.end("failed", { code: thrown.code, message: thrown.message });
        },
      );
    },
  };
}

async function promoteHere(desk: PromotionDesk, path: string, force: boolean): Promise<Promotion> {
  const found = desk.targets().find((each) => each.path === path);
  if (found !== undefined) {
    found.session.promote();
    await found.session.done;
  }
  return withTarget(desk, path, (options) => promoteTarget(options, force));
}
