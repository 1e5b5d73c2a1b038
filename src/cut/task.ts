/** `Task`: a piece of work that a round has planned, done when there is room for its frames. */
import type { Reading } from "./content-reader.ts";
import type { DeltaContent } from "./delta-content.ts";
import type { SeenFile } from "./source-files.ts";

/** What of the comparison waits for a task: names of files, and bytes of their content. */
export interface TaskWeight {
  readonly files: number;
  readonly bytes: number;
  /** Of these bytes the ones yet to be compared or sent. */
  left: number;
}

/** Work on a node. `birth` finds out a node that is gone and whose id another one has. */
export type Task = { node: number; birth: number; weight: TaskWeight } & (
  | {
      kind: "newFile";
      parent: number;
      name: Uint8Array;
      reading: Reading;
      delta: DeltaContent | undefined;
      fd: number;
      /** When it was planned. */
      seen: SeenFile | undefined;
    }
  | { kind: "link"; parent: number; name: Uint8Array }
  | { kind: "scan"; deep: boolean; attempts: number }
  | { kind: "compare"; stat: Float64Array }
  | { kind: "content"; reading: Reading; delta: DeltaContent | undefined; attempts: number }
);

/** Of what no progress is told of, as of changes while live. */
export const weightless: TaskWeight = { files: 0, bytes: 0, left: 0 };

export function weightOf(files: number, bytes: number): TaskWeight {
  return { files, bytes, left: bytes };
}

/** Bytes of the file that a task has compared or sent. */
export function bytesDone(task: Task): number {
  if (task.kind !== "newFile" && task.kind !== "content") return 0;
  return task.delta === undefined ? Math.max(0, task.reading.position) : task.delta.bytesDone;
}

/** The node that must be mirrored for the task to make sense. */
export function placeOf(task: Task): number {
  return task.kind === "newFile" || task.kind === "link" ? task.parent : task.node;
}
