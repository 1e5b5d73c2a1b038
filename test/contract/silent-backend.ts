import type { CaptureBackend } from "../../src/capture/index.ts";

/** A kernel that tells nothing. */
export const silentBackend: CaptureBackend = {
  name: "inotify",
  tellsExtents: false,
  droppedCount: 0,
  start: () => {},
  drain: () => false,
  watchDirectory: () => 0,
  unwatchDirectory: () => {},
  close: () => {},
};
