/**
 * Names under which nodes wait in the target's root while an epoch is applied: a node that must
 * step aside for another, or a new file on a filesystem without unnamed files. They live for one
 * epoch; one that a crash left behind is removed when the target is scanned.
 */

const prefix: Uint8Array = new TextEncoder().encode(".lockstep-hold.");

export function holdName(node: number): Uint8Array {
  return new TextEncoder().encode(`.lockstep-hold.${node}`);
}

export function isHoldName(name: Uint8Array): boolean {
  return name.length > prefix.length && prefix.every((byte, at) => name[at] === byte);
}
