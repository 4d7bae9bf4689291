/** The four ways to a channel. Each turns what comes into the same messages, and throws when the connection ends. */

import { Ended } from "./line.js";
import { Renewal, renewSocket, renewStream } from "./renewal.js";
import { address, request } from "./requests.js";
import { authorization, subprotocols } from "./token.js";

/** Closings after which the server does not want to be asked again, for a close frame that came without its bye. */
const FINAL_CODES = new Set([1002, 1003, 1007, 1008, 1009, 4401, 4403]);

/**
 * The parser of `text/event-stream`, by the HTML standard (section 9.2.6), and the field `time` besides.
 * `retry` is left to EventSource: the server's word about coming back is in its bye.
 */
export class EventStreamParser {
  #rest = "";
  #endedInCr = false;
  #id = "";
  #block = { event: "", data: [], time: null };

  /** Takes decoded text, cut anywhere. @returns {{event: string, data: string, id: string, time: ?number}[]} */
  push(text) {
    const parsed = [];
    if (!text) return parsed;
    const news = this.#endedInCr && text[0] === "\n" ? text.slice(1) : text; // the other half of a CRLF
    this.#endedInCr = text.endsWith("\r");
    const lines = (this.#rest + news).split(/\r\n|\n|\r/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line) this.#field(line);
      else this.#dispatch(parsed);
    }
    return parsed;
  }

  #field(line) {
    const [, name, value] = /^([^:]*)(?:: ?)?([^]*)$/.exec(line);
    if (name === "event") this.#block.event = value;
    else if (name === "data") this.#block.data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "time" && /^\d+$/.test(value)) this.#block.time = Number(value);
  }

  #dispatch(parsed) {
    const { event, data, time } = this.#block;
    if (data.length) parsed.push({ event: event || "message", data: data.join("\n"), id: this.#id, time });
    this.#block = { event: "", data: [], time: null };
  }
}

function goodbye({ code, reason, retry }) {
  return new Ended(reason, { code, retry });
}

/**
 * As EventSource does it: the URL stays as it was, and `Last-Event-ID` tells how far the client has come. But as it is
 * read with `fetch`, a token goes in a header, where no log of URLs sees it.
 */
async function overSse(track, line, options, signal) {
  line.listen();
  const headers = { Accept: "text/event-stream", ...(await authorization(options, signal)) };
  if (track.cursor !== track.start) headers["Last-Event-ID"] = track.cursor;
  const renew = (message) => renewStream(message, track.url, options, signal);
  const renewal = new Renewal(renew, (message) => track.take(message), options, line, signal);
  line.listen();
  const response = await request(track.url, { after: track.start }, headers, options, signal);
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) throw new Ended("not an event stream");
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventStreamParser();
  for (;;) {
    line.listen();
    const { value, done } = await reader.read();
    line.rest();
    if (done) throw new Ended("the stream ended");
    for (const { event, data, id, time } of parser.push(decoder.decode(value, { stream: true }))) {
      const own = event.startsWith("triolet.");
      const body = JSON.parse(data);
      const message = own ? { ...body, type: event.slice(8) } : { type: "event", event, data: body, id, time };
      if (message.type === "bye") throw goodbye(message);
      line.heard(message);
      renewal.hear(message);
      track.take(message);
    }
  }
}

/**
 * The first answer is never held back: it tells at once whether the client is up to date. A token serves until it is
 * answered with 401; then there is a new one, as for a stream that has ended.
 */
async function overPolls(track, line, options, signal, hold) {
  line.listen();
  const credential = await authorization(options, signal);
  let tag = null;
  let retry = 0;
  while (!signal.aborted) {
    const wait = track.state === "live" ? hold : undefined;
    const headers = { Accept: "application/json", ...credential, ...(tag && !wait && { "If-None-Match": tag }) };
    line.listen();
    const response = await request(track.url, { after: track.cursor, wait }, headers, options, signal);
    const body = response.status === 304 ? null : await response.json();
    line.rest();
    if (body !== null) {
      tag = response.headers.get("ETag");
      retry = body.retry;
      unfold(track, line, body);
    }
    await line.sleep(wait === hold ? retry : 0);
  }
}

/** The answer to a poll, as the messages that a stream would have carried. */
function unfold(track, line, { channel, events, cursor, gap, live, filtered }) {
  if (track.state === "connecting") track.take({ type: "open", channel, cursor, filtered });
  if (gap) track.take({ ...gap, type: "gap" });
  for (const event of events) track.take({ ...event, type: "event" });
  if (filtered && !live) track.take({ type: "moved", cursor });
  if (!live) return;
  const message = { type: "live", cursor };
  line.heard(message);
  track.take(message);
}

/** Says what was applied, the newest of each channel, at most once in `acknowledge` ms. */
function acknowledging(socket, { acknowledge, clock }) {
  const applied = new Map();
  const say = () => {
    for (const [channel, cursor] of socket.readyState === 1 ? applied : []) {
      socket.send(JSON.stringify({ type: "ack", channel, cursor }));
    }
    applied.clear();
  };
  return ({ channel, id }) => {
    if (!acknowledge) return;
    if (applied.size === 0) clock.setTimeout(say, acknowledge);
    applied.set(channel, id);
  };
}

/** One WebSocket, from its handshake to its end. `ready` gets the socket, `hear` each message but the bye. */
export async function converse(url, query, line, options, signal, hear, ready) {
  line.listen();
  const protocols = await subprotocols(options, signal);
  const target = address(url, query);
  target.protocol = target.protocol.replace("http", "ws");
  return new Promise((_, reject) => {
    if (signal.aborted) throw signal.reason; // while the token was fetched
    line.listen();
    const socket = new (options.WebSocket ?? globalThis.WebSocket)(target, protocols);
    let bye = null;
    const acknowledge = acknowledging(socket, options);
    const renewal = new Renewal(() => renewSocket(socket, options, signal), hear, options, line, signal);
    const end = (why) => {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      reject(why);
    };
    signal.addEventListener("abort", () => end(signal.reason));
    socket.onopen = () => ready(socket);
    socket.onclose = ({ code, reason }) =>
      end(bye ?? new Ended(reason || `closed ${code}`, { code, retry: FINAL_CODES.has(code) ? null : undefined }));
    socket.onmessage = ({ data }) => {
      line.listen();
      try {
        const message = JSON.parse(data);
        if (message.type === "bye") return (bye = goodbye(message));
        line.heard(message);
        renewal.hear(message);
        hear(message);
        if (message.type === "event") acknowledge(message);
      } catch (error) {
        end(error);
      }
    };
  });
}

/** A channel's own WebSocket, over which commands go too. */
function overWebSocket(track, line, options, signal, commands) {
  const hear = (message) => (message.type === "reply" ? commands.hear(message) : track.take(message));
  const ready = (socket) => commands.use(socket);
  return converse(track.url, { after: track.cursor }, line, options, signal, hear, ready);
}

export const TRANSPORTS = {
  sse: overSse,
  poll: (track, line, options, signal) => overPolls(track, line, options, signal),
  "long-poll": (track, line, options, signal) => overPolls(track, line, options, signal, options.wait),
  websocket: overWebSocket,
};
