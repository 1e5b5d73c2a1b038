/** Amounts as people write them on the command line: how many deletions, how much free space. */
import { SyncError } from "../base/index.ts";
import { type DeletionLimit, type FreeLimit } from "../session/index.ts";

/** `N%`, or a count `N`; undefined, which is no limit, for 100%. Throws USAGE. */
export function parseDeletionLimit(text: string): DeletionLimit | undefined {
  const match = /^(\d{1,12})(?:\.(\d{1,6}))?(%?)$/.exec(text);
  const isCount = match?.[3] === "";
  const value = Number(isCount ? text : text.slice(0, -1));
  if (match === null || (isCount && match[2] !== undefined) || (!isCount && value > 100)) {
    const message = `--max-delete ${text}: expected a count or a percentage, such as 1000 or 50%`;
    throw new SyncError("USAGE", message);
  }
  if (!isCount && value === 100) return undefined;
  // Whoever says how much means it, also of few.
  return isCount
    ? { text, kind: "count", value, countMin: 0 }
    : { text, kind: "share", value: value / 100, countMin: 0 };
}

const unitNames = ["", "K", "M", "G", "T"];

/** `N%` of the filesystem, or bytes as `N` with K, M, G or T; undefined for 0. Throws USAGE. */
export function parseFreeLimit(text: string): FreeLimit | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)(%|[KMGT]?(?:i?B)?)$/i.exec(text);
  const value = Number(match?.[1]);
  const unit = match?.[2] ?? "";
  const exponent = unitNames.indexOf(unit.replace(/i?B$/i, "").toUpperCase());
  const bytes = value * 1024 ** exponent;
  if (match === null || (unit === "%" ? value > 100 : !Number.isSafeInteger(Math.ceil(bytes)))) {
    const message = `--min-free ${text}: expected bytes or a percentage, such as 500M, 2G or 5%`;
    throw new SyncError("USAGE", message);
  }
  if (value === 0) return undefined;
  return unit === "%"
    ? { text, bytes: Infinity, share: value / 100 }
    : { text, bytes: Math.ceil(bytes), share: 1 };
}

const factors: Readonly<Record<string, number>> = { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };

/** Bytes a second, such as 500k, 4M, 1.5G; decimal. 0 where that means none. Throws USAGE. */
export function parseByteRate(option: string, text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([kKMGT]?)B?(?:\/s)?$/.exec(text);
  const factor = factors[match?.[2] === "K" ? "k" : (match?.[2] ?? "")];
  const rate = match === null ? NaN : Number(match[1]) * (factor ?? NaN);
  if (Number.isFinite(rate) && (rate === 0 || rate >= 1)) return Math.round(rate);
  throw new SyncError("USAGE", `${option} ${text}: expected bytes a second, such as 500k or 4M`);
}
