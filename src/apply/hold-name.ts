/**
 * Names under which nodes wait in the target's root while an epoch is applied: a node that must
 * step aside for another, or a new file on a filesystem without unnamed files. They live for one
 * epoch; one that a crash left behind is removed when the target is scanned.
 */

import { holdPrefix, keepPrefix } from "../wire/index.ts";

export { isHoldName, keepKeyOf } from "../wire/index.ts";

export function holdName(node: number): Uint8Array {
  return Buffer.concat([holdPrefix, Buffer.from(String(node))]);
}

/** Where a file waits that an interrupted link has begun. */
export function keepName(key: Uint8Array): Uint8Array {
  return Buffer.concat([keepPrefix, key]);
}
