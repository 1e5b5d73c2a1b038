/** SQLite in WAL mode with several writing processes; the copy passes its integrity check. */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./commands.ts";
import { workload } from "./workload.ts";

const writerCount = 4;

/** Arguments: database, writer, rows. One transaction a row or a few, with updates and deletes. */
const writer = `
import random, sqlite3, sys
path, me, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(me)
db = sqlite3.connect(path, timeout=60, isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=NORMAL")
done = 0
while done < rows:
    db.execute("BEGIN IMMEDIATE")
    for _ in range(rng.randint(1, 20)):
        body = "%d-%d " % (me, done) * rng.randint(1, 60)
        db.execute("INSERT INTO t(writer, number, body) VALUES (?, ?, ?)", (me, done, body))
        done += 1
    if rng.random() < 0.3:
        old = (me, rng.randint(0, done))
        db.execute("UPDATE t SET body = body || 'x' WHERE writer = ? AND number = ?", old)
        old = (me, rng.randint(0, done))
        db.execute("DELETE FROM t WHERE writer = ? AND number = ?", old)
    db.execute("COMMIT")
db.close()
`;

/** Arguments: database, file to wait for. Keeps the log from being folded in meanwhile. */
const holder = `
import os, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1])
db.execute("SELECT 1 FROM t").fetchall()
for _ in range(9000):
    if os.path.exists(sys.argv[2]): break
    time.sleep(0.02)
db.close()
`;

const create =
  "PRAGMA journal_mode=WAL;" +
  "CREATE TABLE t(id INTEGER PRIMARY KEY, writer INT, number INT, body TEXT);" +
  "CREATE INDEX tw ON t(writer, number);";

/** The database with its log, if it has one, beside the mirror: opening it would change it. */
async function checkCopy(from: string, scratch: string): Promise<string> {
  const copy = join(scratch, "copy.db");
  for (const end of ["", "-wal"]) {
    rmSync(copy + end, { force: true });
    if (existsSync(from + end)) copyFileSync(from + end, copy + end);
  }
  const check =
    "PRAGMA integrity_check; SELECT writer, count(*), sum(length(body)) FROM t GROUP BY 1;";
  return await runCommand("sqlite3", [copy, check], { cwd: scratch });
}

for (const [size, rowCount] of [
  ["small", 800],
  ["large", 20_000],
] as const) {
  const name = `SQLite in WAL mode, ${writerCount} writers, ${rowCount} rows each`;
  workload(name, { size, needs: ["sqlite3", "python3"] }, async (mirror) => {
    const database = join(mirror.source, "base.db");
    await runCommand("sqlite3", [database, create], { cwd: mirror.scratch });
    const stop = join(mirror.scratch, "stop");
    const holding = runCommand("python3", ["-c", holder, database, stop], { cwd: mirror.scratch });
    const writers = Array.from({ length: writerCount }, (_, index) =>
      runCommand("python3", ["-c", writer, database, `${index}`, `${rowCount}`], {
        cwd: mirror.scratch,
      }),
    );
    await Promise.all(writers);
    // The index of the log is only a cache, written through a mapping, of processes that run.
    await mirror.verifyClean(/-shm$/);
    assert.ok(existsSync(join(mirror.target, "base.db-wal")), "the log is part of the database");
    const before = await checkCopy(join(mirror.target, "base.db"), mirror.scratch);
    assert.match(before, /^ok\n/);
    assert.equal(before, await checkCopy(database, mirror.scratch));
    writeFileSync(stop, "");
    await holding;
    await runCommand("sqlite3", [database, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE);"], {
      cwd: mirror.scratch,
    });
    await mirror.verifyClean();
    const wanted = await checkCopy(database, mirror.scratch);
    assert.match(wanted, /^ok\n/);
    assert.equal(await checkCopy(join(mirror.target, "base.db"), mirror.scratch), wanted);
    assert.equal(wanted.split("\n").length, 2 + writerCount);
  });
}
