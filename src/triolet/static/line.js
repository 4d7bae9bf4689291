/** One connection that is kept up: silence, backoff, coming back. Knows nothing of channels. */

const BEATS_MISSED = 2.5;
const FIRST_RETRY = 1_000;
const LAST_RETRY = 30_000;

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
      if (end.retry === null) return this.close(end);
      const ceiling = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** this.#attempt);
      const retry = end.retry ?? Math.round(this.#options.random() * ceiling);
      this.#attempt += 1;
      this.#change("connecting", { retry, error: end });
      await this.sleep(retry);
    }
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

  /** Learns from a message: two beats in a row show their pace (by the server's clock), "live" that all is well. */
  heard(message) {
    if (message.type === "live") this.#attempt = 0;
    if (message.type !== "beat") return (this.#beat = null);
    if (this.#beat !== null) this.#silence = Math.max(FIRST_RETRY, BEATS_MISSED * (message.time - this.#beat));
    this.#beat = message.time;
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
    this.#wake?.();
    this.#change("gone", { error });
  }
}
