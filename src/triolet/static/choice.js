/** Which of the transports to take: tried in order, the one that works remembered. Knows nothing of channels. */

import { Ended } from "./line.js";

/** How long a transport may take until its first message, at first and at most: others can be there by then. */
const PATIENCE = 2_000;
const LONGEST_PATIENCE = 16_000;

/** When to look whether a transport that stands before the one in use works by now. */
const BETTER_AFTER = 300_000;
const BETTER_AFTER_MOST = 3_600_000;

/** What has worked in this page, by origin. */
const known = new Map();

/** The end of a connection that brings its messages too late: another transport may bring them as they come. */
export function lumpy() {
  throw new Ended("what is sent arrives in lumps", { retry: 0, reason: "lumps" });
}

/** Ends that the network's treatment of one transport explains. Why a WebSocket was not opened no browser tells. */
function isTransports(transport, error, wasHeardOf) {
  if (error.reason === "lumps") return true;
  if (wasHeardOf) return false;
  const isClosed = error.retry === undefined && error.code !== undefined;
  const isSocket = transport === "websocket" && (isClosed || error.reason === "token");
  return isSocket || error.reason === "silent" || error.reason === "type";
}

/** Notes what has worked, for the next choice of this page and, in the store, of the next page. */
export function noteWinner(transport, origin, { store, winners = known }) {
  if (winners.get(origin) === transport) return;
  winners.set(origin, transport);
  store?.set(`triolet:transport:${origin}`, transport);
}

/** What has worked; undefined where nothing is known. */
export function winnerOf(origin, { winners = known }) {
  return winners.get(origin);
}

/** The transports of one client, and which one is tried now. */
export class Choice {
  #order;
  #origin;
  #settings;
  #changed;
  #at;
  #home;
  #left = 0;
  #better = BETTER_AFTER;
  #timer = null;

  /** @param {string[]} order  `changed(isBetter)` is called when another one is to be taken: one that may be better, or not */
  constructor(order, origin, settings, changed = () => {}) {
    this.#order = order;
    this.#origin = origin;
    this.#settings = settings;
    this.#changed = changed;
    this.#home = this.#at = Math.max(0, order.indexOf(winnerOf(origin, settings)));
    this.patience = PATIENCE;
    /** Whether one has worked. */
    this.isWon = false;
  }

  /** Whether there is anything to choose from. */
  get isOpen() {
    return this.#order.length > 1;
  }

  get current() {
    return this.#order[this.#at];
  }

  /**
   * A connection over this transport has ended. @returns {boolean} whether to go on at once, over another one; else the
   * end is the server's or the network's, and says itself when to try again
   */
  leave(transport, error, wasHeardOf) {
    if (transport !== this.current) return true; // others have left it already
    if (this.isOpen && isTransports(transport, error, wasHeardOf)) return this.#next();
    if (error.retry === undefined) this.#restart();
    return false;
  }

  #next() {
    this.#left += 1;
    const isRound = this.#left >= this.#order.length;
    if (isRound) this.#restart(Math.min(LONGEST_PATIENCE, 2 * this.patience));
    else this.#move((this.#at + 1) % this.#order.length);
    return !isRound;
  }

  /** What works is tried first. */
  #restart(patience = this.patience) {
    this.#left = 0;
    this.patience = patience;
    this.#move(this.#home);
  }

  #move(at, isBetter = false) {
    if (at === this.#at) return;
    this.#at = at;
    this.#changed(isBetter);
  }

  /** This transport brings messages as they come. */
  won(transport) {
    if (transport !== this.current) return;
    this.#left = 0;
    this.isWon = true;
    this.#home = this.#at;
    noteWinner(transport, this.#origin, this.#settings);
    if (this.#at === 0) this.#better = BETTER_AFTER;
    else this.#timer ??= this.#settings.clock.setTimeout(() => this.#again(), this.#better);
  }

  #again() {
    this.#timer = null;
    this.#better = Math.min(BETTER_AFTER_MOST, 2 * this.#better);
    this.first();
  }

  /** Tries the first one again. */
  first() {
    this.#left = 0;
    this.#move(0, true);
  }

  end() {
    if (this.#timer !== null) this.#settings.clock.clearTimeout(this.#timer);
  }
}
