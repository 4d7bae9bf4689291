/** The four ways to a channel. Each turns what comes into the same messages, and throws when the connection ends. */

import { Ended } from "./line.js";

const PROTOCOL = "triolet.1";

/** Closings after which the server does not want to be asked again, for a close frame that came without its bye. */
const FINAL_CODES = new Set([1002, 1003, 1007, 1008, 1009, 4403]);

/** Statuses that asking again may change; any other 4xx is an answer. */
const PASSING_STATUSES = new Set([408, 425, 429]);

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

function address(url, query) {
  const target = new URL(url, globalThis.location?.href);
  for (const [name, value] of Object.entries(query)) {
    if (value != null) target.searchParams.set(name, value);
  }
  return target;
}

/** A request whose answer is 200 or 304, or an error that says whether to ask again. */
async function request(url, query, headers, options, signal) {
  const asked = { headers: { ...options.headers, ...headers }, signal, cache: "no-store" };
  const response = await options.fetch(address(url, query), asked);
  const { status } = response;
  if (status === 200 || status === 304) return response;
  const final = status < 500 && !PASSING_STATUSES.has(status);
  const after = Number(response.headers.get("Retry-After")) * 1_000;
  throw new Ended(`HTTP ${status}`, { status, retry: final ? null : after > 0 ? after : undefined });
}

function goodbye({ code, reason, retry }) {
  return new Ended(reason, { code, retry });
}

/** As EventSource does it: the URL stays as it was, and `Last-Event-ID` tells how far the client has come. */
async function overSse(track, line, options, signal) {
  const headers = { Accept: "text/event-stream" };
  if (track.cursor !== track.start) headers["Last-Event-ID"] = track.cursor;
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
      track.take(message);
    }
  }
}

/** The first answer is never held back: it tells at once whether the client is up to date. */
async function overPolls(track, line, options, signal, hold) {
  let tag = null;
  let retry = 0;
  while (!signal.aborted) {
    const wait = track.state === "live" ? hold : undefined;
    const headers = { Accept: "application/json", ...(tag && !wait && { "If-None-Match": tag }) };
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
export function converse(url, query, line, options, signal, hear, ready) {
  return new Promise((_, reject) => {
    const target = address(url, query);
    target.protocol = target.protocol.replace("http", "ws");
    const socket = new (options.WebSocket ?? globalThis.WebSocket)(target, PROTOCOL);
    let bye = null;
    const acknowledge = acknowledging(socket, options);
    const end = (why) => {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      reject(why);
    };
    signal.addEventListener("abort", () => end(signal.reason));
    line.listen();
    socket.onopen = () => ready?.(socket);
    socket.onclose = ({ code, reason }) =>
      end(bye ?? new Ended(reason || `closed ${code}`, { code, retry: FINAL_CODES.has(code) ? null : undefined }));
    socket.onmessage = ({ data }) => {
      line.listen();
      try {
        const message = JSON.parse(data);
        if (message.type === "bye") return (bye = goodbye(message));
        line.heard(message);
        hear(message);
        if (message.type === "event") acknowledge(message);
      } catch (error) {
        end(error);
      }
    };
  });
}

export const TRANSPORTS = {
  sse: overSse,
  poll: overPolls,
  "long-poll": (track, line, options, signal) => overPolls(track, line, options, signal, options.wait),
  websocket: (track, line, options, signal) =>
    converse(track.url, { after: track.cursor }, line, options, signal, (message) => track.take(message)),
};
