import assert from "node:assert/strict";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { inspect } from "node:util";

import { deviceIdOf, isDeviceId } from "./device-id.ts";
import { loadIdentity, temporaryIdentity } from "./identity.ts";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "lockstep-identity-"));
});
afterEach(() => rmSync(root, { recursive: true }));

const isRoot = process.getuid?.() === 0;
const load = (stateDir: string, credentialsDirectory?: string) =>
  loadIdentity({ stateDir, credentialsDirectory });

describe("identity", () => {
  it("is created once, readable by its owner only, and stays", async () => {
    const stateDir = join(root, "deep", "state");
    const first = await load(stateDir);
    assert.ok(isDeviceId(first.id));
    assert.equal(statSync(join(stateDir, "key")).mode & 0o777, 0o600);
    assert.equal(statSync(stateDir).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(stateDir), ["key"]);
    const again = await load(stateDir);
    assert.equal(again.id, first.id);
    assert.equal(again.certificatePem, first.certificatePem);
    assert.notEqual((await load(join(root, "other"))).id, first.id);
  });

  it("two starts at the same time agree on one key", async () => {
    const both = await Promise.all([load(join(root, "s")), load(join(root, "s"))]);
    assert.equal(both[0].id, both[1].id);
  });

  it("has a certificate that is signed by its key, carries it and never expires", async () => {
    const identity = await temporaryIdentity();
    const certificate = new X509Certificate(identity.certificatePem);
    assert.ok(certificate.verify(certificate.publicKey));
    assert.ok(certificate.checkPrivateKey(identity.privateKey));
    const spki = certificate.publicKey.export({ type: "spki", format: "der" });
    assert.equal(deviceIdOf(spki), identity.id);
    assert.equal(certificate.ca, false);
    assert.equal(new Date(certificate.validTo).getUTCFullYear(), 9999);
    assert.equal(certificate.subject, "CN=lockstep");
  });

  it("refuses a key that others may read, and leaves it alone", async () => {
    await load(root);
    const path = join(root, "key");
    const content = readFileSync(path);
    for (const mode of [0o640, 0o604, 0o620, 0o601]) {
      chmodSync(path, mode);
      await assert.rejects(load(root), { code: "KEY_UNUSABLE" }, mode.toString(8));
    }
    assert.deepEqual(readFileSync(path), content);
  });

  it("refuses a foreign key file", { skip: !isRoot && "needs root" }, async () => {
    await load(root);
    chownSync(join(root, "key"), 12_345, 0);
    await assert.rejects(load(root), { code: "KEY_UNUSABLE" });
  });

  it("refuses links, folders, other keys, garbage and giants, without quoting them", async () => {
    const path = join(root, "key");
    await load(join(root, "elsewhere"));
    for (const goal of ["/dev/null", join(root, "elsewhere", "key")]) {
      symlinkSync(goal, path);
      await assert.rejects(load(root), { code: "KEY_UNUSABLE" });
      rmSync(path);
    }
    mkdirSync(path, { mode: 0o700 });
    await assert.rejects(load(root), { code: "KEY_UNUSABLE" });
    rmSync(path, { recursive: true });
    const rsa = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    const texts = [
      rsa.export({ type: "pkcs8", format: "pem" }).toString(),
      "secret garbage",
      "",
      "secret".repeat(10_000),
    ];
    for (const text of texts) {
      writeFileSync(path, text, { mode: 0o600 });
      await assert.rejects(load(root), (error: Error) => {
        assert.equal((error as { code?: string }).code, "KEY_UNUSABLE");
        assert.ok(!inspect(error).includes("secret"));
        return true;
      });
      rmSync(path);
    }
  });

  it("refuses a state directory that others may write", async () => {
    chmodSync(root, 0o777);
    await assert.rejects(load(root), { code: "STATE_UNUSABLE" });
    assert.deepEqual(readdirSync(root), []);
    const file = join(root, "file");
    writeFileSync(file, "");
    await assert.rejects(load(file), { code: "STATE_UNUSABLE" });
  });

  it("a systemd credential comes first and is held to the same rules", async () => {
    const credentials = join(root, "credentials");
    const given = await load(credentials);
    const state = join(root, "state");
    assert.equal((await load(state, credentials)).id, given.id);
    assert.equal((await load(state, join(root, "none"))).id, (await load(state)).id);
    chmodSync(join(credentials, "key"), 0o644);
    await assert.rejects(load(state, credentials), { code: "KEY_UNUSABLE" });
  });

  it("prints nothing of the key", async () => {
    const identity = await temporaryIdentity();
    const pem = identity.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const body = pem.split("\n")[1] ?? "";
    const inspected = inspect(identity, { depth: 9, showHidden: true });
    const shown = `${inspected} ${JSON.stringify(identity)}`;
    assert.ok(!shown.includes(body));
  });
});
