/**
 * Triolet in a page: follow channels over WebSocket, Server-Sent Events, long polling or short polling.
 *
 *     import { connect } from "/triolet/triolet.js";
 *     const live = connect();
 *     for await (const item of live.follow("/orders/A123/events")) if (item.type === "event") show(item.data);
 *
 * Whatever the network does, a follow gives every event after its cursor once and in order, and a "gap" of what will
 * never come. Works under the policy `default-src 'self'`; writes into no document; depends on nothing. The shapes of all
 * that is given and told are in api.js.
 *
 * `follow`, `Socket` and `command` are the same machinery with less on top: one channel over the transport that is named,
 * the other end of a `@live.socket`, one command.
 */

import { Client, connect } from "./client.js";
import { Commands, Unanswered } from "./commands.js";
import { Follow } from "./follow.js";
import { optional } from "./handlers.js";
import { Ended, tell } from "./line.js";
import { Multiplex } from "./multiplex.js";
import { Presence } from "./presence.js";
import { settingsOf } from "./settings.js";
import { EventStreamParser } from "./sse.js";
import { Streams, fixed } from "./streams.js";
import { Track, offsetOf } from "./track.js";
import { TRANSPORTS } from "./transports.js";

/**
 * @import { MessageOptions, Options, Reply, SendOptions, State, Why } from "./api.js"
 * @import { Owner, TrackOptions } from "./track.js"
 */

export { Client, Ended, EventStreamParser, Follow, Presence, Unanswered, connect, offsetOf };

/** Who hears what nobody wants to hear of. @type {Record<string, (...said: any[]) => void>} */
const LOUD = { onGap: (...said) => console.warn(...said), onFault: (...said) => console.error(...said) };

/** What a track is to know of a page's handlers. @param {Record<string, any>} options @returns {TrackOptions} */
function optionsOf(options) {
  /** @type {TrackOptions["hear"]} */
  const hear = (name, ...said) => {
    const handler = `on${name[0].toUpperCase()}${name.slice(1)}`;
    tell(options[handler] ?? LOUD[handler], ...said);
  };
  return { after: options.after, hear };
}

/**
 * Follows the channel behind a URL until it is closed, over any network.
 *
 * @param {string | URL} url  the channel's URL, as `/orders/A123/events`
 * @param {Options} [options]
 * @returns {Track}
 */
export function follow(url, options = {}) {
  const settings = settingsOf(options, { transport: "sse" });
  if (!TRANSPORTS.includes(settings.transport)) throw new TypeError(`transport: one of ${TRANSPORTS.join(", ")}`);
  const commands = new Commands(url);
  const streams = new Streams(settings, fixed(settings.transport, settings), commands);
  /** @type {Owner} */
  const owner = {
    leave: (track) => {
      streams.remove(track);
      track.become("gone", { reason: "closed" });
    },
    retry: (track) => streams.retry(track),
    command: (where, data, asked) => commands.send(where, data, { ...settings, ...asked }),
  };
  const track = new Track(url, optionsOf(settings), owner);
  streams.add(track);
  return track;
}

/** @type {Commands | null} */
let ours = null;

/**
 * Asks the server for something that is to happen once: a POST with an `Idempotency-Key`, sent again under this id
 * until it is answered. A handle's `command` does the same with the handle's options, seen from its URL, and over its
 * WebSocket while it has one that is open. 16 are asked at once, the others wait in order, 1,000 at most.
 *
 * @template [Data=any]
 * @param {string | URL} url  of the app's command, as `/orders/A123/pick`
 * @param {any} [data]  what JSON can say
 * @param {SendOptions & Options} [options]  `timeout`: default 60,000 ms
 * @returns {Promise<Reply<Data>>} whatever the app answered, its refusals too
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
 * @param {string | URL} url
 * @param {Options} [options]  its token, headers and fetch
 * @returns {Promise<string>}
 * @throws {Ended} where the server gives none
 */
export async function ticketed(url, options = {}) {
  const settings = settingsOf(options);
  const { withTicket } = await import("./answers.js");
  return withTicket(url, settings);
}

/** One WebSocket for many channels and for the app's own messages: the other end of `@live.socket`. */
export class Socket {
  #options;
  #commands;
  #multiplex;

  /**
   * @param {string | URL} url
   * @param {Options & MessageOptions} [options]
   */
  constructor(url, options = {}) {
    this.#options = settingsOf({ ...options, transport: "websocket" });
    this.#commands = new Commands(url);
    /** @type {State} of the WebSocket: connecting, live or gone */
    this.state = "connecting";
    const { onMessage: message, onExpiring: expiring, onRenewed: renewed, onBeat: beat } = this.#options;
    /** @type {Record<string, any>} */
    const told = { message, expiring, renewed, beat };
    this.#multiplex = new Multiplex(url, this.#options, this.#commands, {
      become: (state, why) => this.#become(state, why),
      choose: () => this.#choose(),
      tell: (name, said) => tell(told[name], said, this),
    });
  }

  /**
   * Follows a channel by its URL, on this socket.
   *
   * @param {string | URL} url
   * @param {Options} [options]
   * @returns {Track}
   * @throws {TypeError} where the URL is another server's
   */
  follow(url, options = {}) {
    if (this.#multiplex.pathOf(url) === null) throw new TypeError(`${url}: a socket reaches its own server only`);
    const track = new Track(url, optionsOf(options), this);
    if (this.#multiplex.isClosed) track.become("gone", { reason: "closed" });
    else this.#multiplex.add(track);
    return track;
  }

  /**
   * Sends a message to the app.
   *
   * @param {any} data  what JSON can say
   * @returns {boolean} false where there is no connection: then it was not sent
   */
  send(data) {
    return this.#multiplex.send(data);
  }

  /**
   * Asks for something that is to happen once, over this WebSocket or, while it is not open, by POST: see `command`.
   * What is on its way when the socket is closed goes on by POST.
   *
   * @template [Data=any]
   * @param {string | URL} url
   * @param {any} [data]
   * @param {SendOptions & Options} [options]
   * @returns {Promise<Reply<Data>>}
   */
  command(url, data, options) {
    return this.#commands.send(url, data, /** @type {any} */ ({ ...this.#options, ...options }));
  }

  /** Ends the connection and all that follows on it. */
  close() {
    this.#multiplex.close();
  }

  /** Tries again at once, if it is waiting to. */
  retry() {
    this.#multiplex.retry();
  }

  /** @param {Track} track @internal */
  leave(track) {
    this.#multiplex.remove(track);
    track.become("gone", { reason: "closed" });
  }

  /** @param {State} [state] @param {Why} [why] */
  #become(state = this.state, why = {}) {
    this.state = state;
    tell(this.#options.onState, state, why, this);
  }

  #choose() {
    const { onEvent, onEnd, onGap, onTell, onFault, onLag } = this.#options;
    return new Track(null, optionsOf({ onEvent, onEnd, onGap, onTell, onFault, onLag }), this);
  }
}
