import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import fc from "fast-check";

import { base32Alphabet, decodeBase32, encodeBase32 } from "./base32.ts";
import { deviceIdOf, formatDeviceId, isDeviceId, parseDeviceId } from "./device-id.ts";

const ids = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(encodeBase32);

describe("base32", () => {
  it("matches the vectors of RFC 4648", () => {
    const vectors = {
      "": "",
      f: "MY",
      fo: "MZXQ",
      foo: "MZXW6",
      foob: "MZXW6YQ",
      fooba: "MZXW6YTB",
    };
    for (const [text, encoded] of Object.entries(vectors)) {
      assert.equal(encodeBase32(Buffer.from(text)), encoded);
    }
  });

  it("decodes what it encodes, and has one text for each value", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        assert.deepEqual(decodeBase32(encodeBase32(bytes), bytes.length), bytes);
      }),
    );
    assert.equal(decodeBase32("MZ", 1), undefined);
    assert.equal(decodeBase32("my", 1), undefined);
    assert.equal(decodeBase32("MY======", 1), undefined);
  });
});

describe("device ID", () => {
  it("is base32 of SHA-256 of the key", () => {
    const id = deviceIdOf(Buffer.from("abc"));
    assert.equal(id, "XJ4BNP4PAHH6UQKBIDPF3LRCEOYAGYNDSYLXVHFUCD7WD4QACWWQ");
    assert.ok(isDeviceId(id));
    assert.equal(
      formatDeviceId(id),
      "XJ4BNP4-PAHH6UB-QKBIDPF-3LRCEOG-YAGYNDS-YLXVHFI-UCD7WD4-QACWWQR",
    );
  });

  it("reads back every way of writing it", () => {
    fc.assert(
      fc.property(ids, fc.boolean(), fc.boolean(), fc.nat(50), (id, pretty, lower, gap) => {
        const text = pretty ? formatDeviceId(id) : id;
        const spaced = ` ${text.slice(0, gap)} - ${text.slice(gap)}\n`;
        assert.equal(parseDeviceId(lower ? spaced.toLowerCase() : spaced), id);
      }),
    );
  });

  it("the pretty form finds any one wrong character and most swaps of two", () => {
    let swaps = 0;
    let found = 0;
    fc.assert(
      fc.property(ids, fc.nat(55), fc.nat(30), (id, place, shift) => {
        const plain = formatDeviceId(id).replaceAll("-", "");
        const old = base32Alphabet.indexOf(plain.charAt(place));
        const other = base32Alphabet.charAt((old + 1 + shift) % 32);
        const wrong = plain.slice(0, place) + other + plain.slice(place + 1);
        assert.throws(() => parseDeviceId(wrong), { code: "USAGE" });
        const [x, y] = [plain.charAt(place), plain.charAt(place + 1)];
        if (place % 14 > 12 || x === y) return;
        swaps += 1;
        try {
          parseDeviceId(plain.slice(0, place) + y + x + plain.slice(place + 2));
        } catch {
          found += 1;
        }
      }),
    );
    assert.ok(swaps > 0 && found >= swaps * 0.95, `${found} of ${swaps}`);
  });

  it("says what is wrong and where", () => {
    const id = encodeBase32(Buffer.alloc(32, 7));
    const cases: readonly [string, RegExp][] = [
      ["", /0 characters/],
      [id.slice(1), /51 characters/],
      [`${id}A`, /53 characters/],
      [`${id}${id}`, /too many/],
      [`${id.slice(0, 3)}1${id.slice(4)}`, /character 4, "1".*I or L/],
      [`${id.slice(0, 9)}é${id.slice(10)}`, /character 10, "é"/],
      [`${id.slice(0, -1)}B`, /last character, 'B'/],
    ];
    for (const [text, message] of cases) {
      assert.throws(() => parseDeviceId(text), { code: "USAGE", message });
    }
  });

  it("never takes anything but a whole ID", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), (text) => {
        try {
          assert.ok(isDeviceId(parseDeviceId(text)));
        } catch (error) {
          assert.equal((error as { code?: string }).code, "USAGE");
        }
      }),
    );
    assert.equal(isDeviceId(encodeBase32(randomBytes(31))), false);
  });
});
