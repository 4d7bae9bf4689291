/**
 * Triolet in a page: follow a channel over WebSocket, Server-Sent Events, long polling or short polling.
 *
 *     import { follow } from "/triolet/triolet.js";
 *     const order = follow("/orders/A123/events", { transport: "sse", onEvent: (event) => show(event.data) });
 *
 * Whatever the network does, `onEvent` gets every event after the cursor once and in order, and `onGap` hears what
 * will never come. Works under the policy `default-src 'self'`; touches no document; depends on nothing.
 *
 * @typedef {"connecting"|"behind"|"live"|"gone"} State  no stream yet or between two; catching up; up to date; over
 * @typedef {{channel: string, id: string, event: string, data: any, time: number, key?: string}} LiveEvent
 * @typedef {{channel: string, from: string, to: string, missed: ?number, reason: string}} Gap
 *     `reason` is the server's word (expired, epoch, future, skipped), or "hole": see Track. After "conflated"
 *     the newest event of each key follows, and the cursor moves with them
 * @typedef {{status: number, data: any, repeated: boolean}} Reply  `repeated`: it had happened before, and this is the
 *     answer of then
 * @typedef {Object} Options  every callback also gets the handle, as its last argument
 * @property {"websocket"|"sse"|"long-poll"|"poll"} [transport]  default "sse"
 * @property {string|number} [after]  the cursor to go on from; "0" is the oldest event kept, none is "from now"
 * @property {(event: LiveEvent) => void} [onEvent]  `handle.state` is "behind" while the event is one of the missed
 * @property {(state: State, why: {retry?: number, error?: Ended}) => void} [onState]  `retry`: ms until the next try;
 *     "live" with an error: a renewal failed. The error's `code` at "gone" is 4401 (expired) or 4403 (revoked, refused)
 *     where the page may follow no longer
 * @property {(gap: Gap) => void} [onGap]  events that were missed for good; without it the console says so
 * @property {(fault: Object) => void} [onFault]  a broken promise of the server's ("hole", "repeat"); default: console
 * @property {(beat: {time: number, cursors: Object, stale?: boolean}) => void} [onBeat]  `stale`: the server cannot
 *   reach its log now, so there may be events that it does not know of
 * @property {(lag: {behind: number, step: string}) => void} [onLag]  so far behind that publishers wait ("block")
 * @property {string|(() => ?string|Promise<?string>)} [token]  who the page is: a text, or a function that is asked
 *     for one before each connection and each renewal (null: nobody). Where the function fails it is asked again later,
 *     and `onState` says so. With a function an expired token is replaced; with a text that is the end, "expired"
 * @property {(warning: {in: ?number, refused: boolean}) => void} [onExpiring]  in so many ms the server ends this
 *     connection, 4401. The client renews it before, if it can: over WebSocket with a new token of the function's,
 *     over SSE without a token also with the cookies of then. `refused`: the server did not take what it was given
 * @property {(renewed: {in: ?number}) => void} [onRenewed]  it goes on, for so many ms; null: it does not expire
 * @property {string} [base]  where the server has its own URLs, if not where this script was found or at `/triolet/`
 * @property {number} [acknowledge]  over WebSocket: tell the server after so many ms what was applied, so that its
 *     operators see how fresh clients are; nothing else depends on it
 * @property {number} [wait]  seconds that a long poll may be held, default 25
 * @property {number} [silence]  ms without a word before a connection counts as lost, default 50,000; once two beats
 *     have come, it is two and a half times the time between them
 * @property {Object} [headers]  sent with every request of SSE and the polls
 * @property {typeof fetch} [fetch]  these four are for tests, and for a page that plays the network
 * @property {typeof WebSocket} [WebSocket]
 * @property {{setTimeout: Function, clearTimeout: Function}} [clock]
 * @property {() => number} [random]
 */

import { Commands, Unanswered } from "./commands.js";
import { Ended, Line, tell } from "./line.js";
import { withTicket } from "./renewal.js";
import { checkToken } from "./token.js";
import { Track, offsetOf } from "./track.js";
import { EventStreamParser, TRANSPORTS, converse } from "./transports.js";

export { Ended, EventStreamParser, Unanswered, offsetOf };

const DEFAULTS = {
  transport: "sse",
  wait: 25,
  silence: 50_000,
  timeout: 60_000,
  random: Math.random,
  fetch: (...request) => globalThis.fetch(...request),
  clock: {
    setTimeout: (call, ms) => globalThis.setTimeout(call, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
  },
};

/**
 * Follows the channel behind a URL until it is closed, over any network.
 *
 * @param {string} url  the channel's URL, as `/orders/A123/events`
 * @param {Options} [options]
 * @returns {Track}
 */
export function follow(url, options = {}) {
  const settings = { ...DEFAULTS, ...options };
  const transport = TRANSPORTS[settings.transport];
  if (!transport) throw new TypeError(`transport: one of ${Object.keys(TRANSPORTS).join(", ")}`);
  checkToken(settings);
  const commands = new Commands(url);
  const owner = {
    leave: () => line.close(),
    retry: () => line.retry(),
    command: (where, data, asked) => commands.send(where, data, { ...settings, ...asked }),
  };
  const track = new Track(url, settings, owner);
  const change = (state, why) => {
    if (state !== undefined) commands.lose();
    track.become(state, why);
  };
  const line = new Line((signal) => transport(track, line, settings, signal, commands), change, settings);
  return track;
}

const ours = new Commands();

/**
 * Asks the server for something that is to happen once: a POST with an `Idempotency-Key`, sent again under this id
 * until it is answered. A handle's `command` does the same with the handle's options, seen from its URL, and over its
 * WebSocket while it has one that is open. 16 are asked at once, the others wait in order, 1,000 at most.
 *
 * @param {string} url  of the app's command, as `/orders/A123/pick`
 * @param {any} [data]  what JSON can say
 * @param {{id?: string, signal?: AbortSignal, timeout?: number} & Options} [options]  `id`: to ask again what may have
 *     been asked before, by a page that is gone, say; `timeout`: ms, default 60,000
 * @returns {Promise<Reply>} whatever the app answered, its refusals too
 * @throws {Unanswered} when the time is over or the signal aborted; its `sent` says whether it may have happened
 */
export async function command(url, data, options = {}) {
  const settings = { ...DEFAULTS, ...options };
  checkToken(settings);
  return ours.send(url, data, settings);
}

/**
 * The URL of a channel with a ticket in it, for an `EventSource` of the page's own, which can send no token. A ticket
 * lets in once, within half a minute: when that stream has ended, ask for another. `follow` needs none.
 *
 * @param {string} url
 * @param {Options} [options]  its token, headers and fetch
 * @returns {Promise<string>}
 * @throws {Ended} where the server gives none
 */
export async function ticketed(url, options = {}) {
  const settings = { ...DEFAULTS, ...options };
  checkToken(settings);
  return withTicket(url, settings);
}

/** One WebSocket for many channels and for the app's own messages: the other end of `@live.socket`. */
export class Socket {
  #options;
  #line;
  #socket = null;
  #tracks = new Set();
  #commands;

  /**
   * @param {string} url
   * @param {Options & {onMessage?: (data: any) => void}} [options]  `onEvent` and `onGap` get what belongs to channels
   *     that the app on the server follows for this client; `onState` is the socket's: connecting, live, gone
   */
  constructor(url, options = {}) {
    this.#options = { ...DEFAULTS, ...options, transport: "websocket" };
    checkToken(this.#options);
    this.#commands = new Commands(url);
    /** @type {State} */
    this.state = "connecting";
    const hear = (message) => this.#hear(message);
    const ready = (socket) => this.#ready(socket);
    const connect = (signal) => converse(url, {}, this.#line, this.#options, signal, hear, ready);
    this.#line = new Line(connect, (state, why) => this.#become(state, why), this.#options);
  }

  /** Follows a channel by its URL, on this socket. @param {Options} [options] @returns {Track} */
  follow(url, options = {}) {
    const track = new Track(url, { ...DEFAULTS, ...options }, this);
    this.#tracks.add(track);
    this.#ask(track);
    return track;
  }

  /** Sends a message to the app. @returns {boolean} false where there is no connection: then it was not sent. */
  send(data) {
    return this.#say({ type: "message", data });
  }

  /**
   * Asks for something that is to happen once, over this WebSocket or, while it is not open, by POST: see `command`.
   * What is on its way when the socket is closed goes on by POST.
   *
   * @returns {Promise<Reply>}
   */
  command(url, data, options) {
    return this.#commands.send(url, data, { ...this.#options, ...options });
  }

  /** Ends the connection and all that follows on it. */
  close() {
    this.#line.close();
  }

  /** Tries again at once, if it is waiting to. */
  retry() {
    this.#line.retry();
  }

  /** @internal */
  leave(track) {
    if (this.#tracks.delete(track) && track.channel !== null) this.#say({ type: "unfollow", channel: track.channel });
    track.become("gone");
  }

  #become(state = this.state, why = {}) {
    if (state !== "live") this.#lost(state, why);
    this.state = state;
    tell(this.#options.onState, state, why, this);
  }

  #lost(state, why) {
    this.#socket = null;
    this.#commands.lose();
    for (const track of this.#tracks) track.become(state, why);
  }

  #ready(socket) {
    this.#socket = socket;
    this.#become("live");
    for (const track of this.#tracks) this.#ask(track);
    this.#commands.use(socket);
  }

  #say(message) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Without a connection this is nothing: every track is asked for when there is one. */
  #ask({ url, cursor }) {
    if (url !== null) this.#say({ type: "follow", url, ...(cursor !== null && { after: cursor }) });
  }

  #hear(message) {
    switch (message.type) {
      case "message":
        return tell(this.#options.onMessage, message.data, this);
      case "open":
        return message.channel === null ? undefined : this.#opened(message);
      case "refused":
        return this.#refused(message);
      case "reply":
        return this.#commands.hear(message);
      case "expiring":
        return tell(this.#options.onExpiring, { in: message.in, refused: message.refused === true }, this);
      case "renewed":
        return tell(this.#options.onRenewed, { in: message.in }, this);
    }
    for (const track of this.#tracks) {
      if (message.type === "beat" || track.channel === message.channel) track.take(message);
    }
  }

  #opened(message) {
    const { url = null, channel } = message;
    let track = [...this.#tracks].find((one) => one.url === url && (url !== null || one.channel === channel));
    if (!track && url === null) this.#tracks.add((track = new Track(null, this.#options, this)));
    track?.take(message);
  }

  /** Where a channel is named it had been open, and was taken away; else the app has refused to open it. */
  #refused({ url, channel }) {
    for (const track of this.#tracks) {
      if (channel ? track.channel !== channel : track.url !== url) continue;
      this.#tracks.delete(track);
      track.become("gone", { error: new Ended(channel ? "revoked" : "refused", { code: 4403, retry: null }) });
    }
  }
}
