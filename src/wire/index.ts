export {
  AnswerStatus,
  answerPartBytesMax,
  AskKind,
  decodeAnswer,
  decodeAsk,
  digestRangeBytesMax,
  encodeAnswer,
  encodeAsk,
  saltBytes,
} from "./ask.ts";
export type { Answer, Ask, DigestAsk, SignatureAsk } from "./ask.ts";
export {
  controlTextCharsMax,
  decodeBye,
  decodeHello,
  decodeProblem,
  decodeWelcome,
  encodeControl,
} from "./control.ts";
export type { Bye, Hello, Welcome, WireProblem } from "./control.ts";
export {
  blankDigest,
  comparableAttributes,
  decodeDigest,
  DigestFlag,
  digestHashBytes,
  encodeDigest,
  NamesHash,
} from "./digest.ts";
export type { Digest, Sha256 } from "./digest.ts";
export { FrameReader } from "./frame-reader.ts";
export { f64, u32 } from "./little-endian.ts";
export {
  holdPrefix,
  isHoldName,
  isKeepKey,
  keepKeyBytesMax,
  keepKeyOf,
  keepPrefix,
} from "./hold-prefix.ts";
export {
  decodeManifestEntry,
  decodeManifestOrigin,
  encodeManifestEntry,
  encodeManifestOrigin,
  tellEntry,
} from "./manifest.ts";
export type { ManifestEntry } from "./manifest.ts";
export { decodeCommit, decodeOperation, placesIn } from "./op-decoder.ts";
export type { Commit, Operations, Place } from "./op-decoder.ts";
export { OpWriter } from "./op-writer.ts";
export { noOrigin } from "./origin.ts";
export type { Origin } from "./origin.ts";
export {
  ackBytes,
  attributesBytesMax,
  cloneBytesMax,
  CommitFlag,
  commitFrameBytes,
  firstOperationType,
  frameBytesMax,
  FrameType,
  mixChecksum,
  protocolVersion,
  symlinkBytesMax,
  writeBytesMax,
} from "./protocol.ts";
export {
  decodeExpand,
  decodeExpanded,
  decodeSubtree,
  encodeExpand,
  encodeExpanded,
  encodeSubtree,
  expandCountMax,
} from "./subtree.ts";
export type { Expand, Subtree } from "./subtree.ts";
export { decodeEpoch, encodeCommit, wholeEpoch } from "./whole-epoch.ts";
export {
  decodeVerifyAnswer,
  decodeVerifyAsk,
  encodeVerifyAnswer,
  encodeVerifyAsk,
  verifyAskCountMax,
  VerifyKind,
} from "./verify.ts";
export type { VerifyAnswer, VerifyAsk, VerifyEntry, VerifyParts } from "./verify.ts";
