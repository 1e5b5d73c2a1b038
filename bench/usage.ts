/**
 * What the processes of a product have cost so far: CPU time and the peak of resident memory.
 *
 * In: the id of a process that leads its own group, as every process of the bench does (see
 * processes.ts). Out: sums over the members of the group; CPU time of members that have ended is
 * with their parent, once that has waited for them. Where the processes have ended before
 * anybody can ask (rsync), native/usage.c measures instead.
 *
 * A peak counts from the start, or from the last resetPeaks(). Pages that processes share count
 * for each of them, so a group's sum is at least what it held.
 * Source: proc(5): /proc/PID/stat, VmHWM in /proc/PID/status, /proc/PID/clear_refs.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { ProcessError } from "./processes.ts";

export interface Usage {
  /** User and system time. */
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

/** USER_HZ: in /proc the same on every architecture of Linux that Node runs on. */
const ticksPerSecond = 100;
const peakReset = "5";

export interface ProcessTimes {
  readonly group: number;
  /** False for a zombie: its times stand there until its parent has waited for it. */
  readonly isAlive: boolean;
  readonly cpuSeconds: number;
}

/** Parses /proc/PID/stat. The name in brackets may hold anything, brackets and blanks too. */
export function parseStat(text: string): ProcessTimes | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const group = Number(fields[2]);
  // utime, stime, and those of children that were waited for.
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  if (fields.length < 15 || !Number.isInteger(group) || !Number.isFinite(ticks)) return undefined;
  const isAlive = fields[0] !== "Z" && fields[0] !== "X";
  return { group, isAlive, cpuSeconds: ticks / ticksPerSecond };
}

/** Parses VmHWM of /proc/PID/status; 0 for what has no memory (a zombie). */
export function parsePeakBytes(text: string): number {
  return Number(/^VmHWM:\s*(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}

/** Sums what the processes of group `leader` have used. Throws if none of them is alive. */
export async function readUsage(leader: number): Promise<Usage> {
  const members = await membersOf(leader);
  if (!members.some(({ isAlive }) => isAlive))
    throw new ProcessError(`process ${leader} has ended too early`);
  let [cpuSeconds, peakBytes] = [0, 0];
  for (const member of members) {
    cpuSeconds += member.cpuSeconds;
    peakBytes += parsePeakBytes(await readProc(member.pid, "status"));
  }
  return { cpuSeconds, peakBytes };
}

/** Lets the peaks of group `leader` count from now. */
export async function resetPeaks(leader: number): Promise<void> {
  for (const { pid } of await membersOf(leader)) {
    await writeFile(`/proc/${pid}/clear_refs`, peakReset);
  }
}

/** What was used between two readings; the peak is that of the later one. */
export function usedBetween(before: Usage, after: Usage): Usage {
  return { cpuSeconds: after.cpuSeconds - before.cpuSeconds, peakBytes: after.peakBytes };
}

async function membersOf(leader: number): Promise<(ProcessTimes & { readonly pid: number })[]> {
  const found: (ProcessTimes & { readonly pid: number })[] = [];
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const times = parseStat(await readProc(pid, "stat"));
    if (times?.group === leader) found.push({ pid, ...times });
  }
  return found;
}

/** Empty for a process that has ended meanwhile. */
async function readProc(pid: number, name: string): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/${name}`, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ESRCH") return "";
    throw error;
  }
}
