import assert from "node:assert/strict";
import { test } from "node:test";
import { MountTable, parseMountTable } from "./mount-table.ts";

/** `id parent device path kind` a line, as /proc shows it. */
function textOf(lines: readonly string[]): string {
  const whole = lines.map((line) => {
    const [id, parent, device, path, kind] = line.split(" ");
    return `${id} ${parent} ${device} / ${path} rw,noatime shared:1 master:2 - ${kind} name rw`;
  });
  return `${whole.join("\n")}\n`;
}

function tableOf(lines: readonly string[], avoided: readonly number[] = []): string[] {
  const table = new MountTable(parseMountTable(textOf(lines)), {
    path: "/src",
    mount: 1,
    avoided,
  });
  return [...table.below].map(({ place, leftOut }) => {
    return leftOut === undefined ? place : `${place}: ${leftOut}`;
  });
}

const root = "1 0 8:1 / ext4";

test("a line is taken apart, with its escapes and without optional fields", () => {
  const text =
    "36 35 98:7 /a\\040b /mnt/c\\134d\\040e rw - ext3 /dev/root rw,errors=continue\nnonsense\n";
  assert.deepEqual(parseMountTable(text), [
    { id: 36, parent: 35, device: 98 * 2 ** 20 + 7, path: "/mnt/c\\d e", kind: "ext3" },
  ]);
});

test("what is mounted below the folder is followed, and nothing else", () => {
  const lines = [root, "2 1 8:2 /src/a xfs", "3 1 8:3 /srcs tmpfs", "4 2 8:4 /src/a/b btrfs"];
  assert.deepEqual(tableOf(lines), ["a", "a/b"]);
});

test("kinds that do not tell their changes are left out, each with its reason", () => {
  const lines = [root, "2 1 0:1 /src/p proc", "3 1 0:2 /src/n nfs4", "4 1 0:3 /src/o overlay"];
  const [proc = "", nfs = "", overlay = ""] = tableOf(lines);
  assert.match(proc, /^p: proc shows the kernel's own state/);
  assert.match(nfs, /^n: nfs4 does not tell what other machines change/);
  assert.match(overlay, /^o: changes on overlay cannot be followed/);
});

test("a filesystem is followed once: neither a bind mount nor a loop leads there again", () => {
  const lines = [root, "2 1 8:2 /src/a ext4", "3 1 8:2 /src/b ext4", "4 2 8:1 /src/a/up ext4"];
  const [first, second = "", third = ""] = tableOf(lines);
  assert.equal(first, "a");
  assert.match(second, /^b: .*bind mount/);
  assert.match(third, /^a\/up: .*bind mount/);
});

test("the filesystem of a target is not followed, wherever it is mounted", () => {
  const lines = [root, "2 1 8:2 /src/a ext4", "9 1 8:2 /target ext4"];
  assert.match(tableOf(lines, [9])[0] ?? "", /^a: a target/);
  assert.deepEqual(tableOf(lines), ["a"]);
});

test("what another mount covers is not there", () => {
  const over = [root, "2 1 8:2 /src/a ext4", "3 2 8:3 /src/a xfs"];
  assert.deepEqual(tableOf(over), ["a"]);
  const overFolder = [root, "2 1 8:2 /src/a/deep/b ext4", "3 1 8:3 /src/a xfs"];
  assert.deepEqual(tableOf(overFolder), ["a"]);
  // A mount on what is covered is covered with it; the one that covers has mounts of its own.
  const below = [...over, "4 2 8:4 /src/a/old ext4", "5 3 8:5 /src/a/new ext4"];
  assert.deepEqual(tableOf(below), ["a", "a/new"]);
});

test("no more filesystems are followed than there are places for", () => {
  const lines = Array.from(
    { length: 70 },
    (_, index) => `${index + 2} 1 9:${index} /src/m${index} xfs`,
  );
  const told = tableOf([root, ...lines]);
  assert.equal(told.filter((line) => !line.includes(":")).length, 64);
  assert.match(told[64] ?? "", /64 filesystems are followed already/);
});

test("a table with a ring of parents is read to its end", () => {
  assert.deepEqual(tableOf([root, "2 3 8:2 /src/a ext4", "3 2 8:3 /src/b ext4"]), ["a", "b"]);
});
