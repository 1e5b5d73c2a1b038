/**
 * A whole PostgreSQL data directory as the source of a mirror: a server with pgbench's four
 * clients, and two writers of numbered transactions (ledger-postgres.py), reached by a unix socket
 * only.
 *
 * The server runs as a user without privileges. fsync is off: what the mirror promises is the order
 * of what was written, whether or not it has reached a disk. Segments of the log are small and
 * checkpoints frequent, so that many files change, and the log's are renamed and used again.
 * Invariant: every process is ended by its own id.
 * Source: PostgreSQL 15 manual (initdb, postgres, pgbench, pg_amcheck, pg_checksums).
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { runCommand } from "./commands.ts";
import type { Found } from "./ledger.ts";
import {
  Children,
  diesWithParent,
  type LedgerDatabase,
  type LedgerPlace,
  whyNoSqlite,
} from "./ledger-database.ts";
import { findPython, nobody, programOf } from "./python.ts";

const clientCount = 4;
const writerCount = 2;
/** Of pgbench; without a bound nobody else gets the processors. */
const transactionsPerSecond = 500;
/** A server that has much to repair takes its time. */
const startMs = 60_000;
const serverUser = 65534;

/** Folder of the programs of a server; undefined without one. */
function findPrograms(): string | undefined {
  const base = "/usr/lib/postgresql";
  const versions = (existsSync(base) ? readdirSync(base) : []).map(Number);
  const folders = versions
    .filter((version) => version >= 15)
    .sort((a, b) => b - a)
    .map((version) => join(base, String(version), "bin"));
  return folders.find((folder) => existsSync(join(folder, "pg_amcheck")));
}

/** Why there can be no such database here; false if there can. */
export function whyNoPostgres(): string | false {
  if (findPrograms() === undefined) return "needs postgresql 15 or later: tools/setup --test";
  return whyNoSqlite();
}

/** PostgreSQL refuses to be root. */
const asServer: readonly string[] = process.getuid?.() === 0 ? nobody : [];

const serverSettings: readonly string[] = [
  "listen_addresses=",
  "fsync=off",
  "shared_buffers=4MB",
  "max_wal_size=6MB",
  "min_wal_size=2MB",
  "checkpoint_timeout=30s",
  "checkpoint_completion_target=0.5",
  "bgwriter_delay=10ms",
  "autovacuum_naptime=1s",
  "max_connections=20",
].flatMap((setting) => ["-c", setting]);

/** One server on one data directory. */
class Server {
  readonly #programs: string;
  readonly #data: string;
  /** Of its socket. */
  readonly folder: string;
  #child: ChildProcess | undefined;
  #said = "";
  #ended: Promise<void> = Promise.resolve();

  constructor(context: TestContext, programs: string, data: string, folder: string) {
    this.#programs = programs;
    this.#data = data;
    this.folder = folder;
    mkdirSync(folder);
    if (asServer.length > 0) chownSync(folder, serverUser, serverUser);
    context.after(() => this.kill());
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** The end of its log. */
  get said(): string {
    return this.#said.slice(-2000);
  }

  /** False when it has ended instead of beginning to serve. */
  async start(): Promise<boolean> {
    const limit = performance.now() + startMs;
    // Those that served the one before may still be about to notice that it is gone.
    for (;;) {
      this.#spawn();
      while (this.#child !== undefined) {
        if (/ready to accept connections/.test(this.#said)) return true;
        assert.ok(performance.now() < limit, `the server does not start: ${this.said}`);
        await sleep(10);
      }
      const isBusy = /still in use|lock file .* already exists/.test(this.#said);
      if (!isBusy || performance.now() > limit) return false;
      await sleep(50);
    }
  }

  #spawn(): void {
    const settings = [...serverSettings, "-c", `unix_socket_directories=${this.folder}`];
    const [command = "", ...args] = [
      ...asServer,
      ...diesWithParent,
      join(this.#programs, "postgres"),
      "-D",
      this.#data,
      ...settings,
    ];
    this.#said = "";
    const child = spawn(command, args, { cwd: this.folder, stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    child.stderr.on("data", (part: Buffer) => {
      this.#said = (this.#said + part.toString()).slice(-100_000);
    });
    this.#ended = new Promise<void>((resolve) => {
      child.once("error", () => resolve());
      child.once("exit", () => resolve());
    }).then(() => {
      if (this.#child === child) this.#child = undefined;
    });
  }

  /** In order, with a checkpoint. */
  async stop(): Promise<void> {
    this.#child?.kill("SIGINT");
    await this.#ended;
  }

  /** The server and whatever it has started, by SIGKILL. */
  async kill(): Promise<void> {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    const pids = [pid, ...childrenOf(pid)];
    for (const one of pids) {
      try {
        process.kill(one, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
    await this.#ended;
  }

  async query(text: string): Promise<string[]> {
    const args = ["-XAtq", "-h", this.folder, "-U", "postgres", "-d", "postgres", "-c", text];
    const said = await runCommand(join(this.#programs, "psql"), args, { cwd: this.folder });
    return said.split("\n").filter((line) => line !== "");
  }
}

/** By /proc: they are leaders of sessions of their own. */
function childrenOf(parent: number): number[] {
  return readdirSync("/proc").flatMap((name) => {
    try {
      const stat = /^\d+$/.test(name) ? readFileSync(`/proc/${name}/stat`, "latin1") : "";
      const [, parentOf] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return Number(parentOf) === parent ? [Number(name)] : [];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

/** The server with its writers. */
export async function postgresLedger(place: LedgerPlace): Promise<LedgerDatabase> {
  const { context, source, scratch } = place;
  const programs = findPrograms()!;
  const logs = join(scratch, "logs");
  mkdirSync(logs);
  const data = join(source, "postgres");
  mkdirSync(data, { mode: 0o700 });
  if (asServer.length > 0) chownSync(data, serverUser, serverUser);
  const asUser = (...line: string[]): Promise<string> => {
    const [command = "", ...args] = [...asServer, ...line];
    return runCommand(command, args, { cwd: "/" });
  };
  const initdb = ["--data-checksums", "--wal-segsize=1", "--no-locale", "--no-sync"];
  const user = ["-U", "postgres", "--auth=trust"];
  await asUser(join(programs, "initdb"), "-D", data, ...initdb, ...user);
  const server = new Server(context, programs, data, join(scratch, "socket"));
  const pgbench = join(programs, "pgbench");
  const reach = ["-h", server.folder, "-U", "postgres"];
  assert.ok(await server.start(), server.said);
  await server.query("CREATE EXTENSION amcheck");
  const ledger = "CREATE TABLE ledger(writer int, number int, body text, PRIMARY KEY(1, 2))";
  await server.query(ledger.replace("1, 2", "writer, number"));
  await asUser(pgbench, ...reach, "-i", "-q", "-s", "1", "postgres");
  const python = findPython([])!;
  const children = new Children(context);
  return {
    logs,
    start: async () => {
      if (!server.isRunning) assert.ok(await server.start(), server.said);
      if (children.count > 0) return;
      // It would only grow.
      await server.query("TRUNCATE pgbench_history");
      const rate = ["-R", String(transactionsPerSecond)];
      const load = ["-n", "-c", String(clientCount), ...rate, "-T", "3600", "postgres"];
      children.start(pgbench, [...reach, ...load]);
      for (let writer = 1; writer <= writerCount; writer++) {
        const name = String(writer);
        const args = [programOf("ledger-postgres.py"), server.folder, name, join(logs, name)];
        children.start(python, args);
      }
    },
    rest: () => children.signal("SIGSTOP"),
    goOn: () => children.signal("SIGCONT"),
    kill: async () => {
      await server.kill();
      await children.kill();
    },
    check: async (copy) => await checkCopy(place, programs, join(copy, "postgres"), asUser),
  };
}

type AsUser = (...line: string[]) => Promise<string>;

async function checkCopy(
  { context, scratch }: LedgerPlace,
  programs: string,
  data: string,
  asUser: AsUser,
): Promise<Found> {
  const problems: string[] = [];
  const writers: Record<string, number[]> = {};
  // On another machine no process has this number; here the source's server may still run.
  rmSync(join(data, "postmaster.pid"), { force: true });
  const folder = join(scratch, "copy-socket");
  rmSync(folder, { recursive: true, force: true });
  const server = new Server(context, programs, data, folder);
  const attempt = async (what: string, run: () => Promise<void>): Promise<void> => {
    try {
      await run();
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  if (!(await server.start())) return { problems: [`it does not start: ${server.said}`], writers };
  const reach = ["-h", folder, "-U", "postgres", "-d", "postgres"];
  await attempt("pg_amcheck", async () => {
    await asUser(join(programs, "pg_amcheck"), ...reach, "--heapallindexed");
  });
  await attempt("query", async () => {
    const own =
      "SELECT writer, string_agg(number::text, ' ' ORDER BY number) FROM ledger GROUP BY 1";
    for (const line of await server.query(own)) {
      const [writer = "", numbers = ""] = line.split("|");
      writers[writer] = numbers.split(" ").map(Number);
    }
    const body = "repeat(writer || ':' || number || ' ', 1 + number % 9)";
    const wrong = await server.query(`SELECT number FROM ledger WHERE body <> ${body} LIMIT 5`);
    if (wrong.length > 0) problems.push(`text of ${wrong.join(", ")}`);
    const [sums = ""] = await server.query(
      "SELECT (SELECT sum(abalance) FROM pgbench_accounts), " +
        "(SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches)",
    );
    if (new Set(sums.split("|")).size !== 1) problems.push(`pgbench's sums differ: ${sums}`);
  });
  await server.stop();
  await attempt("pg_checksums", async () => {
    await asUser(join(programs, "pg_checksums"), "--check", "-D", data);
  });
  return { problems, writers };
}
