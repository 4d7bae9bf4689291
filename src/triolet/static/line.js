/** One connection that is kept up: silence, backoff, coming back. Knows nothing of channels. */

const BEATS_MISSED = 2.5;
const FIRST_RETRY = 1_000;
const LAST_RETRY = 30_000;

/** The server's closing for a credential whose time is over (and HTTP 401): a new one may help. */
const EXPIRED = 4401;

/** Why a connection ended. `retry`: ms until the next try; null: there is none; undefined: the client's own backoff. */
export class Ended extends Error {
  constructor(message, { code, status, retry } = {}) {
    super(message);
    Object.assign(this, { name: "Ended", code, status, retry });
  }
}

/** Calls the page's code. What it throws is the page's error: it is reported as such and ends no connection. */
export function tell(callback, ...args) {
  try {
    callback?.(...args);
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}

/** How long to wait before try `attempt` (the first is 0): drawn from the whole range, so that clients spread. */
export function backoff(attempt, { random }) {
  return Math.round(random() * Math.min(LAST_RETRY, FIRST_RETRY * 2 ** attempt));
}

/** What a promise gives; but once the signal is aborted its reason is thrown, whatever becomes of the promise. */
export function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    const tidy = () => signal.removeEventListener("abort", abort);
    Promise.resolve(promise).then(resolve, reject).finally(tidy);
  });
}

/** Waits, or less: until `early` is settled, if that is given. Throws the signal's reason once it is aborted. */
export async function pause(ms, { clock }, signal, early) {
  let timer = null;
  const over = new Promise((resolve) => (timer = clock.setTimeout(resolve, ms)));
  try {
    await unlessAborted(early ? Promise.race([over, early]) : over, signal);
  } finally {
    clock.clearTimeout(timer);
  }
}

/** Calls with a signal that is aborted after `ms`, with `late()` for a reason, or with the outer one's. */
export async function within(ms, late, { clock }, outer, call) {
  const inner = new AbortController();
  const abort = () => inner.abort(outer.reason);
  if (outer?.aborted) throw outer.reason;
  outer?.addEventListener("abort", abort);
  const timer = clock.setTimeout(() => inner.abort(late()), ms);
  try {
    return await unlessAborted(call(inner.signal), inner.signal);
  } finally {
    clock.clearTimeout(timer);
    outer?.removeEventListener("abort", abort);
  }
}

/** Keeps one connection up: connects, notices silence, waits with backoff and full jitter, connects again. */
export class Line {
  #connect;
  #change;
  #options;
  #attempt = 0;
  #abort = new AbortController();
  #timer = null;
  #silence;
  #beat = null;
  #wake = null;
  #hurried = null;
  #online = () => this.retry();

  constructor(connect, change, options) {
    this.#connect = connect;
    this.#change = change;
    this.#options = options;
    this.closed = false;
    globalThis.addEventListener?.("online", this.#online);
    queueMicrotask(() => this.#run()); // not before our owner knows us
  }

  async #run() {
    while (!this.closed) {
      this.#abort = new AbortController();
      this.#silence = this.#options.silence;
      this.#beat = null;
      const end = await this.#connected(this.#abort.signal);
      this.rest();
      if (this.closed) return;
      const retry = this.#next(end);
      if (retry === null) return this.close(end);
      this.#attempt += 1;
      this.#change("connecting", { retry, error: end });
      await this.sleep(retry);
    }
  }

  /** When to try again, in ms; null: never. With a new token an expired one is no end: that is tried at once. */
  #next(end) {
    const expired = end.code === EXPIRED || end.status === 401;
    const renewable = expired && typeof this.#options.token === "function";
    if (!renewable && end.retry !== undefined) return end.retry;
    if (!renewable || this.#hurried !== null) return backoff(this.#attempt, this.#options);
    // At once, but not again so soon: tokens that are over as they come would make the two of us run in circles.
    this.#hurried = this.#options.clock.setTimeout(() => (this.#hurried = null), LAST_RETRY);
    return 0;
  }

  /** One connection, from its first byte to its end. @returns {Promise<Ended>} */
  async #connected(signal) {
    try {
      await this.#connect(signal);
      return new Ended("the connection ended");
    } catch (error) {
      const why = signal.aborted ? signal.reason : error;
      return why instanceof Ended ? why : new Ended(String(why?.message ?? why));
    } finally {
      this.#abort.abort(); // whatever of it is still open
    }
  }

  /** From now on something is due: the connection counts as lost when nothing comes. */
  listen() {
    this.rest();
    const lost = () => this.#abort.abort(new Ended("silent"));
    this.#timer = this.#options.clock.setTimeout(lost, this.#silence);
  }

  /** Nothing is due. */
  rest() {
    if (this.#timer !== null) this.#options.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** Learns from a message: two beats in a row show their pace (by the server's clock), some that all is well. */
  heard(message) {
    if (message.type === "live" || message.type === "reply") this.#attempt = 0;
    if (message.type !== "beat") return (this.#beat = null);
    if (this.#beat !== null) this.#silence = Math.max(FIRST_RETRY, BEATS_MISSED * (message.time - this.#beat));
    this.#beat = message.time;
  }

  /** Tells of what went wrong beside a connection that stands. */
  trouble(why) {
    if (!this.closed) this.#change(undefined, why);
  }

  sleep(ms) {
    return new Promise((resolve) => {
      const timer = this.#options.clock.setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        this.#wake = null;
        this.#options.clock.clearTimeout(timer);
        resolve();
      };
    });
  }

  retry() {
    this.#wake?.();
  }

  close(error) {
    if (this.closed) return;
    this.closed = true;
    globalThis.removeEventListener?.("online", this.#online);
    this.#abort.abort(error);
    this.rest();
    if (this.#hurried !== null) this.#options.clock.clearTimeout(this.#hurried);
    this.#wake?.();
    this.#change("gone", { error });
  }
}
