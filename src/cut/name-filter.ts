/**
 * `NameFilter`: what ignore rules mean for the names of the tree.
 *
 * The tree has what the target has, so an ignored name is in it when the target has it, but its
 * node is tied to no inode: events of the source's file of that name then belong to no node, and
 * are dropped where events of unknown files are. A file with an ignored and a visible name keeps
 * its inode, and the visible name comes first in its list, where whoever opens it looks.
 * A name whose source is ignored and whose target is not (of another kind, as `build/` covers only
 * a folder) is one that the source no longer has; the reverse is left alone and told as a problem.
 *
 * What is removed or replaced keeps the ignored entries below it: the folders that lead to them
 * stay, and that is a problem of their path, told once.
 */
import type { ProblemLog } from "../model/index.ts";
import { rootId, type Tree } from "../tree/index.ts";
import { Mode, Stat } from "../world/index.ts";
import { latin1 } from "./dirty-set.ts";
import type { RuleFiles } from "./rule-files.ts";

/** Paths of which it was told that ignored entries keep them. */
const toldCountMax = 1024;

export class NameFilter {
  readonly rules: RuleFiles;
  readonly #tree: Tree;
  readonly #release: (node: number) => void;
  readonly #problems: ProblemLog;
  readonly #told: Set<string> = new Set();

  /** `release` unties a node from its inode and from all that waits for it. */
  constructor(
    options: { tree: Tree; problems: ProblemLog },
    rules: RuleFiles,
    release: (node: number) => void,
  ) {
    this.rules = rules;
    this.#tree = options.tree;
    this.#problems = options.problems;
    this.#release = release;
  }

  get isActive(): boolean {
    return this.rules.isActive;
  }

  /** What to make of a name that was looked at. `stat` undefined: the source has none. */
  judge(
    parent: number,
    name: Uint8Array,
    stat: Float64Array | undefined,
  ): "see" | "leave" | "gone" {
    const { rules } = this;
    const id = this.#tree.names.find(parent, name);
    const node = id === 0 ? 0 : this.#tree.names.node[id]!;
    const isFolder = stat !== undefined && (stat[Stat.mode]! & Mode.typeMask) === Mode.directory;
    const isHidden = stat !== undefined && rules.isIgnored(parent, name, isFolder);
    const isKept = node !== 0 && rules.isIgnored(parent, name, this.#tree.isDirectory(node));
    if (!isKept) return stat === undefined || isHidden ? "gone" : "see";
    this.hide(id);
    if (stat !== undefined && !isHidden) {
      this.#tellOnce(this.#pathOf(parent, name), "replace what the target has and is ignored");
    }
    return "leave";
  }

  /** Whether a node lies in what is ignored and is therefore tied to nothing. */
  isHidden(node: number): boolean {
    if (node === rootId || !this.isActive || this.#tree.ino[node] !== 0) return false;
    const { names, firstName } = this.#tree;
    const id = firstName[node]!;
    if (id === 0) return false;
    return this.rules.isIgnored(names.parent[id]!, names.bytes(id), this.#tree.isDirectory(node));
  }

  /**
   * An ignored name: whatever it and what lies below it were tied to goes its own way now.
   * `keepsTimes`: nobody else changes the target's copy, so what looks the same later is the same.
   */
  hide(id: number, keepsTimes = false): void {
    const tree = this.#tree;
    const pending = [id];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      const node = tree.names.node[at]!;
      if (tree.ino[node] === 0) continue;
      if (!tree.isDirectory(node)) {
        if (tree.names.nextOfNode[tree.firstName[node]!] === 0) this.#untie(node, keepsTimes);
        else this.nameLost(node);
        continue;
      }
      for (
        let child = tree.firstChild[node]!;
        child !== 0;
        child = tree.names.nextSibling[child]!
      ) {
        pending.push(child);
      }
      this.#untie(node, keepsTimes);
    }
  }

  /** A file has lost a name, or the right to it: a visible one comes first, if there is one. */
  nameLost(node: number): void {
    const tree = this.#tree;
    if (!this.isActive || tree.ino[node] === 0 || tree.isDirectory(node)) return;
    const { names, firstName } = tree;
    for (let id = firstName[node]!; id !== 0; id = names.nextOfNode[id]!) {
      if (this.rules.isIgnored(names.parent[id]!, names.bytes(id), false)) continue;
      tree.preferName(id);
      return;
    }
    if (firstName[node] !== 0) this.#untie(node);
  }

  #untie(node: number, keepsTimes = false): void {
    const tree = this.#tree;
    this.#release(node);
    // Others may change the target's copy from now on: if it is seen again, all of it is sent.
    if (!keepsTimes && !tree.isDirectory(node)) tree.mtimeSec[node] = NaN;
  }

  /** Whether the target has ignored entries below a folder. `own`: also by rules found below it. */
  hasKept(folder: number, own: boolean): boolean {
    if (!this.isActive || !this.#tree.isDirectory(folder)) return false;
    let isFound = false;
    this.#walk(folder, own, () => (isFound = true));
    return isFound;
  }

  /**
   * Calls `visit` for what is ignored below a folder, and goes on while it returns false. Rules
   * found in the folder or below go with it, when it goes: `own` false leaves them out.
   */
  #walk(folder: number, own: boolean, visit: (id: number) => boolean): void {
    const { names, firstName, firstChild } = this.#tree;
    const start = firstName[folder]!;
    if (start === 0) return;
    const parent = names.parent[start]!;
    const pending = [{ node: folder, path: `${latin1(names.bytes(start))}/` }];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      for (let id = firstChild[at.node]!; id !== 0; id = names.nextSibling[id]!) {
        const node = names.node[id]!;
        const isFolder = this.#tree.isDirectory(node);
        const path = at.path + latin1(names.bytes(id)) + (isFolder ? "/" : "");
        const isKept = own
          ? this.rules.isIgnored(at.node, names.bytes(id), isFolder)
          : this.rules.isIgnoredBelow(parent, path);
        if (isKept && visit(id)) return;
        if (!isKept && isFolder) pending.push({ node, path });
      }
    }
  }

  /**
   * Removes what may go below a folder that the source has no more, by `unlink`, and keeps what is
   * ignored and the folders that lead to it. False when nothing there is ignored.
   */
  prune(folder: number, unlink: (id: number) => void): boolean {
    if (!this.hasKept(folder, false)) return false;
    const { names, firstChild } = this.#tree;
    const kept: number[] = [];
    const leading = new Set([folder]);
    this.#walk(folder, false, (id) => {
      kept.push(id);
      let at = names.parent[id]!;
      while (!leading.has(at)) {
        leading.add(at);
        at = names.parent[this.#tree.firstName[at]!]!;
      }
      return false;
    });
    const stays = new Set(kept);
    const path = this.#tree.path(folder);
    for (const node of leading) {
      for (let id = firstChild[node]!; id !== 0;) {
        const next: number = names.nextSibling[id]!;
        if (!stays.has(id) && !leading.has(names.node[id]!)) unlink(id);
        id = next;
      }
    }
    for (const id of kept) this.hide(id);
    for (const node of leading) this.#untie(node);
    this.#tellOnce(path, "remove a folder in which the target has ignored entries");
    return true;
  }

  /** Unties a folder and all below it, so that it can be tied to another one of the source. */
  untieAll(folder: number): void {
    this.hide(this.#tree.firstName[folder]!);
  }

  #tellOnce(path: string, operation: string): void {
    const key = `${operation} ${path}`;
    if (this.#told.has(key)) return;
    if (this.#told.size >= toldCountMax) this.#told.clear();
    this.#told.add(key);
    this.#problems.add({ side: "source", path, operation, errno: "ENOTEMPTY" });
  }

  #pathOf(parent: number, name: Uint8Array): string {
    const text = Buffer.from(name).toString("utf8");
    return parent === rootId ? text : `${this.#tree.path(parent)}/${text}`;
  }
}
