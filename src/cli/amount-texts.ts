/** How amounts look on a terminal, in few columns. Pure. */

/** At most seven characters. */
export function countText(count: number): string {
  return count < 1e7 ? `${count}` : `${Math.floor(count / 1e6)}M`;
}

/** `0:07`, `1:02:03`, and days when there are two or more. */
export function durationText(seconds: number): string {
  if (seconds >= 2 * 86_400) return `${countText(Math.floor(seconds / 86_400))} days`;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const tail = `${Math.floor(seconds) % 60}`.padStart(2, "0");
  if (hours === 0) return `${minutes}:${tail}`;
  return `${hours}:${`${minutes}`.padStart(2, "0")}:${tail}`;
}
