/**
 * Every test of the tree, for one `node --test` process. Generated: `npm run gen`.
 */
import "../bench/measures.test.ts";
import "../bench/socket-counters.test.ts";
import "../bench/table.test.ts";
import "../tools/launcher.test.ts";
import "../tools/lint.test.ts";
import "../tools/tidy.test.ts";
