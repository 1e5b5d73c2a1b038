/**
 * The negative control of database-kills.test.ts: with the validation of cuts switched off
 * (src/cli/test-hooks.ts) the same moments, judged in the same way, do find databases that are
 * torn. A judge that never condemns proves nothing.
 *
 * LOCKSTEP_WORKLOADS_KILLS is how many moments may pass until then (at least 20).
 */
import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { drawSeed, killCount, KillMoments, onlyLarge, somewhat } from "./kill-moments.ts";
import { Children, sqliteLedger, whyNoSqlite } from "./ledger-database.ts";
import { postgresLedger, whyNoPostgres } from "./ledger-postgres.ts";
import { linkPair } from "./link-pair.ts";

/** Programs that want a core all the time. */
const burnerCount = 2 * availableParallelism();
const momentCountMax = Math.max(20, killCount(0));

const isSmall = killCount(0) === 0;

for (const [name, make, skip] of [
  ["SQLite, WAL", sqliteLedger("WAL"), whyNoSqlite()],
  ["SQLite, rollback journal", sqliteLedger("DELETE"), isSmall ? onlyLarge : whyNoSqlite()],
  ["PostgreSQL", postgresLedger, isSmall ? onlyLarge : whyNoPostgres()],
] as const) {
  test(
    `negative control, ${name}: cuts that are not validated are found out`,
    { skip },
    async (context) => {
      const random = drawSeed(context);
      const near = ["env", "LOCKSTEP_TEST_NO_VALIDATION=1"];
      const pair = await linkPair(context, { near });
      const moments = await KillMoments.make(context, pair, make);
      await moments.begin();
      // Where the mirror is never late each write is an epoch by itself, and nothing can be torn.
      const burning = new Children(context);
      for (let i = 0; i < burnerCount; i++) burning.start("sh", ["-c", "while :; do :; done"]);
      burning.signal("SIGSTOP");
      let problems: readonly string[] = [];
      for (let moment = 1; problems.length === 0 && moment <= momentCountMax; moment++) {
        if (moment > 1) await moments.sync();
        burning.signal("SIGCONT");
        await somewhat(random, 600);
        moments.syncing.kill("SIGKILL");
        burning.signal("SIGSTOP");
        const { stderr } = await moments.syncing.end();
        assert.match(stderr, /cuts are not validated: for tests only/);
        const result = await moments.look(`moment ${moment}`);
        if (result?.promotion.fuzzy === false) ({ problems } = result);
      }
      context.diagnostic(`moment ${moments.results.length}: ${problems.slice(0, 3).join("; ")}`);
      assert.ok(problems.length > 0, `${momentCountMax} moments, and nothing was found`);
    },
  );
}
