export { ExtentList } from "./extents.ts";
export { Origins } from "./origins.ts";
export type { OriginFields } from "./origins.ts";
export { DirectoryDigests, directoryDigestBytes } from "./directory-digests.ts";
export { rootId, Tree } from "./tree.ts";
