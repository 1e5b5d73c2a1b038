/** What `lockstep doctor` found out about one thing. */

export interface DoctorFinding {
  /** WARN: a sync works, with less than it could have. FAIL: a sync would not work. */
  readonly level: "OK" | "WARN" | "FAIL";
  /** What was looked at, a few words. */
  readonly topic: string;
  readonly detail: string;
  /** What to do about it; with WARN and FAIL. */
  readonly advice?: string;
}

export function ok(topic: string, detail: string): DoctorFinding {
  return { level: "OK", topic, detail };
}

export function warn(topic: string, detail: string, advice: string): DoctorFinding {
  return { level: "WARN", topic, detail, advice };
}

export function fail(topic: string, detail: string, advice: string): DoctorFinding {
  return { level: "FAIL", topic, detail, advice };
}

/** The errno of a failed system call, else the error's text. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return (error as NodeJS.ErrnoException).code ?? error.message;
}
