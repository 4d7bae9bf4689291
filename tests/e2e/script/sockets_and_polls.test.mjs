/** Dialogues over polls and WebSocket, with a server that the test plays. Run by `node --test`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { BEGIN, event, listen, note, openSocket } from "./dialogues.mjs";
import { Network, json, makeSockets, settle, status } from "./fakes.mjs";

// --- polls -------------------------------------------------------------------------------------------------

const answer = (more) =>
  json({ channel: "c", events: [], cursor: "e.1", gap: null, live: true, retry: 2_000, ...more });

test("a short poll asks again when it is told to, with the tag of the last answer", async () => {
  const tagged = json(
    { channel: "c", events: [], cursor: "e.1", gap: null, live: true, retry: 2_000 },
    { ETag: '"t"' },
  );
  const news = answer({ events: [note("e.2"), note("e.3")], cursor: "e.3", retry: 700 });
  const network = new Network(tagged, status(304), news);
  const { clock, heard, track } = listen("poll", { fetch: network.fetch });
  await clock.advance(1_999);
  assert.equal(network.requests.length, 1);
  assert.equal(track.state, "live");
  await clock.advance(1);
  assert.equal(network.requests[1].headers["If-None-Match"], '"t"');
  assert.equal(network.requests[1].path, "/orders/A123/events?after=e.1");
  await clock.advance(2_000);
  assert.deepEqual(heard.events, ["e.2 live", "e.3 live"]);
  assert.equal(clock.pending.includes(700), true);
});

test("a long poll first asks where it stands, and from then on lets itself be held", async () => {
  const network = new Network(answer(), answer({ events: [note("e.2")], cursor: "e.2", retry: 0 }));
  const { heard, clock } = listen("long-poll", { fetch: network.fetch, wait: 20 });
  await clock.advance(0);
  assert.equal(network.requests[0].path, "/orders/A123/events");
  assert.equal(network.requests[1].path, "/orders/A123/events?after=e.1&wait=20");
  assert.equal(network.requests[2].path, "/orders/A123/events?after=e.2&wait=20");
  assert.deepEqual(heard.events, ["e.2 live"]);
});

test("a poll that comes back is behind until it has everything", async () => {
  const page = answer({ events: [note("e.2")], cursor: "e.2", live: false, retry: 0 });
  const rest = answer({ events: [note("e.3")], cursor: "e.3" });
  const { heard, clock } = listen("long-poll", { fetch: new Network(page, rest).fetch, after: "e.1" });
  await clock.advance(0);
  assert.deepEqual(heard.events, ["e.2 behind", "e.3 behind"]);
  assert.deepEqual(heard.states.slice(0, 2), ["behind", "live"]);
});

test("a poll tells of gaps and finds holes", async () => {
  const gap = { from: "e.1", to: "e.9", missed: 8, reason: "expired" };
  const told = listen("poll", { fetch: new Network(answer({ gap, cursor: "e.9" })).fetch, after: "e.1" });
  await settle();
  assert.deepEqual(told.heard.gaps, [["e.1", "e.9", 8, "expired"]]);
  assert.equal(told.track.cursor, "e.9");
  const holed = listen("poll", { fetch: new Network(answer({ cursor: "e.9" })).fetch, after: "e.1" });
  await settle();
  assert.deepEqual(holed.heard.faults, ["hole"]);
});

test("a filtered poll goes on behind what was not for it, also where nothing was", async () => {
  const filtered = { filtered: true, live: false, retry: 0 };
  const network = new Network(
    answer({ ...filtered, cursor: "e.200" }),
    answer({ ...filtered, events: [note("e.204")], cursor: "e.300" }),
    answer({ filtered: true, cursor: "e.310" }),
  );
  const { heard, clock, track } = listen("poll", { fetch: network.fetch, after: "e.1" });
  await clock.advance(0);
  const asked = network.requests.map(({ path }) => path.split("after=")[1]);
  assert.deepEqual(asked, ["e.1", "e.200", "e.300"]);
  assert.equal(track.cursor, "e.310");
  assert.deepEqual([heard.events, heard.faults, track.state], [["e.204 behind"], [], "live"]);
});

// --- WebSocket ---------------------------------------------------------------------------------------------

test("a WebSocket is opened after the cursor, speaks triolet.1, and comes back at its place", async () => {
  const { WebSocket, opened } = makeSockets();
  const { clock, heard } = listen("websocket", { WebSocket, after: "e.1" });
  await settle();
  assert.equal(opened[0].url, "ws://shop.example/orders/A123/events?after=e.1");
  assert.equal(opened[0].protocol, "triolet.1");
  await opened[0].open();
  await opened[0].say(BEGIN, event("c", "e.2"));
  await opened[0].lose();
  await clock.advance(1_000);
  assert.equal(opened[1].url, "ws://shop.example/orders/A123/events?after=e.2");
  assert.deepEqual(heard.events, ["e.2 behind"]);
});

test("a close frame without a bye is final only where coming back cannot help", async () => {
  for (const [code, state] of [
    [1006, "connecting"],
    [1000, "connecting"],
    [1012, "connecting"],
    [4403, "gone"],
    [1009, "gone"],
  ]) {
    const { WebSocket, opened } = makeSockets();
    const { track } = listen("websocket", { WebSocket });
    await settle();
    await opened[0].lose(code);
    assert.equal(track.state, state);
  }
});

test("a bye comes before the close frame and decides", async () => {
  const { WebSocket, opened } = makeSockets();
  const { track, heard } = listen("websocket", { WebSocket });
  await settle();
  await opened[0].say(BEGIN, { type: "bye", code: 4408, reason: "slow", retry: 3_000 });
  await opened[0].lose(4408);
  assert.deepEqual(heard.retries, [3_000]);
  assert.equal(track.state, "connecting");
});

test("what is no JSON ends the connection, and not the client", async () => {
  const { WebSocket, opened } = makeSockets();
  const { track } = listen("websocket", { WebSocket });
  await settle();
  opened[0].onmessage({ data: "{" });
  await settle();
  assert.ok(opened[0].closed);
  assert.equal(track.state, "connecting");
});

test("what was applied is acknowledged once in a while, where that was asked for", async () => {
  const { WebSocket, opened } = makeSockets();
  const { clock } = listen("websocket", { WebSocket, after: "e.1", acknowledge: 500 });
  await settle();
  await opened[0].open();
  await opened[0].say(BEGIN, event("c", "e.2"), event("c", "e.3"));
  assert.deepEqual(opened[0].sent, []);
  await clock.advance(500);
  assert.deepEqual(opened[0].sent, [{ type: "ack", channel: "c", cursor: "e.3" }]);
  await clock.advance(5_000);
  assert.equal(opened[0].sent.length, 1);
});

test("a client that holds publishers up hears of it", async () => {
  const { WebSocket, opened } = makeSockets();
  const lags = [];
  listen("websocket", { WebSocket, onLag: ({ behind, step }) => lags.push([behind, step]) });
  await settle();
  await opened[0].open();
  await opened[0].say(BEGIN, { type: "lag", channel: "c", behind: 21, step: "block" });
  assert.deepEqual(lags, [[21, "block"]]);
});

test("one socket follows many channels by URL, and asks for each again from its cursor", async () => {
  const { socket, opened, clock } = openSocket();
  const heard = [];
  const onEvent = ({ channel, id }) => heard.push(`${channel} ${id}`);
  const early = socket.follow("/a/events", { after: "e.5", onEvent });
  await settle();
  await opened[0].open();
  socket.follow("/b/events", { onEvent });
  assert.deepEqual(opened[0].sent, [
    { type: "follow", url: "/a/events", after: "e.5", sub: "s1" },
    { type: "follow", url: "/b/events", sub: "s2" },
  ]);
  await opened[0].say(
    { type: "open", channel: null, cursor: null },
    { type: "open", channel: "b", cursor: "e.0", url: "/b/events" },
    { type: "open", channel: "a", cursor: "e.5", url: "/a/events" },
    event("a", "e.6"),
    { type: "live", channel: "a", cursor: "e.6" },
    event("b", "e.1"),
  );
  assert.deepEqual(heard, ["a e.6", "b e.1"]);
  assert.equal(early.state, "live");
  await opened[0].lose();
  assert.equal(early.state, "connecting");
  await clock.advance(1_000);
  await opened[1].open();
  assert.deepEqual(
    opened[1].sent.map(({ after }) => after),
    ["e.6", "e.1"],
  );
});

test("a refused channel is gone; the others stay", async () => {
  const { socket, opened } = openSocket();
  const errors = [];
  const onState = (state, { error }) => errors.push(error?.code);
  const [refused, other] = [socket.follow("/secret/events", { onState }), socket.follow("/b/events")];
  await settle();
  await opened[0].open();
  await opened[0].say(
    { type: "refused", url: "/secret/events" },
    { type: "open", channel: "b", cursor: "e.0", url: "/b/events" },
  );
  assert.equal(refused.state, "gone");
  assert.deepEqual(errors, [4403]);
  assert.equal(other.state, "behind");
});

test("a channel that is taken away is gone, by whichever URL it was followed; the others stay", async () => {
  const { socket, opened } = openSocket();
  const errors = [];
  const onState = (state, { error }) => errors.push([error?.message, error?.code]);
  const [taken, chosen, other] = [
    socket.follow("/a/events", { onState }),
    socket.follow("/a/again", { onState }),
    socket.follow("/b/events"),
  ];
  await settle();
  await opened[0].open();
  await opened[0].say(
    { type: "open", channel: "a", cursor: "e.0", url: "/a/events" },
    { type: "open", channel: "a", cursor: "e.0", url: "/a/again" },
    { type: "open", channel: "b", cursor: "e.0", url: "/b/events" },
  );
  errors.length = 0;
  await opened[0].say({ type: "refused", url: "/a/events", channel: "a" });
  assert.deepEqual([taken.state, chosen.state, other.state], ["gone", "gone", "behind"]);
  assert.deepEqual(errors, [
    ["revoked", 4403],
    ["revoked", 4403],
  ]);
  taken.close();
  assert.equal(opened[0].sent.length, 3);
});

test("messages go both ways, and nothing is sent without a connection", async () => {
  const messages = [];
  const { socket, opened } = openSocket({ onMessage: (data) => messages.push(data) });
  assert.equal(socket.send({ pick: "A123" }), false);
  await settle();
  await opened[0].open();
  assert.equal(socket.send({ pick: "A123" }), true);
  assert.deepEqual(opened[0].sent, [{ type: "message", data: { pick: "A123" } }]);
  await opened[0].say({ type: "message", data: { picked: "A123" } });
  assert.deepEqual(messages, [{ picked: "A123" }]);
});

test("a closed track is unfollowed, a closed socket ends all of its tracks", async () => {
  const { socket, opened } = openSocket();
  const [a, b] = [socket.follow("/a/events"), socket.follow("/b/events")];
  await settle();
  await opened[0].open();
  await opened[0].say({ type: "open", channel: "a", cursor: "e.0", url: "/a/events" });
  a.close();
  assert.deepEqual(opened[0].sent.at(-1), { type: "unfollow", channel: "a" });
  socket.close();
  await settle();
  assert.deepEqual([a.state, b.state, socket.state], ["gone", "gone", "gone"]);
  assert.ok(opened[0].closed);
});

test("a channel that the app chose is heard by the socket; what it skipped on return is told", async () => {
  const events = [];
  const gaps = [];
  const onEvent = ({ channel, id }) => events.push(`${channel} ${id}`);
  const onGap = ({ from, to, missed, reason }) => gaps.push([from, to, missed, reason]);
  const { opened, clock } = openSocket({ onEvent, onGap });
  await settle();
  await opened[0].open();
  await opened[0].say({ type: "open", channel: "tasks", cursor: "e.3" }, event("tasks", "e.4"));
  await opened[0].lose();
  await clock.advance(1_000);
  await opened[1].open();
  await opened[1].say({ type: "open", channel: "tasks", cursor: "e.9" }, event("tasks", "e.10"));
  assert.deepEqual(events, ["tasks e.4", "tasks e.10"]);
  assert.deepEqual(gaps, [["e.4", "e.9", 5, "skipped"]]);
});

test("a channel that the app begins anew on each return is delivered once all the same", async () => {
  const events = [];
  const onFault = () => assert.fail("the app may begin where it likes");
  const { opened, clock } = openSocket({ onEvent: ({ id }) => events.push(id), onFault });
  await settle();
  for (const last of [2, 3]) {
    await opened.at(-1).open();
    await opened.at(-1).say({ type: "open", channel: "tasks", cursor: "0" });
    for (let offset = 1; offset <= last; offset++) await opened.at(-1).say(event("tasks", `e.${offset}`));
    await opened.at(-1).lose();
    await clock.advance(1_000);
  }
  assert.deepEqual(events, ["e.1", "e.2", "e.3"]);
});
