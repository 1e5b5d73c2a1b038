/** Limits of a cut. */

/** Rounds of reading after which an epoch is committed as fuzzy. */
export const roundCountMax = 8;
/** Bytes of a file that is being written in order, sent as one epoch. */
export const orderedBytesMax = 4194304;
/** Descriptors of source files kept open between reads. */
export const readableCountMax = 256;
/**
 * Rounds in which something that just moved is tried anew, each with a fresh drain, before
 * everything is compared.
 */
export const openAttemptsMax = 32;
