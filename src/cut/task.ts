/** `Task`: a piece of work that a round has planned, done when there is room for its frames. */
import type { Reading } from "./content-reader.ts";
import type { DeltaContent } from "./delta-content.ts";

/** Work on a node. `birth` finds out a node that is gone and whose id another one has. */
export type Task = { node: number; birth: number } & (
  | {
      kind: "newFile";
      parent: number;
      name: Uint8Array;
      reading: Reading;
      delta: DeltaContent | undefined;
      fd: number;
    }
  | { kind: "link"; parent: number; name: Uint8Array }
  | { kind: "scan"; deep: boolean; attempts: number }
  | { kind: "compare"; stat: Float64Array }
  | { kind: "content"; reading: Reading; delta: DeltaContent | undefined; attempts: number }
);

/** The node that must be mirrored for the task to make sense. */
export function placeOf(task: Task): number {
  return task.kind === "newFile" || task.kind === "link" ? task.parent : task.node;
}
