/**
 * What a folder is at one moment, as one short text: names, kinds, content, modes, owners, times,
 * attributes, and which names are links of one file. And the history of the source: which states it
 * has had, in which order.
 */
import { Trace } from "./chance.ts";
import type { Without } from "./held-calls.ts";
import { type Inode, latin1 } from "./sim-disk.ts";

/** Names that the engine keeps in the target's root meanwhile. */
const ownPrefix = ".lockstep-";

/** Calls for every entry in order of the paths; `links` numbers files of several names. */
function visit(root: Inode, each: (path: string, inode: Inode, link: number) => void): void {
  const links = new Map<Inode, number>();
  const open: [string, Inode][] = [["", root]];
  each("", root, 0);
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [path, directory] = next;
    const names = [...directory.entries!.keys()].sort();
    for (const name of names) {
      if (path === "" && name.startsWith(ownPrefix)) continue;
      const { inode } = directory.entries!.get(name)!;
      const at = `${path}/${name}`;
      let link = 0;
      if (!inode.isDirectory && inode.nlink > 1) {
        link = links.get(inode) ?? links.size + 1;
        links.set(inode, link);
      }
      each(at, inode, link);
      if (inode.isDirectory) open.push([at, inode]);
    }
  }
}

/**
 * What of a state is compared. `all`: everything, as when the source rests. `cut`: what a commit
 * promises, which are not times (ADR 0014). `names`: nor content, which stores through mappings
 * change without a word (ADR 0012).
 */
export type Depth = "all" | "cut" | "names";

/** `without`: as if this file had that content. */
export function stateOf(root: Inode, depth: Depth, without?: Without): string {
  const trace = new Trace();
  visit(root, (path, inode, link) => {
    trace.text(path);
    trace.number(link);
    for (const value of [inode.mode, inode.uid, inode.gid, inode.rdev]) trace.number(value);
    if (depth === "all") {
      trace.number(inode.mtimeSec);
      trace.number(inode.mtimeNsec);
    }
    if (inode.content !== undefined && depth !== "names") {
      trace.number(inode === without?.inode ? without.hash : inode.content.hash);
    }
    if (inode.target.length > 0) trace.text(latin1(inode.target));
    for (const name of [...inode.attributes.keys()].sort()) {
      trace.text(name);
      trace.bytes(inode.attributes.get(name)!);
    }
  });
  return trace.digest;
}

/** The same for people, a line for each path. */
export function describe(root: Inode, depth: Depth): Map<string, string> {
  const lines = new Map<string, string>();
  visit(root, (path, inode, link) => {
    const attributes = [...inode.attributes.keys()].sort().map((name) => {
      return `${name}=${latin1(inode.attributes.get(name)!)}`;
    });
    const words = [
      inode.mode.toString(8),
      `${inode.uid}:${inode.gid}`,
      depth === "all" ? `time ${inode.mtimeSec}.${inode.mtimeNsec}` : "",
      inode.content === undefined || depth === "names"
        ? ""
        : `${inode.size} bytes #${inode.content.hash >>> 0}`,
      latin1(inode.target),
      link > 0 ? `link ${link}` : "",
      ...attributes,
    ];
    lines.set(path, words.filter((word) => word !== "").join(" "));
  });
  return lines;
}

/** The states that the source has had. */
export class History {
  readonly #moments: Map<string, number[]> = new Map();
  readonly #whole: Map<string, string>[] = [];
  readonly #what: string[] = [];
  readonly #explains: boolean;
  readonly depth: Depth;
  count = 0;

  /** `explains`: keeps every state whole, to be able to say what is wrong with another. */
  constructor(depth: Depth, explains: boolean) {
    this.depth = depth;
    this.#explains = explains;
  }

  /** `without`: it may as well have been like this. */
  add(root: Inode, what: string, without?: Without): void {
    if (without !== undefined) this.#add(root, `${what}, before the write under way`, without);
    this.#add(root, what);
  }

  #add(root: Inode, what: string, without?: Without): void {
    const state = stateOf(root, this.depth, without);
    const moments = this.#moments.get(state);
    if (moments === undefined) this.#moments.set(state, [this.count]);
    else moments.push(this.count);
    this.count++;
    if (!this.#explains) return;
    this.#whole.push(describe(root, this.depth));
    this.#what.push(what);
  }

  /** The first moment, not before `from`, at which the source was like this; undefined: at none. */
  find(state: string, from: number): number | undefined {
    return this.#moments.get(state)?.find((moment) => moment >= from);
  }

  /** The same of a state of which only part of a file's content was there: with all of it. */
  findPart(root: Inode, parts: Iterable<Without>, from: number): number | undefined {
    for (const part of parts) {
      const moment = this.find(stateOf(root, this.depth, part), from);
      if (moment !== undefined) return moment;
    }
    return undefined;
  }

  /** Which paths are of which moments. */
  explain(root: Inode, from: number): string[] {
    if (!this.#explains) return ["(run it with --explain)"];
    const lines: string[] = [];
    const now = describe(root, this.depth);
    const paths = new Set([...now.keys(), ...this.#whole.flatMap((whole) => [...whole.keys()])]);
    const spans: [string, string, number[]][] = [];
    for (const path of [...paths].sort()) {
      const line = now.get(path);
      const moments: number[] = [];
      for (let i = Math.max(0, from); i < this.count; i++) {
        if (this.#whole[i]!.get(path) === line) moments.push(i);
      }
      if (moments.length < this.count - Math.max(0, from)) {
        spans.push([path, line ?? "(nothing)", moments]);
      }
    }
    const best = this.#best(spans, from);
    lines.push(`nearest is moment ${best}, after: ${this.#what[best] ?? "nothing"}`);
    for (const [path, line, moments] of spans) {
      if (moments.includes(best)) continue;
      lines.push(`${path}: ${line}: at ${rangesOf(moments)}`);
      lines.push(`   at ${best}: ${this.#whole[best]?.get(path) ?? "(nothing)"}`);
    }
    const first = Math.max(0, best - 6);
    for (let i = first; i < Math.min(this.count, best + 12); i++) {
      lines.push(`  moment ${i}: ${this.#what[i]}`);
    }
    return lines;
  }

  #best(spans: readonly [string, string, number[]][], from: number): number {
    let best = Math.max(0, from);
    let bestCount = -1;
    for (let i = best; i < this.count; i++) {
      const count = spans.filter(([, , moments]) => moments.includes(i)).length;
      if (count >= bestCount) [best, bestCount] = [i, count];
    }
    return best;
  }
}

function rangesOf(moments: readonly number[]): string {
  const ranges: string[] = [];
  for (let i = 0; i < moments.length; i++) {
    const first = moments[i]!;
    while (moments[i + 1] === moments[i]! + 1) i++;
    ranges.push(first === moments[i] ? `${first}` : `${first}-${moments[i]}`);
  }
  return ranges.length === 0 ? "no moment" : ranges.join(", ");
}
