/** Dialogues about what a page has of a follow: items in order, no more than it takes, and cursors that are kept. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Network, Stream, json, settle } from "./fakes.mjs";
import { HELLO, bracket, listen, live, meet, note, opened } from "./meeting.mjs";

async function open(options = {}, followed = {}) {
  const streams = [new Stream(), new Stream()];
  const met = meet({ transports: ["sse"], network: new Network(...streams), ...options });
  met.follow = met.client.follow("c", { after: "e.1", ...followed });
  await settle();
  if (met.network.answered.length) await streams[0].send("open", opened("e.1"));
  return { ...met, streams, stream: streams[0] };
}

/** A store in the test's hand; with `slow`, each answer waits for `free()`. */
function makeStore({ slow = false, ...kept } = {}) {
  const waiting = [];
  const later = (call) => (slow ? new Promise((resolve) => waiting.push(() => resolve(call()))) : call());
  return {
    kept,
    get: (key) => later(() => kept[key]),
    set: (key, value) => later(() => void (kept[key] = value)),
    async free() {
      while (waiting.length) waiting.shift()();
      await settle();
    },
  };
}

const KEY = "triolet:cursor:http://shop.example/c";

// --- the iteration -----------------------------------------------------------------------------------------

test("a follow is iterated: events, gaps and live, in order, until it ends", async () => {
  const { follow, stream } = await open();
  const items = [];
  const reading = (async () => {
    for await (const item of follow) items.push([item.type, item.id ?? item.to ?? item.cursor]);
  })();
  await stream.event("e.2", { state: "paid" });
  await stream.send("gap", { channel: "c", from: "e.2", to: "e.9", missed: 7, reason: "expired" });
  await stream.send("live", live("e.9"));
  await stream.send("bye", { code: 4403, reason: "revoked", retry: null });
  await reading;
  assert.deepEqual(items, [["event", "e.2"], ["gap", "e.9"], ["live", "e.9"]]);
  assert.deepEqual([follow.state, follow.why.reason, follow.why.error.code], ["gone", "revoked", 4403]);
});

test("the newest so many are asked for, and from the place that they have it goes on", async () => {
  const { follow, client, streams, stream, network, clock } = await open({}, { after: -2 });
  const heard = listen(follow);
  assert.equal(follow.cursor, "e.1");
  for (const id of ["e.2", "e.3"]) await stream.event(id);
  await stream.send("live", live("e.3"));
  await stream.end();
  await clock.advance(1_000);
  assert.deepEqual([heard, follow.state], [["e.2", "e.3"], "connecting"]);
  assert.deepEqual(network.requests.map(({ path }) => path), ["/c?after=-2&format=triolet", "/c?after=e.3&format=triolet"]);
  await streams[1].send("open", opened("e.3"));
  await streams[1].event("e.4");
  assert.deepEqual([heard.at(-1), client.state], ["e.4", "behind"]);
  const body = { channel: "c", events: [note("e.2"), note("e.3")], cursor: "e.3", gap: null, live: true, retry: 2_000 };
  const polls = await open({ transports: ["poll"], network: new Network(json(body)) }, { after: -2 });
  const polled = listen(polls.follow);
  await settle();
  assert.deepEqual([polled, polls.follow.cursor], [["e.2", "e.3"], "e.3"]);
});

test("who breaks out of the iteration has left", async () => {
  const { follow, stream } = await open();
  const reading = (async () => {
    for await (const item of follow) if (item.type === "event") break;
  })();
  await stream.event("e.2");
  await reading;
  assert.equal(follow.state, "gone");
  assert.ok(stream.aborted);
  assert.throws(() => follow[Symbol.asyncIterator](), TypeError);
});

test("who leaves in a handler is told no more of what came at once", async () => {
  const { follow, stream } = await open();
  const heard = [];
  follow.on("event", ({ id }) => {
    heard.push(id);
    follow.close();
  });
  await settle();
  await stream.send(["e.2", "e.3"].map((id) => `id: ${id}\nevent: note\ndata: {}\n\n`).join(""));
  const events = [note("e.2"), note("e.3")];
  const body = { channel: "c", events, cursor: "e.3", gap: null, live: true, retry: 2_000 };
  const polls = await open({ transports: ["poll"], network: new Network(json(body)) });
  polls.follow.on("event", ({ id }) => {
    heard.push(id);
    polls.follow.close();
  });
  await settle();
  assert.deepEqual([heard, polls.follow.state], [["e.2", "e.2"], "gone"]);
});

test("what came before anybody looked is not lost, and a cursor stands where the page stands", async () => {
  const { follow, stream } = await open();
  await stream.event("e.2");
  await stream.event("e.3");
  assert.deepEqual([follow.cursor, follow.behind], ["e.1", 2]);
  const heard = [];
  follow.on("note", ({ id }) => heard.push(id));
  await settle();
  assert.deepEqual([heard, follow.cursor, follow.behind], [["e.2", "e.3"], "e.3", 0]);
});

test("handlers hear of events by their names, one after the other, and are waited for", async () => {
  const { follow, stream } = await open();
  const heard = [];
  let done = null;
  follow.on("note", ({ id }) => {
    heard.push(`note ${id}`);
    return new Promise((resolve) => (done = resolve));
  });
  follow.on("event:gap", ({ id }) => heard.push(`the app's gap ${id}`));
  const off = follow.on("event", ({ id }) => heard.push(`event ${id}`));
  await stream.event("e.2");
  await stream.send("id: e.3\nevent: gap\ndata: {}\n\n");
  assert.deepEqual(heard, ["event e.2", "note e.2"]);
  done();
  await settle();
  assert.deepEqual(heard.slice(2), ["event e.3", "the app's gap e.3"]);
  off();
  await stream.event("e.4");
  assert.deepEqual(heard.slice(4), ["note e.4"]);
});

test("what the page's handlers throw is the page's, and an unhandled rejection is nobody's", async () => {
  const reported = [];
  globalThis.reportError = ({ message }) => reported.push(message);
  const { follow, client, stream } = await open();
  follow.on("event", () => {
    throw new Error("thrown");
  });
  follow.on("note", async () => {
    throw new Error("rejected");
  });
  await stream.event("e.2");
  await stream.event("e.3");
  assert.deepEqual(reported.splice(0), ["thrown", "rejected", "thrown", "rejected"]);
  for (const one of [follow, client]) one.on("state", async () => Promise.reject(new Error("of a state")));
  await stream.end();
  delete globalThis.reportError;
  assert.deepEqual(reported, ["of a state", "of a state"]);
  assert.equal(follow.cursor, "e.3");
  client.send("pick", 1, { timeout: 1 });
  void client.ready();
  void follow.ready();
  client.close(); // node ends a test whose promises fail unseen
});

test("the stream of a follow is a web stream, and cancelling it leaves", async () => {
  const { follow, stream } = await open();
  const reader = follow.readable().getReader();
  await stream.event("e.2");
  assert.equal((await reader.read()).value.id, "e.2");
  await reader.cancel();
  assert.equal(follow.state, "gone");
});

// --- a page that does not take ------------------------------------------------------------------------------

test("a stream is left unread while the page does not take, and it is nobody's silence", async () => {
  const { follow, stream, clock } = await open({ buffer: 4 });
  for (let offset = 2; offset <= 12; offset++) await stream.event(`e.${offset}`);
  assert.ok(follow.behind >= 4 && follow.behind <= 5);
  await clock.advance(200_000);
  assert.equal(follow.state, "behind");
  const heard = listen(follow);
  await settle();
  assert.deepEqual(heard, Array.from({ length: 11 }, (_, index) => `e.${index + 2}`));
});

test("a poll waits until the page has taken half", async () => {
  const page = (first, last) => {
    const events = Array.from({ length: last - first + 1 }, (_, index) => note(`e.${first + index}`));
    return json({ channel: "c", events, cursor: `e.${last}`, gap: null, live: false, retry: 0 });
  };
  const { client, network, clock } = meet({ transports: ["poll"], buffer: 4, network: new Network(page(2, 6), page(7, 8)) });
  const follow = client.follow("c", { after: "e.1" });
  await clock.advance(10_000);
  assert.equal(network.requests.length, 1);
  const items = follow[Symbol.asyncIterator]();
  await items.next();
  await items.next();
  await clock.advance(0);
  assert.equal(network.requests.length, 1);
  await items.next();
  await clock.advance(0);
  assert.equal(network.requests[1].path, "/c?after=e.6");
});

test("a WebSocket is let go while the page is full, and made again on the cursor", async () => {
  const { client, sockets, clock } = meet({ transports: ["websocket"], buffer: 2 });
  const follow = client.follow("c", { after: "e.1" });
  await settle();
  await sockets[0].open();
  await sockets[0].say(opened("e.1"), note("e.2"), note("e.3"));
  assert.ok(sockets[0].closed);
  await clock.advance(10_000);
  assert.equal(sockets.length, 1);
  const heard = listen(follow);
  await settle();
  assert.deepEqual(heard, ["e.2", "e.3"]);
  assert.equal(sockets[1].url, "ws://shop.example/c?after=e.3");
});

test("on the one socket a full follow is given up alone, and asked for again when there is room", async () => {
  const { client, sockets } = meet({ socket: "/live", buffer: 2 });
  const full = client.follow("/c/events", { after: "e.1" });
  const other = listen(client.follow("/c/events", { after: "e.1" }));
  await settle();
  await sockets[0].open();
  await sockets[0].say(HELLO);
  for (const sub of ["s1", "s2"]) await sockets[0].say(...bracket(sub, opened("e.1", { sub })));
  await sockets[0].say(live("e.1", { subs: ["s1", "s2"] }));
  await sockets[0].say(note("e.2"));
  assert.deepEqual(sockets[0].sent.at(-1), { type: "unfollow", channel: "c", sub: "s1" });
  await sockets[0].say(note("e.3"), note("e.4"));
  assert.deepEqual(other, ["e.2", "e.3", "e.4"]);
  assert.equal(full.state, "behind");
  const heard = listen(full);
  await settle();
  assert.deepEqual(sockets[0].sent.at(-1), { type: "follow", url: "/c/events", after: "e.2", sub: "s3" });
  await sockets[0].say(...bracket("s3", opened("e.2", { sub: "s3" }), note("e.3"), note("e.4")));
  assert.deepEqual(heard, ["e.2", "e.3", "e.4"]);
});

// --- the store ---------------------------------------------------------------------------------------------

test("a cursor is kept over a reload: it counts before what the page says", async () => {
  const store = makeStore();
  const first = await open({ store });
  listen(first.follow);
  await first.stream.event("e.2");
  assert.equal(store.kept[KEY], "e.2 c");
  const { network } = await open({ store });
  assert.equal(network.requests[0].path, "/c?after=e.2&format=triolet");
  const other = await open({ store }, { key: "mine" });
  assert.equal(other.network.requests[0].path, "/c?after=e.1&format=triolet");
});

test("where a stream begins is kept before any event, and quiet times move it", async () => {
  const store = makeStore();
  const { stream, follow } = await open({ store }, { after: undefined });
  listen(follow);
  assert.equal(store.kept[KEY], "e.1 c");
  await stream.send("live", live("e.1"));
  await stream.send("beat", { time: 1, cursors: { c: "f.1" } });
  assert.equal(store.kept[KEY], "f.1 c");
});

test("before: what the page has is stored already; after: what is stored the page is done with", async () => {
  for (const [commit, stored] of [
    ["before", "e.2 c"],
    ["after", undefined],
  ]) {
    const store = makeStore();
    const { follow, stream } = await open({ store, commit });
    let done = null;
    follow.on("note", () => new Promise((resolve) => (done = resolve)));
    await stream.event("e.2");
    assert.equal(store.kept[KEY], stored);
    done();
    await settle();
    assert.equal(store.kept[KEY], "e.2 c");
  }
});

test("in an iteration the next item says that the last one is done, and so does commit", async () => {
  const store = makeStore();
  const { follow, stream } = await open({ store });
  const items = follow[Symbol.asyncIterator]();
  for (const id of ["e.2", "e.3"]) await stream.event(id);
  await items.next();
  assert.equal(store.kept[KEY], undefined);
  await items.next();
  assert.equal(store.kept[KEY], "e.2 c");
  follow.commit();
  assert.equal(store.kept[KEY], "e.3 c");
  const next = items.next();
  await stream.event("e.4");
  await next;
  await items.return();
  assert.equal(store.kept[KEY], "e.3 c");
});

test("a slow store is waited for, before the first connection and before each event", async () => {
  const store = makeStore({ slow: true, [KEY]: "e.1" });
  const { client, network, follow: _ } = await (async () => {
    const stream = new Stream();
    const met = meet({ transports: ["sse"], network: new Network(stream), store, commit: "before" });
    return { ...met, stream, follow: met.client.follow("c") };
  })();
  const [follow, stream] = [_, network.answers[0]];
  await settle();
  assert.equal(network.requests.length, 0);
  await store.free();
  assert.equal(network.requests[0].path, "/c?after=e.1&format=triolet");
  await stream.send("open", opened("e.1"));
  const heard = listen(follow);
  await store.free();
  await stream.event("e.2");
  assert.deepEqual(heard, []);
  await store.free();
  assert.deepEqual(heard, ["e.2"]);
  client.close();
});

test("handlers beside a reader hear of nothing before it is kept, where that is wanted", async () => {
  const store = makeStore({ slow: true });
  const { follow, stream } = await open({ store, commit: "before" });
  await store.free();
  await store.free();
  await stream.send("open", opened("e.1"));
  const heard = listen(follow);
  const reading = follow[Symbol.asyncIterator]().next();
  await store.free();
  await stream.event("e.2");
  assert.deepEqual(heard, []);
  await store.free();
  assert.deepEqual([heard, (await reading).value.id], [["e.2"], "e.2"]);
});

test("a store keeps which transport works, for the page after this one", async () => {
  for (const slow of [false, true]) {
    const store = makeStore({ slow });
    const first = await open({ store, transports: ["websocket", "sse"] });
    await store.free();
    await store.free();
    await first.sockets[0].lose();
    await first.clock.advance(0);
    await first.stream.send("open", opened("e.1"));
    await first.stream.send("live", live("e.1"));
    await store.free();
    assert.equal(store.kept["triolet:transport:http://shop.example"], "sse");
    const next = meet({ store, transports: ["websocket", "sse"] });
    next.client.follow("c");
    await store.free();
    await store.free();
    assert.deepEqual([next.sockets.length, next.network.requests.length], [0, 1]);
  }
});

test("a store that fails is told of, and done without", async () => {
  const faults = [];
  const store = {
    get: () => {
      throw new Error("no");
    },
    set: async () => {
      throw new Error("full");
    },
  };
  const streams = [new Stream()];
  const { client } = meet({ transports: ["sse"], network: new Network(...streams), store });
  client.on("fault", ({ kind }) => faults.push(kind));
  const complain = console.error;
  console.error = ({ kind, error }) => faults.push(`${kind} ${error.message}`); // before anybody listens
  const follow = client.follow("c", { after: "e.1" });
  follow.on("fault", ({ kind, error }) => faults.push(`${kind} ${error.message}`));
  console.error = complain;
  const heard = listen(follow);
  await settle();
  await streams[0].send("open", opened("e.1"));
  await streams[0].event("e.2");
  assert.deepEqual([heard, faults[0]], [["e.2"], "store no"]);
  assert.ok(faults.includes("store full"));
});

// --- presence ----------------------------------------------------------------------------------------------

test("presence is a live map: sessions come to members, and a join again changes nothing", async () => {
  const stream = new Stream();
  const { client, network } = meet({ transports: ["sse"], network: new Network(stream) });
  const presence = client.presence("orders/A1/presence");
  const heard = [];
  for (const name of ["join", "leave"]) presence.on(name, ({ member }) => heard.push(`${name} ${member}`));
  let changes = 0;
  presence.on("change", () => (changes += 1));
  await settle();
  assert.equal(network.requests[0].path, "/orders/A1/presence?after=0&format=triolet");
  let offset = 0;
  const say = (name, data) =>
    stream.send(`id: e.${(offset += 1)}\nevent: ${name}\ndata: ${JSON.stringify({ stated: 1, ...data })}\n\n`);
  await stream.send("open", opened("0"));
  await say("join", { member: "ada", session: "p.1", info: { name: "Ada" } });
  await say("join", { member: "bob", session: "p.2" });
  await say("leave", { member: "bob", session: "p.2" });
  assert.equal(presence.size, 0);
  await stream.send("live", live("e.3"));
  await presence.ready();
  assert.deepEqual([...presence.values()], [{ member: "ada", info: { name: "Ada" }, sessions: 1 }]);
  await say("join", { member: "ada", session: "p.3", info: { name: "Ada" } });
  await say("join", { member: "ada", session: "p.3", info: { name: "Ada" }, stated: 2 });
  await say("leave", { member: "ada", session: "p.3", stated: 1 }); // of before it was stated again
  assert.equal(presence.get("ada").sessions, 2);
  await say("leave", { member: "ada", session: "p.1" });
  await say("leave", { member: "ada", session: "p.3", stated: 2 });
  assert.deepEqual([heard, presence.size], [["join ada", "leave ada"], 0]);
  assert.ok(changes >= 4);
  presence.close();
  assert.equal(client.state, "idle");
});

test("after a gap it is found out anew who is there, and only what changed is told", async () => {
  const streams = [new Stream(), new Stream()];
  const { client } = meet({ transports: ["sse"], network: new Network(...streams) });
  const roster = { sessions: [{ member: "ada", session: "p.1" }, { member: "bob", session: "p.2" }], cursor: "e.5" };
  const presence = client.presence("p", { roster: async () => roster });
  const heard = [];
  for (const name of ["join", "leave"]) presence.on(name, ({ member }) => heard.push(`${name} ${member}`));
  await settle();
  await streams[0].send("open", opened("e.5"));
  await streams[0].send("live", live("e.5"));
  assert.deepEqual([...presence.keys()], ["ada", "bob"]);
  roster.cursor = "e.90";
  roster.sessions = [{ member: "ada", session: "p.1" }, { member: "cy", session: "p.4" }];
  await streams[0].send("gap", { channel: "c", from: "e.5", to: "e.90", missed: 85, reason: "expired" });
  await settle();
  assert.deepEqual([presence.size, presence.state], [2, "behind"]);
  await streams[1].send("open", opened("e.90"));
  await streams[1].send("live", live("e.90"));
  assert.deepEqual(heard, ["join ada", "join bob", "join cy", "leave bob"]);
});

test("a presence that cannot be is over, and says why", async () => {
  const { client } = meet({ transports: ["sse"] });
  const over = [];
  const listening = (presence) => presence.on("gone", ({ reason, error }) => over.push([reason, error.name]));
  listening(client.presence("http://["));
  listening(client.presence("p", { roster: async () => ({ members: ["ada"] }) }));
  const late = {};
  const roster = new Promise((resolve) => (late.give = resolve));
  listening(client.presence("p", { roster: () => roster }));
  await settle();
  client.close();
  late.give({ sessions: [], cursor: "e.1" });
  await settle();
  assert.deepEqual(over, [["roster", "TypeError"], ["roster", "TypeError"], ["closed", "Ended"]]);
});
