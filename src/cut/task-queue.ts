/**
 * `TaskQueue`: what a cut has planned and not done yet. What a task plans is done before what was
 * planned earlier; a task that needs an answer of the target gives way to others until it has come,
 * or until too many wait.
 */
import { waitingTaskCountMax } from "./limits.ts";
import { bytesDone, type Task } from "./task.ts";

export class TaskQueue {
  /** Done from the end: the last is the next. */
  readonly #tasks: Task[] = [];
  /** To be put in front of the others together. */
  readonly #planned: Task[] = [];
  /** Oldest first. */
  readonly #waiting: Task[] = [];
  /** Names of files and bytes of content that wait for their task. */
  fileCount = 0;
  byteCount = 0;

  get isEmpty(): boolean {
    return this.#tasks.length + this.#waiting.length === 0;
  }

  /** Only the target's answer can make it go on. */
  get isWaiting(): boolean {
    return this.#mustWait && this.#answered() < 0;
  }

  get #mustWait(): boolean {
    const { length } = this.#waiting;
    return length >= waitingTaskCountMax || (length > 0 && this.#tasks.length === 0);
  }

  #answered(): number {
    return this.#waiting.findIndex((task) => isReady(task));
  }

  plan(task: Task): void {
    this.#planned.push(task);
    this.fileCount += task.weight.files;
    this.byteCount += task.weight.left;
  }

  /** Puts what was planned in front of what waits, first planned first done. */
  putFirst(): void {
    for (let i = this.#planned.length - 1; i >= 0; i--) this.#tasks.push(this.#planned[i]!);
    this.#planned.length = 0;
  }

  /** The next task, which stays in the queue; undefined: none, or none that can be done. */
  next(): Task | undefined {
    if (this.#mustWait) {
      const answered = this.#answered();
      if (answered < 0) return undefined;
      this.#tasks.push(...this.#waiting.splice(answered, 1));
    }
    return this.#tasks[this.#tasks.length - 1];
  }

  /** The next task is done. */
  pop(): void {
    const { weight } = this.#tasks.pop()!;
    this.fileCount -= weight.files;
    this.byteCount -= weight.left;
  }

  /** The next task has been done in part. What is done stays done, even if it is sent once more. */
  advance(task: Task): void {
    const { weight } = task;
    const left = weight.bytes - bytesDone(task);
    if (weight.left === 0 || left >= weight.left) return;
    this.byteCount -= weight.left - Math.max(0, left);
    weight.left = Math.max(0, left);
  }

  /** The next task needs an answer. */
  putOff(): void {
    this.#waiting.push(this.#tasks.pop()!);
  }

  /** Empties the queue. */
  takeAll(): Task[] {
    this.fileCount = 0;
    this.byteCount = 0;
    return [...this.#tasks.splice(0), ...this.#waiting.splice(0)];
  }
}

function isReady(task: Task): boolean {
  const hasDelta = task.kind === "newFile" || task.kind === "content";
  return !hasDelta || (task.delta?.isReady ?? true);
}
