/**
 * Random changes of a folder, of every kind, drawn from a seed. A change that fails (a folder moved
 * into itself, a name that is gone) is part of the mixture.
 */
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

export function list(root: string): [string[], string[]] {
  const files: string[] = [];
  const folders = [root];
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    (entry.isDirectory() ? folders : files).push(join(entry.parentPath, entry.name));
  }
  return [files, folders];
}

/**
 * One change below the folders, of which the first is the root. Where nothing is there to be
 * changed it is one of a name that is not there: an empty path would be the current directory.
 */
export function change(random: Random, files: readonly string[], folders: readonly string[]): void {
  const [root] = folders;
  if (root === undefined) return;
  const nothing = join(root, "none", "none");
  const file = random.pick(files) ?? nothing;
  const fresh = join(random.pick(folders) ?? root, `n${random.below(60)}`);
  const folder = random.pick(folders.slice(1)) ?? nothing;
  const changes: readonly (() => void)[] = [
    () => writeFileSync(fresh, Buffer.alloc(random.below(200_000), random.below(256))),
    () => writeFileSync(file, `${random.below(1e9)}`, { flag: "r+" }),
    () => appendFileSync(file, "more"),
    () => truncateSync(file, random.below(50_000)),
    () => renameSync(file, fresh),
    () => renameSync(folder, fresh),
    () => unlinkSync(file),
    () => mkdirSync(fresh),
    () => mkdirSync(fresh),
    () => linkSync(file, fresh),
    () => symlinkSync(`to/${random.below(1000)}`, fresh),
    () => chmodSync(file, random.pick([0o600, 0o644, 0o755, 0o4755]) ?? 0),
    () => utimesSync(file, 1, random.below(1e9)),
    () => save(file),
    () => replaceByFolder(file),
    () => random.below(3) === 0 && rmSync(folder, { recursive: true }),
  ];
  random.pick(changes)?.();
}

function save(file: string): void {
  writeFileSync(`${file}.new`, "saved");
  renameSync(`${file}.new`, file);
}

function replaceByFolder(file: string): void {
  unlinkSync(file);
  mkdirSync(file);
  writeFileSync(join(file, "k"), "k");
}

/** Integers from a seed. Source: Steele, Lea, Flood, "splitmix", here with 32 bits. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  below(end: number): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let bits = this.#state;
    bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad);
    bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
    return ((bits ^ (bits >>> 15)) >>> 0) % end;
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list.length === 0 ? undefined : list[this.below(list.length)];
  }
}
