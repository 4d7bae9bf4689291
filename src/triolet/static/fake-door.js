/** How clients come to the fake server: who they are, what they ask for, and what they say later. */

import { replyOf, responseOf } from "./fake-commands.js";
import { Connection, REVOKED } from "./fake-connection.js";
import { jsonOf, parseAfter, parseCursor } from "./fake-log.js";
import { askedOf } from "./fake-many.js";
import { Poll } from "./fake-poll.js";
import { decoded, locateHere, nameOf } from "./fake-routes.js";

/** @import { Call, Found, Message, Place, Who, Wire, Wish, World } from "./fake-api.js" */
/** @import { FakeConnection, Identity } from "./fake.js" */
/** @import { Commands } from "./fake-commands.js" */
/** @import { Exchange } from "./fake-network.js" */
/** @import { More, Route, Routes } from "./fake-routes.js" */

const TOKEN_PROTOCOL = "triolet.token.";

/** What a `Last-Event-ID` stands for that no Triolet gave. */
const ANOTHER_SERVERS = { epoch: "of-another-server", offset: 0 };

const BAD_MESSAGE = { code: 1008, reason: "bad message", retry: null };

/** What a refused URL answers. @param {More} more */
function refused({ status, retry }) {
  if (status === "login") {
    // A browser goes where it is sent, and gives the page what it finds.
    const form = new Response("<!doctype html>", { headers: { "Content-Type": "text/html" } });
    return Object.defineProperty(form, "redirected", { value: true });
  }
  const headers = new Headers();
  if (retry !== undefined) headers.set("Retry-After", String(Math.ceil(retry / 1_000)));
  return new Response(null, { status, headers });
}

/** What a client says for yes, in the URL. @param {URL} url @param {string} name */
function asks({ searchParams }, name) {
  return ["", "1", "true"].includes(searchParams.get(name) ?? "no");
}

/** What a client wants of a channel besides. @param {Found} found @param {URL} url @returns {Wish} */
function wishOf({ route, params }, url) {
  const { snapshot } = route.more;
  const state = () => {
    const data = snapshot?.(params, url);
    return data === undefined ? data : jsonOf(data, "a channel's snapshot");
  };
  return { fold: asks(url, "fold"), state: snapshot && asks(url, "snapshot") ? state : null };
}

/** @param {number} status @param {string} error */
function says(status, error) {
  return Response.json({ error }, { status });
}

export class Door {
  #world;
  #routes;
  #commands;
  /**
   * Every token that has come, null for none, and until when it is good.
   * @type {Map<?string, number>}
   */
  #tokens = new Map();
  /** @type {Set<Connection>} */
  connections = new Set();
  /** @type {Set<Poll>} */
  polls = new Set();
  /**
   * See `FakeServer.identify`.
   * @type {(token: ?string) => Identity | null}
   */
  identify = () => ({});

  /** @param {World} world @param {Routes} routes @param {Commands} commands */
  constructor(world, routes, commands) {
    this.#world = world;
    this.#routes = routes;
    this.#commands = commands;
  }

  // --- what happens ---------------------------------------------------------------------------------------

  /** An event, an end, or what is only for now. @param {string} channel @param {Message} message */
  tell(channel, message) {
    for (const connection of [...this.connections]) connection.take(message);
    for (const poll of this.#pollsOf(channel)) poll.look(message.type === "tell" ? [message] : []);
  }

  /** Something of a channel is gone. @param {string} channel */
  readOn(channel) {
    for (const connection of this.connections) connection.readOn(channel);
    for (const poll of this.#pollsOf(channel)) poll.look();
  }

  /** A channel is taken away, or all there is. @param {string} [channel] */
  revoke(channel) {
    for (const connection of [...this.connections]) {
      if (channel === undefined) connection.end(REVOKED);
      else connection.revoke(channel);
    }
    for (const poll of this.#pollsOf(channel)) {
      if (channel === undefined) poll.refuse(403, "revoked");
      else poll.revoke(channel);
    }
  }

  /** @param {string} [channel] */
  #pollsOf(channel) {
    return [...this.polls].filter((poll) => channel === undefined || poll.isOf(channel));
  }

  /** Who waits for something, in lines. */
  get waiting() {
    return [
      ...[...this.connections].map(({ transport, url, channels }) => `  ${transport} ${url.pathname}: ${channels.join(", ")}`),
      ...[...this.polls].map(({ url }) => `  poll ${url.pathname}, waiting`),
    ];
  }

  // --- who they are ---------------------------------------------------------------------------------------

  /** Whose a token is; or why it is refused. @param {?string} token @returns {Who | string} */
  #who(token) {
    const { clock, wall } = this.#world;
    const said = this.identify(token);
    if (said && "then" in said) throw new TypeError("identify: an identity, and no promise of one");
    if (!said) return "token";
    const { subject = null, expiresAt = Infinity } = said;
    const until = Math.min(clock.now() + (expiresAt - wall()), this.#tokens.get(token) ?? Infinity);
    if (!this.#tokens.has(token)) this.#tokens.set(token, Infinity);
    return until <= clock.now() ? "expired" : { token, subject, until };
  }

  /** A token, or all that have come, are good until then. @param {?string | undefined} token @param {number} until */
  expire(token, until) {
    for (const one of token === undefined ? [...this.#tokens.keys()] : [token]) {
      this.#tokens.set(one, until);
      for (const client of [...this.connections, ...this.polls]) if (client.token === one) client.expireAt(until);
    }
  }

  /** By its key, with the credential of now. @param {Exchange} exchange @param {Who} who */
  #renew(exchange, who) {
    const { key } = JSON.parse(exchange.body);
    const connection = [...this.connections].find((one) => one.key === key);
    if (!connection) return new Response(null, { status: 202 }); // another process might know it
    return connection.renew(who) ? new Response(null, { status: 204 }) : says(403, "refused");
  }

  // --- what they ask for ----------------------------------------------------------------------------------

  /**
   * What is at a URL, as a test has said; else the test is told that nothing is.
   *
   * @param {string[]} kinds
   * @param {URL} url
   * @param {string} how
   * @returns {?Found}
   */
  #find(kinds, url, how) {
    for (const kind of kinds) {
      const found = this.#routes.find(kind, url);
      if (found) return found;
    }
    const { pathname } = url;
    const make = `server.${kinds[0]}("${pathname}"${kinds[0] === "command" ? ", answer" : ""})`;
    const advice = `${make} makes it; server.refuse("${pathname}", 404) says that it is meant not to be there.`;
    this.#world.trouble(new Error(`nothing is at ${pathname}, which ${how}. ${this.#routes.describe()}\n${advice}`));
    return null;
  }

  /** @param {Exchange} exchange */
  request(exchange) {
    const { url, method, headers } = exchange;
    const refusal = this.#routes.find("refusal", url);
    if (refusal) return exchange.answer(refused(refusal.route.more));
    const who = this.#who(headers.get("Authorization")?.replace(/^Bearer /, "") ?? null);
    if (method === "POST") return this.#post(exchange, who);
    return this.#get(exchange, who);
  }

  /** @param {Exchange} exchange @param {Who | string} who */
  #post(exchange, who) {
    const { url, headers, body } = exchange;
    const own = /\/triolet\/(renew|ticket)$/.exec(url.pathname)?.[1];
    const found = own ? null : this.#find(["command"], url, "a command was asked of");
    if (!own && !found) return exchange.answer(says(404, "command"));
    if (typeof who === "string") return exchange.answer(says(401, who));
    if (own === "renew") return exchange.answer(this.#renew(exchange, who));
    if (!found) return exchange.answer(Response.json({ ticket: "fake-ticket", in: 30_000 }));
    const key = headers.get("Idempotency-Key")?.replace(/^"(.*)"$/, "$1").replace(/\\(["\\])/g, "$1");
    if (!key) return exchange.answer(says(400, "id"));
    const command = { url, id: key, data: JSON.parse(body || "null"), who };
    return void this.#commands.ask(found, command).then((answer) => exchange.answer(responseOf(answer)));
  }

  /** @param {Exchange} exchange @param {Who | string} who */
  #get(exchange, who) {
    const { url, headers } = exchange;
    const found = this.#find(["channel", "socket"], url, "was followed");
    if (!found) return exchange.answer(says(404, "channel"));
    if (typeof who === "string") return exchange.answer(says(401, who));
    if (found.route.kind === "socket") return this.#many(exchange, who, found.route);
    const last = headers.get("Last-Event-ID");
    const place = url.searchParams.get("after");
    const after = last ? (parseCursor(last) ?? ANOTHER_SERVERS) : place ? parseAfter(place) : null;
    if (!last && place && after === null) return exchange.answer(says(400, "cursor"));
    const ask = { channel: nameOf(found, url), after, ...wishOf(found, url) };
    if (headers.get("Accept")?.includes("text/event-stream")) {
      const { end, gap, events } = this.#world.log.read(ask.channel, after);
      const hasTheEnd = last && end && !gap && events.length === 0; // an EventSource, which only this keeps away
      return hasTheEnd ? exchange.answer(new Response(null, { status: 204 })) : this.#stream(exchange, who, ask);
    }
    return this.#poll(exchange, who, { asks: [ask] });
  }

  /** @param {Exchange} exchange @param {Who} who @param {Route} route */
  #many(exchange, who, { more }) {
    const { url, headers } = exchange;
    if (more.open || more.message || !url.searchParams.has("follow")) return exchange.answer(says(426, "upgrade"));
    /** @type {?Response} */
    let first = null;
    /** @param {URL} at */
    const find = (at) => {
      const refusal = this.#routes.find("refusal", at);
      const found = refusal ? null : this.#find(["channel"], at, "was followed");
      if (!found) first ??= refusal ? refused(refusal.route.more) : says(404, "channel");
      return found;
    };
    const asked = askedOf(url, find, wishOf);
    if (typeof asked === "string") return exchange.answer(says(400, asked));
    if (asked.follows.length === 0 && first) return exchange.answer(first);
    if (!headers.get("Accept")?.includes("text/event-stream")) {
      return this.#poll(exchange, who, { asks: asked.follows, refused: asked.refused });
    }
    const connection = this.#connect("sse", exchange, exchange.stream(true), who, null);
    connection.followAll(asked.follows, asked.refused);
    connection.expireAt(who.until);
  }

  /** @param {Exchange} exchange @param {Who} who @param {{channel: string, after: ?Place} & Wish} ask */
  #stream(exchange, who, { channel, after, ...wish }) {
    const connection = this.#connect("sse", exchange, exchange.stream(), who, channel);
    connection.follow(channel, after, wish);
    connection.expireAt(who.until);
  }

  /** @param {Exchange} exchange @param {Who} who @param {Pick<import("./fake-poll.js").Ask, "asks" | "refused">} ask */
  #poll(exchange, who, ask) {
    const { url, headers, pipe } = exchange;
    const wait = Number(url.searchParams.get("wait") ?? 0);
    /** @type {Poll} */
    const poll = new Poll(
      this.#world,
      { ...ask, wait, tag: headers.get("If-None-Match") },
      { url, who, give: (response) => exchange.answer(response), over: () => void this.polls.delete(poll) },
    );
    this.polls.add(poll);
    pipe.left = () => poll.gone();
    poll.look();
  }

  /** @param {Call} call */
  socket(call) {
    const { url, protocols } = call;
    if (this.#routes.find("refusal", url)) return call.refuse();
    const token = protocols.find((one) => one.startsWith(TOKEN_PROTOCOL))?.slice(TOKEN_PROTOCOL.length) ?? null;
    const found = this.#find(["channel", "socket"], url, "was followed");
    const place = url.searchParams.get("after");
    const after = place ? parseAfter(place) : null;
    const who = found && (!place || after) ? this.#who(token) : "url";
    if (!found || typeof who === "string") return call.refuse();
    const wire = call.accept((text) => this.#hear(connection, found.route, JSON.parse(text)));
    const channel = found.route.kind === "channel" ? nameOf(found, url) : null;
    const connection = this.#connect("websocket", call, wire, who, channel);
    if (channel !== null) connection.follow(channel, after, wishOf(found, url));
    else connection.say({ type: "open", channel: null, cursor: null });
    connection.expireAt(who.until);
    if (channel === null) found.route.more.open?.(this.#faceOf(connection));
  }

  /**
   * @param {"websocket" | "sse"} transport
   * @param {Call | Exchange} asked
   * @param {Wire} wire
   * @param {Who} who
   * @param {?string} own
   */
  #connect(transport, { url, pipe }, wire, who, own) {
    const over = () => void this.connections.delete(connection);
    /** @type {Connection} */
    const connection = new Connection(this.#world, wire, { transport, url, own, who, over });
    this.connections.add(connection);
    pipe.left = () => connection.gone();
    return connection;
  }

  // --- what they say later --------------------------------------------------------------------------------

  /** @param {Connection} connection @param {Route} route @param {Message} said */
  #hear(connection, route, said) {
    switch (said.type) {
      case "follow":
        return this.#follow(connection, said);
      case "unfollow":
        return connection.unfollow(said.channel, said.sub);
      case "command":
        return this.#command(connection, said);
      case "auth":
        return this.#auth(connection, said.token);
      case "ack":
        return undefined;
      case "message":
        if (route.more.message) return route.more.message(said.data, this.#faceOf(connection));
        this.#world.trouble(new Error(`nobody takes messages: server.socket("${route.rule}", { message })`));
    }
    connection.end(BAD_MESSAGE);
  }

  /** @param {Connection} connection @param {Message} said */
  #follow(connection, { url: asked, after, sub }) {
    const url = locateHere(asked, "follow");
    const isRefused = this.#routes.find("refusal", url) !== null;
    const cursor = after == null ? null : parseAfter(String(after));
    if (after != null && cursor === null) return connection.end(BAD_MESSAGE);
    const found = isRefused ? null : this.#find(["channel"], url, "was followed");
    const own = url.searchParams.get("after");
    const place = own ? parseAfter(own) : null;
    if (!found || (own && !place)) return connection.say({ type: "refused", url: asked, ...(sub !== undefined && { sub }) });
    connection.follow(nameOf(found, url), cursor ?? place, { ...wishOf(found, url), url: asked, sub });
  }

  /** @param {Connection} connection @param {Message} said */
  #command(connection, { url: asked, id, data = null }) {
    const url = locateHere(asked, "command");
    const refusal = this.#routes.find("refusal", url);
    const found = refusal ? null : this.#find(["command"], url, "a command was asked of");
    /** @param {import("./fake-api.js").Given} answer */
    const reply = (answer) => connection.say(replyOf(id, answer));
    const { status = 404 } = refusal?.route.more ?? {};
    if (!found) return reply({ status: status === "login" ? 302 : status, data: { error: "command" } });
    void this.#commands.ask(found, { url, id, data, who: connection }).then(reply);
  }

  /** @param {Connection} connection @param {string} token */
  #auth(connection, token) {
    const who = this.#who(token);
    connection.renew(typeof who === "string" ? null : who);
  }

  /** A connection, as handlers of the test have it. @param {Connection} connection @returns {FakeConnection} */
  #faceOf(connection) {
    /** @param {string | URL} url */
    const named = (url) => this.channelAt(url, "follow");
    return (connection.face ??= {
      get token() {
        return connection.token;
      },
      send: (data) => connection.say({ type: "message", data: jsonOf(data) }),
      follow: (url, { after } = {}) => connection.follow(named(url), after == null ? null : parseAfter(String(after))),
      unfollow: (url) => connection.unfollow(named(url)),
    });
  }

  /**
   * The name of the channel at a URL that a test names, which is made there if there is none.
   *
   * @param {string | URL} url
   * @param {string} what
   */
  channelAt(url, what) {
    const target = locateHere(url, what);
    const found = this.#routes.find("channel", target);
    if (found) return nameOf(found, target);
    const route = this.#routes.add("channel", decoded(target.pathname));
    return nameOf({ route, params: {} }, target);
  }
}
