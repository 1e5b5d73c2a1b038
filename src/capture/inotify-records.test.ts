/** Parsing of inotify's records: whatever the bytes are, it ends, and says how far it came. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { InotifyMask, parseInotifyRecords, recordHeaderBytes } from "./inotify-records.ts";

interface SeenRecord {
  readonly watch: number;
  readonly mask: number;
  readonly name: string;
}

function record(watch: number, mask: number, name: string, paddingBytes: number): Buffer {
  const bytes = Buffer.from(name, "latin1");
  const out = Buffer.alloc(recordHeaderBytes + bytes.length + paddingBytes);
  out.writeInt32LE(watch, 0);
  out.writeUInt32LE(mask, 4);
  out.writeUInt32LE(bytes.length + paddingBytes, 12);
  bytes.copy(out, recordHeaderBytes);
  return out;
}

function parse(bytes: Uint8Array, end = bytes.length): { seen: SeenRecord[]; parsed: number } {
  const seen: SeenRecord[] = [];
  const parsed = parseInotifyRecords(bytes, end, (watch, mask, name) =>
    seen.push({ watch, mask, name: Buffer.from(name).toString("latin1") }),
  );
  return { seen, parsed };
}

const anyRecord = fc.record({
  watch: fc.integer({ min: -1, max: 0x7fffffff }),
  mask: fc.nat({ max: 0xffffffff }),
  name: fc
    .array(fc.integer({ min: 1, max: 255 }), { maxLength: 255 })
    .map((codes) => String.fromCharCode(...codes)),
  paddingBytes: fc.nat({ max: 16 }),
});

test("every record is told in order, with its name unpadded and copied", () => {
  fc.assert(
    fc.property(fc.array(anyRecord, { maxLength: 20 }), (records) => {
      const bytes = Buffer.concat(
        records.map((r) => record(r.watch, r.mask, r.name, r.paddingBytes)),
      );
      const { seen, parsed } = parse(bytes);
      bytes.fill(0xff);
      equal(parsed, bytes.length);
      deepEqual(
        seen,
        records.map(({ watch, mask, name }) => ({ watch, mask, name })),
      );
    }),
  );
});

test("a name is the receiver's to keep", () => {
  const bytes = record(1, InotifyMask.create, "kept", 4);
  let kept = new Uint8Array(0);
  parseInotifyRecords(bytes, bytes.length, (_watch, _mask, name) => {
    kept = Uint8Array.from(name);
    ok(name.buffer !== bytes.buffer);
  });
  equal(Buffer.from(kept).toString(), "kept");
});

test("records cut anywhere: the whole ones are told, and where the rest begins", () => {
  fc.assert(
    fc.property(fc.array(anyRecord, { minLength: 1, maxLength: 6 }), fc.nat(), (records, cut) => {
      const parts = records.map((r) => record(r.watch, r.mask, r.name, r.paddingBytes));
      const bytes = Buffer.concat(parts);
      const end = cut % bytes.length;
      let whole = 0;
      let count = 0;
      for (const part of parts) {
        if (whole + part.length > end) break;
        whole += part.length;
        count++;
      }
      const { seen, parsed } = parse(bytes, end);
      equal(parsed, whole);
      equal(seen.length, count);
    }),
  );
});

test("arbitrary bytes never throw and are never read past their end", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 400 }), (bytes, end) => {
      const { seen, parsed } = parse(bytes, end);
      ok(parsed <= Math.min(end, bytes.length));
      ok(seen.length * recordHeaderBytes <= parsed);
    }),
  );
});

test("a name length near 2^32 is refused, not added to", () => {
  const bytes = record(1, InotifyMask.create, "x", 0);
  bytes.writeUInt32LE(0xffffffff, 12);
  deepEqual(parse(bytes), { seen: [], parsed: 0 });
});
