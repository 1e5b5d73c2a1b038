/**
 * Databases with writers of numbered transactions, as the source of a mirror. Here: SQLite, with
 * either journal (ledger-sqlite.py).
 *
 * Invariants: the writers' logs lie outside of the tree. Every process is ended by its own id when
 * the test ends. What is checked is a copy of the target, so that the mirror can go on.
 * Source: sqlite.org/pragma.html.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { findPython, programOf } from "./python.ts";
import { isInstalled, runCommand } from "./commands.ts";
import type { Found } from "./ledger.ts";

const sqliteWriterCount = 4;

export interface LedgerDatabase {
  /** Folder of the writers' logs. */
  readonly logs: string;
  /** The server, if there is one, and the writers; what runs already goes on. */
  start: () => Promise<void>;
  /** Whoever asks the database for changes rests, or goes on. */
  rest: () => void;
  goOn: () => void;
  /** All of it, by SIGKILL. */
  kill: () => Promise<void>;
  /** Opens the database of a copy of the tree, which is changed by it, and looks at all of it. */
  check: (copy: string) => Promise<Found>;
}

/** Places of one database. */
export interface LedgerPlace {
  readonly context: TestContext;
  /** The tree; the database is made in it. */
  readonly source: string;
  /** For what is not mirrored. */
  readonly scratch: string;
}

/** Put before a command: whoever kills the test has nothing left over. Source: man 1 setpriv. */
export const diesWithParent: readonly string[] = isInstalled("setpriv")
  ? ["setpriv", "--pdeathsig", "KILL"]
  : [];

/** Children of this test, each with what it starts, that run until they are killed. */
export class Children {
  readonly #running: Map<ChildProcess, Promise<void>> = new Map();
  #said = "";

  constructor(context: TestContext) {
    context.after(() => this.kill());
  }

  start(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): void {
    const stdio = ["ignore", "ignore", "pipe"] as const;
    // A group of its own.
    const line = [...diesWithParent, command, ...args];
    const child = spawn(line[0]!, line.slice(1), { env, stdio: [...stdio], detached: true });
    child.stderr?.on("data", (part: Buffer) => {
      this.#said = (this.#said + part.toString()).slice(-2000);
    });
    const ended = new Promise<void>((resolve) => {
      child.once("error", () => resolve());
      child.once("close", () => resolve());
    });
    this.#running.set(child, ended);
    void ended.then(() => this.#running.delete(child));
  }

  get count(): number {
    return this.#running.size;
  }

  signal(signal: NodeJS.Signals): void {
    for (const { pid } of this.#running.keys()) signalGroup(pid, signal);
  }

  /** The end of what they have said of errors. */
  get said(): string {
    return this.#said;
  }

  async kill(): Promise<void> {
    const all = [...this.#running];
    for (const [{ pid }] of all) signalGroup(pid, "SIGKILL");
    await Promise.all(all.map(([, ended]) => ended));
  }
}

/** All of the group that this child leads. */
function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // It has ended by itself.
  }
}

/** Why there can be no such database here; false if there can. */
export function whyNoSqlite(): string | false {
  return findPython([]) === undefined ? "needs python3" : false;
}

export type SqliteMode = "WAL" | "DELETE";

/** SQLite with four writing processes. */
export function sqliteLedger(mode: SqliteMode): (place: LedgerPlace) => Promise<LedgerDatabase> {
  return async ({ context, source, scratch }) => {
    const python = findPython([])!;
    const program = programOf("ledger-sqlite.py");
    const run = (...args: string[]): Promise<string> =>
      runCommand(python, [program, ...args], { cwd: scratch });
    const logs = join(scratch, "logs");
    mkdirSync(logs);
    const folder = join(source, "sqlite");
    mkdirSync(folder);
    const database = join(folder, "ledger.db");
    await run("create", database, mode);
    const children = new Children(context);
    return {
      logs,
      start: async () => {
        assert.equal(children.said, "", "no writer has failed");
        for (let writer = 1; children.count < sqliteWriterCount; writer++) {
          const name = String(writer);
          children.start(python, [program, "write", database, mode, name, join(logs, name)]);
        }
      },
      rest: () => children.signal("SIGSTOP"),
      goOn: () => children.signal("SIGCONT"),
      kill: () => children.kill(),
      check: async (copy) =>
        JSON.parse(await run("check", join(copy, "sqlite/ledger.db"))) as Found,
    };
  };
}
