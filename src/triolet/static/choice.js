/** Which of the transports to take: tried in order, the one that works remembered. Knows nothing of channels. */

import { Ended } from "./line.js";

/**
 * @import { Transport } from "./api.js"
 * @import { Settings } from "./settings.js"
 */

/**
 * How long the first of a round may take until its first message, at first and at most. Each that lets all its time pass
 * leaves half of it to the next: of a network that swallows one and holds up another the third is there within five seconds.
 */
const PATIENCE = 2_000;
const LONGEST_PATIENCE = 16_000;
const SHORTEST_PATIENCE = 1_000;

/** When to look whether a transport that stands before the one in use works by now. */
const BETTER_AFTER = 300_000;
const BETTER_AFTER_MOST = 3_600_000;

/**
 * What has worked in this page, by origin.
 *
 * @type {Map<string, Transport>}
 */
export const winners = new Map();

/** The end of a connection that brings its messages too late: another transport may bring them as they come. */
export function lumpy() {
  throw new Ended("lumps");
}

/**
 * Ends that the network's treatment of one transport explains. Why a WebSocket was not opened no browser tells.
 *
 * @param {Transport} transport
 * @param {Ended} error
 * @param {boolean} wasHeardOf
 */
function isTransports(transport, { reason, retry, code }, wasHeardOf) {
  const isSocket = transport === "websocket" && (reason === "token" || (code !== undefined && retry === undefined));
  return reason === "lumps" || (!wasHeardOf && (isSocket || reason === "silent" || reason === "type"));
}

/** The transports of one client, and which one is tried now. */
export class Choice {
  #order;
  #origin;
  #settings;
  #changed;
  #winners;
  #first;
  #at;
  #home;
  #left = 0;
  #longest = PATIENCE;
  /** How long the one that is tried now may take until its first message, in ms. */
  patience = PATIENCE;
  /** Whether one has worked. */
  isWon = false;
  #better = BETTER_AFTER;
  /** @type {any} */
  #timer = null;

  /**
   * `changed(isBetter)` is called when another one is to be taken: one that may be better, or not.
   * With `skips`, the first of the order is somebody else's to try, and is looked for by `changed(true)` alone.
   *
   * @param {Transport[]} order
   * @param {string} origin
   * @param {Settings} settings
   * @param {(isBetter: boolean) => void} [changed]
   * @param {boolean} [skips]
   */
  constructor(order, origin, settings, changed = () => {}, skips = false) {
    this.#order = order;
    this.#origin = origin;
    this.#settings = settings;
    this.#changed = changed;
    this.#winners = settings.winners ?? winners;
    this.#first = skips ? 1 : 0;
    this.#home = this.#at = Math.max(this.#first, order.indexOf(/** @type {Transport} */ (this.winner)));
  }

  /** What has worked in this page, or in one before it; undefined where that is not known. */
  get winner() {
    return this.#winners.get(this.#origin);
  }

  /** Whether there is anything to choose from. */
  get isOpen() {
    return this.#order.length > 1 + this.#first;
  }

  get current() {
    return this.#order[this.#at];
  }

  /**
   * A connection over this transport has ended.
   *
   * @param {Transport} transport
   * @param {Ended} error
   * @param {boolean} wasHeardOf
   * @returns {boolean} whether to go on at once, over another one; else the end is the server's or the network's, and
   *     says itself when to try again
   */
  leave(transport, error, wasHeardOf) {
    if (transport !== this.current) return true; // others have left it already
    const isIts = this.isOpen && isTransports(transport, error, wasHeardOf);
    if (isIts) {
      this.#left += 1;
      this.hurry(error);
      if (this.#left < this.#order.length - this.#first) {
        this.#move(this.#at + 1 < this.#order.length ? this.#at + 1 : this.#first);
        return true;
      }
      this.#longest = Math.min(LONGEST_PATIENCE, 2 * this.#longest); // all of them have failed
    }
    if (isIts || error.retry === undefined) {
      this.#begin();
      this.#move(this.#home); // what works is tried first
    }
    return false;
  }

  /** What has been silent has taken its time from the others. @param {Ended} error */
  hurry({ reason }) {
    if (reason === "silent") this.patience = Math.max(SHORTEST_PATIENCE, this.patience / 2);
  }

  #begin(patience = this.#longest) {
    this.#left = 0;
    this.patience = patience;
  }

  /** @param {number} at */
  #move(at) {
    if (at === this.#at) return;
    this.#at = at;
    this.#changed(false);
  }

  /** This transport brings messages as they come. @param {Transport} transport */
  won(transport) {
    if (transport !== this.current) return;
    this.#begin();
    this.isWon = true;
    this.#home = this.#at;
    this.remember(transport);
    const again = () => {
      this.#better = Math.min(BETTER_AFTER_MOST, 2 * this.#better);
      this.first();
    };
    if (this.#at > 0) this.#timer ??= this.#settings.clock.setTimeout(again, this.#better);
    else this.#better = BETTER_AFTER;
  }

  /**
   * For the next choice of this page, and of the next one; what was the only one there was is no choice.
   *
   * @param {Transport} transport
   */
  remember(transport) {
    if (this.#order.length === 1 || this.winner === transport) return;
    this.#winners.set(this.#origin, transport);
    this.#settings.remember?.(transport);
  }

  /** Tries the first one again. */
  first() {
    this.end();
    this.#begin(PATIENCE); // another one works, and is waited for
    this.#at = this.#first;
    this.#changed(true);
  }

  end() {
    this.#settings.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }
}
