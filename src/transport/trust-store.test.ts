import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { FakeClock } from "../world/index.ts";
import { encodeBase32 } from "./base32.ts";
import { PEERS_MAX, TRUST_FILE_BYTES_MAX } from "./limits.ts";
import { isDeviceName, TrustStore } from "./trust-store.ts";

let stateDir = "";
let path = "";
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "lockstep-trust-"));
  path = join(stateDir, "peers.json");
});
afterEach(() => rmSync(stateDir, { recursive: true }));

const clock = new FakeClock({ startUs: 0, wallStartMs: 1_700_000_000_000, eventsMax: 1 });
const open = () => TrustStore.open({ stateDir, clock });
const idOf = (number: number) => {
  const bytes = Buffer.alloc(32);
  bytes.writeUInt32BE(number);
  return encodeBase32(bytes);
};
const peer = (number: number, name = `peer ${number}`) => ({
  id: idOf(number),
  name,
  addresses: ["127.0.0.1:7420"],
});

describe("trust store", () => {
  it("keeps what it is told, privately, across reopening", () => {
    const store = open();
    assert.deepEqual(store.list(), []);
    assert.equal(existsSync(path), false);
    store.add(peer(1, "laptop"));
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(stateDir), ["peers.json"]);
    const found = open().find("laptop");
    assert.deepEqual(found, { ...peer(1, "laptop"), grants: [], addedAt: found?.addedAt });
    assert.equal(found?.addedAt, new Date(1_700_000_000_000).toISOString());
    assert.equal(open().find(idOf(1))?.name, "laptop");
    assert.equal(open().find("desktop"), undefined);
  });

  it("adding a known peer keeps its name and grants and puts new addresses first", () => {
    const store = open();
    store.add(peer(1, "laptop"));
    store.grant("laptop", { share: "photos", direction: "send" });
    const again = store.add({ id: idOf(1), name: "other", addresses: ["[::1]:1"] });
    assert.equal(again.name, "laptop");
    assert.deepEqual(again.addresses, ["[::1]:1", "127.0.0.1:7420"]);
    assert.equal(again.grants.length, 1);
    assert.equal(open().list().length, 1);
  });

  it("two peers never share a name", () => {
    const store = open();
    store.add(peer(1, "laptop"));
    assert.equal(store.add(peer(2, "laptop")).name, "laptop-2");
    assert.throws(() => store.rename("laptop-2", "laptop"), { code: "USAGE" });
    assert.equal(store.rename("laptop-2", "desktop").name, "desktop");
    assert.throws(() => store.rename("nobody", "x"), { code: "USAGE" });
  });

  it("removing ends trust, in other open stores too", () => {
    const daemon = open();
    const command = open();
    command.add(peer(1, "laptop"));
    assert.equal(daemon.isTrusted(idOf(1)), true);
    assert.equal(daemon.isTrusted(idOf(2)), false);
    assert.equal(command.remove("laptop"), true);
    assert.equal(command.remove("laptop"), false);
    assert.equal(daemon.isTrusted(idOf(1)), false);
  });

  it("a grant is for one share and one direction, and can be taken back", () => {
    const store = open();
    store.add(peer(1, "laptop"));
    const grant = { share: "photos", direction: "send" } as const;
    store.grant("laptop", grant);
    store.grant(idOf(1), grant);
    assert.deepEqual(open().find("laptop")?.grants, [grant]);
    assert.equal(store.isGranted(idOf(1), grant), true);
    assert.equal(store.isGranted(idOf(1), { share: "photos", direction: "receive" }), false);
    assert.equal(store.isGranted(idOf(1), { share: "other", direction: "send" }), false);
    assert.equal(store.isGranted(idOf(2), grant), false);
    open().revoke("laptop", grant);
    assert.equal(store.isGranted(idOf(1), grant), false);
  });

  it("changes of several open stores add up", () => {
    const stores = [open(), open(), open()];
    for (const [number, store] of stores.entries()) store.add(peer(number));
    assert.equal(open().list().length, 3);
  });

  it("a damaged file is an error that names it, and is left as it is", () => {
    const good = {
      version: 1,
      peers: [{ ...peer(1), grants: [], addedAt: "2026-01-01T00:00:00Z" }],
    };
    const one = good.peers[0];
    const damaged = [
      "",
      "{",
      "[]",
      JSON.stringify({ ...good, version: 2 }),
      JSON.stringify({ ...good, extra: 1 }),
      JSON.stringify({ version: 1, peers: [{ ...one, id: "A".repeat(51) }] }),
      JSON.stringify({ version: 1, peers: [{ ...one, name: "\u001b[2J" }] }),
      JSON.stringify({ version: 1, peers: [{ ...one, addresses: ["nowhere"] }] }),
      JSON.stringify({
        version: 1,
        peers: [{ ...one, grants: [{ share: "a/b", direction: "send" }] }],
      }),
      JSON.stringify({
        version: 1,
        peers: [{ ...one, grants: [{ share: "a", direction: "both" }] }],
      }),
      JSON.stringify({ version: 1, peers: [one, one] }),
      " ".repeat(TRUST_FILE_BYTES_MAX + 1),
    ];
    writeFileSync(path, JSON.stringify(good), { mode: 0o600 });
    const store = open();
    for (const content of damaged) {
      writeFileSync(path, content);
      const expected = { code: "STATE_UNUSABLE", message: /peers\.json/ };
      assert.throws(() => open(), expected, content.slice(0, 90));
      assert.throws(() => store.add(peer(2)), expected);
      assert.throws(() => store.isTrusted(idOf(1)), expected);
      assert.equal(readFileSync(path, "utf8"), content);
    }
    assert.deepEqual(readdirSync(stateDir), ["peers.json"]);
  });

  it("a list that others may write is refused", () => {
    open().add(peer(1));
    chmodSync(path, 0o622);
    assert.throws(() => open(), { code: "STATE_UNUSABLE" });
  });

  it("what is out of bounds is refused and changes nothing", () => {
    const store = open();
    store.add(peer(1));
    const before = readFileSync(path, "utf8");
    const bad = [
      { ...peer(2), id: "x" },
      { ...peer(2), name: "" },
      { ...peer(2), name: "x".repeat(65) },
      { ...peer(2), addresses: ["x"] },
    ];
    for (const entry of bad) assert.throws(() => store.add(entry), { code: "USAGE" });
    assert.throws(() => store.grant(idOf(1), { share: "", direction: "send" }), { code: "USAGE" });
    assert.equal(readFileSync(path, "utf8"), before);
    assert.equal(store.list().length, 1);
  });

  it("is bounded in peers", () => {
    const peers = Array.from({ length: PEERS_MAX }, (_, number) => ({
      ...peer(number),
      grants: [],
      addedAt: "2026-01-01T00:00:00Z",
    }));
    writeFileSync(path, JSON.stringify({ version: 1, peers }), { mode: 0o600 });
    const store = open();
    assert.throws(() => store.add(peer(PEERS_MAX)), { code: "USAGE" });
    assert.equal(store.remove(idOf(0)), true);
    store.add(peer(PEERS_MAX));
  });

  it("takes over the lock of a dead process and waits for a living one", () => {
    const store = open();
    writeFileSync(`${path}.lock`, String(spawnSync("true").pid));
    store.add(peer(1));
    writeFileSync(`${path}.lock`, String(process.ppid));
    assert.throws(() => store.add(peer(2)), { code: "STATE_UNUSABLE", message: /lock/ });
    assert.equal(readFileSync(`${path}.lock`, "utf8"), String(process.ppid));
  });

  it("a device name is 1 to 64 visible bytes", () => {
    for (const name of ["a", "Ada's laptop", "räksmörgås", "x".repeat(64)]) {
      assert.ok(isDeviceName(name), name);
    }
    for (const name of ["", "x".repeat(65), "å".repeat(33), "a\nb", "\u202eabc", "a\u2028"]) {
      assert.ok(!isDeviceName(name), JSON.stringify(name));
    }
  });
});
