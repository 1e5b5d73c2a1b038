export {
  basisBytesMax,
  blockBytesMax,
  blockBytesMin,
  blockBytesOf,
  blockCountOf,
  signatureBytesOf,
  strongBytes,
} from "./block-length.ts";
export { DeltaSearch } from "./delta-search.ts";
export type { Runs } from "./runs.ts";
export { SignatureReader, signaturePieceBytesMax } from "./signature.ts";
export type { Signature } from "./signature.ts";
export { SignatureWriter } from "./signature-writer.ts";
export type { SignatureWriterOptions } from "./signature-writer.ts";
