/**
 * Declares a workload as tests, one for each backend.
 *
 *   npm test                                   the small ones, some seconds each
 *   LOCKSTEP_WORKLOADS=all npm test            all of them, some minutes
 *   LOCKSTEP_WORKLOADS=all node --enable-source-maps --test dist/test/workloads/git.test.js
 *
 * LOCKSTEP_WORKLOADS_BACKENDS=ebpf,fanotify,inotify runs each with every one of these (default:
 * `auto`). LOCKSTEP_WORKLOADS_FILES=50000 sets the number of small files of the large workloads
 * (default 10000). Further variables: mirror.ts. A missing program or backend is a skip with its
 * name, never a pass.
 */
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { IgnoreSettings } from "../../src/ignore/index.ts";
import { isInstalled } from "./commands.ts";
import { BackendMissing, whyNoMirror, withMirror } from "./mirror.ts";
import type { Folders, Mirror, MirrorProgram } from "./mirror.ts";

const runsAll = process.env["LOCKSTEP_WORKLOADS"] === "all";
const backends = (process.env["LOCKSTEP_WORKLOADS_BACKENDS"] ?? "auto").split(",");

/** Small files that a large workload makes. */
export const fileCount: number = Number(process.env["LOCKSTEP_WORKLOADS_FILES"] ?? 10_000);

export interface WorkloadOptions {
  /** `small` ones take seconds and run always; `large` ones with LOCKSTEP_WORKLOADS=all. */
  readonly size: "small" | "large";
  /** Programs that must be on the PATH. */
  readonly needs: readonly string[];
  readonly prepare?: (folders: Folders) => Promise<void>;
  readonly convergeMs?: number;
  /** Further arguments of `sync`. */
  readonly args?: readonly string[];
  /** What need not be equal, as `args` have it; all must be if absent. */
  readonly rules?: IgnoreSettings;
}

/** Registers `run` as a test for each backend; the target must equal the source afterwards. */
export function workload(
  name: string,
  options: WorkloadOptions,
  run: (mirror: Mirror, context: TestContext) => Promise<void>,
): void {
  const program = mirrorProgram();
  for (const backend of backends) {
    const skip = skipReason(options, program);
    test(`workload: ${name} [${backend}]`, { skip: skip ?? false }, async (t) => {
      const { prepare, convergeMs, rules } = options;
      try {
        const result = await withMirror(
          {
            program,
            backend,
            args: options.args ?? [],
            ...(prepare === undefined ? {} : { prepare }),
            ...(convergeMs === undefined ? {} : { convergeMs }),
            ...(rules === undefined ? {} : { rules }),
          },
          (mirror) => run(mirror, t),
        );
        const { entryCount, convergedMs } = result;
        const times = convergedMs.map((ms) => Math.round(ms)).join(", ");
        t.diagnostic(`${entryCount} entries; equal after ${times} ms`);
      } catch (error) {
        if (!(error instanceof BackendMissing) || backend === "auto") throw error;
        t.skip(`backend ${backend} cannot be opened here`);
      }
    });
  }
}

function skipReason(options: WorkloadOptions, program: MirrorProgram): string | undefined {
  if (options.size === "large" && !runsAll) return "large: LOCKSTEP_WORKLOADS=all runs it";
  const missing = options.needs.filter((need) => !isInstalled(need));
  if (missing.length > 0) return `needs ${missing.join(", ")}`;
  return whyNoMirror(program);
}

function mirrorProgram(): MirrorProgram {
  const name = process.env["LOCKSTEP_WORKLOADS_MIRROR"] ?? "lockstep";
  if (name === "lockstep" || name === "rsync" || name === "nothing") return name;
  throw new Error(`LOCKSTEP_WORKLOADS_MIRROR=${name}: lockstep, rsync or nothing`);
}
