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
 * @typedef {Object} Options  every callback also gets the handle, as its last argument
 * @property {"websocket"|"sse"|"long-poll"|"poll"} [transport]  default "sse"
 * @property {string|number} [after]  the cursor to go on from; "0" is the oldest event kept, none is "from now"
 * @property {(event: LiveEvent) => void} [onEvent]  `handle.state` is "behind" while the event is one of the missed
 * @property {(state: State, why: {retry?: number, error?: Ended}) => void} [onState]  `retry`: ms until the next try
 * @property {(gap: Gap) => void} [onGap]  events that were missed for good; without it the console says so
 * @property {(fault: Object) => void} [onFault]  a broken promise of the server's ("hole", "repeat"); default: console
 * @property {(beat: {time: number, cursors: Object, stale?: boolean}) => void} [onBeat]  `stale`: the server cannot
 *   reach its log now, so there may be events that it does not know of
 * @property {(lag: {behind: number, step: string}) => void} [onLag]  so far behind that publishers wait ("block")
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

import { Ended, Line, tell } from "./line.js";
import { Track, offsetOf } from "./track.js";
import { EventStreamParser, TRANSPORTS, converse } from "./transports.js";

export { Ended, EventStreamParser, offsetOf };

const DEFAULTS = {
  transport: "sse",
  wait: 25,
  silence: 50_000,
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
  const owner = { leave: () => line.close(), retry: () => line.retry() };
  const track = new Track(url, settings, owner);
  const change = (state, why) => track.become(state, why);
  const line = new Line((signal) => transport(track, line, settings, signal), change, settings);
  return track;
}

/** One WebSocket for many channels and for the app's own messages: the other end of `@live.socket`. */
export class Socket {
  #options;
  #line;
  #socket = null;
  #tracks = new Set();

  /**
   * @param {string} url
   * @param {Options & {onMessage?: (data: any) => void}} [options]  `onEvent` and `onGap` get what belongs to channels
   *     that the app on the server follows for this client; `onState` is the socket's: connecting, live, gone
   */
  constructor(url, options = {}) {
    this.#options = { ...DEFAULTS, ...options };
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

  #become(state, why = {}) {
    if (state !== "live") this.#socket = null;
    for (const track of state === "live" ? [] : this.#tracks) track.become(state, why);
    this.state = state;
    tell(this.#options.onState, state, why, this);
  }

  #ready(socket) {
    this.#socket = socket;
    this.#become("live");
    for (const track of this.#tracks) this.#ask(track);
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
        return this.#refused(message.url);
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

  #refused(url) {
    for (const track of this.#tracks) {
      if (track.url !== url) continue;
      this.#tracks.delete(track);
      track.become("gone", { error: new Ended("refused", { code: 4403, retry: null }) });
    }
  }
}
