/**
 * Every test of the tree, for one `node --test` process. Generated: `npm run gen`.
 */
import "../bench/arguments.test.ts";
import "../bench/measures.test.ts";
import "../bench/socket-counters.test.ts";
import "../bench/table.test.ts";
import "../src/actor/byte-ring.test.ts";
import "../src/actor/channel.test.ts";
import "../src/actor/latency.test.ts";
import "../src/world/fake-clock.test.ts";
import "./contract/transport-pairing.test.ts";
import "./contract/transport-security.test.ts";
import "./contract/transport.test.ts";
import "../tools/launcher.test.ts";
import "../tools/lint.test.ts";
import "../tools/tidy.test.ts";
