/**
 * Requests on the control socket that take longer than an answer does: the connection stays, lines
 * of JSON come as things happen, and a line with `end` is the last.
 *
 *   client: `flush {"targets":["/b"]}`
 *   server: {"heard":"flush"}  {"waiting":{…}}  {"reached":{…}}  {"end":"done"}
 *
 * Whoever waits hears nothing more when the process dies: a stream that ends without `end` says so.
 * Limits: talkCountMax at a time; talkBytesMax of lines that the client may be behind.
 */
import { connect, type Socket } from "node:net";

/** Requests of one process that are waited for. */
export const talkCountMax = 64;
/** Answers are short; a client that does not read them is given up. */
const talkBytesMax = 1 << 20;
/** Whoever hears a request says so at once. */
const heardMs = 5_000;
const lineBytesMax = 1 << 20;

type Fields = Readonly<Record<string, unknown>>;

/** The server's end of one request. */
export interface Talk {
  tell(line: Fields): void;
  /** The last line, `{"end": how}` with more. */
  end(how: string, more?: Fields): void;
  /** Called once when the client has gone or is given up, and nothing is told any more. */
  onGone: () => void;
}

/** What a process can be asked that takes longer; by the first word of the request. */
export type TalkAnswers = Readonly<Record<string, (asked: unknown, talk: Talk) => void>>;

/** The talks of one process. */
export class Talks {
  readonly #open: Set<SocketTalk> = new Set();

  /** Takes the socket over if the request is one of these. */
  take(socket: Socket, request: string, answers: TalkAnswers): boolean {
    const space = request.indexOf(" ");
    const word = space < 0 ? request : request.slice(0, space);
    const answer = Object.hasOwn(answers, word) ? answers[word] : undefined;
    if (answer === undefined) return false;
    socket.setTimeout(0);
    const talk = new SocketTalk(socket, () => this.#open.delete(talk));
    this.#open.add(talk);
    talk.tell({ heard: word, pid: process.pid });
    if (this.#open.size > talkCountMax) {
      talk.end("refused", { message: `${talkCountMax} requests are waited for already` });
      return true;
    }
    const asked = parseObject(space < 0 ? "{}" : request.slice(space));
    if (asked === undefined) talk.end("refused", { message: "the request is not understood" });
    else answer(asked, talk);
    return true;
  }

  /** The process ends: nothing more is going to happen. */
  close(): void {
    for (const talk of this.#open) talk.end("over");
  }
}

class SocketTalk implements Talk {
  onGone: () => void = () => {};
  readonly #socket: Socket;
  readonly #left: () => void;
  #isOver = false;

  constructor(socket: Socket, left: () => void) {
    this.#socket = socket;
    this.#left = left;
    // Who listens keeps his side open: that is how it shows that he has gone.
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#gone());
  }

  tell(line: Fields): void {
    if (this.#isOver) return;
    this.#socket.write(`${JSON.stringify(line)}\n`);
    if (this.#socket.writableLength > talkBytesMax) this.#socket.destroy();
  }

  end(how: string, more: Fields = {}): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#left();
    this.#socket.end(`${JSON.stringify({ end: how, ...more })}\n`);
  }

  #gone(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#left();
    this.onGone();
  }
}

/** The client's end. */
export interface Asked {
  /**
   * The last line; `{end: "lost"}` when the process has gone without one, and `{end: "unheard"}`
   * when it does not answer, or is of a version that does not know the request.
   */
  readonly ended: Promise<Fields>;
  close(): void;
}

/** Asks at a path of a socket; `told` hears of each line but the first and the last. */
export function talkAt(path: string, request: string, told: (line: Fields) => void): Asked {
  let close: () => void = () => {};
  const ended = new Promise<Fields>((resolve) => {
    const socket = connect(path);
    let text = "";
    let isHeard = false;
    const over = (line: Fields): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(line);
    };
    close = () => over({ end: "closed" });
    const timer = setTimeout(() => over({ end: "unheard" }), heardMs);
    socket.setEncoding("utf8");
    socket.write(`${request}\n`);
    socket.on("error", () => over({ end: isHeard ? "lost" : "unheard" }));
    socket.on("end", () => over({ end: isHeard ? "lost" : "unheard" }));
    socket.on("data", (part: string) => {
      text += part;
      const lines = text.split("\n");
      text = lines.pop()!;
      if (text.length > lineBytesMax) return over({ end: "lost" });
      for (const line of lines.map(parseObject)) {
        if (!isHeard && line?.["heard"] === undefined) return over({ end: "unheard" });
        if (line === undefined) return over({ end: "lost" });
        if (line["end"] !== undefined) return over(line);
        if (isHeard) told(line);
        isHeard = true;
        clearTimeout(timer);
      }
    });
  });
  return { ended, close: () => close() };
}

function parseObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
