/**
 * The word that somebody probably meant: the nearest by edits (insert, delete, replace, swap of
 * neighbours), when it is near enough to be no guess.
 * Source: optimal string alignment distance.
 */

/** Words longer than this get no suggestion: the cost is their product. */
const wordCharsMax = 64;

/** The nearest of `candidates`, if it differs in at most two edits and a third of its length. */
export function closestWord(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > wordCharsMax) return undefined;
  let best: string | undefined;
  let bestCount = 3;
  for (const candidate of candidates) {
    const count = editCount(word.toLowerCase(), candidate.toLowerCase());
    if (count < bestCount && count * 3 <= Math.max(candidate.length, 3)) {
      best = candidate;
      bestCount = count;
    }
  }
  return best;
}

function editCount(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const isSame = from[i - 1] === to[j - 1];
      let count = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (isSame ? 0 : 1));
      const isSwap = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      if (isSwap) count = Math.min(count, beforeLast[j - 2]! + 1);
      row.push(count);
    }
    beforeLast = last;
    last = row;
  }
  return last[to.length]!;
}
