export { deafSink, NameChange } from "./backend.ts";
export type { BackendName, CaptureBackend, ChangeSink } from "./backend.ts";
export { backendNames, openBackend } from "./open-backend.ts";
export type { OpenedBackend } from "./open-backend.ts";
