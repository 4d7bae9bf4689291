/** Dialogues of `connect`: which transport, one socket for all, and how the page's life is followed. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../../../src/triolet/static/triolet.js";
import { Network, Stream, json, settle, status } from "./fakes.mjs";
import { BASE, HELLO, bracket, listen, live, meet, note, opened } from "./meeting.mjs";

const POLLED = { channel: "c", events: [], cursor: "e.1", gap: null, live: true, retry: 2_000 };

// --- which transport ---------------------------------------------------------------------------------------

test("WebSocket comes first, and each follow has its own where the app has no socket", async () => {
  const { client, sockets, states } = meet();
  const follow = client.follow("orders/A1/events", { after: "e.1" });
  await settle();
  assert.equal(sockets[0].url, "ws://shop.example/orders/A1/events?after=e.1");
  await sockets[0].open();
  await sockets[0].say(opened("e.1"), live("e.1"));
  await client.ready();
  assert.deepEqual([client.transport, client.state, follow.state], ["websocket", "live", "live"]);
  assert.deepEqual(states, ["connecting", "behind", "live"]);
});

test("where no WebSocket opens the next is tried at once, on the same cursor", async () => {
  const stream = new Stream();
  const { client, sockets, network, world, clock } = meet({ network: new Network(stream) });
  const heard = listen(client.follow("c", { after: "e.1" }));
  await settle();
  await sockets[0].lose(1006);
  await clock.advance(0);
  assert.equal(network.requests[0].headers.Accept, "text/event-stream");
  await stream.send("open", opened("e.1"));
  await stream.event("e.2");
  await stream.send("live", live("e.2"));
  assert.deepEqual([heard, client.transport, client.state], [["e.2"], "sse", "live"]);
  assert.deepEqual([...world.winners], [["http://shop.example", "sse"]]);
});

test("where there is no WebSocket, as in an old Node, or none may be made, the next is tried at once", async () => {
  for (const missing of [new ReferenceError("WebSocket is not defined"), new DOMException("insecure", "SecurityError")]) {
    const stream = new Stream();
    const options = { network: new Network(stream), WebSocket: class { constructor() { throw missing; } } };
    const { client, network, world, clock } = meet(options);
    const heard = listen(client.follow("c", { after: "e.1" }));
    await clock.advance(0);
    assert.equal(network.requests[0].headers.Accept, "text/event-stream");
    await stream.send("open", opened("e.1"));
    await stream.event("e.2");
    await stream.send("live", live("e.2"));
    assert.deepEqual([heard, client.transport, client.state], [["e.2"], "sse", "live"]);
    assert.deepEqual([...world.winners], [["http://shop.example", "sse"]]);
  }
});

test("what was the only transport there was is no choice: the page's other clients begin with their own first", async () => {
  const stream = new Stream();
  const { client, world } = meet({ transports: ["sse"], network: new Network(stream) });
  client.follow("c", { after: "e.1" });
  await settle();
  await stream.send("open", opened("e.1"));
  await stream.send("live", live("e.1"));
  assert.deepEqual([client.state, [...world.winners]], ["live", []]);
});

test("a stream that stays silent is left for the next one after two seconds", async () => {
  const buffered = new Stream();
  const { client, clock, network } = meet({
    transports: ["sse", "long-poll"],
    network: new Network(buffered, json({ ...POLLED, events: [note("e.2")], cursor: "e.2" })),
  });
  const heard = listen(client.follow("c", { after: "e.1" }));
  await clock.advance(1_999);
  assert.equal(network.requests.length, 1);
  await clock.advance(1);
  await clock.advance(0);
  assert.ok(buffered.aborted);
  assert.equal(network.requests[1].path, "/c?after=e.1");
  assert.deepEqual([heard, client.transport], [["e.2"], "long-poll"]);
});

test("a stream whose beats arrive in lumps is left, on the same cursor", async () => {
  const lumpy = new Stream();
  const { client, clock, network } = meet({
    transports: ["sse", "long-poll"],
    network: new Network(lumpy, json(POLLED)),
  });
  client.follow("c", { after: "e.1" });
  await settle();
  await lumpy.send("open", opened("e.1"));
  await lumpy.send("live", live("e.1"));
  const beat = (time) => lumpy.send("beat", { time, cursors: { c: "e.1" } });
  for (const time of [1_000, 21_000]) await beat(time);
  assert.equal(client.transport, "sse");
  await clock.advance(40_000);
  for (const time of [41_000, 61_000]) await beat(time);
  await clock.advance(0);
  assert.deepEqual([client.transport, network.requests[1].path], ["long-poll", "/c?after=e.1"]);
});

test("a network that is down is no transport's fault: what stands first is tried first again", async () => {
  const { client, sockets, clock, network } = meet();
  client.follow("c", { after: "e.1" });
  await settle();
  await sockets[0].lose();
  await clock.advance(0);
  assert.equal(network.requests.length, 1);
  assert.equal(client.transport, "websocket");
  await clock.advance(2_000);
  assert.equal(sockets.length, 2);
});

test("what has worked in this page is tried first, and the first one again later", async () => {
  const streams = [new Stream(), new Stream()];
  const { client, sockets, clock, world } = meet({
    network: new Network(...streams),
    winners: new Map([["http://shop.example", "sse"]]),
  });
  const heard = listen(client.follow("c", { after: "e.1" }));
  await settle();
  assert.equal(sockets.length, 0);
  await streams[0].send("open", opened("e.1"));
  await streams[0].send("live", live("e.1"));
  for (let beat = 0; beat < 30; beat++) {
    await clock.advance(9_999);
    await streams[0].send("beat", { time: 10_000 * beat, cursors: { c: "e.1" } });
  }
  await clock.advance(30);
  assert.ok(streams[0].aborted);
  assert.equal(sockets.length, 1);
  await sockets[0].open();
  await sockets[0].say(opened("e.1"), note("e.2"), live("e.2"));
  assert.deepEqual([client.transport, client.state, heard], ["websocket", "live", ["e.2"]]);
  assert.equal(world.winners.get("http://shop.example"), undefined);
});

test("a fetch without streams has polls left", async () => {
  const network = new Network(json(POLLED), json(POLLED));
  const { client } = meet({ transports: ["sse"], network, fetchesStreams: false });
  client.follow("c", { after: "e.1" });
  await settle();
  assert.equal(client.state, "live");
  const bare = new Response("x", { headers: { "Content-Type": "text/event-stream" } });
  Object.defineProperty(bare, "body", { value: undefined });
  const late = meet({ transports: ["sse"], network: new Network({ response: bare }, json(POLLED)) });
  late.client.follow("c", { after: "e.1" });
  await settle();
  assert.equal(late.client.state, "live");
});

test("a login page in place of the channel is final, and said", async () => {
  const html = () => new Response("<form>", { headers: { "Content-Type": "text/html; charset=utf-8" } });
  const redirected = json({ login: true }).response;
  Object.defineProperties(redirected, { redirected: { value: true }, url: { value: "http://shop.example/login" } });
  for (const [transport, response] of [
    ["sse", html()],
    ["long-poll", html()],
    ["sse", redirected],
  ]) {
    const { client, clock } = meet({ transports: [transport], network: new Network({ response }) });
    const follow = client.follow("c");
    const gone = [];
    follow.on("gone", ({ reason }) => gone.push(reason));
    await clock.advance(60_000);
    assert.deepEqual([follow.state, gone, client.state], ["gone", ["login"], "idle"]);
    await assert.rejects(follow.ready(), /login/);
  }
});

test("integers beyond 2^53 reach the page's parse, over every transport", async () => {
  const parse = (text) => JSON.parse(text.replace(/"data":(\d+)/g, '"data":"$1"').replace(/^(\d+)$/, '"$1"'));
  const big = "9007199254740993";
  const data = [];
  const stream = new Stream();
  const poll = { response: new Response(`{"channel":"c","events":[{"id":"e.2","event":"n","data":${big},"time":1}],` +
    '"cursor":"e.2","gap":null,"live":true,"retry":2000}', { headers: { "Content-Type": "application/json" } }) };
  const over = (transport, ...answers) => {
    const met = meet({ transports: [transport], parse, network: new Network(...answers) });
    met.client.follow("c", { after: "e.1" }).on("event", (event) => data.push(event.data));
    return met;
  };
  over("sse", stream);
  over("poll", poll);
  const { sockets } = over("websocket");
  await settle();
  await stream.send("open", opened("e.1"));
  await stream.send(`id: e.2\nevent: n\ndata: ${big}\n\n`);
  await sockets[0].open();
  await sockets[0].say(opened("e.1"));
  sockets[0].onmessage({ data: `{"type":"event","channel":"c","id":"e.2","event":"n","data":${big},"time":1}` });
  await settle();
  assert.deepEqual(data, [big, big, big]);
});

test("headers and token may be functions, which are asked anew for each connection", async () => {
  let number = 0;
  const streams = [new Stream(), new Stream()];
  const { client, network, clock } = meet({
    transports: ["sse"],
    headers: async () => new Headers({ "X-Try": `${(number += 1)}` }),
    token: () => `t${number}`,
    network: new Network(...streams),
  });
  client.follow("c");
  await settle();
  await streams[0].end();
  await clock.advance(1_000);
  const asked = network.requests.map(({ headers }) => [headers["x-try"], headers.Authorization]);
  assert.deepEqual(asked, [["1", "Bearer t1"], ["2", "Bearer t2"]]);
});

// --- one socket for all ------------------------------------------------------------------------------------

const SOCKET = { socket: "/live" };

test("one WebSocket carries all follows, two of one channel among them", async () => {
  const { client, sockets, states } = meet(SOCKET);
  const [one, two] = [client.follow("/c/events", { after: "e.1" }), client.follow("/c/events", { after: "e.0" })];
  const heard = [listen(one), listen(two)];
  await settle();
  assert.equal(sockets.length, 1);
  assert.equal(sockets[0].url, "ws://shop.example/live");
  await sockets[0].open();
  await sockets[0].say(HELLO);
  await sockets[0].say(...bracket("s1", opened("e.1", { sub: "s1" }), live("e.1", { subs: ["s1"] })));
  assert.deepEqual(sockets[0].sent.map(({ sub, after }) => [sub, after]), [["s1", "e.1"], ["s2", "e.0"]]);
  await sockets[0].say(...bracket("s2", opened("e.0", { sub: "s2" }), note("e.1"), live("e.1", { subs: ["s1", "s2"] })));
  await sockets[0].say(note("e.2"));
  assert.deepEqual(heard, [["e.2"], ["e.1", "e.2"]]);
  assert.deepEqual(states, ["behind", "live"]);
});

test("until the socket opens what is followed has a stream, and goes over to the socket on its cursor", async () => {
  const stream = new Stream();
  const { client, sockets, clock } = meet({ ...SOCKET, network: new Network(stream) });
  const heard = listen(client.follow("/c/events", { after: "e.1" }));
  await settle();
  await sockets[0].lose();
  await settle();
  await stream.send("open", opened("e.1", { url: "/c/events?after=e.1" }));
  await stream.send(`data: ${JSON.stringify(note("e.2"))}\n\n`);
  assert.equal(client.transport, "sse");
  await clock.advance(1_000);
  await sockets[1].open();
  await sockets[1].say(HELLO);
  assert.ok(stream.aborted);
  assert.deepEqual(sockets[1].sent, [{ type: "follow", url: "/c/events", after: "e.2", sub: "s1" }]);
  await sockets[1].say(...bracket("s1", opened("e.2", { sub: "s1" }), note("e.3"), live("e.3", { subs: ["s1"] })));
  assert.deepEqual([heard, client.transport, client.state], [["e.2", "e.3"], "websocket", "live"]);
});

test("a socket that the network never lets through is looked for again only later", async () => {
  const stream = new Stream();
  const { client, sockets, clock } = meet({ ...SOCKET, network: new Network(stream) });
  client.follow("/c/events", { after: "e.1" });
  await settle();
  await sockets[0].lose();
  await settle();
  await stream.send("open", opened("e.1", { url: "/c/events?after=e.1" }));
  await stream.send("live", live("e.1"));
  await clock.advance(1_000);
  await sockets[1].lose();
  for (let beat = 0; beat < 29; beat++) {
    await clock.advance(10_000);
    await stream.send("beat", { time: 10_000 * beat, cursors: { c: "e.1" } });
  }
  assert.equal(sockets.length, 2);
  await clock.advance(10_000);
  assert.equal(sockets.length, 3);
  assert.equal(client.state, "live");
  await sockets[2].lose();
  assert.equal(client.state, "live");
});

test("another server's channel has a connection of its own", async () => {
  const { client, sockets, network } = meet(SOCKET);
  client.follow("http://other.example/c");
  await settle();
  assert.deepEqual([sockets.length, network.requests[0].host], [1, "other.example"]);
});

test("the app's handler is talked to over the socket, and its channels come to the client", async () => {
  const { client, sockets } = meet(SOCKET);
  const heard = [];
  client.on("message", (data) => heard.push(data));
  client.on("event", ({ id }) => heard.push(id));
  assert.equal(client.tell(1), false);
  await settle();
  await sockets[0].open();
  await sockets[0].say(HELLO, { type: "message", data: 5 }, { type: "open", channel: "t", cursor: "e.1" }, note("e.2", { channel: "t" }));
  assert.equal(client.tell({ pick: 1 }), true);
  assert.deepEqual(sockets[0].sent, [{ type: "message", data: { pick: 1 } }]);
  assert.deepEqual(heard, [5, "e.2"]);
});

// --- commands ----------------------------------------------------------------------------------------------

test("commands are kept while there is no network, and sent when the page is online again", async () => {
  const { client, clock, network, page } = meet();
  const waiting = [];
  client.on("unanswered", (number) => waiting.push(number));
  const asked = Array.from({ length: 3 }, (_, index) => client.send("pick", { index }, { id: `c${index}` }));
  await clock.advance(60_000);
  assert.equal(client.unanswered, 3);
  network.answers.push(json(0), json(1), json(2));
  const before = network.requests.length;
  await page.say("online");
  assert.deepEqual((await Promise.all(asked)).map(({ data }) => data).sort(), [0, 1, 2]);
  assert.equal(network.requests.length, before + 3);
  assert.deepEqual(waiting, [1, 2, 3, 2, 1, 0]);
});

test("a login page is no answer to a command", async () => {
  const response = new Response("<form>", { headers: { "Content-Type": "text/html" } });
  Object.defineProperty(response, "redirected", { value: true });
  const { client } = meet({ network: new Network({ response }) });
  await assert.rejects(client.send("pick", 1), /login/);
});

test("big integers are sent as the page's stringify writes them", async () => {
  const { client, network, sockets } = meet({ ...SOCKET, stringify: () => "9007199254740993", network: new Network(json(1)) });
  await client.send("/pick", 1n);
  assert.equal(network.requests[0].body, "9007199254740993");
  await settle();
  await sockets[0].open();
  const texts = [];
  sockets[0].send = (text) => texts.push(text);
  client.send("/pick", 1n, { id: "c" });
  await settle();
  assert.deepEqual(texts, ['{"type":"command","id":"c","url":"/pick","data":9007199254740993}']);
});

// --- the life of a page ------------------------------------------------------------------------------------

async function openLive(more = {}) {
  const streams = [new Stream(), new Stream(), new Stream()];
  const met = meet({ transports: ["sse"], network: new Network(...streams), ...more });
  met.follow = met.client.follow("c", { after: "e.1" });
  await settle();
  await streams[0].send("open", opened("e.1"));
  await streams[0].send("live", live("e.1"));
  return { ...met, streams };
}

for (const [pausing, waking] of [
  ["pagehide", "pageshow"],
  ["freeze", "resume"],
]) {
  test(`${pausing} lets the connection go, and ${waking} makes another at once`, async () => {
    const { page, streams, client, clock, network } = await openLive();
    const whys = [];
    client.on("state", (state, { reason }) => whys.push([state, reason]));
    await page.say(pausing);
    assert.ok(streams[0].aborted);
    assert.deepEqual(whys, [["connecting", "paused"]]);
    await clock.advance(1_000_000);
    assert.equal(network.requests.length, 1);
    await page.say(waking);
    assert.equal(network.requests.length, 2);
  });
}

test("online, and a page that is looked at again, try at once; what has been silent is made anew", async () => {
  for (const wake of ["online", "visible"]) {
    const { page, clock, network, streams } = await openLive();
    await page.turn("hidden");
    await clock.advance(15_000);
    await (wake === "online" ? page.say("online") : page.turn("visible"));
    assert.equal(network.requests.length, 1);
    await page.turn("hidden");
    await clock.advance(15_000);
    await (wake === "online" ? page.say("online") : page.turn("visible"));
    assert.ok(streams[0].aborted);
    await clock.advance(0);
    assert.equal(network.requests.length, 2);
    network.answers.length = 0;
    await streams[1].end();
    await page.say("online");
    assert.equal(network.requests.length, 3);
  }
});

test("a machine that slept is found out by the other clock, when somebody looks", async () => {
  const { page, streams, network, clock } = await openLive();
  const { now } = Date;
  Date.now = () => now() + 3_600_000;
  await page.turn("visible");
  Date.now = now;
  await clock.advance(0);
  assert.ok(streams[0].aborted);
  assert.equal(network.requests.length, 2);
});

test("a page that has long been hidden tries less often", async () => {
  const { client, page, clock, network } = meet({ transports: ["sse"] });
  client.follow("c");
  await page.turn("hidden");
  await clock.advance(301_000);
  const before = network.requests.length;
  await clock.advance(119_999);
  assert.equal(network.requests.length, before);
  await clock.advance(1);
  assert.equal(network.requests.length, before + 1);
  await page.turn("visible");
  assert.equal(network.requests.length, before + 2);
});

// --- the rest ----------------------------------------------------------------------------------------------

test("probe says whether all is live", async () => {
  const { client, streams, clock } = await openLive();
  assert.equal(await client.probe(), true);
  await streams[0].end();
  const probed = client.probe({ timeout: 3_000 });
  await clock.advance(3_000);
  assert.equal(await probed, false);
});

test("a client that is closed is gone with all that it followed, and holds nothing", async () => {
  const controller = new AbortController();
  const { client, follow, clock, states } = await openLive({ signal: controller.signal });
  controller.abort();
  await settle();
  assert.deepEqual([client.state, follow.state, follow.why.reason], ["gone", "gone", "closed"]);
  assert.equal(states.at(-1), "gone");
  assert.throws(() => client.follow("c"), /closed/);
  await assert.rejects(client.ready(), /closed/);
  await clock.advance(0);
  assert.deepEqual(clock.pending, []);
});

test("a client that its page closes when it is told of an end holds nothing either", async () => {
  const stream = new Stream();
  const { client, clock, network } = meet({ transports: ["sse"], network: new Network(stream) });
  const follow = client.follow("c", { after: "e.1" });
  await settle();
  await stream.send("open", opened("e.1"));
  await stream.send("live", live("e.1"));
  follow.on("state", (state) => state === "connecting" && client.close());
  await stream.end();
  assert.deepEqual([client.state, clock.pending, network.requests.length], ["gone", [], 1]);
});

test("what no option can be is an error at once", () => {
  for (const options of [
    { transports: [] },
    { transports: ["smoke"] },
    { store: "cupboard" },
    { store: {} },
    { token: "a b" },
  ]) {
    assert.throws(() => connect(BASE, options), TypeError);
  }
  const { client } = meet();
  for (const options of [{ buffer: 0 }, { commit: "never" }]) assert.throws(() => client.follow("c", options), TypeError);
});

test("the cursor of a follow that is closed is that of what the page has taken, not of what waited", async () => {
  const { client, sockets } = meet({ socket: "/live" });
  const follow = client.follow("/c/events", { after: "e.0" });
  await settle();
  await sockets[0].open();
  await sockets[0].say(HELLO);
  const notes = [note("e.1"), note("e.2"), note("e.3")];
  await sockets[0].say(...bracket("s1", opened("e.0", { sub: "s1" }), ...notes, live("e.3", { subs: ["s1"] })));
  const items = follow[Symbol.asyncIterator]();
  await items.next();
  await items.next(); // so it is done with the first
  follow.close();
  assert.equal(follow.cursor, "e.1");
});
