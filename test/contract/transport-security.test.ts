/**
 * Attacks on links, with real sockets: each must end without a link and without an application byte
 * to the attacker. What TLS settings and judgement both hold off is in peer-judge.test.ts once
 * more.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect as connectTcp, createServer as createTcpServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { describe, it } from "node:test";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import type { ConnectionOptions, TLSSocket, TlsOptions } from "node:tls";

import { SyncError } from "../../src/base/index.ts";
import { dial, linkLimits, listenLimits } from "../../src/transport/index.ts";
import type { DialOptions, Identity, Link } from "../../src/transport/index.ts";
import { identityNamed, logLines, Recorder, serverOf, until, world } from "./transport-fixture.ts";

const a = await identityNamed("a");
const b = await identityNamed("b");
const eve = await identityNamed("eve");
const preamble = Buffer.from("LOCKST\x01\x00", "latin1");

function pemOf(identity: Identity): { key: string; cert: string } {
  const key = identity.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return { key, cert: identity.certificatePem };
}

/** What one attacking connection saw. */
interface Attack {
  readonly socket: TLSSocket | Socket;
  received: Buffer;
  isSecure: boolean;
  isClosed: boolean;
  error: string;
}

function watch(socket: TLSSocket | Socket): Attack {
  const attack = { socket, received: Buffer.alloc(0), isSecure: false, isClosed: false, error: "" };
  socket.on("secureConnect", () => (attack.isSecure = true));
  socket.on("data", (bytes: Buffer) => {
    attack.received = Buffer.concat([attack.received, bytes]);
  });
  socket.on("error", (error: NodeJS.ErrnoException) => (attack.error = error.code ?? ""));
  socket.on("close", () => (attack.isClosed = true));
  return attack;
}

function attackTls(port: number, options: ConnectionOptions): Attack {
  const common = { host: "127.0.0.1", port, rejectUnauthorized: false };
  const socket = connectTls({ ...common, ALPNProtocols: ["lockstep/1"], ...options });
  const attack = watch(socket);
  // A hostile client does not wait to be asked.
  socket.on("secureConnect", () => socket.write(Buffer.concat([preamble, Buffer.from("rob")])));
  return attack;
}

async function refused(attack: Attack): Promise<void> {
  await until(() => attack.isClosed, "the attacker's connection closes");
  assert.equal(attack.received.length, 0, "an application byte went to the attacker");
}

function dialTo(port: number, more: Partial<DialOptions> = {}): Promise<Link> {
  const common = { world, identity: a, host: "127.0.0.1", port, timeoutMs: 2_000 };
  return dial({ ...common, limits: linkLimits, expectPeerId: b.id, ...more });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "no error";
  } catch (error) {
    return error instanceof SyncError ? error.code : String(error);
  }
}

/** A server that speaks TLS like ours but does as `onSecure` likes. */
async function fakeServer(
  options: TlsOptions,
  onSecure: (socket: TLSSocket) => void,
): Promise<{ port: number; stop(): void }> {
  const server = createTlsServer({
    ...pemOf(b),
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ["lockstep/1"],
    ...options,
  });
  server.on("secureConnection", (socket) => {
    socket.on("error", () => undefined);
    onSecure(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, stop: () => server.close() };
}

describe("listener: who gets in", { timeout: 60_000 }, () => {
  const trusting = { identity: b, isTrusted: (id: string) => id === a.id };

  it("a trusted device does", async () => {
    const { listener, links } = await serverOf(trusting);
    const link = await dialTo(listener.port);
    await until(() => links.length === 1, "link");
    assert.equal(link.peerId, b.id);
    assert.equal(links[0]?.peerId, a.id);
    assert.deepEqual([listener.linkCount, listener.halfOpenCount], [1, 0]);
    link.destroy();
    await until(() => listener.linkCount === 0, "the link's place is given back");
    listener.close();
  });

  const attacks: readonly [string, "handshake" | "untrusted", ConnectionOptions][] = [
    ["no certificate", "handshake", {}],
    ["a stranger's certificate", "untrusted", pemOf(eve)],
    ["the listener's own key", "untrusted", pemOf(b)],
    ["TLS 1.2", "handshake", { ...pemOf(a), minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }],
    [
      "another application protocol",
      "handshake",
      { ...pemOf(a), ALPNProtocols: ["h2", "lockstep/2"] },
    ],
    ["no application protocol", "handshake", { ...pemOf(a), ALPNProtocols: [] }],
  ];
  for (const [what, reason, options] of attacks) {
    it(`not with ${what}`, async () => {
      const isTrusted = (id: string) => id !== eve.id;
      const { listener, links } = await serverOf({ identity: b, isTrusted });
      await refused(attackTls(listener.port, options));
      await until(() => listener.halfOpenCount === 0, "place given back");
      assert.equal(links.length, 0);
      // What TLS itself should refuse must not get as far as the judgement.
      const none = { flood: 0, handshake: 0, untrusted: 0, timeout: 0 };
      assert.deepEqual(listener.refusals, { ...none, [reason]: 1 });
      listener.close();
    });
  }

  it("not with a stolen certificate and another key: TLS does not even start", async () => {
    const { listener, links } = await serverOf(trusting);
    const stolen = { cert: pemOf(a).cert, key: pemOf(eve).key };
    assert.throws(() => attackTls(listener.port, stolen), /mismatch/i);
    assert.equal(links.length, 0);
    listener.close();
  });

  it("not when the trust decision throws", async () => {
    const isTrusted = () => {
      throw new SyncError("STATE_UNUSABLE", "peers.json is damaged");
    };
    const { listener, links } = await serverOf({ identity: b, isTrusted });
    await refused(attackTls(listener.port, pemOf(a)));
    assert.equal(links.length, 0);
    listener.close();
  });

  it("not with plain bytes instead of TLS", async () => {
    const { listener, links } = await serverOf(trusting);
    const attack = watch(connectTcp(listener.port, "127.0.0.1"));
    attack.socket.write(Buffer.concat([preamble, randomBytes(2_000)]));
    await until(() => attack.isClosed, "closed");
    assert.ok(attack.received.length <= 7, "at most a TLS alert");
    await until(() => listener.halfOpenCount === 0, "place given back");
    assert.equal(links.length, 0);
    assert.equal(listener.refusals.handshake, 1);
    listener.close();
  });

  it("not without the preamble, nor with a wrong or newer one", async () => {
    const limits = { ...listenLimits, handshakeMs: 300 };
    const { listener, links } = await serverOf({ ...trusting, limits });
    for (const first of ["", "LOCKS", "LOCKST\x02\x00", "GET / HT", "LOCKSX\x01\x00"]) {
      const socket = connectTls({
        ...pemOf(a),
        host: "127.0.0.1",
        port: listener.port,
        rejectUnauthorized: false,
        ALPNProtocols: ["lockstep/1"],
      });
      const attack = watch(socket);
      socket.on("secureConnect", () => socket.write(Buffer.from(first, "latin1")));
      await until(() => attack.isClosed, "closed");
    }
    assert.equal(links.length, 0);
    assert.equal(listener.refusals.timeout, 2);
    assert.equal(listener.refusals.handshake, 3);
    await until(() => listener.halfOpenCount === 0, "places given back");
    listener.close();
  });

  it("a handshake that stops in the middle ends at the deadline", async () => {
    const limits = { ...listenLimits, handshakeMs: 200 };
    const { listener, links } = await serverOf({ ...trusting, limits });
    const silent = watch(connectTcp(listener.port, "127.0.0.1"));
    const partial = watch(connectTcp(listener.port, "127.0.0.1"));
    // A record header that promises 512 bytes of ClientHello, and the first of them.
    partial.socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]));
    await until(() => listener.halfOpenCount === 2, "both are half open");
    await until(() => silent.isClosed && partial.isClosed, "both closed");
    assert.equal(links.length, 0);
    await until(() => listener.halfOpenCount === 0, "places given back");
    listener.close();
  });

  it("a session is not resumed: keys are proven each time", async () => {
    const { listener, links } = await serverOf(trusting);
    const tickets: Buffer[] = [];
    const first = attackTls(listener.port, pemOf(a));
    first.socket.on("session", (ticket: Buffer) => tickets.push(ticket));
    await until(() => links.length === 1, "first link");
    links[0]?.send(Buffer.from("x"));
    // Tickets would come before it.
    await until(() => first.received.length > preamble.length, "the byte");
    const socket = first.socket as TLSSocket;
    const session = tickets[0] ?? socket.getSession();
    socket.destroy();
    const again = attackTls(listener.port, { ...pemOf(a), ...(session && { session }) });
    await until(() => again.isSecure || again.isClosed, "second handshake");
    assert.equal((again.socket as TLSSocket).isSessionReused(), false);
    again.socket.destroy();
    for (const link of links) link.destroy();
    listener.close();
  });
});

describe("listener: what strangers may cost", { timeout: 60_000 }, () => {
  it("half-open connections are bounded per party and overall; others still get in", async () => {
    const limits = { ...listenLimits, handshakeMs: 1_500, halfOpenCountMax: 6 };
    const perParty = { ...limits, halfOpenPerAddressMax: 3 };
    const isTrusted = (id: string) => id === a.id;
    const { listener, links } = await serverOf({ identity: b, isTrusted, limits: perParty });
    const flood = (from: string, count: number) =>
      Array.from({ length: count }, () =>
        watch(connectTcp({ host: "127.0.0.1", port: listener.port, localAddress: from })),
      );
    const first = flood("127.0.0.2", 20);
    await until(() => listener.refusals.flood === 17, "one party is held to its share");
    assert.equal(listener.halfOpenCount, 3);
    const link = await dialTo(listener.port);
    await until(() => links.length === 1, "a link during the flood");
    const second = [...flood("127.0.0.3", 10), ...flood("127.0.0.4", 10)];
    await until(() => listener.refusals.flood === 34, "all together are bounded");
    assert.equal(listener.halfOpenCount, 6);
    await until(() => [...first, ...second].every((attack) => attack.isClosed), "all dropped");
    await until(() => listener.halfOpenCount === 0, "all places given back");
    link.destroy();
    listener.close();
  });

  it("links are bounded too", async () => {
    const limits = { ...listenLimits, linkCountMax: 2 };
    const { listener } = await serverOf({ identity: b, isTrusted: () => true, limits });
    const links = [await dialTo(listener.port), await dialTo(listener.port)];
    assert.equal(await codeOf(dialTo(listener.port)), "PEER_UNREACHABLE");
    for (const link of links) link.destroy();
    await until(() => listener.linkCount === 0, "places given back");
    (await dialTo(listener.port)).destroy();
    listener.close();
  });

  it("refusals are counted, but hardly fill the log", async () => {
    const { listener } = await serverOf({ identity: b });
    const before = logLines.length;
    for (let count = 0; count < 30; count += 1) {
      await refused(attackTls(listener.port, pemOf(eve)));
    }
    assert.equal(listener.refusals.untrusted, 30);
    assert.equal(logLines.length - before, 1);
    listener.close();
  });

  it("close frees the port and drops what is half open", async () => {
    const { listener } = await serverOf({ identity: b });
    const attack = watch(connectTcp(listener.port, "127.0.0.1"));
    await until(() => listener.halfOpenCount === 1, "half open");
    const { port } = listener;
    listener.close();
    listener.close();
    await until(() => attack.isClosed, "dropped");
    const next = await serverOf({ identity: b, port });
    assert.equal(await codeOf(serverOf({ identity: b, port })), "PEER_UNREACHABLE");
    next.listener.close();
  });
});

describe("dialler: whom it believes", { timeout: 60_000 }, () => {
  it("not another device at the address, which gets no byte of application data", async () => {
    let received = 0;
    const server = await fakeServer(pemOf(eve), (socket) => {
      socket.write(preamble);
      socket.on("data", (bytes: Buffer) => (received += bytes.length));
    });
    assert.equal(await codeOf(dialTo(server.port)), "PEER_UNTRUSTED");
    const open = {
      world,
      identity: a,
      host: "127.0.0.1",
      port: server.port,
      timeoutMs: 2_000,
      limits: linkLimits,
      isTrusted: (id: string) => id === b.id,
    };
    assert.equal(await codeOf(dial(open)), "PEER_UNTRUSTED");
    const both = dialTo(server.port, { isTrusted: () => true });
    assert.equal(await codeOf(both), "PEER_UNTRUSTED");
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(received, 0);
    server.stop();
  });

  it("not itself", async () => {
    const { listener } = await serverOf({ identity: a, isTrusted: () => true });
    const own = dialTo(listener.port, { expectPeerId: a.id });
    assert.equal(await codeOf(own), "PEER_UNTRUSTED");
    listener.close();
  });

  it("not a server of TLS 1.2, nor of another application protocol, nor of none", async () => {
    const old = await fakeServer({ minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }, () => undefined);
    assert.equal(await codeOf(dialTo(old.port)), "PEER_VERSION");
    old.stop();
    const other = await fakeServer({ ALPNProtocols: ["h2"] }, () => undefined);
    assert.equal(await codeOf(dialTo(other.port)), "PEER_VERSION");
    other.stop();
    const none = await fakeServer({ ALPNProtocols: [] }, (socket) => socket.write(preamble));
    assert.equal(await codeOf(dialTo(none.port)), "PEER_VERSION");
    none.stop();
  });

  it("not a server that has not yet accepted it: secureConnect is no link", async () => {
    const silent = await fakeServer({}, () => undefined);
    assert.equal(await codeOf(dialTo(silent.port, { timeoutMs: 200 })), "PEER_UNREACHABLE");
    silent.stop();
    const { listener, links } = await serverOf({ identity: b, isTrusted: () => false });
    assert.equal(await codeOf(dialTo(listener.port)), "PEER_UNTRUSTED");
    assert.equal(links.length, 0);
    listener.close();
  });

  it("not a server with a foreign or newer preamble", async () => {
    const foreign = await fakeServer({}, (socket) => socket.write("SSH-2.0-x\r\n"));
    assert.equal(await codeOf(dialTo(foreign.port)), "PEER_MALFORMED");
    foreign.stop();
    const newer = await fakeServer({}, (socket) => socket.write("LOCKST\x02\x00"));
    assert.equal(await codeOf(dialTo(newer.port)), "PEER_VERSION");
    newer.stop();
  });

  it("a preamble in pieces, with data behind it, is a link and loses nothing", async () => {
    const server = await fakeServer({}, (socket) => {
      socket.write("LOC");
      setTimeout(() => socket.write("KST\x01"), 5);
      setTimeout(() => socket.write("\x00hello"), 10);
    });
    const link = await dialTo(server.port);
    // What came with the preamble is held by now.
    await new Promise((resolve) => setTimeout(resolve, 5));
    let text = "";
    link.start({
      onData: (bytes) => (text += Buffer.from(bytes).toString()),
      onDrain: () => undefined,
      onClose: () => undefined,
    });
    assert.equal(text, "", "handlers ran inside start");
    await until(() => text === "hello", "data behind the preamble");
    link.destroy();
    server.stop();
  });

  it("never offers a session", async () => {
    const reused: boolean[] = [];
    const server = await fakeServer({}, (socket) => {
      reused.push(socket.isSessionReused());
      socket.write(preamble);
    });
    for (let count = 0; count < 3; count += 1) (await dialTo(server.port)).destroy();
    assert.deepEqual(reused, [false, false, false]);
    server.stop();
  });

  it("gives up on silence, on refusal and when told to", async () => {
    const mute = createTcpServer((socket) => socket.on("error", () => undefined).resume());
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    const { port } = mute.address() as AddressInfo;
    assert.equal(await codeOf(dialTo(port, { timeoutMs: 100 })), "PEER_UNREACHABLE");
    const controller = new AbortController();
    const racing = codeOf(dialTo(port, { signal: controller.signal }));
    controller.abort();
    assert.equal(await racing, "PEER_UNREACHABLE");
    assert.equal(await codeOf(dialTo(port, { signal: controller.signal })), "PEER_UNREACHABLE");
    const connectionCount = () =>
      new Promise<number>((resolve) => mute.getConnections((_, count) => resolve(count)));
    for (let tries = 0; (await connectionCount()) > 0; tries += 1) {
      assert.ok(tries < 500, "a socket stayed behind");
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await new Promise((resolve) => mute.close(resolve));
    assert.equal(await codeOf(dialTo(port)), "PEER_UNREACHABLE");
  });
});

/** Between the two ends, with the power of whoever holds the wire: bytes, not keys. */
class Wire {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: readonly Socket[];
  /** Changes what goes to the dialler. */
  tamper: (bytes: Buffer) => Buffer = (bytes) => bytes;

  private constructor(server: Server, sockets: Socket[]) {
    this.#server = server;
    this.#sockets = sockets;
    this.port = (server.address() as AddressInfo).port;
  }

  static async to(port: number): Promise<Wire> {
    const sockets: Socket[] = [];
    const server = createTcpServer((near) => {
      const far = connectTcp(port, "127.0.0.1");
      sockets.push(near, far);
      for (const socket of [near, far]) socket.on("error", () => undefined);
      near.on("data", (bytes: Buffer) => far.write(bytes));
      far.on("data", (bytes: Buffer) => near.write(wire.tamper(bytes)));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const wire: Wire = new Wire(server, sockets);
    return wire;
  }

  /** A FIN to both ends, which neither of them sent. */
  cut(): void {
    for (const socket of this.#sockets) socket.end();
  }

  /** An RST to both ends. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

describe("link: what the wire may do", { timeout: 30_000 }, () => {
  const trusting = { identity: b, isTrusted: (id: string) => id === a.id };

  async function wired(body: (wire: Wire, near: Recorder, far: Recorder) => Promise<void>) {
    const { listener, links } = await serverOf(trusting);
    const wire = await Wire.to(listener.port);
    const link = await dialTo(wire.port);
    await until(() => links.length === 1, "link");
    try {
      await body(wire, new Recorder(link).start(), new Recorder(links[0]!).start());
    } finally {
      link.destroy();
      links[0]?.destroy();
      wire.stop();
      listener.close();
    }
  }

  it("a forged end is no orderly end, on either side", () =>
    wired(async (wire, near, far) => {
      far.link.send(Buffer.from("some words"));
      await until(() => near.byteCount === 10, "the words");
      wire.cut();
      await until(() => near.closes.length + far.closes.length === 2, "both end");
      assert.deepEqual([near.closes[0]?.code, far.closes[0]?.code], ["LINK_LOST", "LINK_LOST"]);
    }));

  it("a reset is a lost link, and is called what it is", () =>
    wired(async (wire, near, far) => {
      wire.reset();
      await until(() => near.closes.length + far.closes.length === 2, "both end");
      for (const { closes } of [near, far]) {
        assert.equal(closes[0]?.code, "LINK_LOST");
        assert.match(closes[0]?.message ?? "", /ECONNRESET/);
      }
    }));

  it("a changed byte is never delivered and ends the link", () =>
    wired(async (wire, near, far) => {
      far.link.send(Buffer.from("good"));
      await until(() => near.byteCount === 4, "untouched bytes");
      wire.tamper = (bytes) => {
        bytes[bytes.length - 1]! ^= 1;
        return bytes;
      };
      far.link.send(Buffer.from("evil"));
      await until(() => near.closes.length > 0, "the link ends");
      assert.equal(near.closes[0]?.code, "LINK_LOST");
      assert.equal(near.bytes.toString(), "good");
    }));

  it("a link that has ended exports no key: an error, not a crash", () =>
    wired(async (wire, near) => {
      wire.cut();
      await until(() => near.closes.length === 1, "the end");
      const link = near.link as Link & { exportKey(label: string, count: number): Buffer };
      assert.throws(() => link.exportKey("EXPORTER-test", 32), { code: "LINK_LOST" });
    }));

  it("a repeated record is never delivered twice", () =>
    wired(async (wire, near, far) => {
      wire.tamper = (bytes) => Buffer.concat([bytes, bytes]);
      far.link.send(Buffer.from("once"));
      await until(() => near.closes.length > 0, "the link ends");
      assert.equal(near.bytes.toString(), "once");
      assert.equal(near.closes[0]?.code, "LINK_LOST");
    }));
});
