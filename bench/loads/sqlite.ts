/**
 * SQLite: two programs that commit to one database as fast as they can, in WAL mode or with a
 * rollback journal, which is created and removed with each transaction.
 */
import { join } from "node:path";
import { exists, run } from "../processes.ts";
import type { Load } from "./load.ts";

const writerCount = 2;

/** Arguments: database, journal mode, writer, ms. Prints how many transactions it made. */
const writer = `
import random, sqlite3, sys, time
path, mode, me, ms = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(me)
db = sqlite3.connect(path, timeout=60, isolation_level=None)
db.execute("PRAGMA journal_mode=" + mode)
db.execute("PRAGMA synchronous=NORMAL")
db.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, writer INT, body TEXT)")
end, done = time.monotonic() + ms / 1000, 0
while time.monotonic() < end:
    db.execute("BEGIN IMMEDIATE")
    for _ in range(rng.randint(1, 10)):
        db.execute("INSERT INTO t(writer, body) VALUES (?, ?)", (me, "x" * rng.randint(10, 900)))
    db.execute("UPDATE t SET body = body || 'y' WHERE id = ?", (rng.randint(1, 1000),))
    db.execute("DELETE FROM t WHERE id = ?", (rng.randint(1000, 100000),))
    db.execute("COMMIT")
    done += 1
print(done)
`;

export function sqlite(name: string, journalMode: "wal" | "delete"): Load {
  return {
    name,
    unavailable: async () => {
      const isThere = await exists("python3", ["-c", "import sqlite3"]);
      return isThere ? undefined : "needs python3";
    },
    prepare: async (pair) => {
      const database = join(pair.source, "base.db");
      const write = async (durationMs: number, count: number): Promise<number> => {
        const counts = await Promise.all(
          Array.from({ length: count }, (_, index) =>
            run("python3", ["-c", writer, database, journalMode, `${index}`, `${durationMs}`], {
              timeoutMs: durationMs + 90_000,
            }),
          ),
        );
        const sum = counts.reduce((total, printed) => total + Number(printed), 0);
        return (sum * 1000) / durationMs;
      };
      await write(1, 1);
      return { run: (durationMs) => write(durationMs, writerCount), stop: async () => {} };
    },
  };
}
