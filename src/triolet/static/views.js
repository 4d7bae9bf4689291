/** What a part of a page shows: its client, a channel, who is there, a command. Each goes on while somebody looks. */

import { Values } from "./folds.js";
import { optional } from "./handlers.js";
import { saidOf } from "./settings.js";
import { Shown, isAlike } from "./shown.js";

/**
 * @typedef {ReturnType<import("./api.js").Client["follow"]>} Follow
 * @typedef {ReturnType<import("./api.js").Client["presence"]>} Presence
 * @typedef {import("./react.js").ChannelItem} Item
 */

/** @type {import("./api.js").Why} */
const NO_WHY = Object.freeze({});

/** Of what is asked of a client that is closed. */
const OVER = Object.freeze({ state: /** @type {const} */ ("gone"), why: Object.freeze({ reason: "closed" }) });

/**
 * The client that a part of a page is given. It is made when it is first asked for, which nobody does while React
 * renders, and made anew where it has been closed and somebody asks again.
 *
 * @extends {Shown<import("./react.js").LiveView>}
 */
export class Provided extends Shown {
  #make;
  #isOurs;
  #isOpen = false;
  /** @type {?import("./api.js").Client} */
  #client;
  /** @type {(() => void)[]} */
  #offs = [];

  /**
   * @param {() => import("./api.js").Client} make
   * @param {?import("./api.js").Client} given  one that is somebody else's, who closes it
   * @param {import("./api.js").Clock} [clock]
   */
  constructor(make, given, clock) {
    super({ client: given, state: "idle", why: NO_WHY, transport: null, unanswered: 0 }, clock);
    this.#make = make;
    this.#client = given;
    this.#isOurs = given === null;
  }

  /** One that follows. @returns {import("./api.js").Client} */
  open() {
    if (this.#client === null || (this.#isOurs && !this.#isOpen)) this.#client = this.#make();
    this.#isOpen = true;
    return this.#client;
  }

  /** One that sends, as one that is closed still does. @returns {import("./api.js").Client} */
  get sender() {
    return this.#client ?? this.open();
  }

  /** There is one until what this returns is called. */
  hold = () => {
    this.open();
    return () => {
      this.#isOpen = false;
      if (this.#isOurs) this.#client?.close();
    };
  };

  begin() {
    const client = this.open();
    this.#offs = [
      client.on("state", () => this.soon()),
      client.on("transport", () => this.soon()),
      client.on("unanswered", () => this.soon()),
    ];
  }

  end() {
    for (const off of this.#offs.splice(0)) off();
  }

  look() {
    if (this.#client === null) return this.first();
    const { state, why, transport, unanswered } = this.#client;
    return { client: this.#client, state, why, transport, unanswered };
  }
}

/** What is shown without a reducer: the newest event. @param {any} value @param {Item} item */
function newest(value, item) {
  return item.type === "event" ? item : value;
}

/** The newest events, so many at most, the oldest of them first. @param {number} count */
function newestOf(count) {
  /** @param {any} value @param {Item} item */
  return (value, item) => (item.type === "event" ? Object.freeze([...value, item].slice(-count)) : value);
}

/** The states by key, with one item more. @param {Values} values @param {Item} item */
export function folded(values, item) {
  return new Values(values).take(item);
}

/** Before there is any. */
export const NO_VALUES = new Values();

/** @param {import("./react.js").AnyChannelOptions} options @throws {TypeError} */
export function checkChannel({ reduce, keep }) {
  if (reduce !== undefined && typeof reduce !== "function") throw new TypeError("reduce: a function");
  if (keep === undefined) return;
  if (reduce !== undefined) throw new TypeError("keep: goes without reduce, which keeps what it likes");
  if (!(Number.isSafeInteger(keep) && keep >= 1)) throw new TypeError("keep: how many events, 1 or more");
}

/**
 * A channel, and what is made of its events.
 *
 * @extends {Shown<import("./react.js").ChannelView<any>>}
 */
export class Channel extends Shown {
  #provided;
  #url;
  #value;
  /** @type {?import("./api.js").Gap} */
  #gap = null;
  /** @type {?import("./api.js").End} */
  #end = null;
  #cursor;
  /** @type {?Follow} */
  #follow = null;
  #isOver = false;

  /**
   * @param {Provided} provided
   * @param {?string} url  null: nothing is followed
   * @param {import("./react.js").AnyChannelOptions} options
   */
  constructor(provided, url, options) {
    const { after, keep, initial: value = keep === undefined ? undefined : Object.freeze([]) } = options;
    const state = url === null ? "idle" : "connecting";
    const cursor = after == null ? null : String(after);
    super({ value, state, why: NO_WHY, gap: null, end: null, cursor }, provided.clock);
    this.#provided = provided;
    this.#url = url;
    this.#value = value;
    this.#cursor = cursor;
    /** The newest ones. */
    this.options = options;
  }

  begin() {
    if (this.#url === null) return;
    try {
      this.#open(this.#url);
    } catch (error) {
      this.fail(error);
    }
  }

  /**
   * From where it stood, if it was followed before. With a store the next page would begin there too, but without the
   * value.
   *
   * @param {string} url
   */
  #open(url) {
    const client = this.#provided.open();
    this.#isOver = client.state === "gone";
    if (this.#isOver) return;
    const { reduce, initial, keep, ...options } = this.options;
    const follow = client.follow(url, { store: null, ...saidOf(options), after: this.#cursor ?? undefined });
    this.#follow = follow;
    follow.on("event", (item) => this.#take(item));
    follow.on("snapshot", (item) => this.#take(item));
    follow.on("gap", (item) => this.#take(item));
    follow.on("end", (item) => {
      this.#end = item;
      this.soon();
    });
    follow.on("state", () => this.soon());
  }

  end() {
    const follow = this.#follow;
    this.#cursor = follow?.cursor ?? this.#cursor;
    this.#follow = null;
    follow?.close();
  }

  /** @param {Item} item */
  #take(item) {
    const { keep, reduce = keep === undefined ? newest : newestOf(keep) } = this.options;
    if (item.type === "gap") this.#gap = item;
    try {
      this.#value = reduce(this.#value, item);
    } catch (error) {
      this.end();
      return this.fail(error);
    }
    this.soon();
  }

  look() {
    const { state, why } = this.#follow ?? (this.#isOver ? OVER : this.first());
    const cursor = this.#follow?.cursor ?? this.#cursor;
    return { value: this.#value, state, why, gap: this.#gap, end: this.#end, cursor };
  }
}

/**
 * Who is there.
 *
 * @extends {Shown<import("./react.js").PresenceView>}
 */
export class Members extends Shown {
  #provided;
  #url;
  #isOver = false;
  /** @type {readonly import("./api.js").Present[]} */
  #members = Object.freeze([]);
  /** @type {?Presence} */
  #presence = null;
  /** @type {import("./react.js").PresenceView["why"]} */
  #why = NO_WHY;

  /**
   * @param {Provided} provided
   * @param {?string} url  null: nobody is looked for
   * @param {import("./react.js").PresenceOptions} options
   */
  constructor(provided, url, options) {
    super({ members: Object.freeze([]), state: url === null ? "idle" : "connecting", why: NO_WHY }, provided.clock);
    this.#provided = provided;
    this.#url = url;
    /** The newest ones. */
    this.options = options;
  }

  begin() {
    if (this.#url === null) return;
    const client = this.#provided.open();
    this.#isOver = client.state === "gone";
    if (this.#isOver) return;
    const { roster } = this.options;
    const ask = roster && (async () => (this.options.roster ?? roster)());
    const presence = client.presence(this.#url, { roster: ask });
    this.#presence = presence;
    presence.on("change", () => this.#take(presence));
    presence.on("state", (state, why) => this.#become(presence, state, why));
  }

  end() {
    const presence = this.#presence;
    this.#presence = null;
    this.#why = NO_WHY;
    presence?.close();
  }

  /** Whoever has not changed is the same object as before. @param {Presence} presence */
  #take(presence) {
    const known = new Map(this.#members.map((one) => [one.member, one]));
    const members = [...presence.values()].map((one) => {
      const before = known.get(one.member);
      return before && isAlike(before, one) ? before : Object.freeze({ ...one });
    });
    const isOther = members.length !== known.size || members.some((one, place) => one !== this.#members[place]);
    if (isOther) this.#members = Object.freeze(members);
    this.soon();
  }

  /**
   * Who was there goes on being shown until it is known anew.
   *
   * @param {Presence} presence
   * @param {import("./api.js").State} state
   * @param {import("./react.js").PresenceView["why"]} why
   */
  #become(presence, state, why) {
    if (this.#presence !== presence) return;
    this.#why = why;
    if (state === "live") this.#take(presence);
    else this.soon();
  }

  look() {
    const { state, why } = this.#isOver ? OVER : { state: (this.#presence ?? this.first()).state, why: this.#why };
    return { members: this.#members, state, why };
  }
}

/**
 * A command, and what became of it.
 *
 * @extends {Shown<import("./react.js").CommandView<any>>}
 */
export class Sending extends Shown {
  #provided;
  #url;
  #count = 0;
  #waiting = 0;
  /** @type {{error: ?Error, reply: ?import("./api.js").Reply}} */
  #outcome = { error: null, reply: null };

  /**
   * @param {Provided} provided
   * @param {?string} url
   */
  constructor(provided, url) {
    super({ pending: false, error: null, reply: null }, provided.clock);
    this.#provided = provided;
    this.#url = url;
  }

  /**
   * @param {any} [data]
   * @param {import("./api.js").SendOptions} [options]
   * @returns {Promise<import("./api.js").Reply>}
   */
  send = (data, options) => optional(this.#send(data, options));

  /**
   * @param {any} data
   * @param {import("./api.js").SendOptions} [options]
   */
  async #send(data, options) {
    const mine = (this.#count += 1);
    this.#become(mine, 1, { error: null, reply: null });
    try {
      if (this.#url === null) throw new TypeError("useCommand: there is no URL to send to");
      const reply = await this.#provided.sender.send(this.#url, data, options);
      this.#become(mine, -1, { error: null, reply });
      return reply;
    } catch (error) {
      this.#become(mine, -1, { error: /** @type {Error} */ (error), reply: null });
      throw error;
    }
  }

  /**
   * What became of the newest is shown, and whether any of them waits.
   *
   * @param {number} which
   * @param {number} step
   * @param {{error: ?Error, reply: ?import("./api.js").Reply}} outcome
   */
  #become(which, step, outcome) {
    this.#waiting += step;
    if (which === this.#count) this.#outcome = outcome;
    this.draw();
  }

  look() {
    return { pending: this.#waiting > 0, ...this.#outcome };
  }
}
