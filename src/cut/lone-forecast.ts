/**
 * What the next epoch is going to be if one small write to a file is all that happens: for an
 * express lane that runs ahead of the cut (session/express-source.ts).
 *
 * In: the cut's parts, at rest just after such a write was sent. Out: the facts that decide about
 * every byte of the epoch, or undefined where more than that write could be told.
 */
import { Mode, type Files } from "../world/index.ts";
import type { Tree } from "../tree/index.ts";
import type { OriginTeller } from "./origin-teller.ts";
import type { RuleFiles } from "./rule-files.ts";
import type { SourceFiles } from "./source-files.ts";

export interface LoneForecast {
  /** Open for reading, as long as nothing else happens. */
  readonly fd: number;
  /** TIMES carries the time of the last change. */
  readonly hasOrigin: boolean;
}

/** What a round that is only repeated gets in the place of the disk and the clock. */
export interface ReadAlready extends Pick<Files, "fstat" | "pread"> {
  /** Wall clock of the cut. */
  readonly wallMs: number;
}

/** What of a `Cutter` decides. */
export interface ForecastParts {
  readonly sources: SourceFiles;
  readonly origins: OriginTeller;
  readonly rules: RuleFiles;
  /** Epochs so far. */
  readonly counters: { readonly epochs: number };
}

/** Undefined: not to be foretold. */
export function forecastLone(
  { sources, origins, rules }: ForecastParts,
  tree: Tree,
  node: number,
): LoneForecast | undefined {
  if (!tree.isLive(node) || tree.attributes.has(node) || rules.isRuleFile(node)) return undefined;
  const isFile = (tree.mode[node]! & Mode.typeMask) === Mode.regular;
  const fd = sources.peek(node);
  const hasOrigin = origins.tellsTimesOf(node);
  if (!isFile || fd < 0 || hasOrigin === undefined) return undefined;
  return { fd, hasOrigin };
}
