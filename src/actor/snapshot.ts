/**
 * Telemetry as plain data: what the live page draws and what Prometheus is given.
 *
 * In: counters that are kept anyway. Out: a GraphSnapshot, which is JSON. Nothing is computed when
 * nobody looks. Shares and rates are taken against an earlier snapshot that the viewer kept, so
 * any number of viewers may look without disturbing one another.
 */
import type { Veto } from "./behaviour.ts";
import { describe } from "./cell.ts";
import type { ChannelCounters } from "./port.ts";
import type { LatencySummary } from "./latency.ts";

export type AlarmLevel = "none" | "yellow" | "orange" | "red";

/** Fill shares (0 to 1) from which on a channel is yellow, orange, red. */
export interface AlarmThresholds {
  readonly yellow?: number;
  readonly orange?: number;
  readonly red?: number;
}

export interface ActorSnapshot {
  readonly name: string;
  readonly troupe: string;
  readonly solo: boolean;
  /** Share of the time spent in steps, 0 to 1, estimated from sampled steps. */
  readonly load: number;
  readonly stepCount: number;
  readonly busyUs: number;
  readonly restartCount: number;
  readonly lastError: string | undefined;
  readonly lastVeto: string | undefined;
}

export interface ChannelSnapshot {
  readonly name: string;
  /** Undefined: an edge outside of the graph. */
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly capacity: number;
  readonly fill: number;
  readonly fillHighWater: number;
  readonly weight: number;
  readonly weightMax: number;
  /** Mean of sampled fill shares since the earlier snapshot, or the present one if higher. */
  readonly fillShare: number;
  readonly sentCount: number;
  readonly committedCount: number;
  readonly withdrawnCount: number;
  readonly sentPerSecond: number;
  readonly committedPerSecond: number;
  readonly closed: boolean;
  readonly latency: LatencySummary;
  readonly alarm: AlarmLevel;
  /** For the mean between two snapshots. */
  readonly fillShareSum: number;
  readonly fillSampleCount: number;
}

export type GraphPhase = "wiring" | "running" | "stopping" | "stopped" | "failed";

export interface GraphSnapshot {
  readonly phase: GraphPhase;
  /** Monotonic time of the snapshot. */
  readonly atUs: number;
  readonly actors: readonly ActorSnapshot[];
  readonly channels: readonly ChannelSnapshot[];
  readonly vetoes: readonly Veto[];
  readonly failure: { readonly actor: string; readonly message: string } | undefined;
}

/** Counters of an actor since the start. */
export interface ActorCounters {
  readonly name: string;
  readonly troupe: string;
  readonly solo: boolean;
  readonly stepCount: number;
  readonly busyUs: number;
  readonly restartCount: number;
  readonly lastError: unknown;
  readonly lastVeto: string | undefined;
}

/** Makes an actor's entry; `elapsedUs` is the time since `earlier`, or since the start. */
export function actorSnapshot(
  counters: ActorCounters,
  earlier: ActorSnapshot | undefined,
  elapsedUs: number,
): ActorSnapshot {
  const { lastError } = counters;
  const busyUs = Math.max(0, counters.busyUs - (earlier?.busyUs ?? 0));
  return {
    ...counters,
    lastError: lastError === undefined ? undefined : describe(lastError),
    load: elapsedUs <= 0 ? 0 : Math.min(1, busyUs / elapsedUs),
  };
}

export interface ChannelEnds {
  readonly name: string;
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly alarms: AlarmThresholds;
}

/** Makes a channel's entry; `elapsedUs` is the time since `earlier`, or since the start. */
export function channelSnapshot(
  ends: ChannelEnds,
  counters: ChannelCounters,
  earlier: ChannelSnapshot | undefined,
  elapsedUs: number,
): ChannelSnapshot {
  const { fill, capacity, weight, weightMax } = counters;
  const sampleCount = counters.fillSampleCount - (earlier?.fillSampleCount ?? 0);
  const sampleSum = counters.fillShareSum - (earlier?.fillShareSum ?? 0);
  const fillShare = Math.max(
    fill / capacity,
    weightMax === 0 ? 0 : weight / weightMax,
    sampleCount > 0 ? sampleSum / sampleCount : 0,
  );
  const seconds = elapsedUs / 1e6;
  const rate = (now: number, before: number): number =>
    seconds <= 0 ? 0 : (now - before) / seconds;
  return {
    ...counters,
    name: ends.name,
    from: ends.from,
    to: ends.to,
    fillShare,
    sentPerSecond: rate(counters.sentCount, earlier?.sentCount ?? 0),
    committedPerSecond: rate(counters.committedCount, earlier?.committedCount ?? 0),
    alarm: alarmLevel(fillShare, ends.alarms),
  };
}

/** The highest level whose threshold is reached. */
export function alarmLevel(fillShare: number, thresholds: AlarmThresholds): AlarmLevel {
  if (thresholds.red !== undefined && fillShare >= thresholds.red) return "red";
  if (thresholds.orange !== undefined && fillShare >= thresholds.orange) return "orange";
  if (thresholds.yellow !== undefined && fillShare >= thresholds.yellow) return "yellow";
  return "none";
}
