export type { Link, LinkCounters, LinkHandlers } from "./link.ts";
