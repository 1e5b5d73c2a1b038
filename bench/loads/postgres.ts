/**
 * PostgreSQL: a whole data directory below the source, written by pgbench with four clients. The
 * server runs as its own user where we are root (it refuses to be root), on a socket in the pair's
 * scratch folder only.
 */
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exists, run, start, sleep, type Started } from "../processes.ts";
import type { Load, PreparedLoad } from "./load.ts";
import type { Pair } from "../workspace.ts";

const clientCount = 4;
const commandMs = 120_000;
const packaged = "/usr/lib/postgresql";

const isRoot = process.getuid?.() === 0;

export function pgbench(name: string, settings: readonly string[]): Load {
  return {
    name,
    unavailable: async () => {
      if (!(await exists("pgbench", ["--version"]))) return "needs postgresql";
      return (await programFolder()) === undefined ? `nothing in ${packaged}` : undefined;
    },
    prepare: async (pair) => startServer(pair, settings),
  };
}

/** Of the newest version that is installed; they are not in PATH. */
async function programFolder(): Promise<string | undefined> {
  const versions = await readdir(packaged).catch((): string[] => []);
  const newest = versions.toSorted((a, b) => Number(b) - Number(a))[0];
  return newest === undefined ? undefined : join(packaged, newest, "bin");
}

/** `command`, as the user that may run a server. */
function asUser(command: readonly string[]): [string, string[]] {
  const whole = isRoot ? ["runuser", "-u", "postgres", "--", ...command] : [...command];
  return [whole[0]!, whole.slice(1)];
}

async function startServer(pair: Pair, settings: readonly string[]): Promise<PreparedLoad> {
  const folder = (await programFolder()) ?? packaged;
  const data = join(pair.source, "data");
  const socket = join(pair.scratch, "pg");
  for (const path of [data, socket]) await mkdir(path);
  if (isRoot) {
    // The server's user has to pass the pair's own folders.
    for (const path of [pair.root, pair.source, pair.scratch]) await chmod(path, 0o755);
    await run("chown", ["postgres:", data, socket], { timeoutMs: commandMs });
  }
  const call = (command: readonly string[], timeoutMs = commandMs): Promise<string> =>
    run(...asUser(command), { timeoutMs, cwd: "/" });
  await call([join(folder, "initdb"), "-D", data, "-A", "trust", "-U", "bench", "--no-sync"]);
  await writeFile(
    join(data, "postgresql.auto.conf"),
    ["listen_addresses = ''", `unix_socket_directories = '${socket}'`, ...settings, ""].join("\n"),
  );
  const server: Started = start(...asUser([join(folder, "postgres"), "-D", data]), { cwd: "/" });
  const place = ["-h", socket, "-U", "bench"];
  try {
    for (let i = 0; i < 200 && !(await isReady(place)); i++) await sleep(50);
    await call(["pgbench", ...place, "-i", "-q", "-s", "5", "postgres"]);
  } catch (error) {
    await server.end();
    throw error;
  }
  return {
    run: async (durationMs) => {
      const seconds = `${Math.max(1, Math.round(durationMs / 1000))}`;
      const args = ["-n", "-c", `${clientCount}`, "-T", seconds, "postgres"];
      const printed = await call(["pgbench", ...place, ...args], durationMs + 60_000);
      return Number(/tps = ([\d.]+)/.exec(printed)?.[1]);
    },
    stop: () => server.end(),
  };
}

async function isReady(place: readonly string[]): Promise<boolean> {
  const asked = start("pg_isready", ["-q", ...place, "-d", "postgres"]);
  return (await asked.exited(commandMs)) === 0;
}
