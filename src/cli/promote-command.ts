/**
 * `lockstep promote TARGET`: ends mirroring into a folder of this machine, at its last whole cut,
 * and says which moment that was. `--undo` lets sources write again.
 *
 * In: what running processes publish; the journal of the target. Out: a line or event. Errors:
 * NO_TARGET, TARGET_INCOMPLETE, TARGET_BUSY.
 */
import { ExitCode, isErrorCode, SyncError } from "../base/index.ts";
import { promoteTarget, type Promotion, takeBackPromotion } from "../session/index.ts";
import { native } from "../world/node/index.ts";
import { type CommandIo, stateDirectory } from "./command-io.ts";
import { collectStatuses, openTalk } from "./control-socket.ts";
import { openStateDirectory, plannedTarget } from "./places.ts";
import { withTarget } from "./promotion-desk.ts";

export interface PromoteOptions {
  readonly target: string;
  readonly undo: boolean;
  /** Also when the target is of no one moment. */
  readonly force: boolean;
}

export async function runPromote(options: PromoteOptions, io: CommandIo): Promise<ExitCode> {
  const { undo, force } = options;
  const path = plannedTarget(options.target);
  const stateDir = stateDirectory(process.env);
  const pid = await ownerOf(stateDir, path);
  if (pid !== undefined && !undo) {
    tell(path, await ask(stateDir, pid, { target: path, force }), io);
    return ExitCode.done;
  }
  const files = native();
  const stateFd = openStateDirectory(files, stateDir);
  const place = { world: io.world, files, stateFd };
  try {
    if (!undo) {
      tell(
        path,
        withTarget(place, path, (own) => promoteTarget(own, force)),
        io,
      );
      return ExitCode.done;
    }
    const was = withTarget(place, path, takeBackPromotion);
    io.event("unpromoted", { path, was });
    io.say(was ? `${path}: sources may write into it again` : `${path} was not promoted`);
    return ExitCode.done;
  } finally {
    files.close(stateFd);
  }
}

/** The process whose session has the folder now. */
async function ownerOf(stateDir: string, path: string): Promise<number | undefined> {
  for (const { pid, status } of await collectStatuses(stateDir)) {
    const own = status?.["command"] === "sync" ? status["targets"] : status?.["links"];
    const list: unknown[] = Array.isArray(own) ? own : [];
    if (list.some((each) => (each as { path?: unknown } | null)?.path === path)) return pid;
  }
  return undefined;
}

async function ask(stateDir: string, pid: number, asking: object): Promise<Promotion> {
  const request = `promote ${JSON.stringify(asking)}`;
  const { end, promotion, code, message } = await openTalk(stateDir, pid, request, () => {}).ended;
  if (end === "done") return promotion as Promotion;
  const why = typeof message === "string" ? message : `process ${pid} has ended, or says nothing`;
  throw new SyncError(isErrorCode(code) ? code : "TARGET_BUSY", why);
}

function tell(path: string, { cut, redone, promotedMs }: Promotion, io: CommandIo): void {
  const promoted = new Date(promotedMs).toISOString();
  if (cut === undefined) {
    io.event("promoted", { path, redone, promoted });
    io.print(`${path} is promoted as it is: of no one moment of its source`);
    return;
  }
  const { epoch, wallMs, isFuzzy } = cut;
  const at = new Date(wallMs).toISOString();
  io.event("promoted", {
    path,
    epoch,
    cutWallMs: wallMs,
    cut: at,
    fuzzy: isFuzzy,
    redone,
    promoted,
  });
  const finished = redone === 0 ? "" : `; ${redone} operations finished from its journal`;
  io.print(`${path} is promoted as its source was at ${at} (epoch ${epoch})${finished}`);
  if (!isFuzzy) return;
  const text =
    "that epoch could not be closed at one moment: files may be of slightly different ones";
  io.world.log.write("warn", text);
}
