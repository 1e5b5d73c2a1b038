/**
 * Where a running command says how it is: a UNIX socket `run/<pid>.sock` in the state directory.
 * Whoever connects says what it wants (`status`, or `resume` after a halt) and gets one line of
 * JSON and the end of the stream. Who says nothing gets the status after a moment. What takes
 * longer keeps its connection (control-talk.ts).
 *
 * Invariants: `run` is 0700 and ours, so only this user (and root) can connect; a socket that
 * refuses connections and whose process is gone is removed; publishing never stops a sync: what is
 * wrong is logged. Status is a convenience, the sync is not.
 * Limits: controlClientsMax at a time beside those that wait, controlMs each; requestBytesMax for
 * what is asked, statusBytesMax for an answer, socketsMax asked.
 * A path of a UNIX socket holds 107 bytes: a longer one is reached through /proc/self/fd.
 * Source: unix(7), proc(5).
 */
import {
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  unlinkSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import type { Log } from "../world/index.ts";
import { type Asked, talkAt, type TalkAnswers, talkCountMax, Talks } from "./control-talk.ts";

const controlClientsMax = 16;
const controlMs = 2_000;
/** A client of an earlier version asks for the status by saying nothing. */
const requestMs = 100;
const requestBytesMax = 1 << 17;
const statusBytesMax = 1 << 20;
const socketsMax = 256;
const socketPathBytesMax = 107;

export interface Published {
  close(): void;
}

export interface ProcessStatus {
  readonly pid: number;
  /** What `describe` gave; undefined when the process did not answer in time or in JSON. */
  readonly status: Readonly<Record<string, unknown>> | undefined;
}

/** What a process says to `lockstep resume`: the codes of its halts, or why it cannot go on. */
export type ResumeAnswer = { readonly resumed: readonly string[] } | { readonly refused: string };

export interface ControlAnswers {
  describe: () => unknown;
  resume: () => ResumeAnswer;
  talks: TalkAnswers;
}

/**
 * Answers with what `describe` returns, which JSON must be able to hold, until closed.
 * Errors: none; they go to `log`, or to standard error without one.
 */
export function publishStatus(
  stateDir: string,
  describe: () => unknown,
  log: Log = standardError,
  resume: () => ResumeAnswer = () => ({ refused: "it has no halts" }),
  talks: TalkAnswers = {},
): Published {
  const answers = { describe, resume, talks };
  const folder = join(stateDir, "run");
  try {
    prepareFolder(folder);
    const place = openPlace(folder, `${process.pid}.sock`);
    return serveStatus(place, answers, log);
  } catch (error) {
    log.write("warn", `\`lockstep status\` will not show this process: ${textOf(error)}`);
    return { close: () => {} };
  } finally {
    // What other processes left behind; nobody waits for it.
    void collectStatuses(stateDir).catch(() => []);
  }
}

/** Asks every process of the state directory, all at once; removes the sockets of dead ones. */
export async function collectStatuses(stateDir: string): Promise<ProcessStatus[]> {
  const folder = join(stateDir, "run");
  const asked = pidsIn(folder)
    .slice(0, socketsMax)
    .map((pid) => ask(folder, pid, "status"));
  const statuses = await Promise.all(asked);
  return statuses.filter((status) => status !== undefined);
}

/** Asks one process to go on after its halts; undefined when it does not answer. */
export async function requestResume(
  stateDir: string,
  pid: number,
): Promise<ProcessStatus["status"]> {
  const answer = await ask(join(stateDir, "run"), pid, "resume");
  return answer?.status;
}

/** Asks one process for what may take a while. `told` hears what it says meanwhile. */
export function openTalk(
  stateDir: string,
  pid: number,
  request: string,
  told: (line: Readonly<Record<string, unknown>>) => void,
): Asked {
  const place = openPlace(join(stateDir, "run"), `${pid}.sock`);
  const asked = talkAt(place.path, request, told);
  void asked.ended.then(() => place.close());
  return asked;
}

function pidsIn(folder: string): number[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  const pids = names.flatMap((name) => /^([1-9]\d{0,9})\.sock$/.exec(name)?.[1] ?? []);
  return pids.map(Number).sort((a, b) => a - b);
}

/** Undefined when no process is behind the socket. */
function ask(
  folder: string,
  pid: number,
  request: "status" | "resume",
): Promise<ProcessStatus | undefined> {
  return new Promise((resolve) => {
    const name = `${pid}.sock`;
    const place = openPlace(folder, name);
    const parts: Buffer[] = [];
    let byteCount = 0;
    const socket = connect(place.path);
    socket.end(`${request}\n`);
    const end = (status: ProcessStatus | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      place.close();
      resolve(status);
    };
    const timer = setTimeout(() => end({ pid, status: undefined }), controlMs);
    socket.on("data", (part) => {
      parts.push(part);
      byteCount += part.length;
      if (byteCount > statusBytesMax) end({ pid, status: undefined });
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const isRefused = error.code === "ECONNREFUSED" || error.code === "ENOENT";
      // Refused and alive is a process between bind and listen.
      const isGone = isRefused && isDead(pid);
      if (isGone) removeSocket(join(folder, name));
      end(isRefused ? undefined : { pid, status: undefined });
    });
    socket.on("end", () => end({ pid, status: parseStatus(Buffer.concat(parts)) }));
  });
}

function parseStatus(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function serveStatus(place: Place, answers: ControlAnswers, log: Log): Published {
  const talks = new Talks();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) =>
    hear(socket, (request) => {
      if (!talks.take(socket, request, answers.talks)) answer(socket, request, answers);
    }),
  );
  server.maxConnections = controlClientsMax + talkCountMax;
  server.on("error", (error) => {
    log.write("warn", `\`lockstep status\` will not show this process: ${error.message}`);
  });
  // A process of the same number that is gone left it.
  removeSocket(place.path);
  server.listen(place.path);
  server.unref();
  let isClosed = false;
  const close = (): void => {
    if (isClosed) return;
    isClosed = true;
    process.off("exit", close);
    talks.close();
    // Also removes the socket.
    server.close();
    place.close();
  };
  process.on("exit", close);
  return { close };
}

/** Reads the line that says what is wanted; `status` if none comes. */
function hear(socket: Socket, wanted: (request: string) => void): void {
  socket.unref();
  socket.setTimeout(controlMs, () => socket.destroy());
  // A client that went away needs no answer.
  socket.on("error", () => socket.destroy());
  let text = "";
  let isHeard = false;
  const heard = (request: string): void => {
    clearTimeout(timer);
    if (!isHeard) wanted(request);
    isHeard = true;
    text = "";
  };
  // A loop that was busy for so long fires timers before it reads what has come meanwhile.
  const timer = setTimeout(() => setImmediate(() => heard("status")), requestMs);
  timer.unref();
  socket.setEncoding("utf8");
  socket.on("data", (part: string) => {
    // Further lines are no requests.
    if (isHeard) return;
    text += part;
    const end = text.indexOf("\n");
    if (end >= 0) heard(text.slice(0, end));
    else if (text.length >= requestBytesMax) heard("status");
  });
  socket.on("end", () => heard("status"));
}

function answer(socket: Socket, request: string, { describe, resume }: ControlAnswers): void {
  const { pid } = process;
  let line: string;
  try {
    const said = request === "resume" ? resume() : (describe() as object);
    line = JSON.stringify({ ...said, pid });
  } catch (error) {
    // A mistake in the description must not end what it describes.
    line = JSON.stringify({ pid, state: `cannot be described: ${textOf(error)}` });
  }
  socket.end(`${line}\n`);
}

interface Place {
  /** At most 107 bytes. */
  readonly path: string;
  close(): void;
}

function openPlace(folder: string, name: string): Place {
  const path = join(folder, name);
  if (Buffer.byteLength(path) <= socketPathBytesMax) return { path, close: () => {} };
  const fd = openSync(folder, "r");
  return { path: `/proc/self/fd/${fd}/${name}`, close: () => closeSync(fd) };
}

/** Makes it 0700, and refuses one that is not ours or is a link to elsewhere. */
function prepareFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const stat = lstatSync(folder);
  if (!stat.isDirectory() || stat.uid !== process.geteuid?.()) {
    throw new Error(`${folder} is not a folder of this user`);
  }
  if ((stat.mode & 0o777) !== 0o700) chmodSync(folder, 0o700);
}

function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function isDead(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const standardError: Log = {
  write: (level, message) => {
    process.stderr.write(`lockstep: ${level}: ${message}\n`);
  },
};
