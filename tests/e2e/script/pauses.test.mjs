/** Servers, and proxies before them, whose every answer brings nothing and asks for more at once: a page is not made to spin. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { json, makeSockets, status } from "./fakes.mjs";
import { HELLO, live, meet, note, opened } from "./meeting.mjs";

const MINUTE = 60_000;
const PAGE = { channel: "c", events: [], cursor: "e.1", gap: null, live: true, retry: 0, time: 0 };

/** What one may ask in a minute of a server that brings nothing: twice a second, and the first ones faster. */
const MOST = 130;

/** So far a client that spins is let go on. */
const ENOUGH = 1_000;

const text = (body) => ({ response: new Response(body, { headers: { "Content-Type": "text/event-stream" } }) });
const said = (type, data) => `event: triolet.${type}\ndata: ${JSON.stringify(data)}\n\n`;
const bye = (retry) => said("open", opened("e.1")) + said("live", live("e.1")) + said("bye", { code: 1012, reason: "x", retry });
const many = (more) => ({ follows: [], events: [], gaps: [], refused: [], live: true, retry: 0, time: 0, ...more });

/** A network that gives each request what `answer` makes of its number. */
function answering(answer) {
  let asked = 0;
  const never = new Promise(() => null);
  const network = { requests: [], answered: [] };
  network.fetch = async (url, { method = "GET" }) => {
    network.requests.push({ method, path: url.pathname + url.search });
    return (asked += 1) > ENOUGH ? never : answer(asked, url).response;
  };
  return network;
}

/** WebSockets of which each says so at once, and ends with this code; null: it stays. */
function speaking(code, say) {
  const { WebSocket, opened: sockets } = makeSockets();
  class Speaking extends WebSocket {
    constructor(...given) {
      super(...given);
      if (sockets.length < ENOUGH) queueMicrotask(() => this.#speak());
    }
    #speak() {
      const tell = (message) => this.onmessage?.({ data: JSON.stringify(message) });
      this.readyState = 1;
      this.onopen?.();
      for (const message of say()) tell(message);
      if (code !== null) this.onclose?.({ code, reason: "" });
    }
    send(text) {
      super.send(text);
      const { type, url, sub, id } = JSON.parse(text);
      const answer = { follow: { type: "refused", url, sub, reason: "x", retry: 0 }, command: { type: "reply", id, status: 503, retry: 0 } };
      if (this.sent.length < ENOUGH && answer[type]) queueMicrotask(() => this.onmessage?.({ data: JSON.stringify(answer[type]) }));
    }
  }
  return { WebSocket: Speaking, sockets };
}

const polled = (page, ...statuses) => (number) => (number === 1 || !statuses.length ? json({ ...PAGE, ...page }) : status(...statuses));
const alternating = (number) => json({ ...PAGE, live: number % 2 === 0 });

const OVER_HTTP = {
  "polls that say 0": ["poll", polled({})],
  "polls that say less than 0": ["poll", polled({ retry: -5 })],
  "polls that say no number": ["poll", polled({ retry: "soon" })],
  "polls that say nothing, and that there is more": ["poll", polled({ live: false })],
  "polls that are answered alike, whatever was had": ["poll", polled({ events: [note("e.1")], live: false })],
  "polls that are answered 304": ["poll", polled({}, 304)],
  "long polls that are answered at once": ["long-poll", polled({})],
  "long polls that are answered 304 at once": ["long-poll", polled({}, 304)],
  "long polls that are up to date each other time": ["long-poll", alternating],
  "long polls that are to be asked again after a thousandth of a second": ["long-poll", polled({}, 503, { "Retry-After": "0.001" })],
  "streams that say goodbye, to be asked again after 0": ["sse", () => text(bye(0))],
  "streams that say goodbye, to be asked again after less": ["sse", () => text(bye(-7))],
  "streams that say goodbye, to be asked again after no number": ["sse", () => text(bye("soon"))],
  "streams that name a time of their own": ["sse", () => text("retry: 0\n\n")],
  "streams that are empty": ["sse", () => text("")],
  "streams that are up to date, and end": ["sse", () => text(said("open", opened("e.1")) + said("live", live("e.1")))],
};

for (const random of [0, 0.99]) {
  for (const [what, [transport, answer]] of Object.entries(OVER_HTTP)) {
    test(`${what} are asked with pauses, of ${random}`, async () => {
      const network = answering(answer);
      const { client, clock } = meet({ transports: [transport], network, random: () => random });
      client.follow("/c/events", { after: "e.1" });
      await clock.advance(MINUTE);
      assert.ok(network.requests.length <= MOST, `${network.requests.length} requests`);
      assert.ok(network.requests.length >= 4, "it has given up");
      client.close();
    });
  }
}

const NOTHING = () => [];
const GOODBYE = (retry) => () => [opened("e.1"), live("e.1"), { type: "bye", code: 1012, reason: "x", retry }];
const LUMPS = () => [0, 5_000, 10_000].map((time) => ({ type: "beat", time, cursors: {} }));

const OVER_SOCKETS = {
  "that opens and breaks": [1006, NOTHING],
  "that opens and ends": [1000, NOTHING],
  "that opens and goes to be restarted": [1012, NOTHING],
  "that is up to date, and ends": [1006, () => [opened("e.1"), live("e.1")]],
  "that says goodbye, to be asked again after 0": [1012, GOODBYE(0)],
  "that says goodbye, to be asked again after less": [1012, GOODBYE(-1)],
  "whose beats come all at once": [1006, LUMPS],
};

for (const [what, [code, say]] of Object.entries(OVER_SOCKETS)) {
  for (const options of [{ transports: ["websocket"] }, { socket: "/live", transports: ["websocket"] }, { transports: ["websocket", "sse"] }]) {
    test(`a WebSocket ${what} is opened with pauses, of ${JSON.stringify(options)}`, async () => {
      const { WebSocket, sockets } = speaking(code, say);
      const network = answering(() => text(""));
      const { client, clock } = meet({ ...options, network, WebSocket, random: () => 0 });
      client.follow("/c/events", { after: "e.1" });
      await clock.advance(MINUTE);
      assert.ok(sockets.length + network.requests.length <= 2 * MOST, `${sockets.length}, ${network.requests.length}`);
      assert.ok(sockets.length >= 4, "it has given up");
      client.close();
    });
  }
}

test("a follow that is refused for now is asked for again with pauses, on a socket and in a poll of several", async () => {
  const { WebSocket, sockets } = speaking(null, () => [HELLO]);
  const one = meet({ socket: "/live", transports: ["websocket"], WebSocket, random: () => 0 });
  const network = answering((_, url) => {
    const refused = url.searchParams.getAll("follow").map((path) => ({ type: "refused", url: path, reason: "x", retry: 0 }));
    return json(many({ refused }));
  });
  const two = meet({ socket: "/live", transports: ["poll"], network, random: () => 0 });
  for (const { client, clock } of [one, two]) {
    client.follow("/c/events", { after: "e.1" });
    await clock.advance(MINUTE / 6);
    client.close();
  }
  assert.ok(sockets[0].sent.length <= MOST, `${sockets[0].sent.length} messages`);
  assert.ok(network.requests.length <= MOST, `${network.requests.length} requests`);
});

test("a command that is to be asked again at once is asked with pauses, by POST and on a socket", async () => {
  const network = answering(() => status(503, { "Retry-After": "0.001" }));
  const posting = meet({ transports: ["poll"], network, random: () => 0 });
  const { WebSocket, sockets } = speaking(null, () => [HELLO]);
  const saying = meet({ socket: "/live", transports: ["websocket"], WebSocket, random: () => 0 });
  await saying.clock.advance(0);
  for (const { client, clock } of [posting, saying]) {
    client.send("/pick", 1, { timeout: MINUTE });
    await clock.advance(MINUTE);
    client.close();
  }
  const posts = network.requests.filter(({ method }) => method === "POST").length;
  assert.ok(posts >= 4 && posts <= MOST, `${posts} requests`);
  assert.ok(sockets[0].sent.length >= 4 && sockets[0].sent.length <= MOST, `${sockets[0].sent.length} messages`);
});

test("a poll that brings something, or took its time, is asked again at once", async () => {
  let last = 1;
  const network = answering(() => json({ ...PAGE, events: [note(`e.${(last += 1)}`)], cursor: `e.${last}`, live: false }));
  const { client, clock } = meet({ transports: ["poll"], network });
  client.follow("/c/events", { after: "e.1" });
  await clock.advance(0);
  assert.ok(network.requests.length >= 100, "it waits");
  client.close();
});
