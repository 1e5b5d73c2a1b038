/** Pairing over real sockets: who ends up paired, and everyone who must not. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";

import { SyncError } from "../../src/base/index.ts";
import { dial, invite, join, linkLimits, parseTicket } from "../../src/transport/index.ts";
import type { Identity, InviteOptions, Invitation, Link } from "../../src/transport/index.ts";
import { FakeClock } from "../../src/world/index.ts";
import { identityNamed, logLines, serverOf, until, world } from "./transport-fixture.ts";

const a = await identityNamed("a");
const b = await identityNamed("b");
const eve = await identityNamed("eve");
const here = { host: "127.0.0.1", port: 0 };

function inviting(more: Partial<InviteOptions> = {}): Promise<Invitation> {
  const common = { world, identity: b, name: "bob's", addresses: [], expiresMs: 10_000 };
  return invite({ ...common, on: here, ...more });
}

function joining(invitation: Invitation, more: { identity?: Identity; ticket?: string } = {}) {
  const address = { host: "127.0.0.1", port: invitation.port };
  const common = { world, identity: a, name: "anna", ticket: invitation.ticket };
  return join({ ...common, address, timeoutMs: 2_000, ...more });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "no error";
  } catch (error) {
    assert.ok(error instanceof SyncError, String(error));
    return error.code;
  }
}

/** The ticket with a valid but different secret. */
function withOtherSecret(ticket: string): string {
  const [id, secret = ""] = ticket.split("-");
  return `${id}-${secret.startsWith("A") ? "B" : "A"}${secret.slice(1)}`;
}

describe("pairing", { timeout: 60_000 }, () => {
  it("each learns the other's ID and name", async () => {
    const invitation = await inviting();
    assert.match(invitation.ticket, /^[A-Z2-7]{52}-[A-Z2-7]{26}$/);
    assert.deepEqual(await joining(invitation), { peerId: b.id, name: "bob's" });
    assert.deepEqual(await invitation.done, { peerId: a.id, name: "anna" });
  });

  it("finds the inviter by the ticket's addresses, past one that leads nowhere", async () => {
    const probe = await serverOf({ identity: b });
    const { port } = probe.listener;
    probe.listener.close();
    const addresses = ["127.0.0.1:1", `127.0.0.1:${port}`];
    const invitation = await inviting({ on: { ...here, port }, addresses });
    const typed = ` ${invitation.ticket.toLowerCase().replace("-", " - ")} `;
    const joined = await join({
      world,
      identity: a,
      name: "anna",
      ticket: typed,
      timeoutMs: 2_000,
    });
    assert.equal(joined.peerId, b.id);
    await invitation.done;
  });

  it("shares a port with normal links, only while the ticket is out", async () => {
    const { listener, links } = await serverOf({ identity: b, isTrusted: (id) => id === eve.id });
    const address = { host: "127.0.0.1", port: listener.port };
    const dialling = { world, ...address, timeoutMs: 2_000, limits: linkLimits };
    const asPair = { ...dialling, identity: a, expectPeerId: b.id, alpn: "lockstep-pair/1" };
    assert.equal(await codeOf(dial(asPair)), "PEER_VERSION");
    const invitation = await inviting({ on: { listener } });
    assert.equal(await codeOf(inviting({ on: { listener } })), "USAGE");
    const link: Link = await dial({ ...dialling, identity: eve, expectPeerId: b.id });
    assert.equal((await joining(invitation)).peerId, b.id);
    assert.equal((await invitation.done).peerId, a.id);
    assert.equal(await codeOf(dial(asPair)), "PEER_VERSION");
    assert.deepEqual([links.length, links[0]?.peerId], [1, eve.id]);
    // Pairing alone admits nobody to normal links: that is the trust list's to say.
    const plain = dial({ ...dialling, identity: a, expectPeerId: b.id });
    assert.equal(await codeOf(plain), "PEER_UNTRUSTED");
    link.destroy();
    listener.close();
  });

  it("a wrong secret pairs nobody; a few of them burn the ticket", async () => {
    const invitation = await inviting();
    const wrong = withOtherSecret(invitation.ticket);
    for (let count = 0; count < 2; count += 1) {
      const attempt = joining(invitation, { identity: eve, ticket: wrong });
      assert.equal(await codeOf(attempt), "PAIRING_FAILED");
    }
    assert.equal((await joining(invitation)).peerId, b.id);
    await invitation.done;

    const burnt = await inviting();
    const bad = withOtherSecret(burnt.ticket);
    for (let count = 0; count < 3; count += 1) await codeOf(joining(burnt, { ticket: bad }));
    assert.equal(await codeOf(burnt.done), "PAIRING_FAILED");
    assert.match(await codeOf(joining(burnt)), /PAIRING_FAILED|PEER_UNREACHABLE/);
  });

  it("a ticket is spent by its first use", async () => {
    const { listener } = await serverOf({ identity: b });
    const first = await inviting({ on: { listener } });
    await joining(first);
    await first.done;
    assert.equal(await codeOf(joining(first, { identity: eve })), "PEER_VERSION");
    // A newer ticket on the same port does not revive the old one.
    const second = await inviting({ on: { listener } });
    const replay = joining(second, { identity: eve, ticket: first.ticket });
    assert.equal(await codeOf(replay), "PAIRING_FAILED");
    second.cancel();
    listener.close();
  });

  it("of two joiners with one ticket at the same time, one is paired", async () => {
    const invitation = await inviting();
    const results = await Promise.allSettled([
      joining(invitation),
      joining(invitation, { identity: eve }),
    ]);
    const won = results.filter((result) => result.status === "fulfilled");
    assert.equal(won.length, 1);
    await invitation.done;
  });

  it("a man in the middle with his own certificate gets neither proof nor pairing", async () => {
    const invitation = await inviting();
    const { listener, links } = await serverOf({
      identity: eve,
      isTrusted: () => true,
      alpn: "lockstep-pair/1",
    });
    const diverted = join({
      world,
      identity: a,
      name: "anna",
      ticket: invitation.ticket,
      address: { host: "127.0.0.1", port: listener.port },
      timeoutMs: 2_000,
    });
    assert.equal(await codeOf(diverted), "PEER_UNTRUSTED");
    assert.equal(links.length, 0);
    listener.close();
    invitation.cancel();
  });

  it("a proof taken from another session is worth nothing", async () => {
    // The inviter's own device lets the joiner in on another port and records the proof there.
    const invitation = await inviting();
    const { listener, links } = await serverOf({
      identity: b,
      isTrusted: () => true,
      alpn: "lockstep-pair/1",
    });
    const stranded = codeOf(
      join({
        world,
        identity: a,
        name: "anna",
        ticket: invitation.ticket,
        address: { host: "127.0.0.1", port: listener.port },
        timeoutMs: 2_000,
      }),
    );
    await until(() => links.length === 1, "the joiner's link");
    const recorded = await new Promise<Buffer>((resolve) => {
      links[0]?.start({
        onData: (bytes) => resolve(Buffer.from(bytes)),
        onDrain: () => undefined,
        onClose: () => undefined,
      });
    });
    links[0]?.close();
    assert.equal(await stranded, "PAIRING_FAILED");
    const replay = await dial({
      world,
      identity: a,
      host: "127.0.0.1",
      port: invitation.port,
      expectPeerId: b.id,
      timeoutMs: 2_000,
      alpn: "lockstep-pair/1",
      limits: linkLimits,
    });
    let answered = 0;
    let isClosed = false;
    replay.start({
      onData: (bytes) => (answered += bytes.length),
      onDrain: () => undefined,
      onClose: () => (isClosed = true),
    });
    replay.send(recorded);
    await until(() => isClosed, "refused");
    assert.equal(answered, 0);
    listener.close();
    invitation.cancel();
    assert.equal(await codeOf(invitation.done), "PAIRING_FAILED");
  });

  it("an inviter that does not know the secret is not believed", async () => {
    const { listener, links } = await serverOf({
      identity: b,
      isTrusted: () => true,
      alpn: "lockstep-pair/1",
    });
    const real = await inviting();
    const attempt = codeOf(
      join({
        world,
        identity: a,
        name: "anna",
        ticket: real.ticket,
        address: { host: "127.0.0.1", port: listener.port },
        timeoutMs: 2_000,
      }),
    );
    await until(() => links.length === 1, "link");
    const [link] = links;
    link?.start({
      // The joiner's own message comes back: same secret, other role.
      onData: (bytes) => void link.send(new Uint8Array(bytes)),
      onDrain: () => undefined,
      onClose: () => undefined,
    });
    assert.equal(await attempt, "PAIRING_FAILED");
    listener.close();
    real.cancel();
  });

  it("a ticket expires, even when its timer is late", async () => {
    const short = await inviting({ expiresMs: 30 });
    assert.equal(await codeOf(short.done), "PAIRING_FAILED");
    assert.equal(await codeOf(joining(short)), "PEER_UNREACHABLE");

    const still = new FakeClock({ startUs: 0, wallStartMs: 0, eventsMax: 100 });
    const clock = {
      monotonicUs: () => still.monotonicUs() + offsetUs,
      wallMs: () => still.wallMs(),
      after: (delayMs: number, fire: () => void) => still.after(delayMs, fire),
      defer: (fire: () => void) => world.clock.defer(fire),
    };
    let offsetUs = 0;
    const late = await inviting({ world: { ...world, clock }, expiresMs: 1_000 });
    offsetUs = 1_000_001;
    assert.equal(await codeOf(joining(late)), "PAIRING_FAILED");
    assert.equal(await codeOf(late.done), "PAIRING_FAILED");
  });

  it("cancel ends it; a message that is too long ends that connection only", async () => {
    const invitation = await inviting();
    const link = await dial({
      world,
      identity: eve,
      host: "127.0.0.1",
      port: invitation.port,
      expectPeerId: b.id,
      timeoutMs: 2_000,
      alpn: "lockstep-pair/1",
      limits: linkLimits,
    });
    let isClosed = false;
    link.start({
      onData: () => assert.fail("an answer to garbage"),
      onDrain: () => undefined,
      onClose: () => (isClosed = true),
    });
    link.send(Buffer.alloc(5_000, 0xff));
    await until(() => isClosed, "closed");
    assert.equal((await joining(invitation)).peerId, b.id);
    const cancelled = await inviting();
    cancelled.cancel();
    assert.equal(await codeOf(cancelled.done), "PAIRING_FAILED");
    assert.equal(await codeOf(joining(cancelled)), "PEER_UNREACHABLE");
  });

  it("names that cannot be shown are refused", async () => {
    assert.equal(await codeOf(inviting({ name: "a\u001b[2J" })), "USAGE");
    assert.equal(await codeOf(inviting({ name: "" })), "USAGE");
    assert.equal(await codeOf(inviting({ name: "x".repeat(65) })), "USAGE");
  });

  it("the secret is in no log line and no error", async () => {
    const before = logLines.length;
    const invitation = await inviting();
    const secret = invitation.ticket.split("-")[1] ?? "";
    const wrong = withOtherSecret(invitation.ticket);
    const texts: string[] = [];
    for (const ticket of [wrong, wrong, wrong, `${invitation.ticket}X`, invitation.ticket]) {
      await joining(invitation, { ticket }).catch((error: unknown) => texts.push(inspect(error)));
    }
    await invitation.done.catch((error: unknown) => texts.push(inspect(error)));
    assert.equal(texts.length, 6);
    const all = [...texts, ...logLines.slice(before)].join("\n");
    assert.ok(logLines.slice(before).some((line) => line.includes("wrong pairing proof")));
    for (const hidden of [secret, secret.slice(1, 20), wrong.split("-")[1] ?? ""]) {
      assert.ok(!all.includes(hidden));
    }
  });

  it("a malformed ticket is a usage error", () => {
    const good = `${b.id}-${"A".repeat(26)}`;
    assert.equal(parseTicket(`${good}@[::1]:9,h:1`).addresses.length, 2);
    const bad = ["", "x", b.id, `${good}A`, `${good}@`, `${good}@h`, `${good}@h:1@h:2`];
    for (const ticket of [...bad, `${good.slice(0, -1)}B`, good.replace("A", "1")]) {
      assert.throws(() => parseTicket(ticket), { code: "USAGE" }, ticket);
    }
  });
});
