import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { exists } from "../processes.ts";
import { buildPrograms, compareTrees, makeMixedTree } from "../programs.ts";
import { withPair } from "../workspace.ts";
import { seeders } from "./seeders.ts";

const [rsync] = seeders;
assert.ok(rsync);
const canBuild = (await exists("gcc", ["--version"])) && (await exists("make", ["--version"]));
const missing = canBuild ? await rsync.unavailable() : "needs gcc and make";
if (canBuild) await buildPrograms();

test(
  "rsync copies, starts again, and both of its sides are measured each time",
  {
    skip: missing ?? false,
  },
  () =>
    withPair(tmpdir(), async (pair) => {
      await makeMixedTree(pair.source, { files: 300, bytesMin: 0, bytesMax: 65_536 });
      const phases = await rsync.run(pair, 2);
      const { equalNs = 0, extra } = await compareTrees(pair.source, pair.target, 0);
      assert.deepEqual(
        phases.map(({ name }) => name),
        ["seed", "restart", "restart 2"],
      );
      for (const { source, target, beganNs, doneNs } of phases) {
        assert.ok(source.peakBytes > 0 && target !== undefined && target.peakBytes > 0);
        assert.ok(beganNs < doneNs);
      }
      const [seed, restart] = phases;
      assert.ok(seed?.target && restart?.target && equalNs > 0 && extra === 0);
      // 10 MB were written by a child of the daemon's; with nothing changed it does almost nothing.
      assert.ok(seed.target.cpuSeconds > restart.target.cpuSeconds);
      assert.ok(seed.beganNs < equalNs && equalNs < restart.doneNs);
    }),
);
