/**
 * Lockstep, used by its command line only, like any user: the whole contract with it is in this
 * file. It believes one thing that Lockstep says, {"event":"live"} on stdout, and only as the
 * moment to begin; what is measured afterwards are bytes in files.
 *
 * Each start has its own state directories (XDG_STATE_HOME) below the pair's scratch folder, so it
 * reads and writes nothing of the user's. The link is the real one: two devices with their own
 * keys, paired offline, TLS over loopback.
 */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { freePort, ProcessError, run, start, waitAccepting } from "../processes.ts";
import { repositoryRoot } from "../programs.ts";
import type { Pair } from "../workspace.ts";
import { stopAll, type Subject } from "./subject.ts";

const commandMs = 20_000;
const liveMs = 900_000;
const shareName = "bench";

type Environment = Readonly<Record<string, string>>;

/** A paired server that waits for `sync`; seeds and restarts are timed on it. */
export interface PreparedLink {
  readonly port: number;
  readonly serverPid: number;
  /** Starts `lockstep sync` and resolves when it reports live. */
  sync(options?: readonly string[]): Promise<LiveSync>;
  stop(): Promise<void>;
}

export interface LiveSync {
  readonly pid: number;
  /** Milliseconds from the start of the process to its "live". */
  readonly liveMs: number;
  /** What it says of itself: `lockstep status --json`. */
  status(): Promise<Readonly<Record<string, unknown>>>;
  end(): Promise<void>;
}

const noJournal: Environment = { LOCKSTEP_TEST_NO_JOURNAL: "1" };

export const lockstepLink: Subject = linkSubject("lockstep link", "defaults", {});
export const lockstepLocal: Subject = localSubject("lockstep local", "defaults", {});
/** The two above without what a crash of the target needs. */
export const journalless: ReadonlyMap<Subject, Subject> = new Map([
  [lockstepLink, linkSubject(lockstepLink.name, "no journal", noJournal)],
  [lockstepLocal, localSubject(lockstepLocal.name, "no journal", noJournal)],
]);

function linkSubject(name: string, how: string, environment: Environment): Subject {
  return {
    name,
    speed: "fast",
    configuration: `two devices, TLS 1.3 over loopback, ${how}`,
    unavailable: lockstepUnavailable,
    start: async ({ pair }) => {
      const link = await prepareLink(pair, environment);
      try {
        const live = await link.sync();
        return {
          port: link.port,
          stop: async () => {
            await live.end();
            await link.stop();
          },
        };
      } catch (error) {
        await link.stop();
        throw error;
      }
    },
  };
}

function localSubject(name: string, how: string, environment: Environment): Subject {
  return {
    name,
    speed: "fast",
    configuration: `folder to folder in one process, ${how}`,
    unavailable: lockstepUnavailable,
    start: async ({ pair }) => {
      const live = await syncLocal(pair, [], environment);
      return { port: undefined, stop: () => live.end() };
    },
  };
}

/** Folder to folder: `lockstep sync SOURCE TARGET --json`. */
export async function syncLocal(
  pair: Pair,
  options: readonly string[] = [],
  environment: Environment = {},
): Promise<LiveSync> {
  const home = await deviceHome(pair, "local");
  return startSync([pair.source, pair.target, ...options], home, environment);
}

/** Two paired devices and a running server, with `environment`; the caller starts the sync. */
export async function prepareLink(
  pair: Pair,
  environment: Environment = {},
): Promise<PreparedLink> {
  const [sourceHome, targetHome] = [
    await deviceHome(pair, "source"),
    await deviceHome(pair, "target"),
  ];
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const sourceId = (await lockstep(["id"], sourceHome)).trim();
  const targetId = (await lockstep(["id"], targetHome)).trim();
  await lockstep(["peers", "add", targetId, "--name", "target", "--address", address], sourceHome);
  await lockstep(["peers", "add", sourceId, "--name", "source"], targetHome);
  // On the target: the peer `source` may send changes into the share.
  await lockstep(["peers", "grant", sourceId, shareName, "--send"], targetHome);
  const server = start(
    lockstepCommand(),
    ["serve", "--listen", address, "--share", `${shareName}=${pair.target}`],
    { env: { ...deviceEnvironment(targetHome), ...environment } },
  );
  // The server prints nothing that we rely on: it is ready when its port accepts.
  await waitAccepting(port, server);
  const url = `lockstep://${targetId}@${address}/${shareName}`;
  return {
    port,
    serverPid: server.pid,
    sync: (options = []) => startSync([pair.source, url, ...options], sourceHome),
    stop: () => stopAll([server]),
  };
}

async function startSync(
  places: readonly string[],
  home: string,
  environment: Environment = {},
): Promise<LiveSync> {
  const began = performance.now();
  const sync = start(lockstepCommand(), ["sync", ...places, "--json"], {
    env: { ...deviceEnvironment(home), ...environment },
  });
  try {
    await sync.waitFor((line) => (isLive(line) ? true : undefined), liveMs);
  } catch (error) {
    await sync.end();
    throw error;
  }
  const { pid } = sync;
  const tookMs = performance.now() - began;
  return { pid, liveMs: tookMs, status: () => statusOf(pid, home), end: () => sync.end() };
}

async function statusOf(pid: number, home: string): Promise<Readonly<Record<string, unknown>>> {
  const printed = await lockstep(["status", "--json"], home);
  const all = printed.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
  const own = all.find((status) => status["pid"] === pid);
  // The launcher is another process than the sync that it has started.
  const found = own ?? all.find((status) => status["command"] === "sync");
  if (found === undefined) throw new ProcessError("lockstep status does not tell of the sync");
  return found;
}

function isLive(line: string): boolean {
  try {
    return (JSON.parse(line) as { event?: unknown } | null)?.event === "live";
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

export async function lockstepUnavailable(): Promise<string | undefined> {
  if (!existsSync(lockstepCommand())) return `${lockstepCommand()} is not there`;
  try {
    await run(lockstepCommand(), ["--version"], { timeoutMs: 300_000 });
    return undefined;
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error;
    const [last] = error.message.trim().split("\n").slice(-1);
    return `--version failed (${last ?? ""})`;
  }
}

function lockstep(args: readonly string[], home: string): Promise<string> {
  return run(lockstepCommand(), args, { env: deviceEnvironment(home), timeoutMs: commandMs });
}

/** LOCKSTEP_BENCH_COMMAND names another one: an installed package, or an older build. */
function lockstepCommand(): string {
  return process.env["LOCKSTEP_BENCH_COMMAND"] ?? join(repositoryRoot, "lockstep");
}

async function deviceHome(pair: Pair, name: string): Promise<string> {
  const home = join(pair.scratch, name);
  await mkdir(home, { recursive: true, mode: 0o700 });
  return home;
}

/** LOCKSTEP_NO_SETUP: the first call (--version) has built it; a rebuild must not be measured. */
function deviceEnvironment(home: string): Record<string, string> {
  return {
    XDG_STATE_HOME: home,
    XDG_CONFIG_HOME: home,
    XDG_RUNTIME_DIR: home,
    STATE_DIRECTORY: "",
    NOTIFY_SOCKET: "",
    LOCKSTEP_NO_SETUP: "1",
  };
}
