/**
 * `changedFiles`: an `Operations` that carries nothing out, and tells whose content operations are
 * going to change, so that it can be kept first, in steps, before any of them is carried out.
 */
import type { Operations } from "../wire/index.ts";

const nothing = (): void => {};

/** Carries nothing out. */
export const deafOperations: Operations = {
  write: nothing,
  zero: nothing,
  truncate: nothing,
  clone: nothing,
  create: nothing,
  place: nothing,
  rename: nothing,
  link: nothing,
  unlink: nothing,
  keep: nothing,
  remove: nothing,
  detach: nothing,
  meta: nothing,
  times: nothing,
  attributes: nothing,
  origin: nothing,
};

/** `tell` hears of each node before each change of it. */
export function changedFiles(tell: (node: number) => void): Operations {
  return { ...deafOperations, write: tell, zero: tell, truncate: tell, clone: tell };
}
