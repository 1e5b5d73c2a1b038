export { DescriptorCache } from "./descriptor-cache.ts";
export { Directories, ESTALE } from "./directories.ts";
export { DirectoryEntries } from "./directory-entries.ts";
export { TreeScan, type TreeScanHooks } from "./tree-scan.ts";
