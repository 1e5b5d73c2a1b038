/** Drains of capture that know when all was told: a cut is of a moment (cut/cut-moment.ts). */
import type { CaptureBackend } from "../capture/index.ts";
import type { Cutter } from "../cut/index.ts";
import type { World } from "../world/index.ts";

/** Drains so many times at most. True when there is more to be told. */
export function drainHeard(
  { backend, world }: { backend: CaptureBackend; world: World },
  { dirty, moment }: Cutter,
  countMax: number,
): boolean {
  const beganMs = world.clock.wallMs();
  const look = backend.underWay?.nextLook ?? 0;
  for (let i = 0; i < countMax; i++) {
    if (backend.drain(dirty)) continue;
    moment.heardMs = beganMs;
    moment.heardLook = look;
    return false;
  }
  return true;
}
