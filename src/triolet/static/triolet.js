/**
 * Triolet in a page: follow channels over WebSocket, Server-Sent Events, long polling or short polling.
 *
 *     import { connect } from "/triolet/triolet.js";
 *     const live = connect();
 *     for await (const item of live.follow("/orders/A123/events")) if (item.type === "event") show(item.data);
 *
 * Whatever the network does, a follow gives every event after its cursor once and in order, and a "gap" of what will
 * never come. Works under the policy `default-src 'self'`; writes into no document; depends on nothing. The shapes of
 * `connect` are in api.js.
 *
 * `follow`, `Socket` and `command` are the same machinery with less on top: one channel over the transport that is named,
 * the other end of a `@live.socket`, one command.
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
 * @property {HeadersInit|(() => HeadersInit|Promise<HeadersInit>)} [headers]  sent with every request but a WebSocket's;
 *     a function is asked anew for each
 * @property {(text: string) => any} [parse]  in place of JSON.parse, for integers beyond 2^53
 * @property {(data: any) => string} [stringify]  in place of JSON.stringify
 * @property {typeof fetch} [fetch]  these five are for tests, and for a page that plays the network
 * @property {typeof WebSocket} [WebSocket]
 * @property {{setTimeout: Function, clearTimeout: Function, now?: () => number}} [clock]
 * @property {() => number} [random]
 * @property {EventTarget} [page]
 */

import { Client, connect } from "./client.js";
import { Commands, Unanswered } from "./commands.js";
import { Follow } from "./follow.js";
import { optional } from "./handlers.js";
import { Ended, tell } from "./line.js";
import { Multiplex } from "./multiplex.js";
import { Presence } from "./presence.js";
import { withTicket } from "./renewal.js";
import { settingsOf } from "./settings.js";
import { EventStreamParser } from "./sse.js";
import { Streams, fixed } from "./streams.js";
import { Track, offsetOf } from "./track.js";
import { TRANSPORTS } from "./transports.js";

export { Client, Ended, EventStreamParser, Follow, Presence, Unanswered, connect, offsetOf };

/**
 * Follows the channel behind a URL until it is closed, over any network.
 *
 * @param {string} url  the channel's URL, as `/orders/A123/events`
 * @param {Options} [options]
 * @returns {Track}
 */
export function follow(url, options = {}) {
  const settings = settingsOf(options, { transport: "sse" });
  if (!TRANSPORTS.includes(settings.transport)) throw new TypeError(`transport: one of ${TRANSPORTS.join(", ")}`);
  const commands = new Commands(url);
  const streams = new Streams(settings, fixed(settings.transport, settings), commands);
  const owner = {
    leave: (track) => {
      streams.remove(track);
      track.become("gone", { reason: "closed" });
    },
    retry: (track) => streams.retry(track),
    command: (where, data, asked) => commands.send(where, data, { ...settings, ...asked }),
  };
  const track = new Track(url, settings, owner);
  streams.add(track);
  return track;
}

let ours = null;

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
export function command(url, data, options = {}) {
  const send = async () => (ours ??= new Commands()).send(url, data, settingsOf(options));
  return optional(send());
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
  return withTicket(url, settingsOf(options));
}

/** One WebSocket for many channels and for the app's own messages: the other end of `@live.socket`. */
export class Socket {
  #options;
  #commands;
  #multiplex;

  /**
   * @param {string | URL} url
   * @param {Options & {onMessage?: (data: any) => void}} [options]  `onEvent`, `onGap`, `onFault` and `onLag` get what
   *     belongs to channels that the app on the server follows for this client; `onState` is the socket's: connecting,
   *     live, gone
   */
  constructor(url, options = {}) {
    this.#options = settingsOf({ ...options, transport: "websocket" });
    this.#commands = new Commands(url);
    /** @type {State} */
    this.state = "connecting";
    const { onMessage: message, onExpiring: expiring, onRenewed: renewed, onBeat: beat } = this.#options;
    const told = { message, expiring, renewed, beat };
    this.#multiplex = new Multiplex(url, this.#options, this.#commands, {
      become: (state, why) => this.#become(state, why),
      choose: () => this.#choose(),
      tell: (name, said) => tell(told[name], said, this),
    });
  }

  /**
   * Follows a channel by its URL, on this socket. @param {string | URL} url @param {Options} [options] @returns {Track}
   * @throws {TypeError} where the URL is another server's
   */
  follow(url, options = {}) {
    if (this.#multiplex.pathOf(url) === null) throw new TypeError(`${url}: a socket reaches its own server only`);
    const track = new Track(url, options, this);
    if (this.#multiplex.isClosed) track.become("gone", { reason: "closed" });
    else this.#multiplex.add(track);
    return track;
  }

  /** Sends a message to the app. @returns {boolean} false where there is no connection: then it was not sent. */
  send(data) {
    return this.#multiplex.send(data);
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
    this.#multiplex.close();
  }

  /** Tries again at once, if it is waiting to. */
  retry() {
    this.#multiplex.retry();
  }

  /** @internal */
  leave(track) {
    this.#multiplex.remove(track);
    track.become("gone", { reason: "closed" });
  }

  #become(state = this.state, why = {}) {
    this.state = state;
    tell(this.#options.onState, state, why, this);
  }

  #choose() {
    const { onEvent, onGap, onFault, onLag } = this.#options;
    return new Track(null, { onEvent, onGap, onFault, onLag }, this);
  }
}
