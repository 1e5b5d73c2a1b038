/** The manifest's teller of one target session: what it reads, and who hears what it has found. */
import type { Applier, Backup, OriginMemory } from "../apply/index.ts";
import type { Tree } from "../tree/index.ts";
import type { OpWriter } from "../wire/index.ts";
import { digestsFeature } from "./greeting.ts";
import { ManifestTeller } from "./manifest-teller.ts";
import type { TargetSessionOptions } from "./target-options.ts";

export interface TellerParts {
  readonly tree: Tree;
  readonly applier: Applier;
  readonly memory: OriginMemory | undefined;
  readonly backup: Backup | undefined;
  readonly writer: OpWriter;
}

export function tellerOf(
  options: TargetSessionOptions,
  { tree, applier, memory, backup, writer }: TellerParts,
): ManifestTeller {
  const { world, canKeep, sourceFeatures } = options;
  return new ManifestTeller({
    ...options,
    tree,
    origins: applier.origins,
    recall: (node, stat) => memory?.recall(node, stat),
    kept: canKeep ? (node, key) => applier.adopt(node, key) : undefined,
    removeLeftover: backup && ((name) => backup.removeLeftover(name)),
    sha256: sourceFeatures.includes(digestsFeature) ? world.hashes.sha256 : undefined,
    writer,
    scanned: (mounts) => {
      applier.mounts = mounts;
      backup?.begin();
      memory?.scanned();
      for (const path of mounts) options.mounts?.add(path);
    },
  });
}
