/** What the page has of a channel that it follows: items in order, no more of them than it takes. */

import { Handlers, deferred, isPromise, optional } from "./handlers.js";
import { Ended, onAbort, unlessAborted } from "./line.js";
import { Keeper } from "./store.js";
import { Track } from "./track.js";

/**
 * @import { Clock, FollowHandler, FollowName, FollowOptions, Item, State, Store, Why } from "./api.js"
 * @import { TrackOptions } from "./track.js"
 *
 * @typedef {Omit<FollowOptions, "store"> & {buffer: number, commit: "before" | "after", clock: Clock,
 *     store: Store | null}} FollowSettings
 *
 * @typedef {Object} FollowOwner
 * @property {(track: Track) => unknown} begin
 * @property {(track: Track) => unknown} leave
 * @property {(follow: any, why: Why) => void} changed
 */

/** What is told at once, in no order with the items. */
const AT_ONCE = /^(state|gone|fault|tell|beat|lag|expiring|renewed)$/;

/** What comes in order. */
const ITEMS = /^(event|end|snapshot|gap|live)$/;

/** @type {{value: undefined, done: true}} */
const DONE = { value: undefined, done: true };

/**
 * A follow: an async iterable, for one reader, or handlers that are called with one item after the other. What comes
 * waits until there is one or the other; of more than `buffer` items the connection is left unread, or, where it is
 * a WebSocket, this subscription is given up until the page has taken half of them.
 *
 * The iteration ends with the follow: `state` is "gone" then, and `why` says why.
 *
 * @template {Record<string, any>} [Events=Record<string, any>]
 */
export class Follow {
  #settings;
  #owner;
  #track;
  #handlers = new Handlers();
  /** @type {any[]} */
  #queue = [];
  /** @type {"handlers" | "reader" | null} */
  #mode = null;
  #busy = false;
  /** @type {((result: any) => void)[]} */
  #waiting = [];
  /** @type {{promise: Promise<void>, resolve: () => void} | null} settled when the page takes more */
  #room = null;
  #keeper;
  /** @type {string | null} */
  #cursor;
  /** @type {any} */
  #taken;
  #live = deferred();
  #isLive = false;
  #off;

  /** @param {string} url @param {FollowSettings} settings @param {FollowOwner} owner @internal */
  constructor(url, settings, owner) {
    this.#settings = settings;
    this.#owner = owner;
    /** @type {string} what is followed, as an absolute URL */
    this.url = url;
    /** @type {Why} why it is as it is, at "gone" above all */
    this.why = {};
    /** @type {TrackOptions} */
    const options = {
      after: settings.after,
      hear: (name, said, why) => this.#hear(name, said, why),
      room: () => this.#room?.promise ?? null,
    };
    this.#track = new Track(url, options, { leave: () => this.close() });
    this.#cursor = this.#track.cursor;
    const { store, key = url } = settings;
    this.#keeper = new Keeper(store, `triolet:cursor:${key}`, settings, this.#handlers);
    this.#off = onAbort(settings.signal, () => this.close());
    this.#keeper.read((kept) => this.#begin(kept));
  }

  /**
   * From where the store has it. Of which channel that was is kept with it: where the URL has another one by now, the page
   * is told a gap.
   *
   * @param {unknown} kept
   */
  #begin(kept) {
    if (this.state === "gone") return;
    if (typeof kept === "string" && kept) {
      const [cursor, channel] = kept.split(/ (.*)/s);
      try {
        this.#track.resume(cursor, channel);
        this.#cursor = cursor;
      } catch (error) {
        this.#handlers.tell("fault", { kind: "store", error });
      }
    }
    this.#owner.begin(this.#track);
  }

  /** @param {string} name @param {any} said @param {Why} why */
  #hear(name, said, why) {
    if (ITEMS.test(name)) return this.#put(said);
    if (name === "state") return this.#become(said, why);
    if (name === "beat") this.#rest();
    this.#handlers.tell(name, said);
  }

  // --- what it is -----------------------------------------------------------------------------------------

  /** @type {State} whether it is up to date */
  get state() {
    return this.#track.state;
  }

  /** @type {string | null} the channel's name, once the server has said it */
  get channel() {
    return this.#track.channel;
  }

  /** @type {boolean} whether the server keeps events back that this client may not see */
  get filtered() {
    return this.#track.filtered;
  }

  /** @type {string | null} the page has taken everything up to here: what it would go on from */
  get cursor() {
    return this.#isIdle && this.state !== "gone" ? this.#track.cursor : this.#cursor;
  }

  /** @type {number} items that wait for the page, and events that are known to exist and have not come */
  get behind() {
    return this.#queue.length + this.#track.lag;
  }

  get #isIdle() {
    return this.#queue.length === 0 && !this.#taken;
  }

  /**
   * Tells of an event that is known from elsewhere (the answer to a POST), so that `behind` counts it.
   *
   * @param {string} cursor
   */
  expect(cursor) {
    this.#track.expect(cursor);
  }

  // --- what the page does ---------------------------------------------------------------------------------

  /**
   * Calls on an item, or on what happens to the follow: by a name of the client's, see `FollowHandlers`, or of an event of
   * the app's. All are called one after the other, in the order of the items, but for those that say otherwise.
   *
   * @template {FollowName<Events>} Name
   * @param {Name} name
   * @param {FollowHandler<Events, NoInfer<Name>>} call
   * @returns {() => void} takes it off again
   */
  on(name, call) {
    const off = this.#handlers.on(name, call);
    if (!AT_ONCE.test(name) && this.#mode === null) {
      this.#mode = "handlers";
      queueMicrotask(() => this.#pump()); // once all handlers are there
    }
    return off;
  }

  /**
   * The items, for one reader; who leaves the loop has left the channel.
   *
   * @returns {AsyncIterableIterator<Item<Events>>}
   */
  [Symbol.asyncIterator]() {
    if (this.#mode === "reader") throw new TypeError("a follow has one reader: follow again for another");
    this.#mode = "reader";
    return {
      next: () => this.#next(),
      return: async () => (this.close(), DONE),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** The items as a stream of the web's; cancelled, it ends the follow. @returns {ReadableStream<Item<Events>>} */
  readable() {
    const items = this[Symbol.asyncIterator]();
    /** @param {ReadableStreamDefaultController<Item<Events>>} controller */
    const pull = async (controller) => {
      const { value } = await items.next();
      if (value) controller.enqueue(value);
      else controller.close();
    };
    return new ReadableStream({ pull, cancel: () => this.close() }, { highWaterMark: 0 });
  }

  /**
   * Once it is live.
   *
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<void>}
   * @throws {Ended} when it is gone; or the signal's reason
   */
  ready({ signal } = {}) {
    return optional(unlessAborted(this.#live.promise, signal));
  }

  /**
   * Stores that the page is done with the item that it took last: in an iteration the next one says so besides.
   *
   * @returns {Promise<void> | undefined}
   */
  commit() {
    const item = this.#taken;
    this.#taken = undefined;
    return item && this.#keep(item);
  }

  /** Leaves, also before the server has answered. */
  close() {
    if (this.state === "gone") return;
    this.#queue.length = 0;
    this.#owner.leave(this.#track);
    this.#track.become("gone", { reason: "closed" });
  }

  // --- what comes -----------------------------------------------------------------------------------------

  /** @param {any} item */
  #put(item) {
    this.#queue.push(item);
    if (this.#queue.length >= this.#settings.buffer) this.#room ??= deferred();
    if (item.type === "gap" && this.#mode === "handlers" && !this.#handlers.has("gap")) console.warn(item);
    if (this.#mode === "handlers") this.#pump();
    else this.#serve();
  }

  #shift() {
    const item = this.#queue.shift();
    if (this.#queue.length <= this.#settings.buffer / 2) this.#makeRoom();
    return item;
  }

  #makeRoom() {
    this.#room?.resolve();
    this.#room = null;
  }

  /** @param {any} item */
  #keep(item) {
    const cursor = item.id ?? item.to ?? item.cursor;
    if (item.reason === "conflated") return undefined; // newer ones of each key follow
    return this.#move(cursor, item.channel);
  }

  /** @param {string} cursor @param {string | null} channel */
  #move(cursor, channel) {
    this.#cursor = cursor;
    return this.#keeper.keep(`${cursor} ${channel}`);
  }

  /** Beats move a cursor, and so does the first word of a server. */
  #rest() {
    const { cursor, channel } = this.#track;
    if (this.#isIdle && cursor !== null && cursor !== this.#cursor) this.#move(cursor, channel);
  }

  async #pump() {
    if (this.#busy || this.#mode !== "handlers") return;
    this.#busy = true;
    while (this.#queue.length > 0) {
      const given = this.#deliver(this.#shift());
      if (isPromise(given)) await given;
      void this.commit();
    }
    this.#busy = false;
  }

  /** @param {any} item */
  #handle(item) {
    const { type, event } = item;
    if (type !== "event") return this.#handlers.ask([type], item);
    const isOwn = AT_ONCE.test(event) || ITEMS.test(event);
    return this.#handlers.ask([type, `event:${event}`, ...(isOwn ? [] : [event])], item);
  }

  /**
   * The one who asks for the next item is done with the last.
   *
   * @returns {Promise<IteratorResult<Item<Events>, undefined>>}
   */
  async #next() {
    await this.commit();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#serve();
    });
  }

  #serve() {
    while (this.#waiting.length > 0 && (this.#queue.length > 0 || this.state === "gone")) {
      const resolve = /** @type {(result: any) => void} */ (this.#waiting.shift());
      if (this.#queue.length === 0) resolve(DONE);
      else resolve(this.#deliver(this.#shift()));
    }
  }

  /** Hands an item out: a promise of that where it is kept before, or a handler takes its time. @param {any} item */
  #deliver(item) {
    const result = { value: item, done: false };
    this.#taken = item;
    const kept = this.#settings.commit === "before" ? this.commit() : undefined;
    const handled = kept ? kept.then(() => this.#handle(item)) : this.#handle(item);
    return handled ? handled.then(() => result) : result;
  }

  // --- what happens to it ---------------------------------------------------------------------------------

  /** @param {State} state @param {Why} why */
  #become(state, why) {
    this.why = why;
    if (state === "live") this.#live.resolve();
    else if (this.#isLive) this.#live = deferred();
    this.#isLive = state === "live";
    if (state === "behind") this.#rest();
    this.#handlers.tell("state", state, why);
    if (state === "gone") this.#end(why);
    this.#owner.changed(this, why);
  }

  /** @param {Why} why */
  #end(why) {
    this.#live.reject(why.error ?? new Ended(why.reason ?? "closed", { retry: null }));
    this.#makeRoom();
    this.#off?.();
    this.#handlers.tell("gone", why);
    this.#serve();
  }
}
