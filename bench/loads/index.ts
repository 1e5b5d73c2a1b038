/** All loads, in the order of their rows. */
import { hammer } from "./hammer.ts";
import type { Load } from "./load.ts";
import { pgbench } from "./postgres.ts";
import { sqlite } from "./sqlite.ts";

export type { Load } from "./load.ts";

const flatOut = { how: "write", threads: 4, pauseUs: 0 } as const;

export const loads: readonly Load[] = [
  pgbench("pgbench", []),
  pgbench("pgbench, fsync off", ["fsync = off"]),
  sqlite("sqlite wal", "wal"),
  sqlite("sqlite rollback", "delete"),
  hammer({ name: "4 writers of 64 pages, 100 µs", ...flatOut, pages: 64, pauseUs: 100 }),
  hammer({ name: "1 writer of 1 page", ...flatOut, threads: 1, pages: 1 }),
  hammer({ name: "1 writer of 8 pages", ...flatOut, threads: 1, pages: 8 }),
  hammer({ name: "4 writers of 8 pages", ...flatOut, pages: 8 }),
  hammer({ name: "4 writers of 512 pages", ...flatOut, pages: 512 }),
  hammer({ name: "4 writers of 4096 pages", ...flatOut, pages: 4096 }),
  hammer({ name: "4 mappings of 64 pages", ...flatOut, how: "store", pages: 64, pauseUs: 100 }),
];
