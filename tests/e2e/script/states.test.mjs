/** Dialogues about a channel's state, about events that come as one, and what a page makes of both. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Values, apply } from "../../../src/triolet/static/folds.js";
import { Clock, Network, Stream, json, makeBrowser, settle } from "./fakes.mjs";
import { HELLO, bracket, live, meet, note, opened } from "./meeting.mjs";

const state = (cursor, data, more = {}) => ({ type: "snapshot", channel: "c", cursor, data, ...more });
const token = (id, data, more = {}) => note(id, { event: "message", data, key: "text", fold: "concat", ...more });
const POLLED = { channel: "c", events: [], cursor: "e.9", gap: null, live: true, retry: 2_000 };

/** What a follow says, in order. */
function hear(follow) {
  const heard = [];
  follow.on("event", ({ id, folded }) => heard.push(`event ${id} ${folded}`));
  follow.on("snapshot", ({ cursor, data, missed }) => heard.push(`snapshot ${cursor} ${data} ${missed}`));
  follow.on("gap", ({ to, reason }) => heard.push(`gap ${to} ${reason}`));
  follow.on("fault", ({ kind }) => heard.push(`fault ${kind}`));
  return heard;
}

async function open(followed, options = {}) {
  const streams = [new Stream(), new Stream(), new Stream()];
  const met = meet({ transports: ["sse"], network: new Network(...streams), ...options });
  met.follow = met.client.follow("c", followed);
  await settle();
  return { ...met, streams, stream: streams[0], paths: () => met.network.requests.map(({ path }) => path.replace("&format=triolet", "")) };
}

// --- a state -----------------------------------------------------------------------------------------------

test("a state comes first, and the events go on from its place", async () => {
  const { follow, stream, streams, paths, clock } = await open({ snapshot: true });
  const heard = hear(follow);
  await stream.send("open", opened(null));
  assert.deepEqual([follow.state, follow.cursor, follow.channel], ["behind", null, "c"]);
  await stream.send("snapshot", state("e.9", "nine"));
  await stream.event("e.10");
  await stream.send("live", live("e.10"));
  assert.deepEqual([heard, follow.cursor], [["snapshot e.9 nine 0", "event e.10 1"], "e.10"]);
  await stream.end();
  await clock.advance(1_000);
  await streams[1].send("open", opened("e.10"));
  await streams[1].send("live", live("e.10"));
  assert.deepEqual(paths(), ["/c?snapshot=1", "/c?snapshot=1&after=e.10"]);
  assert.equal(follow.state, "live");
});

test("who is cut off before the state asks as before", async () => {
  for (const [after, asked] of [[undefined, "/c?snapshot=1"], [-5, "/c?snapshot=1&after=-5"]]) {
    const { follow, stream, paths, clock } = await open({ snapshot: true, after });
    await stream.send("open", opened(null));
    if (after === undefined) await stream.send("beat", { time: 1, cursors: { c: "e.9" } });
    await stream.end();
    await clock.advance(1_000);
    assert.deepEqual([paths(), follow.state], [[asked, asked], "connecting"]);
  }
});

test("a state comes in place of a gap, and says how many events are not in it", async () => {
  const { follow, stream } = await open({ snapshot: true, after: "e.1" });
  const heard = hear(follow);
  await stream.send("open", opened(null));
  assert.equal(follow.cursor, "e.1");
  await stream.send("snapshot", state("f.3", "three", { missed: null }));
  await stream.event("f.4");
  assert.deepEqual(heard, ["snapshot f.3 three null", "event f.4 1"]);
});

test("a state is an item of the iteration, and its place is stored as that of an event", async () => {
  const kept = {};
  const store = { get: (key) => kept[key], set: (key, value) => void (kept[key] = value) };
  const { follow, stream } = await open({ snapshot: true }, { store });
  const items = [];
  (async () => {
    for await (const item of follow) items.push(item);
  })();
  await stream.send("open", opened(null));
  assert.deepEqual(Object.values(kept), []);
  await stream.send("snapshot", state("e.9", { apples: 3 }, { missed: 2 }));
  const [first] = items;
  assert.deepEqual(first, { type: "snapshot", channel: "c", cursor: "e.9", data: { apples: 3 }, missed: 2 });
  assert.deepEqual(kept, { "triolet:cursor:http://shop.example/c?snapshot=1": "e.9 c" });
});

test("a state waits as any item while the page does not take", async () => {
  const { follow, stream } = await open({ snapshot: true, buffer: 1 });
  await stream.send("open", opened(null));
  await stream.send("snapshot", state("e.9", "nine"));
  assert.equal(follow.behind, 1);
  const reader = follow.readable().getReader();
  assert.equal((await reader.read()).value.data, "nine");
  await stream.event("e.10");
  assert.equal((await reader.read()).value.id, "e.10");
});

test("polls bring a state before the events, and the gap that it does not fill behind it", async () => {
  const gap = { type: "gap", channel: "c", from: "e.5", to: "e.7", missed: 2, reason: "expired" };
  const page = { ...POLLED, snapshot: state("e.5", "five", { missed: 1 }), gap, events: [note("e.8"), note("e.9")] };
  const network = new Network(json(page), json(POLLED));
  const kept = [];
  const store = { get: () => null, set: (_, cursor) => void kept.push(cursor) };
  const { follow, paths, clock } = await open({ snapshot: true, store }, { transports: ["poll"], network });
  assert.deepEqual(kept, []);
  const heard = hear(follow);
  await clock.advance(2_000);
  assert.deepEqual(heard, ["snapshot e.5 five 1", "gap e.7 expired", "event e.8 1", "event e.9 1"]);
  assert.deepEqual([paths(), follow.state], [["/c?snapshot=1", "/c?snapshot=1&after=e.9"], "live"]);
});

test("on one socket each follow has a state of its own", async () => {
  const { client, sockets } = meet({ socket: "/live" });
  const heard = hear(client.follow("c?x=1", { snapshot: true, fold: true }));
  await settle();
  await sockets[0].open();
  await sockets[0].say(HELLO);
  assert.deepEqual(sockets[0].sent, [{ type: "follow", url: "/c?x=1&snapshot=1&fold=1", sub: "s1" }]);
  const begin = [opened(null, { sub: "s1" }), state("e.9", "nine"), live("e.9", { subs: ["s1"] })];
  await sockets[0].say(...bracket("s1", ...begin), note("e.10"));
  assert.deepEqual(heard, ["snapshot e.9 nine 0", "event e.10 1"]);
});

test("a server that knows neither gives what it has, and nobody minds", async () => {
  const { follow, stream } = await open({ snapshot: true, fold: true });
  const heard = hear(follow);
  await stream.send("open", opened("e.9"));
  await stream.event("e.10");
  assert.deepEqual([heard, follow.cursor], [["event e.10 1"], "e.10"]);
});

// --- folds -------------------------------------------------------------------------------------------------

test("an event that stands for many covers their places, on an event stream too", async () => {
  const { follow, stream, paths } = await open({ after: "e.1", fold: true });
  const heard = hear(follow);
  const items = [];
  follow.on("event", (item) => items.push(item));
  await stream.send("open", opened("e.1"));
  await stream.send("id: e.9\nevent: message\ndata: \"abc\"\ntime: 7\nkey: text\nfold: concat\nfolded: 8\n\n");
  await stream.send("id: e.10\nevent: message\ndata: \"d\"\ntime: 7\nkey: text\nfold: concat\n\n");
  await stream.send("live", live("e.10"));
  assert.deepEqual([heard, paths(), follow.state], [["event e.9 8", "event e.10 1"], ["/c?fold=1&after=e.1"], "live"]);
  assert.deepEqual(items[0], { ...token("e.9", "abc"), folded: 8 });
});

test("one that stands for fewer than are missing is a hole, and one that stands for more too", async () => {
  for (const folded of [7, 9]) {
    const { follow, streams, clock } = await open({ after: "e.1", fold: true });
    const heard = hear(follow);
    for (const stream of streams.slice(0, 2)) {
      await stream.send("open", opened("e.1"));
      await stream.send(`id: e.9\nevent: message\ndata: "abc"\nkey: text\nfold: concat\nfolded: ${folded}\n\n`);
      await clock.advance(1_000);
    }
    const expected = folded === 7 ? ["gap e.2 hole", "event e.9 7"] : ["gap e.9 hole"];
    assert.deepEqual(heard, ["fault hole", "fault hole", ...expected]);
  }
});

test("of what a policy leaves out it may stand for more than is missing, until a state begins anew", async () => {
  const { follow, stream } = await open({ after: "e.1", fold: true });
  const heard = hear(follow);
  await stream.send("open", opened("e.1"));
  await stream.send("gap", { channel: "c", from: "e.1", to: "e.20", missed: 9, reason: "conflated" });
  await stream.send("id: e.9\nevent: message\ndata: 1\nkey: n\nfold: sum\nfolded: 30\n\n");
  await stream.send("snapshot", state("e.10", "ten"));
  await stream.event("e.12");
  assert.deepEqual(heard, ["gap e.20 conflated", "event e.9 30", "snapshot e.10 ten 0", "fault hole"]);
});

test("in another life of the log it stands for those that come next", async () => {
  const { client, sockets } = meet({ transports: ["websocket"] });
  const heard = hear(client.follow("c", { after: "e.1", fold: true }));
  await settle();
  await sockets[0].open();
  await sockets[0].say(opened("e.1"), token("f.9", "abc", { folded: 8 }), live("f.9"));
  assert.deepEqual(heard, ["event f.9 8"]);
});

test("of a filtered stream it may leave out more than it stands for, and from the oldest on anything", async () => {
  for (const [after, filtered] of [["e.1", true], ["0", false], ["-5", false]]) {
    const { client, sockets } = meet({ transports: ["websocket"] });
    const heard = hear(client.follow("c", { after, fold: true }));
    await settle();
    await sockets[0].open();
    await sockets[0].say(opened(after === "-5" ? "e.4" : after, { filtered }), token("e.9", "abc", { folded: 5 }));
    assert.deepEqual(heard, ["event e.9 5"]);
  }
});

// --- tabs --------------------------------------------------------------------------------------------------

async function openTabs(followed, ...places) {
  const browser = makeBrowser();
  const clock = new Clock();
  const tabs = [];
  for (const after of places) {
    const tab = meet({ socket: "/live", share: true, clock, ...browser });
    await clock.advance(10);
    tab.follow = tab.client.follow("c", { ...followed, after });
    tab.heard = hear(tab.follow);
    tabs.push(tab);
  }
  await clock.advance(100);
  const [socket] = tabs[0].sockets;
  await socket.open();
  await socket.say(HELLO);
  return { clock, tabs, socket };
}

test("a tab that comes later to a channel's state has one of its own, then they share", async () => {
  const { tabs, socket, clock } = await openTabs({ snapshot: true }, undefined, undefined);
  assert.equal(socket.sent.length, 1);
  const begin = (sub, cursor, data) => bracket(sub, opened(null, { sub }), state(cursor, data));
  await socket.say(...begin("s1", "e.9", "nine"), ...bracket("s1", live("e.9", { subs: ["s1"] })), note("e.10"));
  await settle();
  for (const { heard } of tabs) assert.deepEqual(heard, ["snapshot e.9 nine 0", "event e.10 1"]);
  const late = hear(tabs[1].client.follow("c", { snapshot: true }));
  await clock.advance(0);
  assert.deepEqual(socket.sent.at(-1), { type: "follow", url: "/c?snapshot=1", sub: "s2" });
  await socket.say(...begin("s2", "e.10", "ten"), ...bracket("s2", live("e.10", { subs: ["s1", "s2"] })));
  await settle();
  assert.equal(socket.sent.at(-1).type, "unfollow");
  await socket.say(note("e.11"));
  await settle();
  assert.deepEqual(late, ["snapshot e.10 ten 0", "event e.11 1"]);
  for (const { heard } of tabs) assert.equal(heard.at(-1), "event e.11 1");
});

test("a tab that has some of what comes as one asks for the rest alone", async () => {
  const { tabs, socket } = await openTabs({ fold: true }, "e.1", "e.5");
  assert.deepEqual(socket.sent.map(({ after }) => after), ["e.1"]);
  await socket.say(...bracket("s1", opened("e.1", { sub: "s1" }), token("e.9", "abcdefgh", { folded: 8 })));
  await settle();
  assert.deepEqual(tabs.map(({ heard }) => heard), [["event e.9 8"], []]);
  assert.deepEqual(socket.sent.at(-1), { type: "follow", url: "/c?fold=1", after: "e.5", sub: "s2" });
  await socket.say(...bracket("s2", opened("e.5", { sub: "s2" }), token("e.9", "efgh", { folded: 4 })));
  await settle();
  assert.deepEqual(tabs[1].heard, ["event e.9 4"]);
});

// --- what is made of them ----------------------------------------------------------------------------------

const VECTORS = JSON.parse(readFileSync(new URL("../../../conformance/vectors/folds.json", import.meta.url)));

test("a state becomes what every client makes of it, and nothing of before is changed", () => {
  for (const { fold, state: before, data, becomes } of VECTORS) {
    const kept = JSON.stringify([before, data]);
    assert.deepEqual(apply(fold, before, data), becomes, JSON.stringify([fold, before, data]));
    assert.equal(JSON.stringify([before, data]), kept);
  }
  assert.ok(VECTORS.length > 30);
  assert.deepEqual(apply("concat", undefined, "a"), "a");
  assert.throws(() => apply("toString", 1, 1), TypeError);
});

test("values are the states by key, and a state of the channel takes their place", () => {
  const values = new Values();
  assert.equal(values.take(token("e.1", "Hel")).take(token("e.2", "lo")).get("text"), "Hello");
  values.take(note("e.3", { key: "apples", fold: "sum", data: 2 })).take(note("e.4", { key: "apples", fold: "sum", data: 3 }));
  values.take(note("e.5", { data: "no key" })).take(live("e.5")).take({ type: "gap", to: "e.9" });
  assert.deepEqual([...values], [["text", "Hello"], ["apples", 5]]);
  values.take(note("e.6", { key: "text", data: "anew" })).take(note("e.7", { key: "apples", fold: "of tomorrow", data: 1 }));
  assert.deepEqual([...values], [["text", "anew"], ["apples", 1]]);
  assert.deepEqual([...values.take(state("e.9", { apples: 7 }))], [["apples", 7]]);
  assert.equal(values.take(state("e.9", [1])).size, 0);
});

test("a page may make whatever it likes of JSON's numbers, in a state and an end too", async () => {
  const parse = (text) => JSON.parse(text, (_, value) => (Number.isInteger(value) ? BigInt(value) : value));
  const { follow, stream } = await open({ snapshot: true, fold: true }, { parse });
  const items = [];
  for (const name of ["snapshot", "event", "end"]) follow.on(name, ({ data, folded }) => items.push([data, folded]));
  await stream.send("open", opened(null));
  await stream.send("snapshot", state("e.9", 9));
  await stream.send("id: e.12\nevent: message\ndata: 12\nkey: text\nfold: sum\nfolded: 3\n\n");
  await stream.send("end", { channel: "c", cursor: "e.13", data: 13, time: 7 });
  assert.deepEqual(items, [[9n, undefined], [12n, 3], [13n, undefined]]);
  const other = await open({ after: "e.1" }, { parse });
  await other.stream.send("open", opened("e.1"));
  await other.stream.send("bye", { code: 1012, reason: "restarting", retry: 700 });
  assert.deepEqual([other.follow.why.retry, other.follow.why.error.code], [700, 1012]);
  const { client: third, sockets } = meet({ transports: ["websocket"], parse });
  const heard = hear(third.follow("c", { after: "e.1", fold: true }));
  await settle();
  await sockets[0].open();
  await sockets[0].say(opened("e.1"), token("e.9", "abc", { folded: 8 }));
  assert.deepEqual(heard, ["event e.9 8"]);
});
