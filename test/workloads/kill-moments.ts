/**
 * Moments at which a database's source dies, and what the target is then: one after the other on
 * one mirror over a real link, each with its promotion, a copy of the target, and a judgement of
 * the database in the copy.
 *
 * LOCKSTEP_WORKLOADS_KILLS is how many moments each test has; LOCKSTEP_WORKLOADS_SEED draws the
 * same kinds of death again (moments differ). With LOCKSTEP_WORKLOADS_SECONDS none begins when a
 * test has taken that long, so that many can be had in pieces. LOCKSTEP_WORKLOADS_KEEP names a
 * folder to which the copies of failed moments go.
 */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { runProgram, type Running } from "../cli/program.ts";
import { runCommand } from "./commands.ts";
import { judgeLedger, type Judgement, type Ledger, readLedger } from "./ledger.ts";
import type { LedgerDatabase, LedgerPlace } from "./ledger-database.ts";
import type { LinkPair } from "./link-pair.ts";
import { type Promotion, type Refusal, tryPromote, undoPromotion } from "./promotion.ts";
import { Random } from "./random-changes.ts";

const wantedSeed = process.env["LOCKSTEP_WORKLOADS_SEED"];
const testSecondsMax = Number(process.env["LOCKSTEP_WORKLOADS_SECONDS"] ?? Infinity);
const keepFolder = process.env["LOCKSTEP_WORKLOADS_KEEP"];

const convergeMs = 60_000;
const isLarge = process.env["LOCKSTEP_WORKLOADS"] === "all";

/** How many moments a test has; `few` unless the environment says otherwise. */
export function killCount(few: number): number {
  return Number(process.env["LOCKSTEP_WORKLOADS_KILLS"] ?? (isLarge ? 20 : few));
}

/** The numbers of a test's moments, from 1 to `count`, while it has time. */
export function* momentNumbers(count: number): Generator<number> {
  const end = performance.now() + testSecondsMax * 1000;
  for (let moment = 1; moment <= count; moment++) {
    if (moment > 1 && performance.now() > end) return;
    yield moment;
  }
}

/** Why a test that has no moments in `npm test` is skipped. */
export const onlyLarge = "large: LOCKSTEP_WORKLOADS=all or LOCKSTEP_WORKLOADS_KILLS runs it";

/** Of this run; said in its output. */
export function drawSeed(context: TestContext): Random {
  const seed = wantedSeed === undefined ? randomInt(2 ** 31) : Number(wantedSeed);
  context.diagnostic(`LOCKSTEP_WORKLOADS_SEED=${seed}`);
  return new Random(seed);
}

export interface MomentResult extends Judgement {
  readonly what: string;
  readonly promotion: Promotion;
}

/** A mirror of a database's tree, with what is needed to let it die again and again. */
export class KillMoments {
  readonly pair: LinkPair;
  readonly database: LedgerDatabase;
  readonly results: MomentResult[] = [];
  readonly #context: TestContext;
  readonly #scratch: string;
  readonly #syncArgs: readonly string[];
  readonly #serveArgs: readonly string[];

  private constructor(
    context: TestContext,
    pair: LinkPair,
    own: { database: LedgerDatabase; scratch: string } & MomentOptions,
  ) {
    this.#context = context;
    this.pair = pair;
    this.database = own.database;
    this.#scratch = own.scratch;
    this.#syncArgs = own.syncArgs ?? [];
    this.#serveArgs = own.serveArgs ?? [];
  }

  static async make(
    context: TestContext,
    pair: LinkPair,
    makeDatabase: (place: LedgerPlace) => Promise<LedgerDatabase>,
    options: MomentOptions = {},
  ): Promise<KillMoments> {
    const base = dirname(pair.source);
    const scratch = join(base, "scratch");
    mkdirSync(scratch);
    // A server of databases runs as a user of its own.
    for (const folder of [base, scratch]) chmodSync(folder, 0o755);
    const database = await makeDatabase({ context, source: pair.source, scratch });
    return new KillMoments(context, pair, { database, scratch, ...options });
  }

  /** The two programs, as they were started last. */
  get serving(): Running {
    return this.#serving!;
  }
  #serving: Running | undefined;

  get syncing(): Running {
    return this.#syncing!;
  }
  #syncing: Running | undefined;

  /** Starts everything; some transactions have been committed then. */
  async begin(): Promise<void> {
    await this.serve();
    await this.database.start();
    await this.sync();
    await this.syncing.until("mirrors while the writers commit", () => {
      const writers = [...readLedger(this.database.logs).values()];
      return writers.length > 0 && writers.every(({ committed }) => committed.length > 2);
    });
    await this.#goOn();
  }

  async serve(): Promise<void> {
    this.#serving = await this.pair.serve(...this.#serveArgs);
  }

  /**
   * Starts the mirror's source and waits until the target equals it, which takes long while nobody
   * rests; then the writers go on, until something of that is there, too.
   */
  async sync(): Promise<void> {
    this.database.rest();
    this.startSync();
    await this.syncing.said(/"event":"live"/);
    await this.#goOn();
  }

  /** Starts the mirror's source, and waits for nothing. */
  startSync(): void {
    this.#resumedCount = 0;
    this.#syncing = this.pair.sync("--max-delete", "100%", ...this.#syncArgs);
  }

  async #goOn(): Promise<void> {
    this.database.goOn();
    await this.flush();
  }

  /** Everything that was written before the call is at the target. */
  async flush(): Promise<void> {
    const args = ["flush"];
    const flushed = await runProgram(this.#context, args, { home: this.pair.near });
    assert.equal(flushed.exit, 0, `flush: ${flushed.stdout}${flushed.stderr}`);
  }

  /** The target has died and is served again: waits until it equals the source. */
  async backLive(): Promise<void> {
    this.database.rest();
    const { syncing } = this;
    const before = liveCount(syncing);
    await this.serve();
    await syncing.until("is live again", () => liveCount(syncing) > before);
    await this.#goOn();
  }

  /**
   * Something has died, or is about to: promotes the target, copies it, and lets sources write to
   * it again. `then` runs while the copy is judged. Undefined when promoting was refused with the
   * code that is let pass; then nothing has changed.
   */
  async look(
    what: string,
    then: () => Promise<void> = async () => {},
    refusal?: string,
  ): Promise<MomentResult | undefined> {
    const promotion = await this.#promote();
    if ("refused" in promotion) {
      if (promotion.refused !== refusal) await this.#keep(what, this.pair.target, this.pair.far);
      assert.equal(promotion.refused, refusal, `${what}: ${promotion.told}`);
      this.refusedCount++;
      await then();
      return undefined;
    }
    const before = this.results.at(-1)?.promotion.cutWallMs ?? 0;
    assert.ok(promotion.cutWallMs >= before, `${what}: an older cut than at the last moment`);
    // Nothing is applied any more: whatever is on the target has been begun by now.
    const ledger = readLedger(this.database.logs);
    const copy = join(this.#scratch, "copy");
    rmSync(copy, { recursive: true, force: true });
    await runCommand("cp", ["-a", this.pair.target, copy], { cwd: this.#scratch });
    await this.#undo();
    const [result] = await Promise.all([this.#judge(what, ledger, promotion, copy), then()]);
    this.results.push(result);
    if (result.problems.length > 0) this.#context.diagnostic(describe(result));
    return result;
  }

  /** Times that promoting was refused, and that was let pass. */
  refusedCount = 0;

  #promote(): Promise<Promotion | Refusal> {
    return tryPromote(this.#context, this.pair);
  }

  #undo(): Promise<void> {
    return undoPromotion(this.#context, this.pair);
  }

  async #judge(
    what: string,
    ledger: Ledger,
    promotion: Promotion,
    copy: string,
  ): Promise<MomentResult> {
    if (keepFolder !== undefined) {
      const untouched = join(this.#scratch, "untouched");
      rmSync(untouched, { recursive: true, force: true });
      await runCommand("cp", ["-a", copy, untouched], { cwd: this.#scratch });
    }
    const found = await this.database.check(copy);
    const judgement = judgeLedger(ledger, found, promotion.cutWallMs);
    if (judgement.problems.length > 0) await this.#keep(what, join(this.#scratch, "untouched"));
    return { what, promotion, ...judgement };
  }

  /** For whoever wants to know why. */
  async #keep(what: string, ...folders: string[]): Promise<void> {
    if (keepFolder === undefined) return;
    const kept = join(keepFolder, `moment-${process.pid}-${this.results.length + 1}`);
    mkdirSync(kept);
    await runCommand("cp", ["-a", ...folders, kept], { cwd: this.#scratch });
    this.#context.diagnostic(`${what}: kept in ${kept}`);
  }

  /** Nothing is started anew: the mirror goes on by itself, and then the writers do. */
  async untilEqual(): Promise<void> {
    this.database.rest();
    await this.#untilEqual();
    await this.#goOn();
  }

  async #untilEqual(): Promise<void> {
    const limit = performance.now() + convergeMs;
    for (;;) {
      const verified = await this.pair.verify().end();
      if (verified.exit === 0) return;
      const told = this.syncing.stdout.slice(-1000);
      const said = `${verified.stdout}${verified.stderr}${told}`;
      assert.ok(performance.now() < limit, `never equal again: ${said}`);
      await this.#resume();
      await sleep(50);
    }
  }

  /** A source that was linked when its target was promoted waits for a person. */
  async #resume(): Promise<void> {
    const halts = this.syncing.stdout.split('"code":"TARGET_PROMOTED"').length - 1;
    if (halts === this.#resumedCount) return;
    const launch = { home: this.pair.near };
    const resumed = await runProgram(this.#context, ["resume"], launch);
    if (resumed.exit === 0) this.#resumedCount = halts;
  }

  #resumedCount = 0;

  /** Ends both programs in order; the target must equal the source, and nothing be left in it. */
  async finish(): Promise<void> {
    await this.database.kill();
    await this.#untilEqual();
    for (const running of [this.syncing, this.serving]) {
      running.kill("SIGTERM");
      assert.equal((await running.end()).exit, 0);
    }
  }

  /**
   * A clean cut must be sound. What a fuzzy one is, is not promised; it is counted and told, and
   * of many not all may be fuzzy.
   */
  conclude(options: { mayBeFuzzy: boolean }): void {
    const clean = this.results.filter(({ promotion }) => !promotion.fuzzy);
    const fuzzy = this.results.filter(({ promotion }) => promotion.fuzzy);
    const unsound = fuzzy.filter(({ problems }) => problems.length > 0);
    const redone = this.results.filter(({ promotion }) => promotion.redone > 0);
    const required = this.results.reduce((sum, { requiredCount }) => sum + requiredCount, 0);
    const ages = this.results.map(({ promotion, newestMs }) => promotion.cutWallMs - newestMs);
    ages.sort((a, b) => a - b);
    this.#context.diagnostic(
      `${this.results.length} moments, ${fuzzy.length} fuzzy (${unsound.length} unsound), ` +
        `${redone.length} finished from the journal, ${this.refusedCount} refused, ` +
        `${required} transactions asked for, the newest ${ages[ages.length >> 1]?.toFixed(1)} ms ` +
        "before its cut (median)",
    );
    const failed = clean.filter(({ problems }) => problems.length > 0);
    assert.deepEqual(
      failed.map(describe),
      [],
      `${failed.length} of ${this.results.length} are not sound`,
    );
    if (!options.mayBeFuzzy) assert.equal(fuzzy.length, 0, "no cut is fuzzy");
    // A few may all be.
    assert.ok(clean.length > 0 || this.results.length < 5, "some cut is clean");
    assert.ok(required > 0, "some transaction is asked for");
  }
}

function describe({ what, problems, promotion }: MomentResult): string {
  const { epoch, cut, fuzzy, redone } = promotion;
  const how = `${fuzzy ? "fuzzy" : "clean"} epoch ${epoch} of ${cut}, ${redone} redone`;
  return `${what}: ${how}: ${problems.slice(0, 5).join("; ").slice(0, 600)}`;
}

export interface MomentOptions {
  /** Further arguments of either program. */
  readonly syncArgs?: readonly string[];
  readonly serveArgs?: readonly string[];
}

function liveCount({ stdout }: Running): number {
  return stdout.split('"event":"live"').length - 1;
}

/** Waits for a random time, in which the writers go on. */
export async function somewhat(random: Random, msMax: number): Promise<void> {
  await sleep(random.below(msMax));
}
