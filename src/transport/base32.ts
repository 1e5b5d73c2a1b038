/**
 * Base32 (RFC 4648 section 6, upper case, no padding): how device IDs and pairing secrets are
 * written for people. Decoding is strict: one text for each byte string, so that an ID can be
 * compared as text.
 */

export const base32Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** Encodes `bytes`; the result has ceil(8n/5) characters. */
export function encodeBase32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += base32Alphabet.charAt((value >>> bits) & 31);
    }
    value &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + base32Alphabet.charAt((value << (5 - bits)) & 31);
}

/**
 * Decodes exactly what encodeBase32 writes for `byteCount` bytes; undefined for anything else
 * (another length, a foreign character, bits set beyond the last byte).
 */
export function decodeBase32(text: string, byteCount: number): Uint8Array | undefined {
  if (text.length !== Math.ceil((byteCount * 8) / 5)) return undefined;
  const bytes = new Uint8Array(byteCount);
  let bits = 0;
  let value = 0;
  let length = 0;
  for (const character of text) {
    const digit = base32Alphabet.indexOf(character);
    if (digit < 0) return undefined;
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[length] = value >>> bits;
      length += 1;
      value &= (1 << bits) - 1;
    }
  }
  return value === 0 ? bytes : undefined;
}
