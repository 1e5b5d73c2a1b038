/** `RecentNodes`: the few nodes that were noted last, the latest first. */
export class RecentNodes {
  readonly nodes: number[] = [];
  readonly #countMax: number;

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  note(node: number): void {
    const { nodes } = this;
    if (nodes[0] === node) return;
    const at = nodes.indexOf(node);
    if (at > 0) nodes.splice(at, 1);
    else if (nodes.length === this.#countMax) nodes.pop();
    nodes.unshift(node);
  }
}
