/** Random changes of a folder that has large files too, for workloads that are interrupted. */
import { createCipheriv, createHash } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { change, list, type Random } from "./random-changes.ts";

const largeBytes = 6 << 20;

/** One change, of the small kinds or with a file that is large enough for a delta. */
export function disturb(random: Random, root: string): void {
  const large = join(root, `large${random.below(3)}`);
  try {
    switch (random.below(24)) {
      case 0:
        return writeFileSync(large, noise(random, largeBytes));
      case 1: {
        const old = readFileSync(large);
        const at = random.below(old.length);
        const bytes = Buffer.concat([old.subarray(0, at), noise(random, 100), old.subarray(at)]);
        writeFileSync(`${large}.new`, bytes);
        return renameSync(`${large}.new`, large);
      }
      case 2:
        return renameSync(large, join(root, `moved${random.below(3)}`));
      default:
        return change(random, ...list(root));
    }
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}

/** Bytes that look random and are the same for the same draw. */
function noise(random: Random, count: number): Buffer {
  const key = createHash("sha256")
    .update(String(random.below(2 ** 32)))
    .digest();
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(count));
}
