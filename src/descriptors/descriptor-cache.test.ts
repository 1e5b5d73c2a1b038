import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Files } from "../world/index.ts";
import { DescriptorCache } from "./descriptor-cache.ts";

/** Counts what is open; a descriptor that is closed twice, or was never open, is a bug. */
class OpenFiles {
  readonly open: Map<number, number> = new Map();
  #next = 10;
  readonly files: Files = {
    close: (fd: number) => {
      assert.ok(this.open.delete(fd), `descriptor ${fd} is not open`);
      return 0;
    },
  } as unknown as Files;

  readonly openNode = (node: number): number => {
    if (node % 7 === 0) return -2;
    this.open.set(++this.#next, node);
    return this.#next;
  };
}

test("a cache holds few descriptors, each of its node, and closes what it lets go", () => {
  const step = fc.tuple(
    fc.constantFrom("get", "get", "peek", "put", "forget"),
    fc.integer({ min: 1, max: 15 }),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 5 }),
      fc.array(step, { maxLength: 120 }),
      (max, steps) => {
        const { files, open, openNode } = new OpenFiles();
        const cache = new DescriptorCache(files, max, openNode);
        let before: { node: number; fd: number } | undefined;
        for (const [kind, node] of steps) {
          if (kind === "forget") cache.forget(node);
          else if (kind === "put") cache.put(node, openNode(node + (node % 7 === 0 ? 1 : 0)));
          else {
            const fd = kind === "get" ? cache.get(node) : cache.peek(node);
            if (fd >= 0 && before?.node !== node && kind === "get") {
              // The two that were asked for last are both still open.
              if (before !== undefined && cache.peek(before.node) >= 0)
                assert.ok(open.has(before.fd));
              before = { node, fd };
            }
            if (fd >= 0) assert.ok(open.has(fd));
            if (kind === "get" && node % 7 !== 0) assert.ok(fd >= 0);
          }
          if (kind === "put" || kind === "forget") before = undefined;
          assert.ok(open.size <= max, `${open.size} open`);
        }
        cache.clear();
        assert.equal(open.size, 0);
      },
    ),
    { numRuns: 300 },
  );
});

test("the node that was asked for last is not the one that is closed", () => {
  const { files, open, openNode } = new OpenFiles();
  const cache = new DescriptorCache(files, 2, openNode);
  const first = cache.get(1);
  cache.get(2);
  assert.equal(cache.get(1), first);
  cache.get(3);
  assert.ok(open.has(first));
  assert.equal(cache.peek(2), -1);
  assert.equal(cache.get(1), first);
});
