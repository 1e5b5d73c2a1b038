/**
 * Device IDs: base32(SHA-256(SPKI)) of a device's Ed25519 key, 52 characters. That text is the
 * identity everywhere in the program; two other things are only for people:
 * - the pretty form, four groups of 13 characters, each followed by a check character (Luhn mod 32)
 *   and cut into two, so 8 groups of 7 with dashes: a mistyped or swapped character is found;
 * - parsing, which takes either form in any case with dashes and spaces anywhere, and otherwise
 *   says what is wrong and where.
 * Source: the check is Luhn's algorithm for N symbols (ISO/IEC 7812 generalised).
 */
import { createHash } from "node:crypto";

import { SyncError } from "../base/index.ts";
import { base32Alphabet, decodeBase32, encodeBase32 } from "./base32.ts";

export const DEVICE_ID_CHARS = 52;
const HASH_BYTES = 32;
const GROUP_CHARS = 13;
const PRETTY_CHARS = DEVICE_ID_CHARS + DEVICE_ID_CHARS / GROUP_CHARS;

/** The ID of the key whose SubjectPublicKeyInfo (DER) is `spki`. */
export function deviceIdOf(spki: Uint8Array): string {
  return encodeBase32(createHash("sha256").update(spki).digest());
}

/** True for the one canonical form: 52 characters that decode to 32 bytes. */
export function isDeviceId(text: string): boolean {
  return decodeBase32(text, HASH_BYTES) !== undefined;
}

/** Writes an ID for people: `XXXXXXX-XXXXXXX-…`, 8 groups of 7 with check characters. */
export function formatDeviceId(id: string): string {
  let text = "";
  for (let start = 0; start < DEVICE_ID_CHARS; start += GROUP_CHARS) {
    const group = id.slice(start, start + GROUP_CHARS);
    text += group + checkCharacter(group);
  }
  return (text.match(/.{7}/g) ?? []).join("-");
}

/**
 * Reads an ID that a person typed or pasted: the 52 characters or the pretty form.
 * Errors: USAGE, with the first mistake and its place; never a guess.
 */
export function parseDeviceId(text: string): string {
  const characters: string[] = [];
  for (const [index, raw] of [...text.trim()].entries()) {
    if (raw === "-" || raw === " ") continue;
    const character = raw.toUpperCase();
    if (!base32Alphabet.includes(character)) throw wrong(strangerText(raw, index + 1));
    characters.push(character);
    if (characters.length > PRETTY_CHARS) break;
  }
  const compact = characters.join("");
  const id = compact.length === PRETTY_CHARS ? withoutChecks(compact) : compact;
  if (id.length !== DEVICE_ID_CHARS) {
    const count = compact.length > PRETTY_CHARS ? "too many" : String(compact.length);
    throw wrong(`it has ${count} characters, not ${DEVICE_ID_CHARS} or ${PRETTY_CHARS}`);
  }
  if (!isDeviceId(id)) throw wrong(`the last character, '${id.slice(-1)}', must be A or Q`);
  return id;
}

function withoutChecks(pretty: string): string {
  let id = "";
  for (let start = 0; start < PRETTY_CHARS; start += GROUP_CHARS + 1) {
    const group = pretty.slice(start, start + GROUP_CHARS);
    const check = pretty.charAt(start + GROUP_CHARS);
    if (checkCharacter(group) !== check) {
      const shown = `${group.slice(0, 7)}-${group.slice(7)}${check}`;
      throw wrong(`there is a typing mistake in ${shown}`);
    }
    id += group;
  }
  return id;
}

function checkCharacter(group: string): string {
  let sum = 0;
  let factor = 2;
  for (let index = group.length - 1; index >= 0; index -= 1) {
    const product = factor * base32Alphabet.indexOf(group.charAt(index));
    sum += Math.floor(product / 32) + (product % 32);
    factor = 3 - factor;
  }
  return base32Alphabet.charAt((32 - (sum % 32)) % 32);
}

function strangerText(character: string, place: number): string {
  const meant = new Map([
    ["0", "O"],
    ["1", "I or L"],
    ["8", "B"],
  ]).get(character);
  const hint = meant === undefined ? "" : ` (did you mean ${meant}?)`;
  return `character ${place}, ${JSON.stringify(character)}, is not a letter or 2 to 7${hint}`;
}

function wrong(why: string): SyncError {
  return new SyncError("USAGE", `not a device ID: ${why}`);
}
