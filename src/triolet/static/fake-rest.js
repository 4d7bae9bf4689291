/** How a test waits for the fake server to come to rest, and is told what went wrong in the test itself. */

import { QUIET, turn } from "./fake-clock.js";

/** Turns in which something stirs: what never comes to rest has them soon, and each message takes but a few. */
const MOST_TURNS = 50_000;

/** Of before fake timers take its place. */
const stopwatch = performance.now.bind(performance);

/** @template T @param {() => T | Promise<T>} condition @returns {Promise<{value?: T, error?: unknown}>} */
async function attempt(condition) {
  try {
    return { value: await condition() };
  } catch (error) {
    return { error };
  }
}

export class Rest {
  #patience;
  #stirs;
  #rest;
  #waiting;
  /** @type {any[]} */
  #troubles = [];

  /**
   * `patience`: real ms until a condition is given up. `stirs()` is another number when something has happened, `rest()`
   * waits until all that is due has, and `waiting()` says in lines what is still waited for.
   *
   * @param {{patience: number, stirs: () => number, rest: () => Promise<void>, waiting: () => string[]}} parts
   */
  constructor({ patience, stirs, rest, waiting }) {
    this.#patience = patience;
    this.#stirs = stirs;
    this.#rest = rest;
    this.#waiting = waiting;
  }

  /** What went wrong in the test: it is thrown as soon as that waits. @param {unknown} error */
  trouble(error) {
    console.error(error);
    this.#troubles.push(error);
  }

  throwTrouble() {
    const all = this.#troubles.splice(0);
    if (all.length > 1) throw new AggregateError(all, all.map(({ message }) => message).join("\n"));
    if (all.length === 1) throw all[0];
  }

  /** Until nothing stirs for some turns. */
  async reach() {
    let turns = 0;
    for (let quiet = 0, before = -1; quiet < QUIET; ) {
      await turn();
      turns += 1;
      const stirs = this.#stirs();
      quiet = stirs === before ? quiet + 1 : 0;
      before = stirs;
      if (turns > MOST_TURNS) throw this.#stuck(`it does not come to rest, in ${MOST_TURNS} turns`);
    }
  }

  /**
   * Until all that is due has happened; and until a condition is true, if there is one.
   *
   * @template T
   * @param {() => T | Promise<T>} [condition]
   * @returns {Promise<T | undefined>}
   */
  async settle(condition) {
    const until = stopwatch() + this.#patience;
    for (;;) {
      await this.#rest();
      this.throwTrouble();
      if (!condition) return undefined;
      const { value, error } = await attempt(condition);
      if (value) return value;
      if (stopwatch() > until) throw this.#stuck(`it is not so after ${this.#patience} ms: ${condition}`, error);
    }
  }

  /** @param {string} what @param {unknown} [cause] */
  #stuck(what, cause) {
    return new Error([`settle: ${what}`, ...this.#waiting()].join("\n"), { cause });
  }
}
