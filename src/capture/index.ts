export { deafSink, NameChange } from "./backend.ts";
export type {
  BackendName,
  CaptureBackend,
  CaptureShare,
  ChangeSink,
  Listener,
  PathStart,
} from "./backend.ts";
export type { CallsUnderWay, WasRead } from "./calls-under-way.ts";
export { FollowedMounts } from "./followed-mounts.ts";
export type { FollowedMountsOptions, MountChange } from "./followed-mounts.ts";
export { HotOutcome, HotReading } from "./hot-reading.ts";
export { filesystemOf, inodeIn, inodeKey } from "./inode-keys.ts";
export { listenerCountMax, shareCapture } from "./capture-hub.ts";
export { backendNames, openBackend } from "./open-backend.ts";
export type { OpenedBackend } from "./open-backend.ts";
