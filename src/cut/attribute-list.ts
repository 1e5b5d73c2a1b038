/**
 * What the kernel does by itself to extended attributes of the target, so that the tree goes on
 * saying what the target has. In and out: serialised lists (Files.getAttributes' form: sorted, u16
 * name bytes, name, u32 value bytes, value). Lists of a peer are not trusted to have that form.
 */

/** Taken away by every write, truncation and change of owner (man 7 capabilities). */
export const capabilityName: Uint8Array = Buffer.from("security.capability");

/** The list without the attribute, or the list itself when it does not have it. */
export function withoutAttribute(list: Uint8Array, attribute: Uint8Array): Uint8Array {
  const view = new DataView(list.buffer, list.byteOffset, list.length);
  for (let at = 0; at + 2 <= list.length;) {
    const nameEnd = at + 2 + view.getUint16(at, true);
    if (nameEnd + 4 > list.length) break;
    const valueEnd = nameEnd + 4 + view.getUint32(nameEnd, true);
    if (valueEnd > list.length) break;
    if (Buffer.compare(list.subarray(at + 2, nameEnd), attribute) === 0) {
      return Buffer.concat([list.subarray(0, at), list.subarray(valueEnd)]);
    }
    at = valueEnd;
  }
  return list;
}
