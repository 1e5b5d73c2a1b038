export { programVersion } from "./greeting.ts";
export { deletionLimitDefault } from "../cut/index.ts";
export type { DeletionLimit } from "../cut/index.ts";
export { Mirror } from "./mirror.ts";
export type { MirrorOptions } from "./mirror.ts";
export type { SourceStatus } from "./source-session.ts";
export { serveLink } from "./target-service.ts";
export type { GrantedTarget, TargetServiceOptions } from "./target-service.ts";
export type { TargetSession, TargetStatus } from "./target-session.ts";
