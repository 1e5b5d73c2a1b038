/** What a target tells its source besides answers: each a control message. */
import type { Problem } from "../model/index.ts";
import { controlTextCharsMax, encodeControl } from "../wire/index.ts";
import { originsFeature, ourSide } from "./greeting.ts";

/** What went wrong with one path, or with how many. A long path is cut at its beginning. */
export function problemWord({ path, operation, errno }: Problem, count?: number): Uint8Array {
  const text =
    path.length <= controlTextCharsMax ? path : `…${path.slice(1 - controlTextCharsMax)}`;
  return encodeControl({ path: text, operation, errno, count });
}

/** The first one. Without an index it remembers no origins, and digests are to be without them. */
export function welcomeWord(privileged: boolean, hasOrigins: boolean): Uint8Array {
  const own = ourSide(hasOrigins ? undefined : originsFeature);
  return encodeControl({ ...own, privileged });
}
