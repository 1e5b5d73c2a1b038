/** Limits of a cut. */

/** Rounds of reading after which an epoch is committed as fuzzy. */
export const roundCountMax = 8;
/** Rounds after which an epoch is committed as fuzzy because it may lack something. */
export const lackRoundCountMax = 3;
/** Bytes of a file that is being written in order, sent as one epoch. */
export const orderedBytesMax = 4194304;
/**
 * Shorter content is sent whole: while the target is made equal, and later, when an answer of the
 * target would have the change wait.
 */
export const deltaSeedBytesMin = 65536;
export const deltaLiveBytesMin = 1048576;
/** Bytes of a file that a live target copies from what it has; of more the file is sent whole. */
export const clonedLiveBytesMax = 536870912;
/** New files of this size are kept by the target when a link ends before they are whole. */
export const keptBytesMin = 4194304;
/** Names of which is remembered what had them last. */
export const formerNameCountMax = 64;
/** Files of one size and time that are looked at for a basis. */
export const twinCountMax = 64;
/** Tasks that wait for an answer of the target while others go on. */
export const waitingTaskCountMax = 64;
/** Descriptors of source files kept open between reads. */
export const readableCountMax = 256;
/**
 * Rounds in which something that just moved is tried anew, each with a fresh drain, before
 * everything is compared.
 */
export const openAttemptsMax = 32;
/** Epochs that begin with their hot extents after one that could not be closed otherwise. */
export const warmEpochCount = 32;
/** Files that were hot lately, whose writes are followed while others are read. */
export const recentHotCountMax = 16;
