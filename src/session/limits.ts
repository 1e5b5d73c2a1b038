/** Limits of a session. */

/** Bytes that the source sends before the target says that it has consumed them. */
export const windowBytesMax = 33554432;
/** The target reports what it has consumed at least this often. */
export const creditBytesMin = 4194304;
/** Bytes of an epoch held in memory; what is beyond goes to a spool file. */
export const heldBytesMax = 67108864;
/** Whole epochs that wait to be applied. */
export const epochCountMax = 256;
/** Epochs that wait beyond those while the target is short of space: it goes on listening then. */
export const lowEpochCountMax = 1024;
/** Pieces of frames between the cut and the link. */
export const frameCountMax = 1024;
export const framesBytesMax = 4194304;
/** A peer that is silent for this long is taken for lost; a quiet one pings more often. */
export const silenceMsMax = 15000;
export const pingMs = 5000;
/** A timer may ring this much before its time: milliseconds are rounded. */
export const timerEarlyUs = 2000;
/** Questions to the target that are out at once. */
export const askCountMax = 64;
/** Bytes of the signatures that are asked for at once; a file with a longer one is sent whole. */
export const signaturesBytesMax = 67108864;
/** Time to finish what is in hand when asked to stop. */
export const drainMsMax = 10000;
/** The same for a target in the middle of a large epoch whose link is lost: below `busyMsMax`. */
export const largeDrainMsMax = 25000;
/** Time for hello, scan of the target and manifest to begin. */
export const greetingMsMax = 15000;
