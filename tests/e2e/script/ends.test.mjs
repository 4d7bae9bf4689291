/** Dialogues about channels that end, and about what is only told: on each transport, on one socket, and among tabs. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { listen as listenTo } from "./dialogues.mjs";
import { Clock, Network, Stream, json, makeBrowser, makeSockets, settle } from "./fakes.mjs";
import { HELLO, bracket, live, meet, note, opened } from "./meeting.mjs";

const end = (cursor, more = {}) => ({ type: "end", channel: "c", cursor, data: { outcome: "done" }, time: 7, ...more });
const tell = (data, more = {}) => ({ type: "tell", channel: "c", event: "typing", data, ...more });
const BYE = { type: "bye", code: 1000, reason: "ended", retry: null };
const END = { type: "end", channel: "c", cursor: "e.3", data: { outcome: "done" }, time: 7 };

/** What a follow says, in order, and what happens to it. */
function hear(follow) {
  const heard = [];
  for (const name of ["event", "end", "gap"]) {
    follow.on(name, (item) => heard.push(`${name} ${item.id ?? item.to ?? item.cursor}`));
  }
  follow.on("tell", ({ event, data, key }) => heard.push(`${event} ${data} ${key}`));
  follow.on("fault", ({ kind }) => heard.push(`fault ${kind}`));
  follow.on("state", (state, { reason }) => heard.push(state === "gone" ? `gone ${reason}` : state));
  return heard;
}

// --- one channel -------------------------------------------------------------------------------------------

const WAYS = {
  async sse() {
    const streams = [new Stream(), new Stream()];
    const met = meet({ transports: ["sse"], network: new Network(...streams) });
    const say = async (...all) => {
      for (const { type, ...more } of all) {
        const block = `id: ${more.id}\nevent: ${more.event}\ndata: {}\ntime: 7\n\n`;
        if (!streams[0].aborted) await (type === "event" ? streams[0].send(block) : streams[0].send(type, more));
      }
    };
    return { ...met, say, asked: () => met.network.requests.length };
  },
  async websocket() {
    const met = meet({ transports: ["websocket"] });
    const say = async (...all) => {
      if (met.sockets[0].readyState === 0) await met.sockets[0].open();
      for (const one of all) if (!met.sockets[0].closed) await met.sockets[0].say(one);
    };
    return { ...met, say, asked: () => met.sockets.length };
  },
};

for (const [way, open] of Object.entries(WAYS)) {
  test(`a channel ends: it is the last item, and nobody comes back (${way})`, async () => {
    const { client, say, asked, clock } = await open();
    const follow = client.follow("c", { after: "e.1" });
    const items = [];
    const reading = (async () => {
      for await (const item of follow) items.push(item);
    })();
    await settle();
    await say(opened("e.1"), live("e.1"), note("e.2"), end("e.3"));
    await reading;
    await say(BYE);
    assert.deepEqual(items.map(({ type }) => type), ["live", "event", "end"]);
    assert.deepEqual(items.at(-1), END);
    assert.deepEqual([follow.state, follow.why.reason, follow.why.error.code, follow.cursor], ["gone", "ended", 1000, "e.3"]);
    await clock.advance(600_000);
    assert.deepEqual([asked(), client.state], [1, "idle"]);
  });

  test(`who stands at the end is told of it once more (${way})`, async () => {
    const { client, say, asked, clock } = await open();
    const heard = hear(client.follow("c", { after: "e.3" }));
    await settle();
    await say(opened("e.3"), end("e.3"));
    await clock.advance(600_000);
    assert.deepEqual([heard, asked()], [["behind", "end e.3", "gone ended"], 1]);
  });

  test(`an end behind a hole is asked for again (${way})`, async () => {
    const { client, say, clock, asked } = await open();
    const heard = hear(client.follow("c", { after: "e.1" }));
    await settle();
    await say(opened("e.1"), live("e.1"), end("e.4"));
    await clock.advance(1_000);
    assert.deepEqual([heard, asked()], [["behind", "live", "fault hole", "connecting"], 2]);
  });

  test(`what is told is heard at once, by its own name alone, and moves nobody (${way})`, async () => {
    const { client, say } = await open();
    const follow = client.follow("c", { after: "e.1" });
    const heard = hear(follow);
    follow.on("typing", () => assert.fail("no event of the app's"));
    follow.on("event:tell", ({ id }) => heard.push(`an event called tell ${id}`));
    await settle();
    await say(opened("e.1"), live("e.1"), tell("ann"), tell("bob", { key: "b" }), note("e.2", { event: "tell" }));
    const expected = ["typing ann undefined", "typing bob b", "event e.2", "an event called tell e.2"];
    assert.deepEqual(heard, ["behind", "live", ...expected]);
    assert.equal(follow.cursor, "e.2");
  });
}

test("polls: behind the events of the answer comes the end, and nobody asks again", async () => {
  for (const transports of [["poll"], ["long-poll"]]) {
    const first = { channel: "c", events: [], cursor: "e.1", gap: null, live: true, retry: 0 };
    const last = { ...first, events: [note("e.2")], cursor: "e.3", retry: null, end: end("e.3") };
    const { client, network, clock } = meet({ transports, network: new Network(json(first), json(last), json(first)) });
    const heard = hear(client.follow("c", { after: "e.1" }));
    await clock.advance(600_000);
    assert.deepEqual(heard, ["behind", "live", "event e.2", "end e.3", "gone ended"]);
    assert.equal(network.requests.length, 2);
  }
});

test("a long poll brings what was told while it waited", async () => {
  const first = { channel: "c", events: [], cursor: "e.1", gap: null, live: true, retry: 0 };
  const told = { ...first, told: [tell("ann"), tell("bob", { key: "b" })] };
  const { client, clock } = meet({ transports: ["long-poll"], network: new Network(json(first), json(told)) });
  const heard = hear(client.follow("c", { after: "e.1" }));
  await clock.advance(0);
  assert.deepEqual(heard.slice(0, 4), ["behind", "live", "typing ann undefined", "typing bob b"]);
});

test("a page that is reloaded is told of the end once more, and is done", async () => {
  const kept = {};
  const store = { get: (key) => kept[key], set: (key, value) => void (kept[key] = value) };
  for (const expected of ["e.1", "e.3"]) {
    const stream = new Stream();
    const { client, network, clock } = meet({ transports: ["sse"], network: new Network(stream), store });
    const follow = client.follow("c", { after: "e.1" });
    const heard = hear(follow);
    await settle();
    assert.equal(network.requests[0].path, `/c?after=${expected}&format=triolet`);
    await stream.send("open", opened(expected));
    if (expected === "e.1") await stream.event("e.2");
    await stream.send("end", end("e.3"));
    await clock.advance(600_000);
    assert.deepEqual([heard.slice(-2), network.requests.length], [["end e.3", "gone ended"], 1]);
    assert.equal(kept["triolet:cursor:http://shop.example/c"], "e.3 c");
  }
});

test("follow() calls onEnd and onTell, and is gone", async () => {
  const said = [];
  const { WebSocket, opened: sockets } = makeSockets();
  const { track, heard, clock } = listenTo("websocket", {
    WebSocket,
    after: "e.1",
    onEnd: ({ data }, handle) => said.push(["end", data, handle.state]),
    onTell: ({ data }) => said.push(["tell", data]),
  });
  await settle();
  await sockets[0].open();
  await sockets[0].say(opened("e.1"), live("e.1"), tell("ann"), end("e.2"));
  await clock.advance(600_000);
  assert.deepEqual(said, [["tell", "ann"], ["end", { outcome: "done" }, "live"]]);
  assert.deepEqual([heard.states, heard.errors, sockets.length], [["behind", "live", "gone"], [["ended", 1000]], 1]);
  assert.equal(track.state, "gone");
});

// --- one socket --------------------------------------------------------------------------------------------

test("on a socket that follows many the follow is over, and the others go on", async () => {
  const { client, sockets, clock } = meet({ socket: "/live" });
  const one = hear(client.follow("c", { after: "e.1" }));
  const other = hear(client.follow("d", { after: "e.1" }));
  await settle();
  await sockets[0].open();
  await sockets[0].say(HELLO);
  for (const [sub, channel] of [["s1", "c"], ["s2", "d"]]) {
    await sockets[0].say(...bracket(sub, opened("e.1", { sub, channel }), live("e.1", { subs: [sub], channel })));
  }
  await sockets[0].say(end("e.2"), note("e.2", { channel: "d" }), tell("ann", { channel: "d" }));
  assert.deepEqual(one, ["behind", "live", "end e.2", "gone ended"]);
  assert.deepEqual(other, ["behind", "live", "event e.2", "typing ann undefined"]);
  assert.deepEqual([client.state, sockets[0].closed], ["live", false]);
  await sockets[0].lose();
  await clock.advance(1_000);
  await sockets[1].open();
  await sockets[1].say(HELLO);
  assert.deepEqual(sockets[1].sent.map(({ url }) => url), ["/d"]);
});

test("two follows of one channel are each told of its end, from where they stand", async () => {
  const { client, sockets } = meet({ socket: "/live" });
  const [one, two] = ["e.1", "e.2"].map((after) => hear(client.follow("c", { after })));
  await settle();
  await sockets[0].open();
  await sockets[0].say(HELLO);
  await sockets[0].say(...bracket("s1", opened("e.1", { sub: "s1" })));
  await sockets[0].say(...bracket("s2", opened("e.2", { sub: "s2" }), end("e.3")));
  await sockets[0].say(...bracket("s1", note("e.2"), end("e.3")));
  assert.deepEqual(one, ["behind", "event e.2", "end e.3", "gone ended"]);
  assert.deepEqual(two, ["behind", "end e.3", "gone ended"]);
  assert.equal(client.state, "live");
});

test("a channel that the app follows for the page ends, and the socket goes on", async () => {
  const { client, sockets } = meet({ socket: "/live" });
  const heard = hear(client);
  await settle();
  await sockets[0].open();
  await sockets[0].say(HELLO, opened("e.1"), live("e.1"), tell("ann"), end("e.2"));
  await sockets[0].say(opened("e.2"), end("e.2"), { type: "message", data: 1 });
  assert.deepEqual(heard, ["live", "typing ann undefined", "end e.2", "end e.2"]);
  assert.equal(sockets[0].closed, false);
});

// --- tabs --------------------------------------------------------------------------------------------------

async function openTabs(...places) {
  const browser = makeBrowser();
  const clock = new Clock();
  const tabs = [];
  for (const after of places) {
    const tab = meet({ socket: "/live", share: true, clock, ...browser });
    await clock.advance(10);
    tab.follow = tab.client.follow("c", { after });
    tab.heard = hear(tab.follow);
    tabs.push(tab);
  }
  await clock.advance(100);
  await tabs[0].sockets[0].open();
  await tabs[0].sockets[0].say(HELLO);
  return { browser, clock, tabs, socket: tabs[0].sockets[0] };
}

test("of tabs that share a connection each is told of the end, and the next leader asks for nothing", async () => {
  const { tabs, socket, clock } = await openTabs("e.1", "e.1");
  await socket.say(...bracket("s1", opened("e.1", { sub: "s1" }), live("e.1", { subs: ["s1"] })), tell("ann"), end("e.2"));
  await settle();
  const expected = ["behind", "live", "typing ann undefined", "end e.2", "gone ended"];
  for (const { heard } of tabs) assert.deepEqual(heard.filter((one) => one !== "connecting"), expected);
  tabs[0].client.close();
  await clock.advance(200);
  const [next] = tabs[1].sockets;
  await next.open();
  await next.say(HELLO);
  assert.deepEqual(next.sent, []);
});

test("a tab that leaves while the end is on its way to it hears the rest all the same", async () => {
  const { tabs, socket, clock } = await openTabs("e.1", "e.1");
  const full = tabs[1].client.follow("c", { after: "e.1", buffer: 2 });
  await clock.advance(0);
  const { sub } = socket.sent.at(-1);
  await socket.say(...bracket(sub, opened("e.1", { sub }), live("e.1", { subs: [sub] })), note("e.2"), end("e.3"));
  await settle();
  assert.deepEqual([full.state, full.behind], ["behind", 2]);
  const items = [];
  const reading = (async () => {
    for await (const item of full) items.push(item.id ?? item.cursor);
  })();
  await settle();
  const again = socket.sent.at(-1);
  assert.equal(again.after, "e.2");
  await socket.say(...bracket(again.sub, opened("e.2", { sub: again.sub }), end("e.3")));
  await settle();
  await reading;
  assert.deepEqual(items, ["e.1", "e.2", "e.3"]);
});

test("a tab that was full when the channel ended has the rest first, and then the end", async () => {
  const { tabs, socket } = await openTabs("e.1");
  const full = tabs[0].client.follow("c", { after: "e.1", buffer: 2 });
  await settle();
  await socket.say(...bracket("s1", opened("e.1", { sub: "s1" }), live("e.1", { subs: ["s1"] })));
  await socket.say(note("e.2"), note("e.3"), note("e.4"), end("e.5"));
  await settle();
  assert.equal(full.state, "behind");
  const items = [];
  const reading = (async () => {
    for await (const item of full) items.push(item.id ?? item.cursor);
  })();
  await settle();
  const again = socket.sent.at(-1);
  assert.deepEqual([again.type, again.after], ["follow", "e.2"]);
  const { sub } = again;
  await socket.say(...bracket(sub, opened("e.2", { sub }), note("e.3"), note("e.4"), end("e.5")));
  await reading;
  assert.deepEqual(items, ["e.1", "e.2", "e.3", "e.4", "e.5"]);
});
