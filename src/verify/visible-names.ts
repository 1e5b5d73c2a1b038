/**
 * `VisibleNames`: what of two trees a sync with the same ignore rules would keep equal.
 *
 * In: the folders that the walk enters and leaves, and what it saw at each name. Out: the same with
 * what is ignored left out. The rules are the source's: those given and its rule files.
 * A source that is ignored is none; a target that is ignored counts only against a source that is
 * not (`build/` covers a folder, and the source may have a file there).
 */
import {
  type IgnoreSettings,
  parsePatterns,
  RuleChain,
  ruleBytesMax,
  ruleFileName,
} from "../ignore/index.ts";
import { Errno, errnoName, type Files, Mode, Open, Stat, statSlots } from "../world/index.ts";

const ruleName: Uint8Array = Buffer.from(ruleFileName);
const everything: readonly string[] = ["*"];

type Seen = Float64Array | "absent" | number;

export class VisibleNames {
  readonly #files: Files;
  readonly #readsFiles: boolean;
  /** Of the folders that are open, from the root down. */
  readonly #levels: { readonly path: string; readonly chain: RuleChain }[] = [];
  readonly #base: RuleChain;

  constructor(files: Files, settings: IgnoreSettings | undefined) {
    this.#files = files;
    this.#readsFiles = settings?.readsFiles === true;
    this.#base = new RuleChain(settings?.first ?? [], settings?.last ?? []);
  }

  /** Enters a folder, the root by an empty name. Returns why its rule file cannot be used. */
  enter(sourceFd: number, name: string): string | undefined {
    const above = this.#levels.at(-1);
    const path = above === undefined ? "" : `${above.path}${name}/`;
    const { patterns, fault } = this.#readsFiles ? this.#read(sourceFd) : nothing;
    this.#levels.push({ path, chain: (above?.chain ?? this.#base).below(path, patterns) });
    return fault;
  }

  leave(): void {
    this.#levels.pop();
  }

  /** What counts of both sides of a name. */
  see(name: string, source: Seen, target: Seen): [Seen, Seen] {
    const level = this.#levels.at(-1);
    if (level === undefined || level.chain.isEmpty || name === "") return [source, target];
    const isIgnored = (seen: Seen): boolean => {
      if (typeof seen !== "object") return false;
      const isFolder = (seen[Stat.mode]! & Mode.typeMask) === Mode.directory;
      if (!isFolder && this.#readsFiles && name === ruleFileName) return false;
      return level.chain.ignores(level.path + name + (isFolder ? "/" : ""));
    };
    const visible = isIgnored(source) ? "absent" : source;
    return [visible, visible === "absent" && isIgnored(target) ? "absent" : target];
  }

  #read(directoryFd: number): { patterns: readonly string[]; fault: string | undefined } {
    const flags = Open.read | Open.noFollow | Open.nonBlock;
    const fd = this.#files.openBeneath(directoryFd, ruleName, flags, 0);
    if (fd === -Errno.ENOENT) return nothing;
    if (fd < 0) return { patterns: everything, fault: errnoName(fd) };
    const stat = new Float64Array(statSlots);
    const isFile =
      this.#files.fstat(fd, stat) === 0 && (stat[Stat.mode]! & Mode.typeMask) === Mode.regular;
    const bytes = new Uint8Array(ruleBytesMax + 1);
    const read = isFile ? this.#files.pread(fd, bytes, 0, bytes.length, 0) : 0;
    this.#files.close(fd);
    if (read < 0) return { patterns: everything, fault: errnoName(read) };
    if (read > ruleBytesMax) return { patterns: everything, fault: "too large for a rule file" };
    return { patterns: parsePatterns(bytes.subarray(0, read)).patterns, fault: undefined };
  }
}

const nothing = { patterns: [], fault: undefined };
