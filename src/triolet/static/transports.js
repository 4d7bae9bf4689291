/** The four ways to a channel. Each turns what comes into the same messages, and throws when the connection ends. */

import { Ended, backoff, onAbort, unlessAborted } from "./line.js";
import { REASONS, address, allHeaders, checkType, ownHeaders, request } from "./requests.js";
import { EventStreamParser } from "./sse.js";
import { authorization, subprotocols } from "./token.js";

/**
 * @import { Reply, State, Transport, Why } from "./api.js"
 * @import { Line } from "./line.js"
 * @import { HeaderMap, Place } from "./requests.js"
 * @import { Settings } from "./settings.js"
 * @import { Message, Track } from "./track.js"
 *
 * @typedef {{use: (socket: WebSocket) => void, hear: (reply: Message) => void}} OverSocket  commands that go over a
 *     channel's own WebSocket
 *
 * @typedef {(track: Asker, line: Line, body: Record<string, any>) => void} Unfold
 *
 * @typedef {Object} Asker  what a connection is for: a track, or several that share it (see Bundle)
 * @property {string | null} url
 * @property {string | null} [cursor]
 * @property {string | null} [channel]
 * @property {State} state
 * @property {() => Promise<void> | null} room
 * @property {(message: Message) => void} take
 * @property {(state?: State, why?: Why) => void} become
 * @property {(name: string, ...said: any[]) => void} tell
 * @property {(query: Record<string, any>) => URL} [place]  where to ask, of several
 * @property {(line: Line, body: Record<string, any>, unfold: Unfold) => void} [page]  hears the answer to a poll of several
 * @property {Track[]} [tracks]
 * @property {(track: Asker) => void} [drop]  leaves one of them
 */

// Closings after which the server does not want to be asked again, for a close frame that came without its bye.
const FINAL_CODES = new Set([1002, 1003, 1007, 1008, 1009, 4401, 4403]);

/** Whatever numbers the page has made of JSON's. "At once" no server says: see Line. @param {any} bye */
function goodbye({ reason, code, retry }) {
  return new Ended(reason, { code: Number(code), retry: retry == null ? retry : Number(retry) || 1 });
}

/**
 * While the page does not take what has come, no more is read: the server hears of it by what stays unread.
 *
 * @param {Asker} track
 * @param {Line} line
 * @param {AbortSignal} signal
 */
async function roomIn(track, line, signal) {
  for (let room; (room = track.room()); ) {
    line.rest();
    await unlessAborted(room, signal);
  }
}

/**
 * What hears the messages of a connection once they are taken, and answers those that want it: warnings that a credential
 * ends, and on a WebSocket events that are acknowledged. What only some pages need is loaded by them alone; without it the
 * connection ends with its credential, and the next one has a new one.
 *
 * @param {{socket?: WebSocket, url?: string | null}} connection
 * @param {(message: Message) => void} hear
 * @param {Settings} options
 * @param {Line} line
 * @param {AbortSignal} signal
 * @returns {(message: Message) => void}
 */
function answering(connection, hear, options, line, signal) {
  const { acknowledge } = options;
  /** @type {Promise<((message: Message) => void) | void> | undefined} */
  let answer;
  return (message) => {
    const { type } = message;
    if (type !== "expiring" && !(type === "event" && acknowledge && connection.socket)) return;
    answer ??= import("./answers.js").then(
      ({ answers }) => answers(connection, hear, options, line, signal),
      (error) => (signal.aborted ? undefined : line.trouble({ error })),
    );
    answer.then((call) => call?.(message));
  };
}

/** @param {Asker} track @param {Record<string, any>} query */
function placeOf(track, query) {
  return track.place?.(query) ?? address(track.url, { after: track.cursor, ...query });
}

/**
 * Unlike EventSource it says in the URL how far it has come: `Last-Event-ID` may be taken off on the way, and is a header
 * that another origin is asked about first. As it is read with `fetch`, a token goes in a header, where no log of URLs
 * sees it.
 *
 * @param {Asker} track
 * @param {Line} line
 * @param {Settings} options
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
async function overSse(track, line, options, signal) {
  // Some have a `fetch` whose answers come whole (React Native's): it is polls that are left to them.
  const streams = options.fetchesStreams ?? "body" in Response.prototype;
  if (!streams) return overPolls(track, line, options, signal);
  line.listen(options.silence);
  const headers = await allHeaders(options, signal, { Accept: "text/event-stream" });
  const answer = answering(track, (message) => track.take(message), options, line, signal);
  line.listen();
  const response = await request(placeOf(track, { format: "triolet" }), headers, options, signal);
  checkType(response, "text/event-stream");
  if (!response.body?.getReader) return overPolls(track, line, options, signal);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventStreamParser();
  for (;;) {
    await roomIn(track, line, signal);
    line.listen();
    const { value, done } = await unlessAborted(reader.read(), signal);
    line.rest();
    if (done) return;
    for (const { event, data, ...more } of parser.push(decoder.decode(value, { stream: true }))) {
      const own = event.startsWith("triolet.");
      const body = options.parse(data);
      /** @type {Message} */
      const message = own ? { ...body, type: event.slice(8) } : { ...more, type: "event", event, data: body };
      if (message.type === "bye") throw goodbye(message);
      line.heard(message);
      track.take(message);
      answer(message);
    }
  }
}

/**
 * The first answer is never held back: it tells at once whether the client is up to date. A token serves until it is
 * answered with 401; then there is a new one, as for a stream that has ended. Long polls take the place of a stream, too.
 *
 * @param {Asker} track
 * @param {Line} line
 * @param {Settings} options
 * @param {AbortSignal} signal
 */
async function overPolls(track, line, options, signal) {
  const hold = options.transport === "poll" ? undefined : options.wait;
  line.listen(options.silence);
  const credential = await authorization(options, signal);
  /** @type {string | null} */
  let tag = null;
  let [retry, idle] = [0, 0];
  const place = () => `${track.tracks?.map(({ cursor }) => cursor) ?? track.cursor}`;
  while (!signal.aborted) {
    await roomIn(track, line, signal);
    line.listen();
    const [from, askedAt] = [place(), options.clock.now()];
    idle += 1;
    const wait = track.state === "live" ? hold : undefined;
    /** @type {HeaderMap} */
    const headers = { ...(await ownHeaders(options, signal)), Accept: "application/json", ...credential };
    if (tag && !wait) headers["If-None-Match"] = tag;
    const response = await request(placeOf(track, { wait }), headers, options, signal);
    if (response.status === 304) line.heard({ type: "live" });
    else {
      checkType(response, "application/json");
      const body = options.parse(await response.text());
      tag = response.headers.get("ETag");
      retry = Number(body.retry ?? 1_000) || 0;
      if (body.told?.length) idle = 0;
      if (track.page) track.page(line, body, unfold);
      else unfold(track, line, body);
    }
    line.rest();
    if (place() !== from) idle = 0;
    // The first that brings nothing may be the one that is not held; what takes its time was held.
    const least = idle > 1 ? askedAt + backoff(idle, options, 0) - options.clock.now() : 0;
    await line.sleep(Math.max(wait === hold ? retry : 0, least));
  }
}

/**
 * The answer to a poll, as the messages that a stream would have carried.
 *
 * @param {Asker} track
 * @param {Line} line
 * @param {Record<string, any>} body
 */
function unfold(track, line, { channel, snapshot, events, cursor, gap, live, filtered, end, told = [] }) {
  line.heard({ type: live ? "live" : "open" });
  // Where the URL alone says where to begin, that is right before what comes.
  const first = snapshot ? null : track.cursor ?? (events[0] ? "0" : cursor);
  const isOpening = track.state === "connecting" || track.channel !== channel;
  if (isOpening) track.take({ type: "open", channel, cursor: first, filtered });
  if (snapshot) track.take(snapshot);
  if (gap) track.take({ ...gap, type: "gap" });
  for (const event of events) track.take({ ...event, type: "event" });
  if (end) track.take(end); // and nobody asks again
  if (live) track.take({ type: "live", cursor });
  else if (filtered) track.take({ type: "moved", cursor });
  for (const message of told) track.take(message);
}

/**
 * One WebSocket, from its handshake to its end. `ready` gets the socket, `hear` each message but the bye. What ends
 * without having been open is an `Ended` that says `unopened`: a browser does not tell why.
 *
 * @param {Place} url
 * @param {Record<string, any>} query
 * @param {Line} line
 * @param {Settings} options
 * @param {AbortSignal} signal
 * @param {(message: Message) => void} hear
 * @param {(socket: WebSocket) => void} ready
 * @returns {Promise<never>}
 */
export async function converse(url, query, line, options, signal, hear, ready) {
  line.listen(options.silence);
  const protocols = await subprotocols(options, signal);
  const target = address(url, query);
  target.protocol = target.protocol.replace("http", "ws");
  return new Promise((_, reject) => {
    if (signal.aborted) throw signal.reason; // while the token was fetched
    line.listen();
    /** @type {WebSocket} */
    let socket;
    try {
      socket = new (options.WebSocket ?? WebSocket)(target, protocols);
      socket.onerror = () => {}; // its close says so too; but Node's `ws` throws what nobody listens to
    } catch (/** @type {any} */ error) {
      throw new Ended(error.message, { code: 1006, unopened: true }); // there is none here (an old Node), or it may not be
    }
    /** @type {Ended | null} */
    let bye = null;
    let isOpen = false;
    const answer = answering({ socket }, hear, options, line, signal);
    /** @param {unknown} why */
    const end = (why) => {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      reject(why);
    };
    onAbort(signal, () => end(signal.reason));
    socket.onopen = () => {
      isOpen = true;
      ready(socket);
    };
    socket.onclose = ({ code, reason }) => {
      const retry = FINAL_CODES.has(code) ? null : undefined;
      const unopened = !isOpen && retry === undefined;
      end(bye ?? new Ended(reason || `closed ${code}`, { code, retry, reason: REASONS[code], unopened }));
    };
    socket.onmessage = ({ data }) => {
      try {
        const message = options.parse(data);
        if (message.type === "bye") return (bye = goodbye(message));
        line.heard(message);
        line.listen();
        hear(message);
        answer(message);
      } catch (error) {
        end(error);
      }
    };
  });
}

/**
 * A channel's own WebSocket, over which commands go too. It cannot be left unread, so it ends while the page is full.
 *
 * @param {Asker} track
 * @param {Line} line
 * @param {Settings} options
 * @param {AbortSignal} signal
 * @param {OverSocket} commands
 * @returns {Promise<void>}
 */
function overWebSocket(track, line, options, signal, commands) {
  /** @param {Message} message */
  const hear = (message) => {
    if (message.type === "reply") return commands.hear(message);
    track.take(message);
    if (track.room()) throw new Ended("full", { retry: 0 });
  };
  return converse(track.url, { after: track.cursor }, line, options, signal, hear, commands.use);
}

/**
 * In the order in which they are tried.
 *
 * @type {Record<Transport, typeof overWebSocket>}
 */
const WAYS = {
  websocket: overWebSocket,
  sse: overSse,
  "long-poll": overPolls,
  poll: overPolls,
};

/**
 * One connection of a channel's own, from its first byte to its end, as soon as the page has room for more.
 *
 * @param {Transport} transport
 * @param {Asker} track
 * @param {Line} line
 * @param {Settings} options
 * @param {AbortSignal} signal
 * @param {OverSocket} commands
 */
export async function stream(transport, track, line, options, signal, commands) {
  await roomIn(track, line, signal);
  await WAYS[transport](track, line, { ...options, transport }, signal, commands);
}

export const TRANSPORTS = /** @type {Transport[]} */ (Object.keys(WAYS));
