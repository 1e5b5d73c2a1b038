/** Loads the addon, the only native code. Others see it as `Files`, `Kernel` and `Network`. */
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SyncError } from "../../base/index.ts";
import type { ExpressPort } from "../express.ts";
import type { Files, Kernel } from "../files.ts";
import type { Lanes } from "../lanes.ts";
import type { Tls } from "../network.ts";

export type Native = Files & Kernel & Tls & Lanes & ExpressPort;

let loaded: Native | undefined;

/** The addon; looked for in build/native/ above this file. Throws NATIVE_MISSING. */
export function native(): Native {
  loaded ??= load();
  return loaded;
}

function load(): Native {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let up = 0; up < 8; up++) {
    const file = join(folder, "build", "native", "lockstep.node");
    if (existsSync(file)) {
      try {
        return createRequire(import.meta.url)(file) as Native;
      } catch (cause) {
        throw new SyncError("NATIVE_MISSING", `cannot load ${file}`, { cause });
      }
    }
    folder = dirname(folder);
  }
  throw new SyncError("NATIVE_MISSING", "the native addon has not been built");
}
