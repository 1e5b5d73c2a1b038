export { native } from "./native.ts";
export type { Native } from "./native.ts";
export { nodeThreads, nodeThreadSelf } from "./node-threads.ts";
export { nodeWorld, stderrLog } from "./node-world.ts";
