/** Several subscriptions of one channel, on the one follow that a server without subscriptions has for it. */

import { isBefore } from "./track.js";

/**
 * @import { Entry } from "./multiplex.js"
 * @import { Message, Track } from "./track.js"
 */

/**
 * Such a server follows a channel once, from the last cursor that it was told. So one is asked for at a time, and who
 * stands behind the others has them wait: they hear nothing until it is open, and from there on leave out what they have.
 * Who stands where the others are, or further, is not asked for at all: it joins them.
 */
export class Sharing {
  #ask;
  #give;

  /**
   * `ask(entry)` asks the server, `give(entry, message)` has an entry take a message.
   *
   * @param {(entry: Entry) => void} ask
   * @param {(entry: Entry, message: Message) => void} give
   */
  constructor(ask, give) {
    this.#ask = ask;
    this.#give = give;
  }

  /**
   * One of those that were asked for is open, beside the others of the channel: it may have displaced one that stood behind
   * it.
   *
   * @param {Entry[]} asked
   * @param {Entry[]} others
   * @param {Message} message
   * @returns {boolean} whether anybody wants the channel
   */
  open(asked, others, message) {
    const entry = asked.find(({ isOpen }) => !isOpen);
    if (!entry) return others.length > 0;
    entry.isOpen = entry.isPlain = true;
    entry.isDeaf = false;
    this.#give(entry, message);
    if (others.length > 0) this.#beside(entry, others, message.cursor);
    return true;
  }

  /** @param {Entry} entry @param {Entry[]} others @param {string} cursor */
  #beside(entry, others, cursor) {
    const all = [entry, ...others];
    for (const { track } of all) track.isShared = true;
    const last = others.reduce((one, other) => (isBefore(other.track.cursor, one.track.cursor) ? other : one));
    this.#hush(all, last, cursor);
  }

  /** One comes to those that follow its channel. @param {Entry} entry @param {Entry[]} others */
  join(entry, others) {
    const inOrder = others.map(({ track }) => track).sort((one, other) => (isBefore(one.cursor, other.cursor) ? -1 : 1));
    const [last, first] = [inOrder[0], /** @type {Track} */ (inOrder.at(-1))]; // the server is where the last of them is
    if (entry.track.cursor === null && first.state !== "live") return; // where "now" is will be known when they are
    for (const one of [entry, ...others]) one.track.isShared = true;
    if (this.#hush(others, entry, last.cursor)) return;
    entry.isOpen = entry.isPlain = true;
    const { channel, filtered, state } = first;
    this.#give(entry, { type: "open", channel, cursor: entry.track.cursor ?? first.cursor, filtered });
    if (state === "live") this.#give(entry, { type: "live", channel, cursor: first.cursor });
  }

  /**
   * Where one stands behind the server's place it is asked for, and nobody listens until it is open.
   *
   * @param {Entry[]} all
   * @param {Entry} last
   * @param {string | null} cursor
   */
  #hush(all, last, cursor) {
    const isAnew = last.track.cursor !== null && isBefore(last.track.cursor, cursor);
    for (const one of all) one.isDeaf = isAnew;
    if (isAnew) this.#ask(last);
    return isAnew;
  }
}
