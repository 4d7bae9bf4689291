/** Time that stands still until a test lets it go on, and a page whose life the test plays. */

/** Of before a test's runner replaces them, unless it has already: fake timers hold back all but a message. */
const { MessageChannel, setImmediate, setTimeout } = /** @type {any} */ (globalThis);
const isReal = Boolean(setImmediate) && !setImmediate.clock && !setImmediate._isMockFunction;

/** Turns in which nothing stirs, until all counts as done: what goes from promise to promise takes a few of them. */
export const QUIET = 10;

/** Timers that may fire at one moment of virtual time: more of them set each other for ever. */
const MOST_AT_ONCE = 2_000;

/** The next turn of the event loop: what was ready to run has run by then. @returns {Promise<void>} */
export function turn() {
  return new Promise((resolve) => {
    if (isReal) return void setImmediate(resolve); // many times faster
    if (!MessageChannel) return void setTimeout(resolve, 0);
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Lets everything run that is ready to run. */
export async function settle() {
  for (let left = QUIET; left > 0; left -= 1) await turn();
}

/** A clock as `connect` takes it, whose time goes on by `advance` alone. */
/**
 * The timers of the page, as they are at each use: a runner may have put its own there.
 *
 * @type {import("./api.js").Clock}
 */
export const REAL = {
  setTimeout: (call, ms) => globalThis.setTimeout(call, ms),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
  now: () => globalThis.performance.now(),
};

export class Clock {
  #settle;
  /** @type {Map<number, {at: number, call: () => void}>} */
  #timers = new Map();
  #number = 0;
  time = 0;
  /** How often it was used: whether anything stirs. */
  uses = 0;

  /** `settle()` is waited for between two timers. */
  constructor(settled = settle) {
    this.#settle = settled;
  }

  now = () => this.time;

  /** @param {() => void} call @param {number} ms */
  setTimeout = (call, ms) => {
    this.uses += 1;
    this.#timers.set(++this.#number, { at: this.time + Math.max(0, Number(ms) || 0), call });
    return this.#number;
  };

  /** @param {any} number */
  clearTimeout = (number) => {
    this.uses += 1;
    this.#timers.delete(number);
  };

  /** The delays that somebody is waiting for, in ms from now. */
  get pending() {
    return [...this.#timers.values()].map(({ at }) => at - this.time).sort((one, other) => one - other);
  }

  /** @param {number} ms */
  async advance(ms) {
    const end = this.time + ms;
    let atOnce = 0;
    await this.#settle();
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, one], [, other]) => one.at - other.at);
      if (!due.length) break;
      const [number, { at, call }] = due[0];
      atOnce = at > this.time ? 0 : atOnce + 1;
      if (atOnce > MOST_AT_ONCE) throw new Error(`time stands still: ${atOnce} timers have fired at ${at} ms`);
      this.#timers.delete(number);
      this.time = Math.max(this.time, at);
      call();
      await this.#settle();
    }
    this.time = Math.max(this.time, end); // another one may be under way
  }
}

/** A page, as the option `page` takes it: `say` is what the browser tells of it, `turn` hides it and shows it again. */
export class Page extends EventTarget {
  #settle;
  /** @type {"visible" | "hidden"} */
  visibilityState = "visible";

  /** `settle()` is waited for after each. */
  constructor(settled = settle) {
    super();
    this.#settle = settled;
  }

  /** @param {string} type  "pagehide", "pageshow", "freeze", "resume", "online" or "offline" @returns {Promise<void>} */
  async say(type) {
    this.dispatchEvent(new Event(type));
    await this.#settle();
  }

  /** @param {"visible" | "hidden"} visibilityState @returns {Promise<void>} */
  async turn(visibilityState) {
    this.visibilityState = visibilityState;
    await this.say("visibilitychange");
  }
}
