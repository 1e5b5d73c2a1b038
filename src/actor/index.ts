export type {
  ActorHandle,
  ActorOptions,
  Behaviour,
  Context,
  GraphFailure,
  StopReport,
  Veto,
} from "./behaviour.ts";
export type { ByteChannel, ByteRingOptions, ByteRx, ByteTx } from "./byte-ring.ts";
export { Channel } from "./channel.ts";
export type { ChannelOptions } from "./channel.ts";
export { Graph } from "./graph.ts";
export type { GraphOptions, ReplacedEnds, Replacement, ShutdownOptions } from "./graph.ts";
export { LATENCY_CELL_COUNT, LatencyHistogram } from "./latency.ts";
export type { LatencySummary } from "./latency.ts";
export type { AnyRx, AnyTx, Rx, Tx } from "./port.ts";
export type {
  ActorSnapshot,
  AlarmLevel,
  AlarmThresholds,
  ChannelSnapshot,
  GraphPhase,
  GraphSnapshot,
} from "./snapshot.ts";
export type { Shortcut, ShortcutOptions } from "./shortcut.ts";
export { soloActor } from "./solo.ts";
export type { SoloOptions } from "./solo.ts";
export { runSolo } from "./solo-worker.ts";
export type { SoloEnds, SoloProgram } from "./solo-worker.ts";
export { SimulatedActor, Stage } from "./stage.ts";
export type { RestartLimits } from "./supervisor.ts";
