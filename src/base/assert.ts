/** Assertions detect bugs in Lockstep itself; they stay on in production and are never caught. */

export class AssertionError extends Error {
  constructor(message: string) {
    super(`assertion failed: ${message}`);
    this.name = "AssertionError";
  }
}

/**
 * Throws AssertionError when `condition` is false: the only correct reaction to a bug is to stop.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Makes the compiler prove that a switch over a union is complete. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable value ${String(value)}`);
}
