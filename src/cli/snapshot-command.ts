/**
 * `lockstep snapshot NAME [TARGET]`: has the process that mirrors into TARGET pin its state at a
 * cut, as a copy beside it (snapshot-desk.ts). `--list` and `--remove NAME` need no process.
 *
 * In: what running processes publish (control-socket.ts). Out: a line or event for the snapshot,
 * one for each in a list. Errors: NO_TARGET, SNAPSHOT_….
 */
import { resolve } from "node:path";
import { ExitCode, isErrorCode, SyncError } from "../base/index.ts";
import { ownerFiles } from "../session/index.ts";
import { native } from "../world/node/index.ts";
import { type CommandIo, stateDirectory } from "./command-io.ts";
import { collectStatuses, openTalk, type ProcessStatus } from "./control-socket.ts";
import { plannedTarget } from "./places.ts";
import {
  checkSnapshotName,
  listSnapshots,
  snapshotPlace,
  type SnapshotRecord,
  SnapshotStore,
} from "./snapshot-store.ts";
import { bytesText } from "./status-command.ts";
import { textTable } from "./text-table.ts";

export interface SnapshotOptions {
  /** The name, then the target; with --list and --remove the target alone. */
  readonly arguments: readonly string[];
  readonly list: boolean;
  readonly remove: string | undefined;
  readonly to: string | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** A folder that a running process mirrors into, or lets others mirror into. */
interface Candidate {
  readonly pid: number;
  readonly path: string;
  /** Where its snapshots are. */
  readonly base: string;
}

export async function runSnapshot(options: SnapshotOptions, io: CommandIo): Promise<ExitCode> {
  const { list, remove } = options;
  if (list && remove !== undefined) throw new SyncError("USAGE", "--list or --remove, not both");
  const isTaking = !list && remove === undefined;
  const [name, target] = isTaking ? options.arguments : [undefined, ...options.arguments];
  if (options.arguments.length > (isTaking ? 2 : 1)) {
    throw new SyncError("USAGE", "snapshot: one argument too many");
  }
  const to = options.to === undefined ? undefined : resolve(options.to);
  if (list) return listAll(await places(target, to), io);
  if (remove !== undefined) return await removeOne(checkSnapshotName(remove), target, to, io);
  if (name === undefined) throw new SyncError("USAGE", "snapshot needs a NAME, or --list");
  return await take(checkSnapshotName(name), target, to, io);
}

interface Running {
  readonly candidates: readonly Candidate[];
  /** Whatever is mirrored by any of them: snapshots must not lie there. */
  readonly mirrored: readonly string[];
}

async function running(): Promise<Running> {
  const processes = await collectStatuses(stateDirectory(process.env));
  const found = processes.flatMap((each) => candidatesOf(each));
  const sources = processes.flatMap(({ status }) => {
    const source = status?.["source"];
    return typeof source === "string" ? [source] : [];
  });
  return { candidates: found, mirrored: [...sources, ...found.map(({ path }) => path)] };
}

function candidatesOf({ pid, status }: ProcessStatus): Candidate[] {
  if (status?.["command"] === "sync") {
    return listOf(status["targets"]).flatMap(({ path }) =>
      typeof path === "string" ? [{ pid, path, base: path }] : [],
    );
  }
  const shares: unknown = status?.["shares"];
  if (!isFields(shares)) return [];
  const bases = Object.values(shares).filter((path) => typeof path === "string");
  const linked = listOf(status?.["links"]).flatMap(({ path, share }) => {
    const base = shares[String(share)];
    return typeof path === "string" && typeof base === "string" ? [{ pid, path, base }] : [];
  });
  // A share that no source is linked to is known all the same.
  const idle = bases.filter((base) => !linked.some((link) => link.base === base));
  return [...linked, ...idle.map((base) => ({ pid, path: base, base }))];
}

/** The one that is meant. Throws NO_TARGET, USAGE. */
function chosen(target: string | undefined, { candidates: all }: Running): Candidate {
  if (target !== undefined) {
    const path = plannedTarget(target);
    const found = all.find((candidate) => candidate.path === path);
    if (found !== undefined) return found;
    throw new SyncError("NO_TARGET", `no running sync or serve of this user mirrors into ${path}`);
  }
  const [first] = all;
  if (first === undefined) {
    throw new SyncError("NO_TARGET", "no running sync or serve of this user has a target here");
  }
  if (all.length === 1) return first;
  const paths = all.map(({ path }) => path).join(", ");
  throw new SyncError("USAGE", `which target? ${paths}`);
}

async function take(
  name: string,
  target: string | undefined,
  to: string | undefined,
  io: CommandIo,
): Promise<ExitCode> {
  const present = await running();
  const { pid, path } = chosen(target, present);
  const asking = { name, target: path, to, apart: present.mirrored };
  const request = `snapshot ${JSON.stringify(asking)}`;
  const asked = openTalk(stateDirectory(process.env), pid, request, (line) => {
    const { progress, problem } = line;
    if (isFields(progress)) {
      io.event("progress", progress);
      io.progress(`${String(progress["files"])} files, ${bytesText(progress["contentBytes"])}`);
    } else if (isFields(problem)) {
      io.event("problem", problem);
      const { operation, path: at, errno } = problem;
      io.world.log.write("warn", `${String(operation)} ${String(at)}: ${String(errno)}`);
    }
  });
  io.onStop(() => asked.close());
  const { end, record, code, message } = await asked.ended;
  if (end === "done" && isFields(record)) {
    io.event("snapshot", record);
    tell(record as unknown as SnapshotRecord, to ?? "", io);
    return ExitCode.done;
  }
  const known = isErrorCode(code) ? code : "SNAPSHOT_FAILED";
  const why = typeof message === "string" ? message : `process ${pid} has ended, or says nothing`;
  throw new SyncError(known, end === "closed" ? "interrupted: no snapshot was taken" : why);
}

function tell(
  { name, target, epoch, cut, clean, problems }: Told,
  to: string,
  io: CommandIo,
): void {
  const where = to === "" ? "" : ` in ${to}`;
  io.print(`${name}${where}: ${target} as its source was at ${cut} (epoch ${epoch})`);
  if (!clean) {
    const text = "no epoch could be closed at one moment: files may be of slightly different ones";
    io.world.log.write("warn", text);
  }
  if (problems > 0) io.world.log.write("warn", `${problems} attributes could not be kept`);
}

type Told = Pick<SnapshotRecord, "name" | "target" | "epoch" | "cut" | "clean" | "problems">;

/** Folders in which snapshots may be. */
async function places(target: string | undefined, to: string | undefined): Promise<string[]> {
  if (to !== undefined) return [to];
  const { candidates: all } = await running();
  if (target === undefined) return [...new Set(all.map(({ base }) => snapshotPlace(base)))];
  const path = plannedTarget(target);
  const known = all.find((candidate) => candidate.path === path);
  return [snapshotPlace(known?.base ?? path)];
}

function listAll(from: readonly string[], io: CommandIo): ExitCode {
  const records = from.flatMap((place) => listSnapshots(place).map((each) => ({ place, ...each })));
  for (const record of records) io.event("snapshot", record);
  if (records.length === 0) io.say("no snapshots");
  if (records.length === 0) return ExitCode.done;
  const heads = ["NAME", "CUT", "EPOCH", "FILES", "CONTENT", "OF", "IN"];
  const rows = records.map(({ name, cut, epoch, files, contentBytes, target, place }) => {
    return [name, cut, String(epoch), String(files), bytesText(contentBytes), target, place];
  });
  for (const line of textTable([heads, ...rows])) io.print(line);
  return ExitCode.done;
}

async function removeOne(
  name: string,
  target: string | undefined,
  to: string | undefined,
  io: CommandIo,
): Promise<ExitCode> {
  const from = await places(target, to);
  const having = from.filter((place) => listSnapshots(place).some((each) => each.name === name));
  const [place, other] = having;
  if (place === undefined) {
    const where = from.length === 0 ? "" : ` in ${from.join(", ")}`;
    throw new SyncError("SNAPSHOT_MISSING", `there is no snapshot ${name}${where}`);
  }
  if (other !== undefined) {
    throw new SyncError("USAGE", `${name} is in ${having.join(" and ")}: name the target, or --to`);
  }
  const files = process.getuid?.() === 0 ? native() : ownerFiles(native());
  const store = new SnapshotStore(files, place, []);
  try {
    await store.remove(name);
    await store.removeLeftovers();
  } finally {
    store.close();
  }
  io.event("removed", { name, place });
  io.say(`${name} is removed from ${place}`);
  return ExitCode.done;
}

function listOf(value: unknown): Fields[] {
  const list: unknown[] = Array.isArray(value) ? value : [];
  return list.filter(isFields);
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}
