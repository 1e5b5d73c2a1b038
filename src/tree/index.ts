export { ExtentList } from "./extents.ts";
export { rootId, Tree } from "./tree.ts";
