/**
 * Chooses a backend: the best that the kernel and our privileges allow, or exactly the one asked
 * for. A choice that is not the best is never silent: every refusal is returned for printing.
 */
import { SyncError } from "../base/index.ts";
import type { Files, Kernel } from "../world/index.ts";
import type { BackendName, CaptureBackend } from "./backend.ts";
import { openInotifyBackend } from "./inotify-backend.ts";
import { openKernelBackend } from "./kernel-backend.ts";

export const backendNames: readonly BackendName[] = ["ebpf", "fanotify", "inotify"];

export interface OpenedBackend {
  readonly backend: CaptureBackend;
  /** Why each better backend was refused, best first. */
  readonly refusals: readonly string[];
}

/**
 * Opens a backend on the root's descriptor, which must outlive it. `follows`: filesystems mounted
 * below may be followed. Throws BACKEND_UNAVAILABLE.
 */
export function openBackend(
  system: Kernel & Files,
  wanted: BackendName | "auto",
  rootFd: number,
  follows = false,
): OpenedBackend {
  const refusals: string[] = [];
  for (const name of wanted === "auto" ? backendNames : [wanted]) {
    try {
      const backend =
        name === "inotify"
          ? openInotifyBackend(system, rootFd)
          : openKernelBackend(system, name, rootFd, follows);
      return { backend, refusals };
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      refusals.push(error.message);
    }
  }
  throw new SyncError("BACKEND_UNAVAILABLE", refusals.join("; "));
}
