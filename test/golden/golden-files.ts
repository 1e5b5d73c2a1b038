/**
 * Where the golden frames are, for whoever compares with them or starts from them.
 *
 * A frame is two files in test/golden/frames: NAME.hex, the bytes on the wire (the length
 * included), and NAME.txt, what they mean. `UPDATE_GOLDEN=1` writes both anew; a change of meaning
 * needs a new protocol version besides (docs/protocol.md).
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout: compiled tests run from dist/, the golden files lie beside the sources. */
function checkout(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const up = dirname(folder);
    if (up === folder) throw new Error("no package.json above the tests");
    folder = up;
  }
  return folder;
}

export const checkoutPath: string = checkout();
const framesPath = join(checkoutPath, "test/golden/frames");

export const isUpdate: boolean = process.env["UPDATE_GOLDEN"] === "1";

/** Names of the frames on file, sorted. */
export function goldenNames(): string[] {
  return readdirSync(framesPath)
    .filter((file) => file.endsWith(".hex"))
    .map((file) => file.slice(0, -".hex".length))
    .sort();
}

export function readGolden(name: string): { bytes: Uint8Array; meaning: string } {
  const hex = readFileSync(join(framesPath, `${name}.hex`), "latin1").replace(/\s/g, "");
  const meaning = readFileSync(join(framesPath, `${name}.txt`), "utf8");
  return { bytes: new Uint8Array(Buffer.from(hex, "hex")), meaning };
}

export function writeGolden(name: string, bytes: Uint8Array, meaning: string): void {
  const lines =
    Buffer.from(bytes)
      .toString("hex")
      .match(/.{1,32}/g) ?? [];
  const spaced = lines.map((line) => line.replace(/(..)(?=.)/g, "$1 "));
  writeFileSync(join(framesPath, `${name}.hex`), `${spaced.join("\n")}\n`);
  writeFileSync(join(framesPath, `${name}.txt`), meaning);
}
