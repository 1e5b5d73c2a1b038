/**
 * Control messages: rare, self-describing (JSON), validated by schema before anything uses them.
 *
 * hello (who asks) -> welcome (who grants) or bye; then binary frames. `bye` ends a session with a
 * reason, `problem` tells of a path that could not be brought over.
 */
import * as v from "valibot";
import { SyncError } from "../base/index.ts";
import { controlBytesMax } from "./protocol.ts";

/** Longer texts are refused by who decodes them. */
export const controlTextCharsMax = 4096;
const text = v.pipe(v.string(), v.maxLength(controlTextCharsMax));

const helloSchema = v.object({
  protocol: v.pipe(v.number(), v.integer()),
  version: text,
  features: v.pipe(v.array(text), v.maxLength(64)),
  /** What is asked for: `send` mirrors into the share, `verify` compares it and changes nothing. */
  intent: text,
  share: text,
  subpath: text,
  device: text,
  /** Which tree of files the origins are of (feature `origins`). */
  origin: v.optional(text),
  /** What an acknowledgement is to survive, and whether unproved moments may show. */
  durability: v.optional(v.picklist(["process", "power"])),
  consistency: v.optional(v.picklist(["bounded", "strict"])),
  /** With the intent `verify`: what all hashes begin with, and bytes a second, 0 for no limit. */
  verify: v.optional(
    v.object({
      salt: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
      rate: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
    }),
  ),
});
export type Hello = v.InferOutput<typeof helloSchema>;

const welcomeSchema = v.object({
  protocol: v.pipe(v.number(), v.integer()),
  version: text,
  features: v.pipe(v.array(text), v.maxLength(64)),
  /** Whether the target may set owners and make devices. */
  privileged: v.boolean(),
});
export type Welcome = v.InferOutput<typeof welcomeSchema>;

const byeSchema = v.object({ code: text, message: text });
export type Bye = v.InferOutput<typeof byeSchema>;

const problemSchema = v.object({
  path: text,
  operation: text,
  errno: text,
  /** So many more of this kind, of other paths; one, of this path, when absent. */
  count: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
});
export type WireProblem = v.InferOutput<typeof problemSchema>;

export function encodeControl(message: Hello | Welcome | Bye | WireProblem): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(message));
}

export function decodeHello(bytes: Uint8Array, start: number, end: number): Hello {
  return decode(helloSchema, bytes, start, end);
}

export function decodeWelcome(bytes: Uint8Array, start: number, end: number): Welcome {
  return decode(welcomeSchema, bytes, start, end);
}

export function decodeBye(bytes: Uint8Array, start: number, end: number): Bye {
  return decode(byeSchema, bytes, start, end);
}

export function decodeProblem(bytes: Uint8Array, start: number, end: number): WireProblem {
  return decode(problemSchema, bytes, start, end);
}

function decode<T>(
  schema: v.GenericSchema<unknown, T>,
  bytes: Uint8Array,
  start: number,
  end: number,
): T {
  if (end - start > controlBytesMax) {
    throw new SyncError("PEER_MALFORMED", "a control message is too long");
  }
  let value: unknown;
  try {
    value = JSON.parse(
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(start, end)),
    );
  } catch (cause) {
    throw new SyncError("PEER_MALFORMED", "a control message is not JSON", { cause });
  }
  const parsed = v.safeParse(schema, value);
  if (!parsed.success) {
    throw new SyncError(
      "PEER_MALFORMED",
      `a control message lacks its form: ${parsed.issues[0].message}`,
    );
  }
  return parsed.output;
}
