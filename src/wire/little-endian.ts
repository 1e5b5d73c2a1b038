/**
 * Numbers in frames: little-endian, at any offset. A DataView for each frame would cost more than
 * the numbers in it. The caller has checked that the bytes are there.
 */

export function u32(bytes: Uint8Array, at: number): number {
  const high = (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  return (bytes[at]! | (bytes[at + 1]! << 8) | high) >>> 0;
}

const scratch: Uint8Array = new Uint8Array(8);
const scratchView: DataView = new DataView(scratch.buffer);

export function f64(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < 8; i++) scratch[i] = bytes[at + i]!;
  return scratchView.getFloat64(0, true);
}
