/** The browser's client, as an adapter of the conformance cases: see ../README.md. Its network and its clock are played here. */

import { createInterface } from "node:readline";
import { Clock, Page, settle } from "../../tests/e2e/script/fakes.mjs";
import { connect } from "../../src/triolet/static/triolet.js";

const BASE = "http://server.example/";
const REASONS = new Set(["expired", "revoked", "refused", "login", "closed"]);

/** One case: a client, and what the server of the table does to its connections. */
class Play {
  clock = new Clock();
  life = new Page();
  #connections = [];
  #posts = [];
  #follows = new Map();
  #write;
  #client = null;
  #begin;

  constructor(begin, write) {
    this.#begin = begin;
    this.#write = write;
  }

  /** It is there when it is first wanted. */
  get client() {
    return (this.#client ??= this.#make(this.#begin));
  }

  #make({ transport, options }) {
    const { transports = [transport], socket, token, tokens, wait, random } = options;
    const given = [...(tokens ?? [])];
    const next = () => (given.length > 1 ? given.shift() : given[0]);
    return connect(BASE, {
      transports,
      socket,
      wait,
      token: tokens ? next : token,
      random: () => random,
      clock: this.clock,
      page: this.life,
      winners: new Map(),
      fetch: (url, asked) => this.#fetch(url, asked),
      WebSocket: this.#makeWebSocket(),
    });
  }

  // --- what the client does -------------------------------------------------------------------------------

  #did(did, more) {
    const said = Object.entries(more).filter(([, value]) => value !== undefined);
    this.#write({ did, ...Object.fromEntries(said) });
  }

  #fetch(url, asked) {
    return new Promise((resolve, reject) => {
      if (asked.method === "POST") this.#post(url, asked, resolve, reject);
      else this.#get(url, asked, resolve, reject);
    });
  }

  #post({ pathname }, { headers, body, signal }, resolve, reject) {
    const post = { resolve, reject };
    this.#posts.push(post);
    signal.addEventListener("abort", () => {
      this.#posts = this.#posts.filter((one) => one !== post);
      reject(signal.reason);
    });
    const key = headers["Idempotency-Key"]?.slice(1, -1);
    this.#did("post", { path: pathname, key, token: bearer(headers), data: JSON.parse(body) });
  }

  #get({ pathname, searchParams }, { headers, signal }, resolve, reject) {
    const refused = this.#connections.find((one) => one.path === pathname && one.why);
    // A browser's page does not see why a WebSocket is refused, and asks. The table's server answers alike.
    if (refused && !searchParams.size) {
      const give = refused.why;
      refused.why = null;
      return give(resolve, reject);
    }
    const wait = searchParams.get("wait");
    const transport = headers.Accept === "text/event-stream" ? "sse" : wait === null ? "poll" : "long-poll";
    const follows = searchParams.has("follow") ? searchParams.getAll("follow").sort() : undefined;
    const connection = this.#connect({ transport, path: pathname, resolve, reject, stream: null, isMany: !!follows });
    signal.addEventListener("abort", () => {
      reject(signal.reason);
      fail(connection, signal.reason);
      this.#leave(connection);
    });
    this.#did("connect", {
      transport,
      path: pathname,
      follows,
      ...asked(searchParams),
      token: bearer(headers),
      wait: wait ?? undefined,
      etag: headers["If-None-Match"],
    });
  }

  #makeWebSocket() {
    const opened = (socket, url, protocols) => {
      const { pathname, searchParams } = new URL(url);
      const token = [protocols].flat().find((one) => one.startsWith("triolet.token."));
      this.#did("connect", { transport: "websocket", path: pathname, ...asked(searchParams), token: token?.slice(14) });
      return this.#connect({ transport: "websocket", path: pathname, socket });
    };
    const said = (text) => {
      const message = JSON.parse(text);
      this.#did("say", message);
    };
    const left = (connection) => this.#leave(connection);
    return class {
      readyState = 0;
      #connection;

      constructor(url, protocols) {
        this.url = String(url);
        this.#connection = opened(this, url, protocols);
      }

      send(text) {
        said(text);
      }

      close() {
        this.readyState = 3;
        left(this.#connection);
      }
    };
  }

  #connect(connection) {
    this.#connections.push(Object.assign(connection, { number: this.#connections.length, isOver: false, why: null }));
    return connection;
  }

  #leave(connection) {
    if (!connection.isOver) this.#did("left", { conn: connection.number });
    connection.isOver = true;
  }

  // --- what happens to it ---------------------------------------------------------------------------------

  async do(step) {
    this[step.do](step);
    await this.clock.advance(0);
  }

  follow({ url, after, snapshot, fold, as = "f" }) {
    const follow = this.client.follow(url, { after, snapshot, fold });
    this.#follows.set(as, follow);
    this.#hear(follow, as);
    follow.on("state", (state, why) => {
      if (state !== "gone") this.#did("state", { as, state });
      else if (why.reason !== "closed") this.#did("gone", { as, reason: REASONS.has(why.reason) ? why.reason : "closed" });
    });
  }

  listen() {
    this.client.on("message", (data) => this.#did("message", { data }));
    this.#hear(this.client, "app");
  }

  /** What is said of a channel. */
  #hear(whose, as) {
    for (const name of ["event", "end", "snapshot", "gap", "tell"]) {
      whose.on(name, ({ type, time, ...said }) => this.#did(name, { as, ...said }));
    }
    whose.on("fault", ({ kind }) => this.#did("fault", { as, kind }));
  }

  tell({ data }) {
    if (!this.client.tell(data)) this.#did("untold", {});
  }

  unfollow({ as = "f" }) {
    this.#follows.get(as).close();
  }

  #one({ conn }) {
    return this.#connections.at(conn ?? -1);
  }

  accept(step) {
    const connection = this.#one(step);
    const { socket, resolve } = connection;
    if (socket) {
      socket.readyState = 1;
      return socket.onopen();
    }
    const body = new ReadableStream({ start: (stream) => (connection.stream = stream) });
    resolve(new Response(body, { headers: { "Content-Type": "text/event-stream" } }));
  }

  message({ do: _, conn, ...message }) {
    const { socket, stream, isMany } = this.#one({ conn });
    if (socket) return socket.onmessage?.({ data: JSON.stringify(message) });
    stream.enqueue(new TextEncoder().encode(isMany ? blockOfMany(message) : block(message)));
  }

  page({ do: _, conn, etag, ...body }) {
    const connection = this.#one({ conn });
    connection.isOver = true;
    connection.resolve(Response.json(body, { headers: etag === undefined ? {} : { ETag: etag } }));
  }

  refuse({ conn, status, headers, body }) {
    const connection = this.#one({ conn });
    connection.isOver = true;
    if (!connection.socket) return connection.resolve(answer(status, headers, body));
    connection.why = (resolve) => resolve(answer(status, headers, body));
    connection.socket.onclose({ code: 1006, reason: "" });
  }

  end({ conn, code, reason = "", ...bye }) {
    const connection = this.#one({ conn });
    if ("retry" in bye) this.message({ conn, type: "bye", code, reason, retry: bye.retry });
    const { isOver, socket, stream } = connection;
    connection.isOver = true;
    if (isOver) return;
    if (socket) socket.onclose?.({ code: code ?? 1006, reason });
    else if (!("retry" in bye)) stream.close();
  }

  fail({ conn }) {
    const connection = this.#one({ conn });
    connection.isOver = true;
    connection.reject?.(new TypeError("the network is down"));
    fail(connection, new TypeError("the network is down"));
    if (connection.socket?.readyState === 0) connection.why = (_, reject) => reject(new TypeError("the network is down"));
    connection.socket?.onclose?.({ code: 1006, reason: "" });
  }

  advance() {}

  online() {
    this.life.dispatchEvent(new Event("online"));
  }

  command({ id, url, data, timeout }) {
    this.client.send(url, data, { id, timeout }).then(
      ({ status, data: answered, repeated }) => this.#did("reply", { id, status, data: answered, repeated }),
      ({ sent }) => this.#did("reply", { id, unanswered: true, sent }),
    );
  }

  answer({ status, headers, body }) {
    this.#posts.shift().resolve(answer(status, headers, body));
  }

  close() {
    this.client.close();
  }
}

/** What a URL asks for. */
function asked(query) {
  return Object.fromEntries(["after", "snapshot", "fold"].map((name) => [name, query.get(name) ?? undefined]));
}

function bearer({ Authorization: said }) {
  return said?.replace("Bearer ", "");
}

function answer(status, headers = {}, body) {
  if (status >= 300 && status < 304) {
    // A browser goes there, and gives the page what it finds: a form, say.
    const found = new Response("<form>", { headers: { "Content-Type": "text/html" } });
    return Object.defineProperty(found, "redirected", { value: true });
  }
  if ([204, 304].includes(status)) return new Response(null, { status, headers });
  if (body === undefined || body === null) return new Response("", { status, headers });
  if (typeof body === "string") return new Response(body, { status, headers });
  return Response.json(body, { status, headers });
}

function fail({ stream }, error) {
  try {
    stream?.error(error);
  } catch {
    // it had ended by itself
  }
}

/** A message as a stream has it that follows many channels. */
function blockOfMany(message) {
  const name = message.type === "event" ? "" : `event: triolet.${message.type}\n`;
  return `${name}data: ${JSON.stringify(message)}\n\n`;
}

/** A message as an event stream has it. */
function block({ type, ...more }) {
  if (type !== "event") return `event: triolet.${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;
  const { id, event, data, time } = more;
  const lines = [`id: ${id}`, `event: ${event}`, `data: ${JSON.stringify(data)}`, `time: ${time}`];
  const folds = ["key", "fold", "folded"].filter((name) => "fold" in more && name in more);
  return `${[...lines, ...folds.map((name) => `${name}: ${more[name]}`)].join("\n")}\n\n`;
}

const lines = createInterface({ input: process.stdin });
const write = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);
console.warn = console.error = () => {};
let play = null;
for await (const line of lines) {
  const step = JSON.parse(line);
  if (step.begin) play = new Play(step.begin, write);
  else if (!step.do) {
    play.client.close();
    play = null;
  } else {
    if (step.do === "advance") await play.clock.advance(step.ms);
    await play.do(step);
  }
  await settle();
  write({ idle: true });
}
