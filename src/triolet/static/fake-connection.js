/** One client of the fake server: what its WebSocket or event stream is told, as the server would tell it. */

import { foldedOf } from "./fake-folds.js";
import { parseCursor } from "./fake-log.js";

/** @import { Message, Page, Place, Who, Wire, Wish, World } from "./fake-api.js" */
/** @import { Followed } from "./fake-many.js" */

/** As the server has them by default, in ms. */
const BEAT = 20_000;
const WARNING = 30_000;

/** The longest time that a timer of a browser knows. */
const LONGEST = 2 ** 31 - 1;

const ENDED = { code: 1000, reason: "ended", retry: null };
const CRASHED = { code: 1011, reason: "internal error" };
const EXPIRED = { code: 4401, reason: "expired", retry: null };
export const REVOKED = { code: 4403, reason: "revoked", retry: null };

/**
 * Calls once this moment of the world's clock has come.
 *
 * @param {number} moment
 * @param {World} world
 * @param {() => void} call
 * @returns {() => void} what calls it off
 */
export function callAt(moment, { clock }, call) {
  const left = moment - clock.now();
  if (left > LONGEST) return () => {};
  const timer = clock.setTimeout(call, Math.max(0, left));
  return () => clock.clearTimeout(timer);
}

/** After how many ms a client asks again for what has failed, as the server draws it. @param {World} world */
export function retryOf({ random }) {
  return Math.round(1_000 + 9_000 * random());
}

/** Where a state takes the place of a gap. */
const LOST = /^(expired|epoch|future)$/;

/**
 * What a client reads that goes on after a cursor, as it wishes: its events folded, or a state in place of them, where it comes
 * without a cursor or has lost some.
 *
 * @param {World} world
 * @param {string} channel
 * @param {?Place} after
 * @param {Wish} wish
 * @param {number} [most]
 * @returns {Page & {snapshot: ?Message, failed?: boolean}}
 */
export function read({ log }, channel, after, { fold, state }, most) {
  const page = log.read(channel, after, fold ? undefined : most);
  if (state && (after === null || LOST.test(page.gap?.reason))) {
    const [now, data] = [log.read(channel, null), state()];
    if (data === undefined) return { ...now, snapshot: null, failed: true };
    return { ...now, snapshot: { type: "snapshot", channel, cursor: now.cursor, data } };
  }
  return { ...page, events: fold ? foldedOf(page.events) : page.events, snapshot: null };
}

/** @typedef {Wish & {sub: ?string, url: ?string}} Named */

/** One that has no name, or subscriptions that have and stand at one place, so that all are told in one. */
class Follower {
  cursor = "";

  /** @param {string} channel @param {Named[]} names */
  constructor(channel, names) {
    this.channel = channel;
    this.names = names;
    this.isPlain = names[0].sub === null;
  }

  get subs() {
    return this.names.flatMap(({ sub }) => (sub === null ? [] : [sub]));
  }
}

export class Connection {
  #world;
  #wire;
  /** @type {Set<Follower>} */
  #followers = new Set();
  /**
   * By channel, whom what stands in no bracket is for: those that its last `live` has named.
   * @type {Map<string, string[]>}
   */
  #told = new Map();
  #said = 0;
  #callOff = { beat: () => {}, warning: () => {}, end: () => {} };
  #over;
  isOver = false;
  /** Whether it ends with the last that it follows. */
  #isMany = false;
  /** Whether something that it followed has failed, so that its client is to come back. */
  #lacks = false;
  /**
   * Those that have failed while one request's are followed, all of them.
   * @type {Follower[] | null}
   */
  #failed = null;
  until = Infinity;
  /**
   * By what an event stream is renewed.
   * @type {?string}
   */
  key = null;
  /**
   * What handlers of the test have of it.
   * @type {import("./fake.js").FakeConnection | undefined}
   */
  face;

  /**
   * `own` is the channel of its URL; null: it is a socket's. `over()` is called at its end.
   *
   * @param {World} world
   * @param {Wire} wire
   * @param {{transport: "websocket" | "sse", url: URL, own: ?string, who: Who, over: () => void}} parts
   */
  constructor(world, wire, { transport, url, own, who, over }) {
    this.#world = world;
    this.#wire = wire;
    this.#over = over;
    this.transport = transport;
    this.url = url;
    this.own = own;
    this.token = who.token;
    this.subject = who.subject;
    this.#beats();
  }

  /** @param {Message} message */
  say(message) {
    if (this.isOver) return;
    this.#said += 1;
    this.#wire.write(message);
  }

  // --- what it follows ------------------------------------------------------------------------------------

  /** @param {string} channel */
  #on(channel) {
    return [...this.#followers].filter((one) => one.channel === channel);
  }

  get channels() {
    return [...this.#followers].map(({ channel }) => channel);
  }

  /**
   * Follows anew what it follows already under this name, or without one.
   *
   * @param {string} channel
   * @param {?Place} after
   * @param {Wish & {url?: ?string, sub?: ?string}} [named]
   */
  follow(channel, after, { url = null, sub = null, ...wish } = {}) {
    this.unfollow(channel, sub);
    const others = this.#on(channel);
    const follower = new Follower(channel, [{ ...wish, url, sub }]);
    this.#followers.add(follower);
    const isApart = follower.isPlain ? others.length > 0 : others.some(({ isPlain }) => isPlain);
    if (isApart && this.#told.get(channel)?.length !== 0) this.#hush(channel);
    this.#catchUp(follower, after, ({ start, snapshot }) => {
      const named = { ...(url !== null && { url }), ...(sub !== null && { sub }) };
      return [{ type: "open", channel, cursor: snapshot ? null : start, ...named }];
    });
    if (follower.isPlain) for (const other of others) this.#bring(other, []);
  }

  /** What one request follows, for good. @param {Followed[]} follows @param {Message[]} refused */
  followAll(follows, refused) {
    for (const message of refused) this.say(message);
    /** @type {Follower[]} */
    const failed = (this.#failed = []);
    for (const { channel, after, ...named } of follows) this.follow(channel, after, named);
    this.#failed = null;
    this.#isMany = true;
    for (const follower of failed) this.#giveUp(follower);
    this.#look(ENDED);
  }

  /** What follows many is over when it follows nothing any more. @param {{code: number, reason: string, retry: null}} closing */
  #look(closing) {
    if (this.#isMany && this.#followers.size === 0) this.end(this.#lacks ? this.#crash : closing);
  }

  get #crash() {
    return { ...CRASHED, retry: retryOf(this.#world) };
  }

  /** The app fails to give a state: who is to have it asks again, and all of a connection of nothing else. @param {Follower} follower */
  #giveUp(follower) {
    const { channel, names } = follower;
    if (this.#failed) return void this.#failed.push(follower); // not before all of the others are there
    this.#lacks = true;
    if ((this.own === channel || this.#isMany) && this.#followers.size === 1) return this.end(this.#crash);
    for (const { sub, url } of [...names]) {
      this.#remove(follower, sub);
      const named = sub !== null && { sub };
      this.say({ type: "refused", url, channel, ...named, reason: "snapshot", retry: retryOf(this.#world) });
    }
    this.#look(REVOKED);
  }

  /** Takes the way without brackets from those that were named last. @param {string} channel */
  #hush(channel) {
    this.#told.set(channel, []);
    this.#bracket([], [{ type: "live", channel, cursor: this.#world.log.head(channel), subs: [] }]);
  }

  /** @param {Follower} follower @param {?Place} after @param {(page: ReturnType<typeof read>) => Message[]} [opening] */
  #catchUp(follower, after, opening = () => []) {
    const page = read(this.#world, follower.channel, after, follower.names[0]);
    if (page.failed) return this.#giveUp(follower);
    const { snapshot, gap, events, end } = page;
    follower.cursor = page.cursor;
    const messages = [...opening(page), ...[snapshot, gap].filter((one) => one !== null), ...events];
    if (end) this.#end(follower, [...messages, end]);
    else this.#bring(follower, messages);
  }

  /** Says the last of a channel to a follower, which is none any more. @param {Follower} follower @param {Message[]} messages */
  #end(follower, messages) {
    const { channel, subs, names } = follower;
    if (!follower.isPlain && messages.length > 0) this.#bracket(subs, messages);
    else for (const message of messages) this.say(message);
    for (const { sub } of [...names]) this.#remove(follower, sub);
    if (this.own === channel && this.#followers.size === 0) this.end(ENDED);
    this.#look(ENDED);
  }

  /**
   * Says what brings a follower up to date. One with a name joins those that are it already.
   *
   * @param {Follower} follower
   * @param {Message[]} messages
   */
  #bring(follower, messages) {
    const { channel, cursor, subs } = follower;
    const live = { type: "live", channel, cursor };
    if (follower.isPlain) {
      for (const message of [...messages, live]) this.say(message);
      return;
    }
    const others = this.#on(channel).filter((one) => one !== follower);
    const isApart = others.some(({ isPlain }) => isPlain);
    const lead = isApart ? undefined : others.find((one) => this.#isNamed(one));
    const named = isApart ? [] : [...(lead?.subs ?? []), ...subs];
    this.#told.set(channel, named);
    this.#bracket(subs, [...messages, { ...live, subs: named }]);
    if (!lead) return;
    lead.names.push(...follower.names);
    this.#followers.delete(follower);
  }

  /** @param {Follower} follower */
  #isNamed({ channel, subs }) {
    return (this.#told.get(channel) ?? []).some((sub) => subs.includes(sub));
  }

  /** @param {string[]} subs @param {Message[]} messages */
  #bracket(subs, messages) {
    for (const message of [{ type: "for", subs, next: messages.length }, ...messages]) this.say(message);
  }

  /** An event was published, a channel has ended, or something is only for now. @param {Message} message */
  take(message) {
    const { type, channel, id = message.cursor } = message;
    const all = this.#on(channel).sort((one, other) => Number(other.isPlain) - Number(one.isPlain));
    const isApart = all.some(({ isPlain }) => isPlain);
    for (const follower of all) {
      const isLive = follower.isPlain || (!isApart && this.#isNamed(follower));
      if (id) follower.cursor = id;
      if (isLive) this.say(message);
      else if (isApart || type !== "event") this.#bracket(follower.subs, [message]);
      else this.#bring(follower, [message]);
    }
    if (type === "end") for (const follower of all) this.#end(follower, []);
  }

  /**
   * Something of a channel is gone: who followed it is told, and goes on; those that have other wishes each for themselves.
   *
   * @param {string} channel
   */
  readOn(channel) {
    for (const follower of this.#on(channel)) {
      const { cursor, names } = follower;
      const [{ state }] = names;
      const others = names.filter((one) => one.state !== state);
      follower.names = names.filter((one) => one.state === state);
      this.#catchUp(follower, parseCursor(cursor));
      for (const other of others) {
        const apart = new Follower(channel, [other]);
        this.#followers.add(apart);
        this.#catchUp(apart, parseCursor(cursor));
      }
    }
  }

  /** @param {string} channel @param {?string} [sub] */
  unfollow(channel, sub = null) {
    for (const follower of this.#followers) {
      const isPlain = follower.isPlain && follower.channel === channel;
      const isMeant = sub === null ? isPlain : follower.subs.includes(sub);
      if (isMeant) this.#remove(follower, sub);
    }
  }

  /** @param {Follower} follower @param {?string} sub */
  #remove(follower, sub) {
    follower.names = follower.names.filter((one) => one.sub !== sub);
    if (follower.names.length === 0) this.#followers.delete(follower);
    if (this.#on(follower.channel).length === 0) this.#told.delete(follower.channel);
  }

  /** A channel is taken away: the connection ends with it, where it is for nothing else. @param {string} channel */
  revoke(channel) {
    for (const follower of this.#on(channel)) {
      for (const { sub, url } of [...follower.names]) {
        if (this.own === channel && this.#followers.size === 1 && follower.isPlain) return this.end(REVOKED);
        this.#remove(follower, sub);
        this.say({ type: "refused", url, channel, ...(sub !== null && { sub }) });
      }
    }
    this.#look(REVOKED);
  }

  // --- its life -------------------------------------------------------------------------------------------

  /** As often as the server's: none soon after something else was sent, and the first at a moment that is drawn. */
  #beats() {
    const { clock, random } = this.#world;
    /** @type {?number} */
    let sent = null;
    let isDone = false;
    const look = () => {
      isDone = (sent === null || sent === this.#said) && !isDone;
      sent = this.#said;
      if (isDone) this.beat();
      this.#callOff.beat = callAt(clock.now() + BEAT / 2, this.#world, look);
    };
    this.#callOff.beat = callAt(clock.now() + BEAT * random(), this.#world, look);
  }

  /** @param {{stale?: boolean}} [more] */
  beat(more = {}) {
    if (this.isOver) return;
    const cursors = Object.fromEntries([...this.#followers].map(({ channel, cursor }) => [channel, cursor]));
    this.#wire.write({ type: "beat", time: this.#world.wall(), cursors, ...more });
  }

  /** @param {number} until */
  #left(until) {
    return until === Infinity ? null : Math.max(0, Math.round(until - this.#world.clock.now()));
  }

  /** It is good until then, by the world's clock; the client is warned some time before. @param {number} until */
  expireAt(until) {
    this.#callOff.warning();
    this.#callOff.end();
    this.until = until;
    if (this.isOver || until === Infinity) return;
    const left = until - this.#world.clock.now();
    if (left <= 0) return this.end(EXPIRED);
    if (left <= WARNING) this.#warn();
    else this.#callOff.warning = callAt(until - WARNING, this.#world, () => this.#warn());
    this.#callOff.end = callAt(until, this.#world, () => this.end(EXPIRED));
  }

  #warn() {
    if (this.transport === "sse") this.key = `key-${Math.round(this.until)}-${this.#said}`;
    this.say({ type: "expiring", in: this.#left(this.until), ...(this.key !== null && { key: this.key }) });
  }

  /** A new credential came; null: one that is no good. @param {?Who} who @returns {boolean} whether it goes on with it */
  renew(who) {
    if (this.isOver) return false;
    if (who === null || who.subject !== this.subject) {
      this.say({ type: "expiring", in: this.#left(this.until), refused: true });
      return false;
    }
    this.token = who.token;
    this.key = null;
    this.say({ type: "renewed", in: this.#left(who.until) });
    this.expireAt(who.until);
    return true;
  }

  /** @param {{code: number, reason: string, retry: ?number}} closing */
  end({ code, reason, retry }) {
    if (this.isOver) return;
    this.say({ type: "bye", code, reason, retry });
    this.#wire.close(code, reason);
    this.gone();
  }

  /** Nothing reaches its client any more. */
  gone() {
    if (this.isOver) return;
    this.isOver = true;
    for (const off of Object.values(this.#callOff)) off();
    this.#followers.clear();
    this.#over();
  }
}
