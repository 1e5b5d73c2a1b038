import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { formatAddress, parseAddress, partyOf } from "./address.ts";

describe("address", () => {
  it("reads what it writes", () => {
    for (const text of ["127.0.0.1:1", "[::1]:7420", "[fe80::1:2]:65535", "nas.example:22"]) {
      assert.equal(formatAddress(parseAddress(text)), text);
    }
  });

  it("refuses what is not host and port", () => {
    const bad = ["", "h", "h:", ":1", "h:0", "h:65536", "::1:7", "[h]:1", "a b:1", "-h:1", "h:1x"];
    for (const text of bad) assert.throws(() => parseAddress(text), { code: "USAGE" }, text);
  });

  it("a party is one IPv4 address, mapped or not, or one IPv6 /64", () => {
    assert.equal(partyOf("10.1.2.3"), "10.1.2.3");
    assert.equal(partyOf("::ffff:10.1.2.3"), "10.1.2.3");
    assert.equal(partyOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    assert.equal(partyOf("2001:db8:1:2::9"), "2001:db8:1:2::/64");
    assert.equal(partyOf("2001:db8::9"), "2001:db8:0:0::/64");
    assert.equal(partyOf("fe80::1%eth0"), "fe80:0:0:0::/64");
    assert.equal(partyOf("::1"), "0:0:0:0::/64");
  });
});
