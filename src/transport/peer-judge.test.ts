import assert from "node:assert/strict";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { describe, it } from "node:test";

import { temporaryIdentity } from "./identity.ts";
import type { Network } from "../world/index.ts";
import { judgePeer, secureContextOf } from "./peer-judge.ts";
import type { SecuredPeer } from "./peer-judge.ts";

const peer = await temporaryIdentity();
const certificate = new X509Certificate(peer.certificatePem);
const good: SecuredPeer = {
  alpnProtocol: "lockstep/1",
  getProtocol: () => "TLSv1.3",
  isSessionReused: () => false,
  getPeerX509Certificate: () => certificate,
};
const judge = (socket: Partial<SecuredPeer>, accepts = true, ownId = "other") =>
  judgePeer({ ...good, ...socket }, { ownId, alpn: "lockstep/1", accepts: () => accepts });

/** Each of these is also held off by TLS settings; the judgement must not lean on them. */
describe("peer judge", () => {
  it("returns the ID of a good peer, and asks about exactly that ID", () => {
    assert.equal(judge({}), peer.id);
    const asked: string[] = [];
    const accepts = (id: string) => asked.push(id) > 0;
    judgePeer(good, { ownId: "other", alpn: "lockstep/1", accepts });
    assert.deepEqual(asked, [peer.id]);
  });

  it("refuses an older TLS, another or no protocol", () => {
    assert.throws(() => judge({ getProtocol: () => "TLSv1.2" }), { code: "PEER_VERSION" });
    assert.throws(() => judge({ getProtocol: () => "" }), { code: "PEER_VERSION" });
    assert.throws(() => judge({ alpnProtocol: "lockstep/2" }), { code: "PEER_VERSION" });
    assert.throws(() => judge({ alpnProtocol: "" }), { code: "PEER_VERSION" });
  });

  it("refuses a resumed session and a missing certificate", () => {
    const untrusted = { code: "PEER_UNTRUSTED" };
    assert.throws(() => judge({ isSessionReused: () => true }), untrusted);
    assert.throws(() => judge({ getPeerX509Certificate: () => undefined }), untrusted);
  });

  it("refuses another kind of key, its own ID, and whom the caller refuses", () => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const foreign = { publicKey } as unknown as X509Certificate & { publicKey: KeyObject };
    const untrusted = { code: "PEER_UNTRUSTED" };
    assert.throws(() => judge({ getPeerX509Certificate: () => foreign }), untrusted);
    assert.throws(() => judge({}, true, peer.id), untrusted);
    assert.throws(() => judge({}, false), untrusted);
  });
});

describe("secure context", () => {
  const network = (code: string) =>
    ({
      tlsContext: () => {
        throw Object.assign(new Error("said by the addon"), { code });
      },
    }) as unknown as Network;

  it("a node without OpenSSL, and a key that TLS refuses, are errors that say so", () => {
    const missing = { code: "NATIVE_MISSING", message: /said by the addon/ };
    assert.throws(() => secureContextOf(peer, network("TLS_MISSING")), missing);
    const refused = { code: "KEY_UNUSABLE", message: /said by the addon/ };
    assert.throws(() => secureContextOf(peer, network("TLS_CONTEXT")), refused);
  });
});
