/** The door of the subjects: everything that can be measured, in the order of the tables. */
import { floor } from "./floor.ts";
import { lockstepLink, lockstepLocal } from "./lockstep.ts";
import { lsyncd } from "./lsyncd.ts";
import { rsyncLoop } from "./rsync-loop.ts";
import type { Subject } from "./subject.ts";
import { syncthing } from "./syncthing.ts";
import { unison } from "./unison.ts";

export { type CutCounts, type CutSubject, cutSubjects } from "./cut-subjects.ts";
export { floor } from "./floor.ts";
export { journalless, lockstepLink, lockstepLocal } from "./lockstep.ts";
export { rsyncOptions } from "./rsync-daemon.ts";
export { type Phase, type Seeder, seeders } from "./seeders.ts";
export type { RunningSubject, StartRequest, Subject } from "./subject.ts";

export const fastSubjects: readonly Subject[] = [floor, lockstepLink, lockstepLocal];
export const slowSubjects: readonly Subject[] = [rsyncLoop, lsyncd, unison, syncthing];
