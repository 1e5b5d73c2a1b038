/**
 * Where a tree ends: at mount points, that is where the mount differs from the root's, or, for a
 * directory, the device (btrfs subvolumes). A source may go on in mounts that are named.
 *
 * In: stat records, those of a mount's root before those of what is below it. Out: whether the
 * entry belongs to another tree.
 */
import { Mode, Stat } from "../world/index.ts";
import { typeOf } from "./metadata.ts";
import { isStat, type Seen } from "./sides.ts";

export class FollowedMounts {
  readonly #followed: ReadonlySet<number>;
  /** By mount, the device of its root. */
  readonly #devices: Map<number, number> = new Map();

  constructor(followed: ReadonlySet<number>) {
    this.#followed = followed;
  }

  isForeign(seen: Seen, root: Seen): boolean {
    if (!isStat(seen) || !isStat(root)) return false;
    const mount = seen[Stat.mount]!;
    if (mount === root[Stat.mount] || !this.#followed.has(mount)) return isForeign(seen, root);
    const device = this.#devices.get(mount) ?? seen[Stat.dev]!;
    this.#devices.set(mount, device);
    return typeOf(seen) === Mode.directory && seen[Stat.dev] !== device;
  }
}

export function isForeign(seen: Seen, root: Seen): boolean {
  if (!isStat(seen) || !isStat(root)) return false;
  if (seen[Stat.mount] !== root[Stat.mount]) return true;
  return typeOf(seen) === Mode.directory && seen[Stat.dev] !== root[Stat.dev];
}
