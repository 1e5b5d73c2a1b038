import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSockets, wireBytesTo } from "./socket-counters.ts";

/** As printed by iproute2 6.1 for one connection with both ends on loopback, and an IPv6 one. */
const printed = [
  "ESTAB 0      0      127.0.0.1:54435 127.0.0.1:57160 bbr wscale:10,10 rto:204 mss:32768" +
    " cwnd:11 bytes_sent:7 bytes_acked:7 bytes_received:100 segs_out:2 segs_in:4 minrtt:0.004",
  "ESTAB 0      0      127.0.0.1:57160 127.0.0.1:54435 bbr wscale:10,10 rto:204 mss:32768" +
    " cwnd:11 bytes_sent:100 bytes_retrans:9 bytes_acked:101 bytes_received:7 segs_out:4",
  "ESTAB 0      0          [::1]:40000     [::1]:54435 cubic wscale:10,10 bytes_sent:5",
  "",
].join("\n");

test("each line of ss becomes one socket with its counters", () => {
  assert.deepEqual(parseSockets(printed), [
    { localPort: 54435, peerPort: 57160, sentBytes: 7, receivedBytes: 100 },
    { localPort: 57160, peerPort: 54435, sentBytes: 100, receivedBytes: 7 },
    { localPort: 40000, peerPort: 54435, sentBytes: 5, receivedBytes: 0 },
  ]);
});

test("only client ends are summed, so each byte counts once per direction", () => {
  const bytes = wireBytesTo(parseSockets(printed), 54435);
  assert.deepEqual(bytes, { connections: 2, sentBytes: 105, receivedBytes: 7 });
});

test("lines of another shape are skipped", () => {
  assert.deepEqual(parseSockets("State Recv-Q\ngarbage\n"), []);
  assert.equal(wireBytesTo([], 1).connections, 0);
});
