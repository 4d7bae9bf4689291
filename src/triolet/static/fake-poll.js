/** A poll of the fake server, of one channel or of many: how it is answered, as the server would answer it. */

import { callAt, read, retryOf } from "./fake-connection.js";
import { parseCursor } from "./fake-log.js";
import { manyBody } from "./fake-many.js";

/** @import { Message, Place, Who, Wish, World } from "./fake-api.js" */
/** @import { Followed } from "./fake-many.js" */

/** As the server has them by default: in ms, and in seconds. */
const POLL_RETRY = 2_000;
/** For clients that know of no end. */
const ENDED_RETRY = 60_000;
const LONGEST_WAIT = 25;
/** Of one that waits for other channels than those whose state has failed. */
const STATE_AGAIN = 5;

/** Events in one answer. */
const PAGE = 256;

/**
 * @typedef {Wish & {channel: string, after: ?Place, url?: string}} One
 *
 * @typedef {Object} Ask
 * @property {One[]} asks
 * @property {Message[]} [refused]  of a poll of many
 * @property {number} wait  seconds
 * @property {?string} tag
 */

/** A poll, which is answered at once or, where it may be held, when there is something to tell. */
export class Poll {
  #world;
  /** @type {(One & {from: ?Place})[]} */
  #asks;
  #refused;
  #wait;
  #tag;
  #give;
  #over;
  #callOff = { wait: () => {}, end: () => {} };
  #lacks = false;
  isOver = false;

  /**
   * `give(response)` answers it, `over()` is called at its end.
   *
   * @param {World} world
   * @param {Ask} ask
   * @param {{url: URL, who: Who, give: (response: Response) => void, over: () => void}} parts
   */
  constructor(world, { asks, refused, wait, tag }, { url, who, give, over }) {
    this.#world = world;
    this.#refused = refused;
    this.#wait = wait;
    this.#tag = tag;
    this.#asks = asks.map((ask) => {
      const { channel, after, state } = ask;
      // One that waits goes on from where it has begun, although the newest may be others by then.
      const isPlace = after === null ? Boolean(state) : after.offset >= 0;
      return { ...ask, from: isPlace || !wait ? after : parseCursor(world.log.read(channel, after).start) };
    });
    this.#give = give;
    this.#over = over;
    this.url = url;
    this.token = who.token;
    const longest = world.clock.now() + 1_000 * Math.min(wait, LONGEST_WAIT);
    if (wait) this.#callOff.wait = callAt(longest, world, () => this.answer(0));
    this.expireAt(who.until);
  }

  /** @param {string} channel */
  isOf(channel) {
    return this.#asks.some((one) => one.channel === channel);
  }

  /** @param {One & {from: ?Place}} ask */
  #read(ask) {
    return read(this.#world, ask.channel, ask.from, ask, PAGE);
  }

  get #pages() {
    return this.#asks.map((ask) => this.#read(ask));
  }

  /** The app fails to give some states: beside others they are refused for now, and the poll is held for a moment. @param {One[]} failed */
  #giveUp(failed) {
    const retry = retryOf(this.#world);
    this.#asks = this.#asks.filter((one) => !failed.includes(one));
    this.#refused?.push(...failed.map(({ url, channel }) => ({ type: "refused", url, channel, reason: "snapshot", retry })));
    this.#lacks = true;
    if (!this.#wait) return;
    this.#callOff.wait();
    const soon = this.#world.clock.now() + 1_000 * Math.min(this.#wait, STATE_AGAIN);
    this.#callOff.wait = callAt(soon, this.#world, () => this.answer(0));
  }

  /** Something may have come, or was told. @param {Message[]} [told] */
  look(told = []) {
    const failed = this.#asks.filter((ask) => this.#read(ask).failed);
    if (failed.length === this.#asks.length) return this.#end(new Response(null, { status: 500 }));
    if (failed.length > 0) this.#giveUp(failed);
    const pages = this.#pages;
    const isNews = pages.some(({ events, gap, end, snapshot }) => events.length > 0 || gap || end || snapshot);
    if (this.#wait && !isNews && told.length === 0) return;
    this.answer(this.#wait || !pages.every(({ isAll }) => isAll) ? 0 : POLL_RETRY, told);
  }

  /** @param {number} wanted  ms until the next one @param {Message[]} [told] */
  answer(wanted, told = []) {
    const pages = this.#pages;
    const places = pages.map(({ cursor }, at) => `${textOf(this.#asks[at].after)}-${cursor}`);
    const headers = { ETag: `"${places.join()}"`, "Cache-Control": "no-cache" };
    const isOld = !this.#wait && !this.#lacks && this.#tag?.includes(headers.ETag) && !pages.some(({ snapshot }) => snapshot);
    if (isOld) return this.#end(new Response(null, { status: 304, headers }));
    const retry = !this.#lacks && pages.every(({ end }) => end) ? (this.#refused ? null : ENDED_RETRY) : wanted;
    const live = pages.every(({ isAll }) => isAll);
    const now = { live, retry, time: this.#world.wall() };
    this.#end(Response.json(this.#body(pages, told, now), { headers }));
  }

  /** @param {ReturnType<typeof read>[]} pages @param {Message[]} told @param {{live: boolean, retry: ?number, time: number}} now */
  #body(pages, told, now) {
    if (this.#refused) return manyBody(/** @type {Followed[]} */ (this.#asks), pages, this.#refused, told, now);
    const [{ events, gap, cursor, end, snapshot }] = pages;
    const more = { ...(end && { end }), ...(snapshot && { snapshot }), ...(told.length > 0 && { told }) };
    return { channel: this.#asks[0].channel, events, cursor, gap, ...now, ...more };
  }

  /** A channel is taken away: the poll ends with it, where it is for nothing else. @param {string} channel */
  revoke(channel) {
    const { url } = /** @type {One} */ (this.#asks.find((one) => one.channel === channel));
    this.#asks = this.#asks.filter((one) => one.channel !== channel);
    if (this.#asks.length === 0) return this.refuse(403, "revoked");
    this.#refused?.push({ type: "refused", url, channel });
    this.answer(0);
  }

  /** @param {number} status @param {string} error */
  refuse(status, error) {
    this.#end(Response.json({ error }, { status }));
  }

  /** What it was let in with is good until then. @param {number} until */
  expireAt(until) {
    this.#callOff.end();
    if (this.isOver || until === Infinity) return;
    const end = () => this.refuse(401, "expired");
    if (until <= this.#world.clock.now()) end();
    else this.#callOff.end = callAt(until, this.#world, end);
  }

  /** @param {Response} response */
  #end(response) {
    if (this.isOver) return;
    this.gone();
    this.#give(response);
  }

  gone() {
    if (this.isOver) return;
    this.isOver = true;
    for (const off of Object.values(this.#callOff)) off();
    this.#over();
  }
}

/** @param {?Place} place */
function textOf(place) {
  if (place === null) return "None";
  const { epoch, offset } = place;
  return epoch ? `${epoch}.${offset}` : String(offset);
}
