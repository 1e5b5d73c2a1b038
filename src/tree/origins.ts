/**
 * `Origins`: by node, what the source's inode was when the state that the target has was told:
 * number, generation and time of the last change (wire/origin.ts). Typed arrays that grow with the
 * ids, 24 bytes a node. Both sides hold one: the source what it has told, the target what it was
 * told.
 */

/** The same fields as on the wire; this room does not know the wire. */
export interface OriginFields {
  readonly ino: number;
  readonly gen: number;
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
}

export class Origins {
  ino: Float64Array = new Float64Array(64);
  gen: Uint32Array = new Uint32Array(64);
  ctimeSec: Float64Array = new Float64Array(64);
  ctimeNsec: Uint32Array = new Uint32Array(64);

  has(node: number): boolean {
    return node < this.ino.length && this.ino[node] !== 0;
  }

  /** Whether the origin is known with the time of its last change. */
  hasChangeTime(node: number): boolean {
    return this.has(node) && (this.ctimeSec[node] !== 0 || this.ctimeNsec[node] !== 0);
  }

  get(node: number): OriginFields {
    if (!this.has(node)) return { ino: 0, gen: 0, ctimeSec: 0, ctimeNsec: 0 };
    const [ino, gen] = [this.ino[node]!, this.gen[node]!];
    return { ino, gen, ctimeSec: this.ctimeSec[node]!, ctimeNsec: this.ctimeNsec[node]! };
  }

  set(node: number, { ino, gen, ctimeSec, ctimeNsec }: OriginFields): void {
    this.reserve(node);
    this.ino[node] = ino;
    this.gen[node] = gen;
    this.ctimeSec[node] = ctimeSec;
    this.ctimeNsec[node] = ctimeNsec;
  }

  /** Of a node whose inode is the same. The hot path. */
  setChangeTime(node: number, sec: number, nsec: number): void {
    if (node >= this.ino.length) return;
    this.ctimeSec[node] = sec;
    this.ctimeNsec[node] = nsec;
  }

  /** The node is another one, or nothing is known of it any more. */
  forget(node: number): void {
    if (node >= this.ino.length) return;
    this.ino[node] = 0;
    this.setChangeTime(node, 0, 0);
  }

  /** Room for the node's fields. */
  reserve(node: number): void {
    if (node < this.ino.length) return;
    const size = Math.max(node + 1, this.ino.length * 2);
    const [ino, ctimeSec] = [new Float64Array(size), new Float64Array(size)];
    const [gen, ctimeNsec] = [new Uint32Array(size), new Uint32Array(size)];
    ino.set(this.ino);
    gen.set(this.gen);
    ctimeSec.set(this.ctimeSec);
    ctimeNsec.set(this.ctimeNsec);
    [this.ino, this.gen, this.ctimeSec, this.ctimeNsec] = [ino, gen, ctimeSec, ctimeNsec];
  }
}
