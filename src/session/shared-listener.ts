/** What the sessions of other targets, which share the capture, tell this one. */
import type { Listener } from "../capture/index.ts";
import type { Cutter } from "../cut/index.ts";
import type { Tree } from "../tree/index.ts";

/** Of this session's cut; `wake` has it drain. */
export function listenerOf(cutter: Cutter, tree: Tree, wake: () => void): Listener {
  const { dirty, stores } = cutter;
  return {
    sink: dirty,
    wake,
    unfinished: () => dirty.unfinished(),
    cleaned: (ino, gen, from, to) => {
      const node = tree.byInode(ino, gen);
      if (node === 0) return;
      stores.cleaned(node, from, to);
      dirty.addChanged(node, from, to);
    },
  };
}
