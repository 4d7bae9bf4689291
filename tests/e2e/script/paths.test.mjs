/** How soon a client is live, by its own clock, on each kind of network. No word of configuration. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock, Network, Stream, json, settle } from "./fakes.mjs";
import { HELLO, bracket, listen, live, meet, note, opened } from "./meeting.mjs";

const POLLED = { channel: "c", events: [note("e.2")], cursor: "e.2", gap: null, live: true, retry: 2_000 };

/** The same, of a URL that follows many. */
const polledOf = (url) => ({ ...POLLED, follows: [{ url, channel: "c", cursor: "e.2" }], gaps: [], refused: [] });

/** What a page is promised, in ms; and what each answer takes, on a slow network. */
const PROMISED = 5_000;
const LAG = 500;

/**
 * A network that treats each transport in its own way: it "carries" it, "refuses" it, "swallows" it (no answer ever), takes
 * it and "holds" what comes, or "holds the rest", from before the end of what is caught up with.
 */
function makeNetwork(ways, clock, lag) {
  const later = () => new Promise((resolve) => clock.setTimeout(resolve, lag));
  const never = (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

  class FakeSocket {
    readyState = 0;

    constructor(url) {
      this.isShared = String(url).endsWith("/live");
      if (ways.websocket !== "swallows") void later().then(() => this.#answer());
    }

    #answer() {
      if (this.readyState === 3) return;
      if (ways.websocket === "refuses") return this.onclose?.({ code: 1006, reason: "" });
      this.readyState = 1;
      this.onopen();
      if (ways.websocket !== "carries") return;
      this.#say(...(this.isShared ? [HELLO] : [opened("e.1"), note("e.2"), live("e.2")]));
    }

    #say(...messages) {
      for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
    }

    send(text) {
      if (ways.websocket !== "carries") return;
      const { sub } = JSON.parse(text);
      this.#say(...bracket(sub, opened("e.1", { sub }), note("e.2"), live("e.2", { subs: [sub] })));
    }

    close() {
      this.readyState = 3;
    }
  }

  async function stream(signal, url) {
    const made = new Stream();
    signal.addEventListener("abort", () => made.abort(signal.reason));
    if (ways.sse === "holds") return made.response;
    await made.send("open", opened("e.1", { url }));
    if (url) await made.send(`data: ${JSON.stringify(note("e.2"))}\n\n`);
    else await made.event("e.2");
    if (ways.sse === "carries") await made.send("live", live("e.2"));
    return made.response;
  }

  async function fetch(url, { headers, signal }) {
    await Promise.race([later(), never(signal)]);
    const followed = url.searchParams.get("follow") ?? undefined;
    if (headers.Accept === "text/event-stream") return stream(signal, followed);
    return json(followed ? polledOf(followed) : POLLED).response;
  }

  return { WebSocket: FakeSocket, fetch };
}

/** @returns {Promise<Object>} after how many ms it is live, over which transport, and what the page has heard */
async function timed(ways, { lag = 0, ...options } = {}) {
  const clock = new Clock();
  const { client } = meet({ clock, ...makeNetwork(ways, clock, lag), ...options });
  const heard = listen(client.follow("/c/events", { after: "e.1" }));
  while (client.state !== "live" && clock.time < 60_000) await clock.advance(100);
  const ms = clock.time;
  await clock.advance(10_000);
  assert.equal(client.state, "live", "it stays so");
  const { transport } = client;
  client.close();
  return { ms, transport, heard };
}

const KINDS = [
  { websocket: "carries", sse: "carries", transport: "websocket" },
  { websocket: "refuses", sse: "carries", transport: "sse" },
  { websocket: "swallows", sse: "carries", transport: "sse" },
  { websocket: "holds", sse: "carries", transport: "sse" },
  { websocket: "refuses", sse: "holds", transport: "long-poll" },
  { websocket: "refuses", sse: "holds the rest", transport: "long-poll" },
  { websocket: "swallows", sse: "holds", transport: "long-poll" },
  { websocket: "swallows", sse: "holds the rest", transport: "long-poll" },
  { websocket: "holds", sse: "holds", transport: "long-poll" },
];

for (const { transport, ...ways } of KINDS) {
  for (const lag of [0, LAG]) {
    for (const options of [{}, { socket: "/live" }]) {
      const name = `${JSON.stringify(ways)}, answers after ${lag} ms${options.socket ? ", with a socket" : ""}`;
      test(`a page is live within five seconds: ${name}`, async () => {
        const found = await timed(ways, { lag, ...options });
        assert.ok(found.ms < PROMISED, `${found.ms} ms`);
        assert.deepEqual([found.transport, found.heard], [transport, ["e.2"]]);
      });
    }
  }
}

for (const winner of ["websocket", "sse", "long-poll", "poll"]) {
  test(`a page that comes from another network, where ${winner} was best, is live within five seconds`, async () => {
    const winners = new Map([["http://shop.example", winner]]);
    for (const { transport: _, ...ways } of KINDS) {
      const found = await timed(ways, { lag: LAG, winners: new Map(winners) });
      assert.ok(found.ms < PROMISED, `${JSON.stringify(ways)}: ${found.ms} ms`);
      assert.deepEqual(found.heard, ["e.2"]);
    }
  });
}

test("where every answer takes long, one round after the other waits longer, until one is waited for", async () => {
  const found = await timed({ websocket: "carries", sse: "carries" }, { lag: 3_000 });
  assert.deepEqual([found.ms <= 12_000, found.heard], [true, ["e.2"]]);
});

test("a stream that has been live may be silent before it is so again: its server has many to tell", async () => {
  const streams = [new Stream(), new Stream()];
  const { client, clock } = meet({ transports: ["sse", "poll"], network: new Network(...streams) });
  client.follow("/c/events", { after: "e.1" });
  await settle();
  await streams[0].send("open", opened("e.1"));
  await streams[0].send("live", live("e.1"));
  await streams[0].end();
  await clock.advance(1_000);
  await streams[1].send("open", opened("e.1"));
  await clock.advance(30_000);
  assert.deepEqual([client.state, client.transport, streams[1].aborted], ["behind", "sse", false]);
});

test("a WebSocket that is live is not given up for what the first message was waited for", async () => {
  const { client, clock, sockets } = meet();
  client.follow("/c/events", { after: "e.1" });
  await settle();
  await sockets[0].open();
  await sockets[0].say(opened("e.1"), live("e.1"));
  await clock.advance(49_000);
  assert.deepEqual([client.state, sockets[0].closed], ["live", false]);
});

test("a channel that is sent on to a login at another origin is over, and says so", async () => {
  const elsewhere = Object.defineProperties(new Response(null), {
    type: { value: "opaqueredirect" },
    ok: { value: false },
    status: { value: 0 },
  });
  for (const transport of ["sse", "long-poll", "poll"]) {
    const network = new Network({ response: elsewhere });
    const { client, clock } = meet({ transports: [transport], network });
    const follow = client.follow("/c/events");
    await clock.advance(1_000);
    assert.deepEqual([follow.state, follow.why.reason, network.requests.length], ["gone", "login", 2]);
  }
});

test("a WebSocket whose URL is sent on to a login is over, and says so, in browsers and where redirects are seen", async () => {
  for (const [type, status] of [["opaqueredirect", 0], ["default", 302]]) {
    const elsewhere = Object.defineProperties(new Response(null), { type: { value: type }, ok: { value: false }, status: { value: status } });
    const { client, sockets } = meet({ transports: ["websocket"], network: new Network({ response: elsewhere }) });
    const follow = client.follow("/c/events");
    await settle();
    await sockets[0].lose();
    assert.deepEqual([follow.state, follow.why.reason], ["gone", "login"]);
  }
});

test("a channel that is only sent on to where it stands is followed there", async () => {
  const moved = Object.defineProperties(new Response(null), { ok: { value: false }, status: { value: 0 } });
  const stream = new Stream();
  const { client } = meet({ transports: ["sse"], network: new Network({ response: moved }, stream) });
  client.follow("/c/events");
  await settle();
  await stream.send("open", opened("e.1"));
  await stream.send("live", live("e.1"));
  assert.equal(client.state, "live");
});
