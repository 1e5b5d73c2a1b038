/**
 * `lockstep verify SOURCE TARGET`: compares two folders by src/verify, which shares no code with
 * the engine. Exit code 0 only when the comparison went to its end and found nothing.
 * Limits: `differencesShownMax` differences are listed, all are counted.
 */
import { ExitCode } from "../base/index.ts";
import { compareTrees, escapeBytes, formatDifference } from "../verify/index.ts";
import type { CompareProgress, CompareSummary } from "../verify/index.ts";
import { native } from "../world/node/index.ts";
import type { CommandIo } from "./command-io.ts";
import { type IgnoreChoices, readIgnoreChoices } from "./ignore-options.ts";
import { checkSource, openDirectory } from "./places.ts";

const differencesShownMax = 1_000;
/** On a live pair, a difference younger than this may be about to be mirrored. */
const settleMs = 1_000;

export interface VerifyOptions {
  readonly source: string;
  readonly target: string;
  readonly content: boolean;
  readonly ignore: IgnoreChoices;
}

export async function runVerify(options: VerifyOptions, io: CommandIo): Promise<ExitCode> {
  const [source, target] = [checkSource(options.source), checkSource(options.target)];
  const rules = readIgnoreChoices(options.ignore);
  const files = native();
  const controller = new AbortController();
  io.onStop(() => controller.abort());
  const sourceFd = openDirectory(files, source);
  try {
    const targetFd = openDirectory(files, target);
    try {
      const settings = {
        clock: io.world.clock,
        content: options.content,
        ignore: new Set<never>(),
        rules,
        settleMs,
        differenceCountMax: differencesShownMax,
        signal: controller.signal,
      };
      let shownCount = 0;
      const summary = await compareTrees(files, sourceFd, targetFd, settings, {
        difference: (difference) => {
          if (++shownCount > differencesShownMax) return;
          const { kind, path, detail } = difference;
          io.event("difference", { kind, path: escapeBytes(path), detail });
          io.print(formatDifference(difference));
        },
        progress: (progress) => io.progress(progressText(progress)),
      });
      return conclude(summary, io);
    } finally {
      files.close(targetFd);
    }
  } finally {
    files.close(sourceFd);
  }
}

function progressText({ entryCount, contentBytes, findingCount }: CompareProgress): string {
  const megabytes = (contentBytes / 1e6).toFixed(1);
  return `comparing: ${entryCount} entries, ${megabytes} MB, ${findingCount} differences`;
}

function conclude(summary: CompareSummary, io: CommandIo): ExitCode {
  const { clean, cancelled, entryCount, contentBytes, findingCount, mountPointCount } = summary;
  const counts = Object.fromEntries(
    Object.entries(summary.counts).filter(([, count]) => count > 0),
  );
  const exit = clean ? ExitCode.done : ExitCode.differences;
  const hidden = findingCount - differencesShownMax;
  if (hidden > 0) io.say(`… and ${hidden} more`);
  if (mountPointCount > 0) io.say(`not compared: ${mountPointCount} mount points`);
  if (cancelled) io.say("interrupted: nothing can be said about the rest");
  const text = Object.entries(counts).map(([kind, count]) => `${count} ${kind}`);
  const found = findingCount === 0 ? "no difference" : `${findingCount} found: ${text.join(", ")}`;
  io.say(`${entryCount} entries, ${(contentBytes / 1e6).toFixed(1)} MB compared: ${found}`);
  io.event("end", {
    exit,
    clean,
    cancelled,
    entries: entryCount,
    bytes: contentBytes,
    differences: findingCount,
    counts,
    mountPoints: mountPointCount,
  });
  return exit;
}
