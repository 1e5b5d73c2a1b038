import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { rootId, Tree } from "./tree.ts";

const ascending = (a: number, b: number): number => a - b;

const directory = 0o040755;
const regular = 0o100644;
const encoder = new TextEncoder();
const nameOf = (index: number): Uint8Array => encoder.encode(`n${index}`);

interface ModelNode {
  isDirectory: boolean;
  birth: number;
  /** `ino.gen`, or nothing. */
  key: string | undefined;
}

/** A folder as plain objects: what Tree must be equal to. */
class Model {
  readonly nodes: Map<number, ModelNode> = new Map();
  /** `parent/name` to node. */
  readonly names: Map<string, number> = new Map();

  namesOf(node: number): string[] {
    return [...this.names].filter(([, at]) => at === node).map(([key]) => key);
  }

  childrenOf(node: number): string[] {
    return [...this.names.keys()].filter((key) => parentOf(key) === node);
  }

  isWithin(node: number, ancestor: number): boolean {
    for (let at = node; ;) {
      if (at === ancestor) return true;
      const [name] = this.namesOf(at);
      if (name === undefined) return false;
      at = parentOf(name);
    }
  }

  remove(node: number): void {
    for (const name of this.namesOf(node)) this.names.delete(name);
    this.nodes.delete(node);
    for (const name of this.childrenOf(node)) {
      const child = this.names.get(name)!;
      this.names.delete(name);
      if (this.namesOf(child).length === 0) this.remove(child);
    }
  }
}

function parentOf(key: string): number {
  return Number(key.slice(0, key.indexOf("/")));
}

/** One step, with numbers from which the step picks its nodes and names. */
const step = fc.record({
  kind: fc.constantFrom("create", "create", "link", "move", "unname", "remove", "bind", "unbind"),
  a: fc.nat(),
  b: fc.nat(),
  name: fc.nat(5),
  bit: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Applies a step to both; steps that the tree's contract forbids are left out. */
function apply({ kind, a, b, name, bit }: Step, tree: Tree, model: Model): void {
  const ids = [...model.nodes.keys()];
  const directories = ids.filter((id) => model.nodes.get(id)!.isDirectory);
  const node = ids[a % ids.length]!;
  const parent = directories[b % directories.length]!;
  const key = `${parent}/n${name}`;
  const free = !model.names.has(key);
  const own = model.namesOf(node);
  const isDirectory = model.nodes.get(node)!.isDirectory;
  if (kind === "create") {
    const fresh = tree.addNode(bit ? directory : regular);
    assert.ok(!model.nodes.has(fresh));
    model.nodes.set(fresh, { isDirectory: bit, birth: tree.birth[fresh]!, key: undefined });
    if (!free) return;
    tree.addName(parent, nameOf(name), fresh);
    model.names.set(key, fresh);
  } else if (kind === "link") {
    if (!free || (isDirectory && (own.length > 0 || model.isWithin(parent, node)))) return;
    if (node === rootId) return;
    tree.addName(parent, nameOf(name), node);
    model.names.set(key, node);
  } else if (kind === "move") {
    const from = own[b % Math.max(1, own.length)];
    if (!free || from === undefined || (isDirectory && model.isWithin(parent, node))) return;
    tree.removeName(tree.names.find(parentOf(from), encoder.encode(from.split("/")[1])));
    tree.addName(parent, nameOf(name), node);
    model.names.delete(from);
    model.names.set(key, node);
  } else if (kind === "unname") {
    const id = tree.names.find(parent, nameOf(name));
    assert.equal(id === 0, free);
    if (free) return;
    tree.removeName(id);
    model.names.delete(key);
  } else if (kind === "remove") {
    if (node === rootId) return;
    const before = new Set(ids);
    const gone: number[] = [];
    tree.removeNode(node, (id) => gone.push(id));
    model.remove(node);
    const lost = [...before].filter((id) => !model.nodes.has(id));
    assert.deepEqual(gone.sort(ascending), lost.sort(ascending));
  } else if (kind === "bind") {
    const ino = 1 + (b % 7);
    const gen = b % 2;
    tree.bindInode(node, ino, gen);
    for (const other of model.nodes.values()) {
      if (other.key === `${ino}.${gen}`) other.key = undefined;
    }
    model.nodes.get(node)!.key = `${ino}.${gen}`;
  } else {
    tree.unbindInode(node);
    model.nodes.get(node)!.key = undefined;
  }
}

function check(tree: Tree, model: Model): void {
  assert.equal(tree.nodeCount, model.nodes.size);
  assert.equal(tree.nameCount, model.names.size);
  for (let id = 1; id < tree.endId; id++) assert.equal(tree.isLive(id), model.nodes.has(id));
  for (const [id, node] of model.nodes) {
    assert.equal(tree.isDirectory(id), node.isDirectory);
    assert.ok(tree.isSame(id, node.birth));
    const children: string[] = [];
    const { names } = tree;
    for (let at = tree.firstChild[id]!; at !== 0; at = names.nextSibling[at]!) {
      const next = names.nextSibling[at]!;
      if (next !== 0) assert.equal(names.previousSibling[next], at);
      const text = Buffer.from(names.bytes(at)).toString();
      children.push(`${id}/${text}`);
      assert.equal(tree.child(id, encoder.encode(text)), names.node[at]);
      assert.equal(model.names.get(`${id}/${text}`), names.node[at]);
    }
    assert.deepEqual(children.sort(), model.childrenOf(id).sort());
    const own: string[] = [];
    for (let at = tree.firstName[id]!; at !== 0; at = names.nextOfNode[at]!) {
      own.push(`${names.parent[at]}/${Buffer.from(names.bytes(at)).toString()}`);
    }
    assert.deepEqual(own.sort(), model.namesOf(id).sort());
  }
  for (let ino = 1; ino <= 7; ino++) {
    for (const gen of [0, 1]) {
      const holder = [...model.nodes].find(([, { key }]) => key === `${ino}.${gen}`);
      assert.equal(tree.byInode(ino, gen), holder?.[0] ?? 0);
    }
  }
}

function start(): { tree: Tree; model: Model } {
  const tree = new Tree();
  const model = new Model();
  const birth = tree.birth[rootId]!;
  model.nodes.set(rootId, { isDirectory: true, birth, key: undefined });
  return { tree, model };
}

test("a tree does what a model of plain objects does, whatever the order of steps", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (steps) => {
      const { tree, model } = start();
      for (const one of steps) apply(one, tree, model);
      check(tree, model);
    }),
    { numRuns: 150 },
  );
});

test("a node is within what its names lead up to", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { tree, model } = start();
      for (const one of steps) apply(one, tree, model);
      for (const [id, { isDirectory }] of model.nodes) {
        if (!isDirectory) continue;
        for (const other of model.nodes.keys()) {
          assert.equal(tree.isWithin(id, other), model.isWithin(id, other));
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("columns and ids survive growth, and ids are used again with a new birth number", () => {
  const tree = new Tree();
  const births = new Map<number, number>();
  for (let i = 0; i < 5000; i++) {
    const node = tree.addNode(i % 3 === 0 ? directory : regular);
    tree.size[node] = i * 2 ** 33;
    tree.bindInode(node, 2 ** 40 + i, i);
    tree.addName(rootId, nameOf(i), node);
    births.set(node, tree.birth[node]!);
  }
  for (let i = 0; i < 5000; i++) {
    const node = tree.child(rootId, nameOf(i));
    assert.equal(tree.size[node], i * 2 ** 33);
    assert.equal(tree.byInode(2 ** 40 + i, i), node);
  }
  const end = tree.endId;
  for (let i = 0; i < 5000; i += 2) tree.removeNode(tree.child(rootId, nameOf(i)));
  assert.equal(tree.nodeCount, 2501);
  assert.equal(tree.addNode(regular), end, "ids rest until they are given back");
  tree.giveBackIds(tree.takeFreedIds());
  for (let i = 0; i < 2500; i++) {
    const node = tree.addNode(regular);
    assert.ok(!tree.isSame(node, births.get(node)!), "a used id must not pass for the former node");
    assert.equal(tree.size[node], 0);
    assert.equal(tree.ino[node], 0);
  }
  assert.equal(tree.endId, end + 1);
});

test("an id that the other side has chosen is not given to another node", () => {
  const tree = new Tree();
  const first = tree.addNode(regular);
  tree.removeNode(first);
  tree.giveBackIds(tree.takeFreedIds());
  assert.equal(tree.addNode(regular, first), first);
  assert.notEqual(tree.addNode(regular), first);
  assert.throws(() => tree.addNode(regular, first), /used twice/);
});

test("a freed id rests until it is given back, and then serves once", () => {
  const tree = new Tree();
  const [a, b] = [tree.addNode(regular), tree.addNode(regular)];
  tree.removeNode(a);
  assert.ok(tree.addNode(regular) > b);
  assert.deepEqual(tree.takeFreedIds(), [a]);
  assert.deepEqual(tree.takeFreedIds(), []);
  tree.giveBackIds([a]);
  assert.equal(tree.addNode(regular), a);
  assert.ok(tree.addNode(regular) > b);
});

test("an inode that is bound anew belongs to its new node alone", () => {
  const tree = new Tree();
  const [first, second] = [tree.addNode(regular), tree.addNode(regular)];
  tree.bindInode(first, 5, 6);
  tree.bindInode(second, 5, 6);
  assert.equal(tree.byInode(5, 6), second);
  assert.equal(tree.ino[first], 0);
  tree.removeNode(first);
  assert.equal(tree.byInode(5, 6), second);
  assert.equal(tree.byInode(0, 0), 0);
});

test("a removed directory takes along what has no name elsewhere, and the rest stays", () => {
  const tree = new Tree();
  const outer = tree.addNode(directory);
  tree.addName(rootId, nameOf(1), outer);
  const inner = tree.addNode(directory);
  tree.addName(outer, nameOf(1), inner);
  const linked = tree.addNode(regular);
  tree.addName(inner, nameOf(1), linked);
  tree.addName(rootId, nameOf(2), linked);
  const lost = tree.addNode(regular);
  tree.addName(inner, nameOf(2), lost);
  tree.addName(inner, nameOf(3), lost);
  const gone: number[] = [];
  tree.removeNode(outer, (node) => gone.push(node));
  assert.deepEqual(gone.sort(ascending), [outer, inner, lost].sort(ascending));
  assert.equal(tree.path(linked), "n2");
});

test("a path is told from the root down, also below a node that waits without a name", () => {
  const tree = new Tree();
  let at = rootId;
  for (let i = 0; i < 300; i++) {
    const node = tree.addNode(directory);
    tree.addName(at, nameOf(i), node);
    at = node;
  }
  assert.equal(tree.pathComponents(at)!.length, 300);
  assert.ok(tree.path(at).startsWith("n0/n1/"));
  assert.equal(tree.path(rootId), ".");
  const top = tree.child(rootId, nameOf(0));
  tree.removeName(tree.firstName[top]!);
  assert.equal(tree.pathComponents(at), undefined);
  assert.equal(tree.path(at), "?");
  const held = tree.pathComponents(at, (node) => (node === top ? nameOf(99) : undefined));
  assert.deepEqual(held!.slice(0, 2), [nameOf(99), nameOf(1)]);
});

test("a node with a hundred names is taken apart one name after the other", () => {
  const tree = new Tree();
  const node = tree.addNode(regular);
  for (let i = 0; i < 100; i++) tree.addName(rootId, nameOf(i), node);
  for (let i = 0; i < 100; i++) {
    assert.equal(tree.child(rootId, nameOf((i * 37) % 100)), node);
    tree.removeName(tree.names.find(rootId, nameOf((i * 37) % 100)));
  }
  assert.equal(tree.firstName[node], 0);
  assert.equal(tree.nameCount, 0);
  assert.ok(tree.isLive(node));
});
