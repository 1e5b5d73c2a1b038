/** How a source begins to take its target's manifest: with digests, if both sides know them. */
import { type Cutter, ManifestTaker, SourceSurvey } from "../cut/index.ts";
import type { Tree } from "../tree/index.ts";
import { encodeExpand, FrameType, type OpWriter, type Welcome } from "../wire/index.ts";
import { digestsFeature, originsFeature } from "./greeting.ts";
import type { SourceSessionOptions } from "./source-options.ts";

export function beginManifest(
  options: SourceSessionOptions,
  welcome: Welcome,
  cutter: Cutter,
  tree: Tree,
  control: OpWriter,
): ManifestTaker {
  const { world, backend, digestUse } = options;
  const hasDigests = welcome.features.includes(digestsFeature);
  if (hasDigests) cutter.dirty.hold();
  return new ManifestTaker({
    tree,
    kept: cutter.kept,
    origins: cutter.origins.told,
    survey: hasDigests
      ? new SourceSurvey({
          ...options,
          sha256: world.hashes.sha256,
          hasOrigins: welcome.features.includes(originsFeature),
          watchDirectory: (fd, ino, gen) => backend.watchDirectory(fd, ino, gen),
        })
      : undefined,
    use: digestUse,
    ask: (expand) => control.control(FrameType.expand, encodeExpand(expand)),
  });
}
