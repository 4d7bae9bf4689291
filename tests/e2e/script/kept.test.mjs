/** Dialogues about a place that an earlier page has kept: of which channel it is, and what is told where that is another now. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Network, Stream, json, makeBrowser, settle } from "./fakes.mjs";
import { HELLO, bracket, listen, live, meet, note, opened } from "./meeting.mjs";

const KEY = "triolet:cursor:http://shop.example/c";

const storeOf = (kept) => ({ kept, get: (key) => kept[key], set: (key, text) => void (kept[key] = text) });
const polled = { channel: "c", events: [note("e.6")], cursor: "e.6", gap: null, live: true, retry: 2_000, time: 0 };

/** How an earlier page's place is gone on from, over each way to a channel: what the server says of it, and event e.6. */
const WAYS = {
  async sse(meeting) {
    const stream = new Stream();
    const met = meeting({ transports: ["sse"], network: new Network(stream) });
    await settle();
    await stream.send("open", opened("e.5"));
    await stream.event("e.6");
    return met;
  },
  async websocket(meeting) {
    const met = meeting({ transports: ["websocket"] });
    await settle();
    await met.sockets[0].open();
    await met.sockets[0].say(opened("e.5"), note("e.6"));
    return met;
  },
  async socket(meeting) {
    const met = meeting({ transports: ["websocket"], socket: "/live" });
    await settle();
    await met.sockets[0].open();
    await met.sockets[0].say(HELLO, ...bracket("s1", opened("e.5", { sub: "s1", url: "/c" }), note("e.6")));
    return met;
  },
  async poll(meeting) {
    const met = meeting({ transports: ["poll"], network: new Network(json(polled)) });
    await settle();
    return met;
  },
  async together(meeting) {
    const stream = new Stream();
    const met = meeting({ transports: ["sse"], socket: "/live", network: new Network(stream) });
    await settle();
    await stream.send("open", opened("e.5", { url: "/c?after=e.5" }));
    await stream.send(`data: ${JSON.stringify(note("e.6"))}\n\n`);
    return met;
  },
  async tabs(meeting) {
    const { locks, BroadcastChannel } = makeBrowser();
    const stream = new Stream();
    const shared = { share: true, locks, BroadcastChannel };
    const met = meeting({ transports: ["sse"], network: new Network(stream), ...shared });
    await settle();
    await met.clock.advance(100);
    await stream.send("open", opened("e.5"));
    await stream.event("e.6");
    return met;
  },
};

/** What a page hears whose store has this. */
async function heardOver(way, kept, followed = {}) {
  const store = storeOf({ [KEY]: kept });
  let heard;
  const met = await WAYS[way]((options) => {
    const here = meet({ store, ...options });
    heard = listen(here.client.follow("/c", followed));
    return here;
  });
  met.client.close();
  return [heard, store.kept[KEY]];
}

for (const way of Object.keys(WAYS)) {
  test(`a place of another channel, as before another login, is told as a gap: ${way}`, async () => {
    assert.deepEqual(await heardOver(way, "e.5 inbox/7"), [["gap e.5 epoch", "e.6"], "e.6 c"]);
  });

  test(`a place of the same channel is gone on from: ${way}`, async () => {
    assert.deepEqual(await heardOver(way, "e.5 c"), [["e.6"], "e.6 c"]);
  });
}

test("a place that names no channel is gone on from, whichever there is", async () => {
  assert.deepEqual(await heardOver("sse", "e.5"), [["e.6"], "e.6 c"]);
});

test("of which channel a place is, is kept whatever its name, and with what has been taken of it", async () => {
  const store = storeOf({ [KEY]: "e.1 a name\nof two lines" });
  const stream = new Stream();
  const { client } = meet({ transports: ["sse"], network: new Network(stream), store });
  const follow = client.follow("/c");
  const gaps = [];
  follow.on("gap", ({ reason }) => gaps.push(reason));
  await settle();
  await stream.send("open", { channel: "a name\nof two lines", cursor: "e.1" });
  await stream.event("e.2");
  assert.deepEqual([gaps, store.kept[KEY]], [[], "e.2 a name\nof two lines"]);
});

test("what waits for the page while its URL comes to be another channel is kept as that of its own", async () => {
  const store = storeOf({});
  const [first, second] = [new Stream(), new Stream()];
  const { client, clock } = meet({ transports: ["sse"], network: new Network(first, second), store });
  const items = client.follow("/c", { after: "e.1" })[Symbol.asyncIterator]();
  await settle();
  await first.send("open", { channel: "inbox/7", cursor: "e.1" });
  for (const id of ["e.2", "e.3"]) await first.event(id);
  await first.end();
  await clock.advance(1_000);
  await second.send("open", { channel: "inbox/8", cursor: "e.3" });
  for (const kept of [undefined, "e.2 inbox/7", "e.3 inbox/7"]) {
    await items.next();
    assert.equal(store.kept[KEY], kept);
  }
  items.next();
  await settle();
  assert.equal(store.kept[KEY], "e.3 inbox/8");
});

test("a page that is live says of which channel its first place is", async () => {
  const store = storeOf({});
  const stream = new Stream();
  const { client } = meet({ transports: ["sse"], network: new Network(stream), store });
  listen(client.follow("/c"));
  await settle();
  await stream.send("open", opened("e.5"));
  await stream.send("live", live("e.5"));
  assert.equal(store.kept[KEY], "e.5 c");
});
