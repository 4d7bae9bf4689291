/** What is true now, as pictures that never change: in the form in which React's `useSyncExternalStore` asks for it. */

import { settingsOf } from "./settings.js";

/** How long a picture stands at least while somebody looks, in ms: no screen shows more of them. */
const FRAME = 16;

/**
 * Whether two pictures look the same. The cursor alone is no reason for another one: who makes nothing of an event is
 * not drawn anew for it.
 *
 * @param {Record<string, any>} one
 * @param {Record<string, any>} other
 */
export function isAlike(one, other) {
  return Object.keys(other).every((name) => name === "cursor" || Object.is(one[name], other[name]));
}

/**
 * A picture of what is true now, for those who look. While nobody looks nothing is done.
 *
 * @template {object} Picture
 */
export class Shown {
  /** @type {Readonly<Picture>} */
  #first;
  /** @type {Readonly<Picture>} */
  #now;
  /** @type {?{error: unknown}} */
  #failure = null;
  /** @type {Set<() => void>} */
  #calls = new Set();
  #drawnAt = -Infinity;
  #isDue = false;
  /** @type {any} */
  #timer = null;

  /**
   * @param {Picture} first  what is shown before anything is known, on a server too
   * @param {import("./api.js").Clock} [clock]
   */
  constructor(first, clock) {
    this.#first = this.#now = Object.freeze(first);
    /** @type {import("./api.js").Clock} */
    this.clock = settingsOf({ clock }).clock;
  }

  // --- for those who look ---------------------------------------------------------------------------------

  /** @returns {Readonly<Picture>} the same until there is another one @throws what has failed */
  now = () => {
    if (this.#failure !== null) throw this.#failure.error;
    if (this.#calls.size === 0) this.#take(); // nobody was told of what has changed
    return this.#now;
  };

  /** @returns {Readonly<Picture>} */
  first = () => this.#first;

  /** @param {() => void} call @returns {() => void} looks no more */
  subscribe = (call) => {
    this.#calls.add(call);
    if (this.#calls.size === 1 && this.#failure === null) {
      this.begin();
      this.soon();
    }
    return () => {
      if (this.#calls.delete(call) && this.#calls.size === 0) this.#rest();
    };
  };

  #rest() {
    if (this.#timer !== null) this.clock.clearTimeout(this.#timer);
    this.#timer = null;
    this.#isDue = false;
    this.end();
  }

  // --- for those who know ---------------------------------------------------------------------------------

  /** Somebody looks. */
  begin() {}

  /** Nobody looks any more. */
  end() {}

  /** @returns {Picture} what is true now */
  look() {
    return this.#first;
  }

  /** What is true may be another thing now. All that happens until it is drawn is one change. */
  soon() {
    if (this.#isDue || this.#calls.size === 0) return;
    this.#isDue = true;
    const draw = () => this.#isDue && this.draw();
    const left = this.#drawnAt + FRAME - this.clock.now();
    if (left > 0) this.#timer = this.clock.setTimeout(draw, left);
    else queueMicrotask(draw);
  }

  /** Shows at once what is true now, if that is another thing than before. */
  draw() {
    this.#isDue = false;
    this.#timer = null;
    if (!this.#take()) return;
    this.#drawnAt = this.clock.now();
    this.#tell();
  }

  #take() {
    const next = this.look();
    if (isAlike(this.#now, next)) return false;
    this.#now = Object.freeze(next);
    return true;
  }

  /** From now on this is thrown at whoever looks. @param {unknown} error */
  fail(error) {
    this.#failure = { error };
    this.#tell();
  }

  #tell() {
    for (const call of [...this.#calls]) call();
  }
}
