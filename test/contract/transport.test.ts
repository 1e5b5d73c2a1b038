/** The rules of `Link` (src/transport/link.ts), checked for every implementation. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import { linkLimits } from "../../src/transport/index.ts";
import type { LinkLimits } from "../../src/transport/index.ts";
import { memoryPair, Recorder, tlsPair, tlsPairReversed, until } from "./transport-fixture.ts";
import type { Pair } from "./transport-fixture.ts";

const kinds: readonly [string, (limits: LinkLimits) => Promise<Pair>][] = [
  ["memory", memoryPair],
  ["tls, dialler to acceptor, IPv4", (limits) => tlsPair(limits)],
  ["tls, acceptor to dialler, IPv6", tlsPairReversed],
];

const small: LinkLimits = { highWaterBytes: 8 << 10, bufferedBytesMax: 64 << 20, lingerMs: 300 };

async function withPair(
  make: (limits: LinkLimits) => Promise<Pair>,
  limits: LinkLimits,
  body: (near: Recorder, far: Recorder) => Promise<void>,
): Promise<void> {
  const pair = await make(limits);
  try {
    await body(new Recorder(pair.near).start(), new Recorder(pair.far).start());
  } finally {
    pair.stop();
  }
}

/** Sends while there is room, until a send returns false; gives up at `countMax`. */
function fill(link: Recorder["link"], bytes: Uint8Array, countMax: number): number {
  for (let count = 1; count <= countMax; count += 1) if (!link.send(bytes)) return count;
  return countMax + 1;
}

for (const [kind, make] of kinds) {
  describe(`link: ${kind}`, { timeout: 30_000 }, () => {
    it("delivers in order, each byte once, both ways at the same time", () =>
      withPair(make, linkLimits, async (near, far) => {
        const there = randomBytes(100_000);
        const back = randomBytes(70_000);
        for (let at = 0; at < there.length; at += 997) {
          near.link.send(there.subarray(at, at + 997));
          far.link.send(back.subarray(at, at + 997));
        }
        await until(() => far.byteCount >= there.length, "there");
        await until(() => near.byteCount >= back.length, "back");
        assert.ok(far.bytes.equals(there));
        assert.ok(near.bytes.equals(back));
        assert.equal(near.link.counters.bytesSent, there.length);
        assert.equal(far.link.counters.bytesReceived, there.length);
        assert.equal(far.link.counters.bytesSent, back.length);
        assert.equal(near.link.counters.bytesReceived, back.length);
      }));

    it("carries 1-byte dribbles and sends of nothing", () =>
      withPair(make, linkLimits, async (near, far) => {
        const bytes = randomBytes(3_000);
        for (const byte of bytes) {
          assert.equal(near.link.send(Uint8Array.of(byte)), true);
          near.link.send(new Uint8Array(0));
        }
        await until(() => far.byteCount >= bytes.length, "dribbles");
        assert.ok(far.bytes.equals(bytes));
      }));

    it("carries a large transfer under backpressure", () =>
      withPair(make, small, async (near, far) => {
        const chunk = randomBytes(64 << 10);
        const total = 32 << 20;
        const sent = createHash("sha256");
        const received = createHash("sha256");
        far.onBytes = (bytes) => received.update(bytes);
        let drainsSeen = 0;
        let buffered = 0;
        for (let at = 0; at < total; at += chunk.length) {
          chunk.writeUInt32LE(at, 0);
          sent.update(chunk);
          // What send has taken is overwritten in the next round.
          const hasRoom = near.link.send(chunk);
          buffered = Math.max(buffered, near.link.bufferedBytes);
          if (!hasRoom) {
            await until(() => near.drains > drainsSeen, "drain");
            drainsSeen = near.drains;
          }
        }
        await until(() => far.byteCount >= total, "everything", 20_000);
        assert.equal(far.byteCount, total);
        assert.equal(received.digest("hex"), sent.digest("hex"));
        // What is encrypted already is longer by 22 bytes a record of 16 KiB.
        const bufferedMax = (small.highWaterBytes + chunk.length) * 1.01;
        assert.ok(buffered <= bufferedMax, `buffered ${buffered}`);
      }));

    it("a paused receiver makes send return false, resume brings onDrain and every byte", () =>
      withPair(make, small, async (near, far) => {
        far.link.pause();
        const chunk = randomBytes(64 << 10);
        // The kernel's buffers take some megabytes before the sender feels it.
        let sentCount = 0;
        for (let round = 0; round < 2_000 && near.drains === 0; round += 1) {
          const drains = near.drains;
          sentCount += 1;
          if (near.link.send(chunk)) continue;
          const endRound = round + 40;
          for (; round < endRound && near.drains === drains; round += 1) {
            await new Promise((resolve) => setTimeout(resolve, 1));
          }
          if (near.drains === drains) break;
          near.drains = 0;
        }
        assert.equal(near.drains, 0, "the paused receiver never filled up");
        assert.equal(far.byteCount, 0, "data came to a paused receiver");
        assert.ok(near.link.bufferedBytes > small.highWaterBytes);
        far.link.resume();
        await until(() => near.drains > 0, "drain after resume");
        await until(() => far.byteCount === sentCount * chunk.length, "all bytes");
      }));

    it("pause inside onData stops what comes after it, resume goes on in order", () =>
      withPair(make, linkLimits, async (near, far) => {
        const bytes = randomBytes(200_000);
        let paused = 0;
        far.onBytes = () => {
          far.link.pause();
          paused += 1;
          const seen = far.chunks.length;
          setTimeout(() => {
            assert.equal(far.chunks.length, seen, "data while paused");
            far.link.resume();
          }, 1);
        };
        for (let at = 0; at < bytes.length; at += 20_000) {
          near.link.send(bytes.subarray(at, at + 20_000));
        }
        await until(() => far.byteCount >= bytes.length, "all");
        assert.ok(far.bytes.equals(bytes));
        assert.ok(paused > 1);
      }));

    it("nothing is delivered before start, everything after it", async () => {
      const pair = await make(linkLimits);
      try {
        const near = new Recorder(pair.near).start();
        near.link.send(Buffer.from("early"));
        await new Promise((resolve) => setTimeout(resolve, 20));
        const far = new Recorder(pair.far).start();
        assert.equal(far.byteCount, 0, "handlers ran inside start");
        await until(() => far.byteCount === 5, "early bytes");
        near.link.send(Buffer.from(" late"));
        await until(() => far.byteCount === 10, "late bytes");
        assert.equal(far.bytes.toString(), "early late");
      } finally {
        pair.stop();
      }
    });

    it("no handler runs inside send, resume, close or destroy of its own side", () =>
      withPair(make, linkLimits, async (near, far) => {
        let inside = "";
        far.onBytes = (bytes) => {
          if (far.byteCount <= 300) far.link.send(new Uint8Array(bytes));
        };
        near.onBytes = () => assert.equal(inside, "", "re-entered");
        for (let count = 0; count < 3; count += 1) {
          inside = "send";
          near.link.send(Buffer.alloc(100, count));
          inside = "";
          near.link.pause();
          inside = "resume";
          near.link.resume();
          inside = "";
        }
        await until(() => near.byteCount >= 200, "echo");
        inside = "close";
        near.link.close();
        assert.equal(near.closes.length, 0);
        far.link.destroy();
        assert.equal(far.closes.length, 0);
        inside = "";
        await until(() => near.closes.length === 1 && far.closes.length === 1, "closes");
      }));

    it("a send inside onData is delivered after that call", () =>
      withPair(make, linkLimits, async (near, far) => {
        const depth = { near: 0, far: 0 };
        let deepest = 0;
        const answer = (side: "near" | "far", link: Recorder["link"]) => (bytes: Uint8Array) => {
          depth[side] += 1;
          deepest = Math.max(deepest, depth.near + depth.far);
          if (near.byteCount < 1_000) link.send(new Uint8Array(bytes));
          depth[side] -= 1;
        };
        near.onBytes = answer("near", near.link);
        far.onBytes = answer("far", far.link);
        near.link.send(Buffer.from("x"));
        await until(() => near.byteCount >= 1_000, "ping-pong");
        assert.equal(deepest, 1);
      }));

    it("close delivers what was sent before, then ends both sides once, without an error", () =>
      withPair(make, linkLimits, async (near, far) => {
        const bytes = randomBytes(3 << 20);
        for (let at = 0; at < bytes.length; at += 64 << 10) {
          near.link.send(bytes.subarray(at, at + (64 << 10)));
        }
        near.link.close();
        near.link.close();
        assert.equal(near.link.send(Buffer.from("late")), false);
        await until(() => far.closes.length > 0 && near.closes.length > 0, "closes");
        assert.ok(far.bytes.equals(bytes));
        near.link.destroy();
        far.link.close();
        await new Promise((resolve) => setTimeout(resolve, 20));
        assert.deepEqual([near.closes, far.closes], [[undefined], [undefined]]);
      }));

    it("close while the peer is sending: the peer's end is orderly, our onData is over", () =>
      withPair(make, linkLimits, async (near, far) => {
        far.onBytes = () => undefined;
        near.onBytes = () => {
          near.link.close();
          near.onBytes = () => assert.fail("data after close");
        };
        for (let count = 0; count < 200; count += 1) far.link.send(randomBytes(10_000));
        await until(() => far.closes.length > 0 && near.closes.length > 0, "closes");
        assert.deepEqual(near.closes, [undefined]);
      }));

    it("a paused receiver gets the data before the close", () =>
      withPair(make, linkLimits, async (near, far) => {
        far.link.pause();
        near.link.send(Buffer.from("last words"));
        near.link.close();
        await new Promise((resolve) => setTimeout(resolve, 20));
        assert.deepEqual([far.byteCount, far.closes.length], [0, 0]);
        far.link.resume();
        await until(() => far.closes.length > 0, "close");
        assert.equal(far.bytes.toString(), "last words");
      }));

    it("close gives up after the linger time when the peer takes nothing", () =>
      withPair(make, small, async (near, far) => {
        far.link.pause();
        fill(near.link, new Uint8Array(40 << 20), 1);
        near.link.close();
        await until(() => near.closes.length > 0, "close");
        assert.equal(near.closes[0]?.code, "LINK_LOST");
        far.link.destroy();
        await until(() => far.closes.length > 0, "far close");
      }));

    it("destroy ends both sides once, drops what is unsent, gives no error to its own side", () =>
      withPair(make, small, async (near, far) => {
        far.link.pause();
        fill(near.link, new Uint8Array(32 << 20), 1);
        near.link.destroy();
        near.link.destroy();
        near.link.close();
        far.link.resume();
        await until(() => far.closes.length > 0 && near.closes.length > 0, "closes");
        await new Promise((resolve) => setTimeout(resolve, 20));
        assert.equal(far.closes.length, 1);
        assert.deepEqual(near.closes, [undefined]);
        assert.ok(far.byteCount < 32 << 20);
        assert.equal(far.link.send(Buffer.from("x")), false);
      }));

    it("destroy inside onData is safe", () =>
      withPair(make, linkLimits, async (near, far) => {
        far.onBytes = () => {
          far.link.destroy();
          far.onBytes = () => assert.fail("data after destroy");
        };
        for (let count = 0; count < 20; count += 1) near.link.send(randomBytes(30_000));
        await until(() => far.closes.length > 0 && near.closes.length > 0, "closes");
        assert.deepEqual([near.closes.length, far.closes], [1, [undefined]]);
      }));

    it("a sender that ignores backpressure is a bug", () =>
      withPair(make, { ...small, bufferedBytesMax: 1 << 20 }, async (near, far) => {
        far.link.pause();
        assert.throws(() => {
          for (let count = 0; count < 64; count += 1) near.link.send(new Uint8Array(1 << 20));
        }, /ignores backpressure/);
        await Promise.resolve();
      }));
  });
}
