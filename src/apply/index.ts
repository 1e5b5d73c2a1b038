export { Applier } from "./applier.ts";
export { Backup } from "./backup.ts";
export { BackupRetention } from "./backup-retention.ts";
export type { BackupPlace } from "./backup-tree.ts";
export { changedFiles } from "./changed-files.ts";
export { DigestReader } from "./digest-reader.ts";
export { NewFileLane } from "./new-file-lane.ts";
export { ownerFiles } from "./owner-files.ts";
export { entryOf, keptEntry, TargetScan, type TargetScanOptions } from "./target-scan.ts";
