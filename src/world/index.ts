export type { Clock, Entropy, Log, LogLevel, Timer, World } from "./ports.ts";
