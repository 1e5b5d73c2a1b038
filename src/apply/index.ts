export { Applier } from "./applier.ts";
export { TargetScan } from "./target-scan.ts";
