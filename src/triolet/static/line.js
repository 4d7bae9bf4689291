/** One connection that is kept up: silence, backoff, coming back. Knows nothing of channels. */

import { PageLife } from "./page.js";

/**
 * @import { Clock, State, Why } from "./api.js"
 * @import { Settings } from "./settings.js"
 * @import { Message } from "./track.js"
 */

const BEATS_MISSED = 2.5;
const FIRST_RETRY = 1_000;
const LAST_RETRY = 30_000;

/** Whatever a server says, or a proxy before it, half of this is waited at least. It doubles up to FIRST_RETRY. */
const LEAST_RETRY = 200;

/** A page that has long been hidden waits so long at least, and up to twice that. */
const FORGOTTEN_RETRY = 60_000;

/** Tries without a word after which it is asked why: with the eighth where there was one before, and every 16. */
const DOUBT_LATER = 8;
const DOUBTS = 16;

/** The server's closing for a credential whose time is over (and HTTP 401): a new one may help. */
const EXPIRED = 4401;

/** Why a connection ended. Whether it is tried again is in `retry`. */
export class Ended extends Error {
  /** @type {string} "Ended" */
  name = "Ended";
  /** @type {number | undefined} the closing: 4401 (expired), 4403 (revoked or refused), or another of a WebSocket's */
  code;
  /** @type {number | undefined} of HTTP */
  status;
  /** @type {number | null | undefined} ms until the next try; null: there is none; undefined: the client's own backoff */
  retry;
  /** @type {string} one word of it, where there is one; else the message */
  reason = "";
  /** @type {boolean | undefined} whether it is that of a WebSocket which was never open @internal */
  unopened;

  /**
   * @internal
   * @param {string} message
   * @param {{code?: number, status?: number, retry?: number | null, reason?: string, unopened?: boolean, error?: string}} [more]
   */
  constructor(message, more) {
    super(message);
    Object.assign(this, more);
    this.reason ||= message;
  }
}

/**
 * An error of whatever kind, as the end of a connection: one that may pass.
 *
 * @param {any} error
 * @param {{reason: string}} [more]
 * @returns {Ended}
 */
export function asEnded(error, more) {
  return error instanceof Ended ? error : new Ended(String(error?.message ?? error), more);
}

/**
 * Calls the page's code. What it throws, or its promise does, is the page's error: it is reported as such and ends no
 * connection, nor a program in Node.
 *
 * @param {((...said: any[]) => unknown) | null | undefined} callback
 * @param {...any} args
 */
export function tell(callback, ...args) {
  try {
    /** @type {any} */ (callback?.(...args))?.then?.(null, report);
  } catch (error) {
    report(error);
  }
}

/** Tells of an error of the page's, as the browser tells of one that nobody has caught. @param {unknown} error */
export function report(error) {
  (globalThis.reportError ?? console.error)(error);
}

/**
 * How long to wait before try `attempt` (the first is 0): so many ms as were `said`, else drawn from the whole range, so
 * that clients spread. However little is said or drawn, nobody is asked again and again without a pause: `idle` tries
 * before this one have brought nothing.
 *
 * @param {number} attempt
 * @param {{random: () => number}} options
 * @param {number} [said]
 */
export function backoff(attempt, { random }, said = random() * Math.min(LAST_RETRY, FIRST_RETRY * 2 ** attempt), idle = attempt) {
  const least = (0.5 + random() / 2) * Math.min(FIRST_RETRY, LEAST_RETRY * 2 ** idle);
  return Math.round(Math.max(said || 0, least));
}

/**
 * Calls when the signal is aborted, or at once where it is.
 *
 * @param {AbortSignal | null | undefined} signal
 * @param {() => void} call
 * @returns {() => void} what makes an end of that
 */
export function onAbort(signal, call) {
  if (signal?.aborted) call();
  signal?.addEventListener("abort", call);
  return () => signal?.removeEventListener("abort", call);
}

/**
 * What a promise gives; but once the signal is aborted its reason is thrown, whatever becomes of the promise.
 *
 * @template T
 * @param {T | PromiseLike<T>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const off = onAbort(signal, () => reject(signal?.reason));
    Promise.resolve(promise).then(resolve, reject).finally(off);
  });
}

/**
 * Waits, or less: until `early` is settled, if that is given. Throws the signal's reason once it is aborted.
 *
 * @param {number} ms
 * @param {{clock: Clock}} options
 * @param {AbortSignal} [signal]
 * @param {Promise<void>} [early]
 */
export async function pause(ms, { clock }, signal, early) {
  /** @type {any} */
  let timer = null;
  /** @type {Promise<void>} */
  const over = new Promise((resolve) => (timer = clock.setTimeout(resolve, ms)));
  try {
    await unlessAborted(early ? Promise.race([over, early]) : over, signal);
  } finally {
    clock.clearTimeout(timer);
  }
}

/**
 * Calls with a signal that is aborted after `ms`, with `late()` for a reason, or with the outer one's.
 *
 * @template T
 * @param {number} ms
 * @param {() => Error} late
 * @param {{clock: Clock}} options
 * @param {AbortSignal | undefined} outer
 * @param {(signal: AbortSignal) => T | PromiseLike<T>} call
 */
export async function within(ms, late, { clock }, outer, call) {
  if (outer?.aborted) throw outer.reason;
  const inner = new AbortController();
  const off = onAbort(outer, () => inner.abort(outer?.reason));
  const timer = clock.setTimeout(() => inner.abort(late()), ms);
  try {
    return await unlessAborted(call(inner.signal), inner.signal);
  } finally {
    clock.clearTimeout(timer);
    off();
  }
}

/** Two beats that come at once, and say that they were sent apart: a proxy holds back what is sent. Twice is enough. */
const LUMPS = 2;
const APART = 2_000;
const AT_ONCE = 500;

/** How fast beats come, by the page's own clock: it never jumps, which the server's may. */
class Pace {
  /** @type {{time: number, now: number} | null} */
  #last = null;
  #longest = 0;
  lumps = 0;

  /** What breaks the row of beats. */
  skip() {
    this.#last = null;
  }

  /**
   * @param {Message} beat
   * @param {number} now
   * @param {number} silence
   * @returns {number} ms between two beats, the longest that was seen on this connection; 0: not known yet
   */
  beat({ time }, now, silence) {
    const last = this.#last;
    this.#last = { time: Number(time), now };
    if (last === null) return this.#longest;
    const [said, seen] = [this.#last.time - last.time, now - last.now];
    if (said >= APART && seen < AT_ONCE) this.lumps += 1;
    // What was held back shows no pace, nor does what came late because the page slept.
    else if (seen <= silence) this.#longest = Math.max(this.#longest, seen);
    return this.#longest;
  }
}

/**
 * Keeps one connection up: connects, notices silence, waits with backoff and full jitter, connects again; lets go of it
 * while the browser keeps the page for later, and looks after it when the page wakes.
 *
 * `connect(signal)` is one connection, from its first byte to its end, which it throws. `ended(why)` hears of each end, and
 * may say when to try again. `change(state, why)` hears of "connecting" between two, and "gone".
 */
export class Line {
  #connect;
  #ended;
  #change;
  #options;
  #attempt = 0;
  /** Connections in a row that were up to date, and brought no event. */
  #idle = 0;
  #abort = new AbortController();
  /** @type {any} */
  #timer = null;
  #silence = 0;
  #pace = new Pace();
  #heardAt = 0;
  #heardOn = 0;
  #heardOf = false;
  #wasHeardOf = false;
  #tries = 0;
  /** @type {(() => void) | null} */
  #wake = null;
  /** @type {any} */
  #hurried = null;
  #paused = false;
  #life;
  closed = false;
  /** Aborted with its end: what is asked beside it is of no use then. */
  over = new AbortController();

  /**
   * @param {(signal: AbortSignal) => Promise<unknown>} connect
   * @param {(why: Ended) => void} ended
   * @param {(state: State | undefined, why: Why) => void} change
   * @param {Settings} options
   */
  constructor(connect, ended, change, options) {
    this.#connect = connect;
    this.#ended = ended;
    this.#change = change;
    this.#options = options;
    this.#life = new PageLife(this, options);
    queueMicrotask(() => this.#run()); // not before our owner knows us
  }

  /** Whether the present connection is known to bring its messages. */
  get isHeardOf() {
    return this.#heardOf;
  }

  /** Whether to ask why nothing comes of it: at first, and where it has worked, after a while; then ever again. */
  get isDoubtful() {
    return this.#tries % DOUBTS === (this.#wasHeardOf ? DOUBT_LATER : 1);
  }

  async #run() {
    while (!this.closed) {
      await (this.#paused ? this.sleep() : this.#once());
    }
  }

  async #once() {
    this.#abort = new AbortController();
    this.#silence = Math.min(this.#options.patience?.() ?? Infinity, this.#options.silence);
    this.#pace = new Pace();
    this.#heardOf = false;
    this.#tries += 1;
    const end = await this.#connected(this.#abort.signal);
    this.rest();
    if (this.closed) return;
    this.#ended(end);
    if (this.#paused) return this.#change("connecting", { reason: "paused" });
    const retry = this.#next(end);
    if (retry === null) return this.close(end);
    // Else it is left for another transport at once.
    if (end.retry !== 0) {
      if (this.#attempt === 0) this.#idle += 1;
      this.#attempt += 1;
    }
    this.#change("connecting", { retry, error: end, reason: end.reason });
    if (!this.closed) await this.sleep(retry);
  }

  /**
   * When to try again, in ms; null: never; 0: at once, which only this client says, of what is left for another transport.
   * With a new token an expired one is no end: that is tried at once.
   *
   * @param {Ended} end
   */
  #next(end) {
    let { retry } = end;
    if (this.#isRenewable(end)) {
      // At once, but not again so soon: tokens that are over as they come would make the two of us run in circles.
      retry = this.#hurried === null ? 0 : undefined;
      this.#hurried ??= this.#options.clock.setTimeout(() => (this.#hurried = null), LAST_RETRY);
    }
    const idle = Math.max(this.#attempt, this.#idle);
    return retry === null || retry === 0 ? retry : backoff(this.#attempt, this.#options, retry, idle);
  }

  /**
   * Whether another credential may be had, and helps: what is fixed is the only one.
   *
   * @param {Ended} end
   */
  #isRenewable({ code, status }) {
    const { token, headers } = this.#options;
    const isFound = typeof token === "function" || (token == null && typeof headers === "function");
    return isFound && (code === EXPIRED || status === 401);
  }

  /**
   * Word from beside the connection that there will be none: the end, unless another credential may help.
   *
   * @param {Ended} why
   */
  refuse(why) {
    if (!this.#isRenewable(why)) this.close(why);
  }

  /** One connection, from its first byte to its end. @param {AbortSignal} signal @returns {Promise<Ended>} */
  async #connected(signal) {
    try {
      await this.#connect(signal);
      throw new Ended("the connection ended");
    } catch (error) {
      return asEnded(signal.aborted ? signal.reason : error);
    } finally {
      this.#abort.abort(); // whatever of it is still open
    }
  }

  /** From now on something is due within so many ms: the connection counts as lost when nothing comes. */
  listen(ms = this.#silence) {
    this.rest();
    const { clock } = this.#options;
    this.#heardAt = clock.now();
    this.#heardOn = Date.now();
    const lost = () => {
      const left = ms - (clock.now() - this.#heardAt);
      // A timer that fires early by this clock: browsers round both.
      if (left > 1) this.#timer = clock.setTimeout(lost, left);
      else this.#abort.abort(new Ended("silent"));
    };
    this.#timer = clock.setTimeout(lost, ms);
  }

  /** Nothing is due. */
  rest() {
    this.#options.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** Learns from a message: beats in a row show their pace, some messages that all is well. @param {Message} message */
  heard(message) {
    if (this.closed) return; // by a handler that heard what came with it
    const { type, channel } = message;
    const isCarried = type === "live" || type === "reply";
    // A proxy may let through what fills its buffer, and keep the rest. But what has been live once may take its time.
    if (!this.#heardOf && (isCarried || channel === null || this.#wasHeardOf)) {
      this.#silence = this.#options.silence;
      this.#heardOf = this.#wasHeardOf = true;
    }
    this.#tries = 0;
    if (isCarried) this.#attempt = 0;
    if (type === "event") this.#idle = 0;
    if (type === "live") this.#options.won?.();
    if (type !== "beat") return this.#pace.skip();
    const pace = this.#pace.beat(message, this.#options.clock.now(), this.#silence);
    if (pace > 0) this.#silence = Math.max(FIRST_RETRY, BEATS_MISSED * pace);
    if (this.#timer !== null) this.listen();
    if (this.#pace.lumps >= LUMPS) this.#options.lumpy?.();
  }

  /** Tells of what went wrong beside a connection that stands. @param {Why} why */
  trouble(why) {
    if (!this.closed) this.#change(undefined, why);
  }

  /** Waits until it is woken, or for so many ms if any are given. @returns {Promise<void>} */
  sleep(ms = Infinity) {
    const { clock, random } = this.#options;
    const patient = ms > 0 && this.#life.isForgotten ? Math.max(ms, Math.round(FORGOTTEN_RETRY * (1 + random()))) : ms;
    return new Promise((resolve) => {
      if (this.closed) return resolve();
      const timer = ms < Infinity ? clock.setTimeout(() => this.#wake?.(), patient) : null;
      this.#wake = () => {
        this.#wake = null;
        clock.clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Tries at once, if it waits. */
  retry() {
    this.#wake?.();
  }

  /** Ends the present connection, and makes another: at once, if no reason is given that says otherwise. */
  again(why = new Ended("again", { retry: 0 })) {
    this.#abort.abort(why);
    this.retry();
  }

  /** The browser may keep the page for long: an open connection would hinder it, and would be dead in the end. */
  pause() {
    if (this.closed || this.#paused) return;
    this.#paused = true;
    this.again(new Ended("paused"));
  }

  /**
   * Somebody looks at the page, or the network is back. What has been silent for longer than a beat is made anew. Here, and
   * only here, the other clock counts too: the monotonic one may have stood still while the machine slept, and a jump of
   * the other costs no more than a connection.
   */
  wake() {
    this.#paused = false;
    if (this.#wake) return this.retry();
    const quiet = Math.max(this.#options.clock.now() - this.#heardAt, Date.now() - this.#heardOn);
    if (this.#timer !== null && quiet > this.#silence / BEATS_MISSED) this.again();
  }

  /** @param {Ended} [error] */
  close(error) {
    if (this.closed) return;
    this.closed = true;
    this.#life.end();
    this.over.abort(error);
    this.#abort.abort(error);
    this.rest();
    this.#options.clock.clearTimeout(this.#hurried);
    this.#wake?.();
    this.#change("gone", { error, reason: error?.reason ?? "closed" });
  }
}
