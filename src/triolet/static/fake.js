/**
 * A server for tests of pages that are written on `connect()`: no network, no process, no waiting.
 *
 *     import { fakeServer } from "triolet-client/fake";
 *     const server = fakeServer();
 *     const live = connect("https://shop.test", server.options);
 *     server.channel("/orders/<id>/events");
 *     showOrder(live, "A1");                                              // the page's own code
 *     server.publish("/orders/A1/events", { state: "paid" }, { event: "order-status" });
 *     await server.settle();
 *
 * It has a log of its own, and says on all transports what a Triolet server says. What goes wrong in the test itself (a URL
 * that nobody serves, a handler that throws) is thrown by the next `settle`, `advance` or `close`.
 *
 * @typedef {Object} FakeOptions  of `fakeServer`
 * @property {"virtual" | "real"} [clock]  "virtual" (default): time goes on by `advance` alone, for the client too. "real":
 *     timers are those of the page, or your runner's fake ones
 * @property {number} [keep]  events of a channel that are kept, default 10,000 as on the server
 * @property {() => number} [random]  what client and server draw, default always 0.5
 * @property {number} [patience]  real ms until `settle` gives a condition up, default 2,000
 *
 * @typedef {Record<string, string>} Params  the parts of a rule, `<id>` as `id`
 *
 * @typedef {Object} Identity  who a client is
 * @property {string} [subject]  who it is: a credential is renewed by one of the same subject
 * @property {number} [expiresAt]  ms since 1970, by `server.time`
 *
 * @typedef {Object} Answer  of a command
 * @property {number} [status]  default 200. What is 5xx, 408, 425 or 429 is not kept, and the client asks again where it may
 * @property {any} [data]  what JSON can say
 * @property {number} [retry]  ms after which to ask again
 *
 * @typedef {Object} FakeCommand  one that has taken effect
 * @property {string} id  the client's
 * @property {string} url  path and query
 * @property {any} data  what was sent with it
 *
 * @typedef {Object} Asked  what a command's handler is told besides
 * @property {string} id  the client's
 * @property {string} url  path and query
 * @property {Params} params  of the rule
 * @property {string | null} token  the client's
 * @property {(url: string | URL, data: any, options?: PublishOptions) => void} publish  with the answer, if that is below 400
 *
 * @typedef {(data: any, asked: Asked) => Answer | void | Promise<Answer | void>} CommandHandler  what
 *     a command is answered; nothing is 200
 *
 * @typedef {Object} PublishOptions  of an event
 * @property {string} [event]  its name, default "message"
 * @property {string} [key]  what it is about
 * @property {"concat" | "latest" | "merge" | "sum"} [fold]  how it goes together with the one before it of this name and key
 * @property {number} [time]  ms since 1970, default `server.time`
 *
 * @typedef {Object} TellOptions  of what is only for now
 * @property {string} [event]  its name, default "message"
 * @property {string} [key]  what it is about
 *
 * @typedef {Object} ChannelOptions
 * @property {string | ((params: Params, url: URL) => string)} [name]  the channel's name, as `orders/<id>`; default the URL's
 *     path. Two URLs may have one channel
 * @property {(params: Params, url: URL) => any} [snapshot]  gives the channel's state of now; undefined: the app fails to
 *
 * @typedef {Object} FakeConnection  a page at the other end of a socket
 * @property {string | null} token  the page's
 * @property {(data: any) => void} send  says something to it
 * @property {(url: string | URL, options?: {after?: string | number}) => void} follow  the app follows a channel for it
 * @property {(url: string | URL) => void} unfollow  and no longer
 *
 * @typedef {Object} SocketHandlers  what the app does at its end of a socket
 * @property {(connection: FakeConnection) => void} [open]  a page has come
 * @property {(data: any, connection: FakeConnection) => void} [message]  it says something
 */

import { Clock, Page, REAL } from "./fake-clock.js";
import { Commands } from "./fake-commands.js";
import { Door } from "./fake-door.js";
import { Log, checkDraft, jsonOf } from "./fake-log.js";
import { Network } from "./fake-network.js";
import { Sessions } from "./fake-presence.js";
import { Rest } from "./fake-rest.js";
import { Routes, locateHere } from "./fake-routes.js";
// What some pages load late is there at once, so that no test waits for a file.
import "./answers.js";
import "./bundle.js";
import "./roster.js";
import "./sharing.js";
import "./tabs.js";
import "./why.js";

/** @import { World } from "./fake-api.js" */

/** When virtual time begins, in ms since 1970. */
const BEGIN = 1_767_225_600_000;
const RESTARTING = { code: 1012, reason: "restarting" };
const LONGEST_RETRY = 5_000;

/** @param {string} what @param {any} count */
function checkCount(what, count) {
  if (!(Number.isInteger(count) && count >= 1)) throw new TypeError(`${what}: a whole number, 1 or more, not ${count}`);
}

/** What `fakeServer` returns. */
export class FakeServer {
  /** @type {?Clock} */
  #clock;
  #log;
  /** @type {World} */
  #world;
  #network;
  #door;
  #routes = new Routes();
  #commands;
  /** @type {Rest} */
  #rest;
  #closing = new AbortController();
  #sessions = new Sessions();

  /** @param {FakeOptions} [options]  @throws {TypeError} */
  constructor({ clock = "virtual", keep = 10_000, random = () => 0.5, patience = 2_000 } = {}) {
    if (clock !== "virtual" && clock !== "real") throw new TypeError('clock: "virtual" or "real"');
    checkCount("keep", keep);
    this.#rest = new Rest({
      patience,
      stirs: () => this.#network.stirs + (this.#clock?.uses ?? 0),
      // What is due at this moment belongs to it.
      rest: () => (this.#clock ? this.#clock.advance(0) : reach()),
      waiting: () => this.#waiting(),
    });
    const reach = () => this.#rest.reach();
    /** @param {unknown} error */
    const trouble = (error) => this.#rest.trouble(error);
    this.#clock = clock === "virtual" ? new Clock(reach) : null;
    this.#log = new Log(keep);
    /** @type {World["publish"]} */
    const publish = (...event) => void (this.#isClosed || this.publish(...event));
    /** @type {World["hasEnded"]} */
    const hasEnded = (url) => this.#log.hasEnded(this.#door.channelAt(url, "publish")) !== null;
    const wall = () => this.time;
    this.#world = { log: this.#log, clock: this.#clock ?? REAL, random, wall, publish, hasEnded, trouble };
    this.#commands = new Commands(this.#world);
    this.#door = new Door(this.#world, this.#routes, this.#commands);
    this.#network = new Network(this.#door, trouble);
    /**
     * The page that the client thinks it is in: `await server.page.say("pagehide")`, `server.page.turn("hidden")`.
     * @type {Page}
     */
    this.page = new Page(reach);
    /**
     * What `connect` is to be given: spread more of your own into it.
     * @type {import("./api.js").ConnectOptions}
     */
    this.options = this.#network.optionsOf({ random, clock: this.#world.clock, page: this.page, signal: this.#closing.signal });
  }

  /** What time it is on the server, in ms since 1970. @type {number} */
  get time() {
    return this.#clock ? BEGIN + this.#clock.time : Date.now();
  }

  // --- what there is --------------------------------------------------------------------------------------

  /**
   * Serves a channel. What is published to a URL is served there in any case.
   *
   * @param {string | URL} url  a rule: `/orders/<id>/events`
   * @param {ChannelOptions} [options]
   */
  channel(url, { name, snapshot } = {}) {
    this.#check("channel");
    this.#routes.add("channel", url, { name, snapshot });
  }

  /**
   * Serves a command: it takes effect once for each id, and a repeat is given the answer of then.
   *
   * For a late answer `await server.wait(ms)` in the handler, for none at all `server.wait(Infinity)`.
   *
   * @param {string | URL} url  a rule
   * @param {Answer | CommandHandler} answer
   */
  command(url, answer) {
    this.#check("command");
    if (Object(answer) !== answer) throw new TypeError(`command("${url}"): an answer, {status, data}, or what gives one`);
    this.#routes.add("command", url, { answer });
  }

  /** Serves a `live.socket`. @param {string | URL} url  a rule @param {SocketHandlers} [handlers] */
  socket(url, { open, message } = {}) {
    this.#check("socket");
    this.#routes.add("socket", url, { open, message });
  }

  /**
   * Says who a client is by its token (null: it has none): an identity, or null for one that is refused, 401. Without
   * this everybody is let in.
   *
   * @param {(token: ?string) => Identity | null} call
   */
  identify(call) {
    this.#check("identify");
    if (typeof call !== "function") throw new TypeError("identify: a function that is given a token");
    this.#door.identify = call;
  }

  // --- what happens ---------------------------------------------------------------------------------------

  /**
   * Publishes an event.
   *
   * @param {string | URL} url  of the channel
   * @param {any} data  what JSON can say
   * @param {PublishOptions} [options]
   * @returns {import("./api.js").LiveEvent} as the page will hear it
   * @throws {TypeError} where the server would refuse it too
   * @throws {Error} where the channel has ended
   */
  publish(url, data, { event = "message", key, fold, time = this.time } = {}) {
    this.#check("publish");
    checkDraft(event, key, fold);
    const channel = this.#door.channelAt(url, "publish");
    if (this.#log.hasEnded(channel)) throw new Error(`publish: the channel at ${url} has ended`);
    const made = this.#log.append(channel, { event, key, fold, time, data: jsonOf(data) });
    this.#door.tell(channel, made);
    return { folded: 1, ...made };
  }

  /**
   * Ends a channel: who follows it, or comes later, is told so, and does not come back. To end twice is to end once.
   *
   * @param {string | URL} url  of the channel
   * @param {any} [data]  what clients get with the end
   * @returns {import("./api.js").End} as the page will hear it
   */
  end(url, data = null) {
    this.#check("end");
    const channel = this.#door.channelAt(url, "end");
    const before = this.#log.hasEnded(channel);
    const end = before ?? this.#log.end(channel, jsonOf(data), this.time);
    if (!before) this.#door.tell(channel, end);
    return end;
  }

  /**
   * Forgets all events of a channel: who follows it is told that it has ended, with `{outcome: "deleted"}`. It can be
   * published to again, and goes on with the offsets that it had.
   *
   * @param {string | URL} url  of the channel
   */
  delete(url) {
    this.#check("delete");
    const channel = this.#door.channelAt(url, "delete");
    this.#door.tell(channel, this.#log.delete(channel, this.time));
  }

  /**
   * Tells what is only for now, to who follows at this moment by a stream, or waits in a long poll.
   *
   * @param {string | URL} url  of the channel
   * @param {any} data  what JSON can say
   * @param {TellOptions} [options]
   */
  tell(url, data, { event = "message", key } = {}) {
    this.#check("tell");
    checkDraft(event, key);
    const channel = this.#door.channelAt(url, "tell");
    const said = { type: "tell", channel, event, data: jsonOf(data), ...(key !== undefined && { key }) };
    this.#door.tell(channel, said);
  }

  /**
   * So many events were published that nobody will ever get: who follows is told a gap, and goes on behind it.
   *
   * @param {string | URL} url
   * @param {number} [missed]
   * @param {"expired" | "skipped"} [reason]  for "epoch" and "future" see `restart`
   */
  gap(url, missed = 1, reason = "expired") {
    this.#check("gap");
    checkCount("missed", missed);
    if (reason !== "expired" && reason !== "skipped") {
      throw new TypeError('reason: "expired" or "skipped"; "epoch" and "future" are what `restart` leads to');
    }
    const channel = this.#door.channelAt(url, "gap");
    if (this.#log.hasEnded(channel)) throw new Error(`gap: the channel at ${url} has ended`);
    this.#log.skip(channel, missed, reason);
    this.#door.readOn(channel);
  }

  /**
   * Somebody is present, by the channel that tells joins and leaves: one session more of this member.
   *
   * @param {string | URL} url  of that channel, as `live.presence` is given it
   * @param {string} member
   * @param {any} [info]
   * @returns {string} the session's name
   */
  join(url, member, info = null) {
    const session = this.#sessions.add(this.#door.channelAt(url, "join"), member);
    this.publish(url, { member, session, stated: 1, info }, { event: "join", key: session });
    return session;
  }

  /** A session has left, or all of a member. @param {string | URL} url @param {string} who  a session, or a member */
  leave(url, who) {
    for (const { session, member } of this.#sessions.remove(this.#door.channelAt(url, "leave"), who, url)) {
      this.publish(url, { member, session, stated: 1, reason: "left" }, { event: "leave", key: session });
    }
  }

  /** Says something to all pages at a socket. @param {string | URL} url @param {any} data */
  say(url, data) {
    this.#check("say");
    const { pathname } = locateHere(url, "say");
    const said = { type: "message", data: jsonOf(data) };
    const all = [...this.#door.connections].filter((one) => one.own === null && one.url.pathname === pathname);
    if (all.length === 0) throw new Error(`say: no page is connected to the socket ${pathname}`);
    for (const connection of all) connection.say(said);
  }

  /** A beat to all that are connected, beside those that come by themselves. @param {{stale?: boolean}} [more] */
  beat(more) {
    this.#check("beat");
    for (const connection of this.#door.connections) connection.beat(more);
  }

  // --- what goes wrong ------------------------------------------------------------------------------------

  /** Whether there is a network. Without it all breaks; the page hears "offline" and "online". @type {boolean} */
  get online() {
    return this.#network.isOnline;
  }

  set online(isOnline) {
    this.#check("online");
    if (isOnline === this.#network.isOnline) return;
    this.#network.isOnline = isOnline;
    if (!isOnline) this.#network.drop();
    this.page.dispatchEvent(new Event(isOnline ? "online" : "offline"));
  }

  /** All connections break, as when a phone changes its network. What was under way is lost. */
  drop() {
    this.#check("drop");
    this.#network.drop();
  }

  /** All connections go dead without a word: nobody is told, and the client finds out by the silence. */
  vanish() {
    this.#check("vanish");
    this.#network.mute();
  }

  /**
   * The server says goodbye to all, and is there again.
   *
   * @param {{lose?: number | "all"}} [options]  so many of each channel's newest events are lost with it: who has seen them
   *     hears a gap, "future". "all": the log is begun anew, and who comes back hears "epoch"
   */
  restart({ lose = 0 } = {}) {
    this.#check("restart");
    if (lose !== 0 && lose !== "all") checkCount("lose", lose);
    const retry = Math.round(LONGEST_RETRY * this.#world.random());
    for (const connection of [...this.#door.connections]) connection.end({ ...RESTARTING, retry });
    for (const poll of [...this.#door.polls]) poll.answer(retry);
    if (lose === "all") {
      this.#log.begin();
      this.#commands.forget();
    } else if (lose > 0) this.#log.cut(lose);
  }

  /**
   * A URL is refused from now on. What is open stays: see `revoke`.
   *
   * @param {string | URL} url  a rule, of a channel, a command or a socket
   * @param {number | "login"} [status]  "login" is a page of HTML in place of it, as where a session has ended
   * @param {{retry?: number}} [options]  ms after which to ask again, for a status that may pass
   */
  refuse(url, status = 403, { retry } = {}) {
    this.#check("refuse");
    const isOne = status === "login" || (status >= 400 && status <= 599);
    if (!isOne) throw new TypeError(`refuse: a status from 400 to 599, or "login"; not ${status}`);
    this.#routes.add("refusal", url, { status, retry });
  }

  /** Takes a refusal back. @param {string | URL} url  as it was refused */
  allow(url) {
    this.#check("allow");
    if (!this.#routes.remove("refusal", String(url))) throw new Error(`allow: ${url} is not refused`);
  }

  /** Who follows a channel has lost the right to (4403), or everybody that is connected. @param {string | URL} [url] */
  revoke(url) {
    this.#check("revoke");
    this.#door.revoke(url === undefined ? undefined : this.#door.channelAt(url, "revoke"));
  }

  /**
   * What clients were let in with runs out: they are warned (`expiring`), and end (4401) unless they renew it. The same
   * token is refused from then on, 401.
   *
   * @param {{token?: ?string, in?: number}} [options]  `token`: default all that have come, null among them, which is none;
   *     `in`: ms from now, default 0; `Infinity`: it is good for ever again
   */
  expire({ token, in: left = 0 } = {}) {
    this.#check("expire");
    if (!(left >= 0)) throw new TypeError(`expire: in so many ms, not ${left}`);
    this.#door.expire(token, this.#world.clock.now() + left);
  }

  // --- what came of it ------------------------------------------------------------------------------------

  /** The commands that took effect, in order. @type {FakeCommand[]} */
  get commands() {
    return [...this.#commands.asked];
  }

  /** How many streams and waiting polls there are of a channel. @param {string | URL} url @returns {number} */
  followers(url) {
    const channel = this.#door.channelAt(url, "followers");
    const streams = [...this.#door.connections].flatMap(({ channels }) => channels).filter((one) => one === channel);
    return streams.length + [...this.#door.polls].filter((poll) => poll.isOf(channel)).length;
  }

  // --- time -----------------------------------------------------------------------------------------------

  /** In a handler: so many ms later, by the server's clock; with `Infinity` never. @param {number} ms @returns {Promise<void>} */
  wait(ms) {
    return new Promise((resolve) => {
      if (ms !== Infinity) this.#world.clock.setTimeout(resolve, ms);
    });
  }

  /**
   * Until nothing stirs any more: all that was said has been heard, and answered. What waits for time goes on waiting.
   *
   * With a condition: until that is true too. It is asked again and again, and what it throws means "not yet".
   *
   * @template T
   * @param {() => T | Promise<T>} [condition]
   * @returns {Promise<T>} what it returned
   * @throws {Error} what went wrong in the test, or what is still waited for
   */
  async settle(condition) {
    return /** @type {any} */ (this.#rest.settle(condition));
  }

  /**
   * Lets virtual time go on: timers fire in order, and between any two everything settles.
   *
   * @param {number} ms
   * @returns {Promise<void>}
   */
  async advance(ms) {
    if (!this.#clock) throw new Error("advance: time is real here; wait by settle(() => …), or use fake timers");
    if (!(ms >= 0 && ms < Infinity)) throw new TypeError(`advance: a number of ms, not ${ms}`);
    await this.#clock.advance(ms);
    this.#rest.throwTrouble();
  }

  /** What is still waited for, in lines. */
  #waiting() {
    const timers = this.#clock?.pending ?? [];
    return [
      ...(this.online ? [] : ["  there is no network: server.online = true"]),
      ...this.#door.waiting,
      ...[...this.#commands.running].map(({ url, id }) => `  command ${url} (${id}), whose handler has not answered`),
      ...(timers.length ? [`  timers, in ms: ${timers.slice(0, 8).join(", ")}; time goes on by server.advance(ms)`] : []),
    ];
  }

  // --- the end --------------------------------------------------------------------------------------------

  get #isClosed() {
    return this.#closing.signal.aborted;
  }

  /** @param {string} what */
  #check(what) {
    if (this.#isClosed) throw new Error(`${what}: this fake server is closed`);
  }

  /** Closes it, and all clients that have its options. @throws {Error} what went wrong in the test, if nobody was told yet */
  close() {
    if (this.#isClosed) return;
    this.#closing.abort();
    this.#network.isClosed = true;
    this.#network.drop();
    this.#rest.throwTrouble();
  }
}

/**
 * A server for tests, in memory.
 *
 * @param {FakeOptions} [options]
 * @returns {FakeServer}
 */
export function fakeServer(options) {
  return new FakeServer(options);
}
