/**
 * A `Slot`: one name of one directory with what was observed there.
 * `stat` is a copy of the stat record; undefined when nothing has that name.
 */
import { Stat } from "../world/index.ts";
import { latin1 } from "./dirty-set.ts";

export interface Slot {
  readonly parent: number;
  readonly name: Uint8Array;
  readonly stat: Float64Array | undefined;
}

export function slotKey(parent: number, name: Uint8Array): string {
  return `${parent}/${latin1(name)}`;
}

export function inoOf(slot: Slot): number {
  return slot.stat![Stat.ino]!;
}

export function genOf(slot: Slot): number {
  return slot.stat![Stat.gen]!;
}
