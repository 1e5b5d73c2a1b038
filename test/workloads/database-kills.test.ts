/**
 * The source of a mirrored database dies at random moments, by SIGKILL: the mirror's process; or
 * that and then the database; or the database first; or the network goes down and then the process
 * dies. Or the target's process does, while it applies. What is promoted then is a database that
 * opens, is sound by its own checks, and has every transaction that was committed before the cut
 * that `promote` names, and none that was not begun.
 *
 * Variables: kill-moments.ts. 300 moments of each: LOCKSTEP_WORKLOADS_KILLS=300.
 */
import { sourceDies, targetDies } from "./kill-deaths.ts";
import { sqliteLedger, whyNoSqlite } from "./ledger-database.ts";
import { postgresLedger, whyNoPostgres } from "./ledger-postgres.ts";

const wal = { whyNot: whyNoSqlite(), make: sqliteLedger("WAL") };
const rollback = { whyNot: whyNoSqlite(), make: sqliteLedger("DELETE") };
const postgres = { whyNot: whyNoPostgres(), make: postgresLedger };

sourceDies("SQLite, WAL", { few: 2, ...wal });
sourceDies("SQLite, rollback journal", { few: 0, ...rollback });
sourceDies("PostgreSQL", { few: 1, ...postgres });
targetDies("SQLite, WAL", { few: 0, ...wal });
targetDies("SQLite, rollback journal", { few: 2, ...rollback });
targetDies("PostgreSQL", { few: 0, ...postgres });
sourceDies("SQLite, WAL, strict", { few: 0, ...wal, isStrict: true });
sourceDies("SQLite, rollback journal, strict", { few: 0, ...rollback, isStrict: true });
sourceDies("PostgreSQL, strict", { few: 0, ...postgres, isStrict: true });
sourceDies("SQLite, WAL, on disk", { few: 0, ...wal, isPower: true });
targetDies("SQLite, WAL, on disk", { few: 0, ...wal, isPower: true });
targetDies("SQLite, rollback journal, on disk", { few: 0, ...rollback, isPower: true });
sourceDies("PostgreSQL, on disk", { few: 0, ...postgres, isPower: true });
targetDies("PostgreSQL, on disk", { few: 0, ...postgres, isPower: true });
