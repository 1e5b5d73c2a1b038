/**
 * The texts of the checkout, read once for the tools that look at the whole of it.
 *
 * Out: a map from path (relative to the root, with `/`) to text. Generated and foreign folders
 * are left out, so are binary files; the tools themselves are pure functions of this map.
 */
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Path relative to the root -> text. */
export type SourceTree = ReadonlyMap<string, string>;

/** The root of the checkout: this file runs as dist/tools/source-tree.js. */
export const rootPath = join(dirname(fileURLToPath(import.meta.url)), "../..");

const foldersLeftOut = new Set([".git", "node_modules", "dist", "build", "results"]);
const textExtensions = new Set(["", ".ts", ".js", ".json", ".md", ".c", ".h", ".sh", ".txt"]);

/** Reads the checkout. Throws on unreadable files: half a tree must not pass as a tidy one. */
export function readTree(): SourceTree {
  const tree = new Map<string, string>();
  const folders = [""];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of readdirSync(join(rootPath, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() && !foldersLeftOut.has(entry.name)) folders.push(path);
      if (entry.isFile() && textExtensions.has(extname(entry.name))) {
        tree.set(path, readFileSync(join(rootPath, path), "utf8"));
      }
    }
  }
  return tree;
}

/** Whether the module at `moduleUrl` is the program, rather than imported by one. */
export function isMain(moduleUrl: string): boolean {
  const program = process.argv[1];
  return program !== undefined && realpathSync(program) === fileURLToPath(moduleUrl);
}
