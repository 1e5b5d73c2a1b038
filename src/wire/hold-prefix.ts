/**
 * Names that the target keeps for itself in its root: nodes wait under them while an epoch is
 * applied. Part of the protocol because the source must not mirror a file of such a name: the
 * target takes it for a leftover and removes it.
 */

export const holdPrefix: Uint8Array = new TextEncoder().encode(".lockstep-hold.");

export function isHoldName(name: Uint8Array): boolean {
  return name.length > holdPrefix.length && holdPrefix.every((byte, at) => name[at] === byte);
}
