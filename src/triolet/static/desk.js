/** What the leading tab does for all tabs: one follow of a channel, whose messages go to everybody who stands there. */

import { newId } from "./commands.js";
import { Track, epochOf, isBefore, offsetOf } from "./track.js";

/**
 * @import { Clock, State, Why } from "./api.js"
 * @import { Message, TrackOptions } from "./track.js"
 * @import { Ways } from "./ways.js"
 *
 * @typedef {{tab: string, id: number}} Member  one follow of a tab's
 * @typedef {(members: Member[], message: Message) => void} Forward
 */

/** So long a new leader listens to who follows what, before it asks for the oldest place of them. */
const GATHER = 50;

/**
 * Whether it says where to begin: not "now", and not how many of the newest.
 *
 * @param {string | null} after
 * @returns {after is string}
 */
const isPlace = (after) => after !== null && after !== "0" && offsetOf(after) >= 0;

/** @param {string | null} one @param {string | null} other */
const areOfOneLife = (one, other) => isPlace(one) && isPlace(other) && epochOf(one) === epochOf(other);

/** A position of the leader's: what it has found good goes on to the members. */
class Relay extends Track {
  #forward;
  /** @type {Map<string, Member>} by tab and number */
  members = new Map();
  hasBegun = false;

  /** @param {string} url @param {string | null} after @param {Forward} forward */
  constructor(url, after, forward) {
    /** @type {TrackOptions["hear"]} */
    const hear = (type, said) => /gap|fault|end/.test(type) && this.#tell({ ...said, type });
    super(url, { after, hear }, null); // a member that is full leaves
    this.#forward = forward;
  }

  /** @param {Message} message */
  #tell(message) {
    if (this.members.size) this.#forward([...this.members.values()], message);
  }

  /** @param {Message} message */
  take(message) {
    super.take(message);
    if (message.type !== "gap") this.#tell(message); // and of the end all are told by then
  }

  /** @param {State} [state] @param {Why} [why] */
  become(state, why = {}) {
    const before = this.state;
    super.become(state, why);
    if (why.reason === "ended") return; // the end itself says so, to those that have come so far
    const isNew = this.state !== before || why.error;
    if (isNew && (this.state === "connecting" || this.state === "gone" || why.error)) {
      this.#tell({ type: "state", state: this.state, why: named(why) });
    }
  }

  /**
   * Whether who has come so far gets everything here: what it has already it leaves out.
   *
   * @param {string | null} after
   */
  fits(after) {
    if (this.state === "gone") return false;
    if (!this.hasBegun) return after === this.start || areOfOneLife(after, this.start);
    if (after === null) return this.state === "live" && !/[?&]snapshot=/.test(String(this.url)); // that comes first
    return after === this.cursor || (areOfOneLife(after, this.cursor) && isBefore(this.cursor, after));
  }
}

/** What can be said to another tab: an error is no plain data. @param {any} said a Why, or a Fault */
export function plain({ error, ...said }) {
  if (!error) return said;
  const { message, code, status, retry, reason } = error;
  return { ...said, error: { message, code, status, retry, reason } };
}

/** By what tabs know again why several follows are as they are. @type {WeakMap<Why, string>} */
const names = new WeakMap();

/** @param {Why} why */
export function named(why) {
  if (!names.has(why)) names.set(why, newId());
  return { ...plain(why), name: names.get(why) };
}

/** Members are named by their tab and a number of its: `{tab, id}`. `forward(members, message)` says it to them. */
export class Desk {
  #ways;
  #forward;
  #clock;
  /** @type {Set<Relay>} */
  #relays = new Set();
  /** @type {any} */
  #gathering;

  /** @param {Ways} ways @param {Clock} clock @param {Forward} forward */
  constructor(ways, clock, forward) {
    this.#ways = ways;
    this.#clock = clock;
    this.#forward = forward;
    this.#gathering = clock.setTimeout(() => this.#gathered(), GATHER);
  }

  #gathered() {
    this.#gathering = null;
    for (const relay of this.#relays) this.#begin(relay);
  }

  /** @param {Relay} relay */
  #begin(relay) {
    relay.hasBegun = true;
    this.#ways.begin(relay);
  }

  /** @param {Member & {url: string, after: string | null}} asked */
  follow({ tab, id, url, after }) {
    this.unfollow({ tab, id });
    const all = [...this.#relays].filter((one) => one.url === url);
    const relay = all.find((one) => one.fits(after)) ?? this.#relay(url, after);
    const member = { tab, id };
    relay.members.set(`${tab} ${id}`, member);
    if (!relay.hasBegun) {
      if (after !== null && isBefore(after, relay.start)) relay.start = relay.cursor = after;
      if (this.#gathering === null) this.#begin(relay);
    } else if (relay.channel !== null) this.#welcome(relay, member, after);
  }

  /** @param {Relay} relay @param {Member} member @param {string | null} after */
  #welcome(relay, member, after) {
    const { channel, cursor, filtered, state } = relay;
    this.#forward([member], { type: "open", channel, cursor: after ?? cursor, filtered });
    if (state === "live") this.#forward([member], { type: "live", channel, cursor });
    else if (state === "connecting") this.#forward([member], { type: "state", state, why: {} });
  }

  /** @param {string} url @param {string | null} after @returns {Relay} */
  #relay(url, after) {
    /** @type {Relay} */
    const relay = new Relay(url, after, (members, message) => {
      this.#forward(members, message);
      if (message.type === "live" || message.type === "event") this.#merge(relay);
      if (relay.state === "gone") this.#relays.delete(relay);
    });
    this.#relays.add(relay);
    return relay;
  }

  /** Two of a URL that are live on one channel become one, as soon as nobody misses anything by it. @param {Relay} relay */
  #merge(relay) {
    if (relay.state !== "live") return;
    for (const other of this.#relays) {
      const isSame = other !== relay && other.url === relay.url && other.channel === relay.channel;
      if (!isSame || other.state !== "live" || isBefore(relay.cursor, other.cursor)) continue;
      for (const [name, member] of relay.members) other.members.set(name, member);
      relay.members.clear();
      return this.#end(relay);
    }
  }

  /** @param {Member} member */
  unfollow({ tab, id }) {
    for (const relay of this.#relays) {
      if (relay.members.delete(`${tab} ${id}`) && relay.members.size === 0) this.#end(relay);
    }
  }

  /** A tab is gone, with all that it followed. @param {string} tab */
  forget(tab) {
    for (const relay of [...this.#relays]) {
      for (const member of [...relay.members.values()]) {
        if (member.tab === tab) this.unfollow(member);
      }
    }
  }

  /** @param {Relay} relay */
  #end(relay) {
    this.#relays.delete(relay);
    if (relay.hasBegun) this.#ways.leave(relay);
  }

  /** Leads no more: nobody is told of it here. */
  close() {
    for (const relay of this.#relays) relay.members.clear();
    if (this.#gathering !== null) this.#clock.clearTimeout(this.#gathering);
    for (const relay of [...this.#relays]) this.#end(relay);
    this.#ways.close();
  }
}
