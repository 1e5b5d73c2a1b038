export { Applier } from "./applier.ts";
export { ownerFiles } from "./owner-files.ts";
export { TargetScan } from "./target-scan.ts";
