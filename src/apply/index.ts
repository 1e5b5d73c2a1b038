export { Applier } from "./applier.ts";
export { DigestReader } from "./digest-reader.ts";
export { ownerFiles } from "./owner-files.ts";
export { TargetScan } from "./target-scan.ts";
