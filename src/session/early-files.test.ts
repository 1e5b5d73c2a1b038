import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Applier } from "../apply/index.ts";
import { ProblemLog } from "../model/index.ts";
import { rootId, Tree } from "../tree/index.ts";
import { decodeOperation, FrameReader, OpWriter } from "../wire/index.ts";
import { type Files, Open } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { EarlyFiles } from "./early-files.ts";

const text = (value: string): Uint8Array => new Uint8Array(Buffer.from(value));
/** Of 128 descriptors, which every process has for this, three quarters. */
const earlyCountMax = 96;

/** Sends operations of one epoch; what is not taken early is held until `commit`. */
class Rig {
  readonly root: string = fs.mkdtempSync(join(tmpdir(), "lockstep-early-"));
  readonly rootFd: number = native().openPath(Buffer.from(this.root), Open.read | Open.directory);
  readonly applier: Applier;
  readonly early: EarlyFiles;
  readonly #writer: OpWriter;
  #held: (() => void)[] = [];
  #isEarly = false;

  constructor(context: TestContext) {
    // No word of the process's own limits: the least is taken.
    const unlimited = { openPath: () => -2 };
    const files: Files = Object.assign(Object.create(native()) as Files, unlimited);
    this.applier = new Applier(files, this.rootFd, new Tree(), new ProblemLog(() => assert.fail()));
    this.early = new EarlyFiles(this.applier, false, { passes: () => true, holds: () => false });
    const reader = new FrameReader((type, bytes, start, end) => {
      this.#isEarly = this.early.take(type, bytes, start, end);
      const frame = bytes.slice(start, end);
      const apply = (): void => decodeOperation(type, frame, 0, frame.length, this.applier);
      if (!this.#isEarly) this.#held.push(apply);
    });
    this.#writer = new OpWriter((piece) => reader.push(piece));
    context.after(() => {
      this.applier.close();
      native().close(this.rootFd);
      fs.rmSync(this.root, { recursive: true });
    });
  }

  /** Whether it was taken early. */
  send(one: (writer: OpWriter) => void): boolean {
    one(this.#writer);
    this.#writer.flush();
    return this.#isEarly;
  }

  write(node: number, position: number, value: string): boolean {
    return this.send((w) => {
      const bytes = text(value);
      const space = w.beginWrite(node, position, bytes.length);
      space.bytes.set(bytes, space.offset);
      w.endWrite(bytes.length);
    });
  }

  commit(): void {
    this.early.clear();
    for (const apply of this.#held) apply();
    this.#held = [];
  }
}

test("files in a new folder are written early, and nobody sees it", (context) => {
  const rig = new Rig(context);
  assert.ok(rig.send((w) => w.create(2, 0o040755, 0, text(""))));
  assert.ok(rig.send((w) => w.create(3, 0o100644, 0, text(""))));
  assert.ok(!rig.send((w) => w.place(2, rootId, text("d"))));
  assert.ok(!rig.send((w) => w.meta(2, 0o755, process.getuid!(), process.getgid!())));
  assert.ok(rig.write(3, 0, "early"));
  assert.ok(rig.send((w) => w.times(3, 1, 2)));
  assert.ok(!rig.send((w) => w.place(3, 2, text("f"))));
  assert.deepEqual(fs.readdirSync(rig.root), []);
  assert.equal(rig.applier.stagedOpenCount, 1);
  rig.commit();
  assert.equal(fs.readFileSync(join(rig.root, "d/f"), "utf8"), "early");
  assert.equal(rig.applier.stagedOpenCount, 0);
});

test("beyond the count a file is held, epochs that wait included", (context) => {
  const rig = new Rig(context);
  const first = 2;
  const end = first + earlyCountMax;
  for (let node = first; node <= end + 1; node++) {
    assert.ok(rig.send((w) => w.create(node, 0o100644, 0, text(""))));
  }
  for (let node = first; node < end; node++) assert.ok(rig.write(node, 0, "a"));
  assert.ok(!rig.write(end, 0, "b"));
  for (let node = first; node <= end; node++) {
    assert.ok(!rig.send((w) => w.place(node, rootId, text(`n${node}`))));
  }
  // Whole, and not applied yet: the next epoch's files find no room either.
  rig.early.clear();
  assert.ok(!rig.write(end + 1, 0, "c"));
  rig.commit();
  assert.equal(fs.readFileSync(join(rig.root, `n${end}`), "utf8"), "b");
  assert.ok(rig.send((w) => w.create(end + 2, 0o100644, 0, text(""))));
  assert.ok(rig.write(end + 2, 0, "d"));
});

test("a file that is held stays in order when there is room again", (context) => {
  const rig = new Rig(context);
  const last = 2 + earlyCountMax;
  for (let node = 2; node <= last; node++) rig.send((w) => w.create(node, 0o100644, 0, text("")));
  for (let node = 2; node < last; node++) rig.write(node, 0, "a");
  assert.ok(!rig.write(last, 0, "one"));
  removeOne(rig, 2);
  assert.ok(!rig.write(last, 1, "w"));
  rig.send((w) => w.place(last, rootId, text("f")));
  rig.commit();
  assert.equal(fs.readFileSync(join(rig.root, "f"), "utf8"), "owe");
});

/** An earlier epoch is applied meanwhile, and its descriptor closed. */
function removeOne(rig: Rig, node: number): void {
  rig.applier.remove(node);
  assert.equal(rig.applier.stagedOpenCount, earlyCountMax - 1);
}
