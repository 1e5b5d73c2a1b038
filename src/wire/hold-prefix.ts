/**
 * Names that the target keeps for itself in its root: nodes wait under them while an epoch is
 * applied. Part of the protocol because the source must not mirror a file of such a name: the
 * target takes it for a leftover and removes it.
 */

export const holdPrefix: Uint8Array = new TextEncoder().encode(".lockstep-hold.");

/** Of files that an earlier link has begun: the prefix, and the key that the source gave. */
export const keepPrefix: Uint8Array = new TextEncoder().encode(".lockstep-hold.keep-");
/** Bytes of a key. */
export const keepKeyBytesMax = 64;

/** Whether these bytes may be a key: digits, small letters and points. */
export function isKeepKey(key: Uint8Array): boolean {
  if (key.length < 1 || key.length > keepKeyBytesMax) return false;
  return key.every(
    (byte) => byte === 46 || (byte >= 48 && byte <= 57) || (byte >= 97 && byte <= 122),
  );
}

/** The key of a kept file's name in the root; undefined for any other name. */
export function keepKeyOf(name: Uint8Array): Uint8Array | undefined {
  if (!keepPrefix.every((byte, at) => name[at] === byte)) return undefined;
  const key = name.slice(keepPrefix.length);
  return isKeepKey(key) ? key : undefined;
}

export function isHoldName(name: Uint8Array): boolean {
  return name.length > holdPrefix.length && holdPrefix.every((byte, at) => name[at] === byte);
}
