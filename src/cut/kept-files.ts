/**
 * `KeptFiles`: large new files whose sending an earlier link did not finish. The target keeps what
 * it has of such a file under a key that the source chose: the inode's number and generation. The
 * file is then sent as a delta to that, so nothing that has arrived is sent again.
 *
 * The key is a hint: what is taken from the kept file is found by hash.
 */
import { type Tree } from "../tree/index.ts";
import { Stat } from "../world/index.ts";
import type { OpWriter } from "../wire/index.ts";
import { keptBytesMin } from "./limits.ts";

export class KeptFiles {
  readonly #tree: Tree;
  readonly #writer: OpWriter;
  readonly #nodes: Map<string, number> = new Map();
  /** Both sides can. */
  isEnabled = false;

  constructor(tree: Tree, writer: OpWriter) {
    this.#tree = tree;
    this.#writer = writer;
  }

  /** The manifest tells of one: a node without a name. */
  learn(key: Uint8Array, node: number): void {
    const text = Buffer.from(key).toString("latin1");
    const other = this.#nodes.get(text);
    if (other !== undefined) this.#drop(other);
    this.#nodes.set(text, node);
  }

  /** The node of what an earlier link has sent of this file, or 0. It is the caller's now. */
  claim(stat: Float64Array): number {
    if (this.#nodes.size === 0) return 0;
    const key = keyOf(stat);
    const node = this.#nodes.get(key) ?? 0;
    this.#nodes.delete(key);
    return this.#tree.isLive(node) ? node : 0;
  }

  /** Has the target keep what it gets of this new file, if that pays. True if it was told. */
  keep(node: number, stat: Float64Array): boolean {
    if (!this.isEnabled || stat[Stat.size]! < keptBytesMin) return false;
    this.#writer.keep(node, Buffer.from(keyOf(stat), "latin1"));
    return true;
  }

  get isEmpty(): boolean {
    return this.#nodes.size === 0;
  }

  /** What nobody has claimed is of no use any more. */
  dropAll(): void {
    for (const node of this.#nodes.values()) this.#drop(node);
    this.#nodes.clear();
  }

  #drop(node: number): void {
    this.#writer.remove(node);
    this.#tree.removeNode(node);
  }
}

function keyOf(stat: Float64Array): string {
  return `${stat[Stat.ino]!.toString(36)}.${stat[Stat.gen]!.toString(36)}`;
}
