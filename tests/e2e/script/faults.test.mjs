/** Dialogues about what fails beside the network: stores that hang, a browser without connections left, pages that leave. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { settingsOf } from "../../../src/triolet/static/settings.js";
import { Held, Network, Stream, json, settle, status } from "./fakes.mjs";
import { HELLO, bracket, listen, live, meet, note, opened } from "./meeting.mjs";

const never = () => new Promise(() => {});

async function openStream(options = {}, asked = {}) {
  const stream = new Stream();
  const faults = [];
  const met = meet({ transports: ["sse"], network: new Network(stream, new Stream()), ...options });
  met.client.on("fault", ({ kind, error }) => faults.push(`${kind} ${error.message}`));
  const follow = met.client.follow("c", { after: "e.1", ...asked });
  follow.on("fault", ({ kind, error }) => faults.push(`${kind} ${error.message}`));
  return { ...met, follow, stream, faults };
}

// --- stores ------------------------------------------------------------------------------------------------

const LATE = "store no answer within 2000 ms: done without it";

test("a store that never says what it has is done without after two seconds", async () => {
  const { stream, faults, clock, network, follow } = await openStream({ store: { get: never, set: () => null } });
  const heard = listen(follow);
  await clock.advance(1_999);
  assert.deepEqual([network.requests, faults], [[], []]);
  await clock.advance(1);
  assert.deepEqual(faults, [LATE, LATE]);
  await stream.send("open", opened("e.1"));
  await stream.event("e.2");
  assert.deepEqual(heard, ["e.2"]);
});

test("a store that never has what it is given is waited for once", async () => {
  const store = { get: () => null, set: never };
  const { stream, faults, clock, follow } = await openStream({}, { store, commit: "before" });
  const heard = listen(follow);
  await settle();
  await stream.send("open", opened("e.1"));
  for (const id of ["e.2", "e.3"]) await stream.event(id);
  assert.deepEqual(heard, []);
  await clock.advance(2_000);
  assert.deepEqual([heard, faults], [["e.2", "e.3"], [LATE]]);
});

// --- the page ----------------------------------------------------------------------------------------------

test("a follow that the page closes when it hears that the socket is lost is asked for no more", async () => {
  const { client, sockets, network, clock } = meet({ socket: "/live", network: new Network() });
  const follow = client.follow("/c/events", { after: "e.1" });
  await settle();
  await sockets[0].open();
  await sockets[0].say(opened("e.1", { sub: "s1" }));
  follow.on("state", (state) => state === "connecting" && client.close());
  await sockets[0].lose();
  await clock.advance(100_000);
  assert.deepEqual([follow.state, network.requests, sockets.length], ["gone", [], 1]);
});

test("a page that loses its network shows so at once; a server that is there all the same is live again", async () => {
  for (const isThere of [true, false]) {
    const streams = isThere ? [new Stream(), new Stream()] : [new Stream()];
    const { client, page, clock, states } = meet({ transports: ["sse"], network: new Network(...streams) });
    client.follow("c", { after: "e.1" });
    await settle();
    await streams[0].send("open", opened("e.1"));
    await streams[0].send("live", live("e.1"));
    await page.say("offline");
    assert.deepEqual([client.state, streams[0].aborted], ["connecting", true]);
    await clock.advance(0);
    await streams.at(-1).send("live", live("e.1")).catch(() => null);
    assert.deepEqual(states, ["connecting", "behind", "live", "connecting", isThere ? "live" : "connecting"]);
  }
});

// --- the browser -------------------------------------------------------------------------------------------

test("a follow for which no connection is left says so, once", async () => {
  const streams = Array.from({ length: 10 }, () => new Stream());
  const { client, clock } = meet({ transports: ["sse"], network: new Network(...streams) });
  const faults = [];
  for (let number = 0; number < 7; number += 1) {
    const follow = client.follow(`/${number}`, { after: "e.1" });
    follow.on("fault", ({ kind, error }) => faults.push(`${number} ${kind} ${error.message}`));
  }
  await settle();
  for (const stream of streams.slice(0, 6)) await stream.send("open", opened("e.1"));
  for (const stream of streams.slice(0, 6)) await stream.send("live", live("e.1"));
  const wait = async () => {
    await clock.advance(45_000);
    for (const stream of streams.slice(0, 6)) await stream.send("beat", { time: clock.time, cursors: {} });
    await clock.advance(1_000);
  };
  for (let time = 0; time < 2; time += 1) await wait();
  assert.deepEqual(faults, ["6 crowded 6 connections at once over HTTP/1.1: serve HTTP/2, or give connect a socket"]);
  for (let time = 0; time < 2; time += 1) await wait();
  assert.equal(faults.length, 1);
});

test("a command that is sent on to a login at another origin says so at once", async () => {
  const values = { type: { value: "opaqueredirect" }, ok: { value: false }, status: { value: 0 } };
  const response = Object.defineProperties(new Response(null), values);
  const { client, network } = meet({ network: new Network({ response }) });
  await assert.rejects(client.send("pick", 1), ({ name, cause }) => name === "Unanswered" && cause.reason === "login");
  assert.equal(network.requests.length, 2);
});

test("a command that is only sent on is asked there, under its key", async () => {
  const moved = Object.defineProperties(new Response(null), { ok: { value: false }, status: { value: 307 } });
  const { client, network } = meet({ network: new Network({ response: moved }, json({ picked: 1 })) });
  assert.deepEqual((await client.send("pick", 1)).data, { picked: 1 });
  const keys = network.requests.map(({ headers }) => headers["Idempotency-Key"]);
  assert.equal(keys[0], keys[1]);
});

// --- one socket for all that ends for good -----------------------------------------------------------------

async function openSocket(network) {
  const met = meet({ socket: "/live", network });
  const { client, sockets, clock } = met;
  const heard = [];
  client.on("state", (state, { reason }) => heard.push(`${state} ${reason}`));
  client.on("fault", ({ kind, error }) => heard.push(`fault ${kind} ${error.message}`));
  const follow = client.follow("/c/events", { after: "e.1" });
  follow.on("gone", ({ reason, error }) => heard.push(`gone ${reason} ${error.code}`));
  await clock.advance(0);
  await sockets[0].open();
  await sockets[0].say(HELLO);
  await sockets[0].say(...bracket("s1", opened("e.1", { sub: "s1" }), live("e.1", { subs: ["s1"] })));
  heard.length = 0;
  return { ...met, follow, heard, socket: sockets[0] };
}

for (const [code, reason] of [[4403, "revoked"], [4401, "expired"], [1000, "done"]]) {
  test(`a socket that the server means to end is no fault: ${reason}`, async () => {
    const { heard, socket, clock, client, network, sockets } = await openSocket();
    await socket.say({ type: "bye", code, reason, retry: null });
    await socket.lose(code);
    await clock.advance(60_000);
    assert.deepEqual(heard, [`gone ${reason} ${code}`, `idle ${reason}`]);
    assert.deepEqual([client.state, network.requests.length, sockets.length], ["idle", 0, 1]);
  });
}

test("a socket that ends for good because something went wrong is a fault", async () => {
  const { heard, socket } = await openSocket();
  await socket.lose(1009);
  assert.deepEqual(heard, ["gone closed 1009 1009", "idle closed 1009", "fault socket closed 1009"]);
});

test("what a page follows when it hears that its socket has ended comes by another way", async () => {
  const stream = new Stream();
  const { client, follow, socket, clock, network } = await openSocket(new Network(stream));
  let other = null;
  follow.on("gone", () => (other = client.follow("/d/events", { after: "e.1" })));
  await socket.say({ type: "bye", code: 4403, reason: "revoked", retry: null });
  await socket.lose(4403);
  await clock.advance(0);
  assert.deepEqual(network.requests.map(({ path }) => path), ["/live?format=triolet&follow=%2Fd%2Fevents%3Fafter%3De.1"]);
  assert.equal(other.state, "connecting");
});

test("a server that wants nobody back for a month is not asked all the time: a browser's timer knows 24 days", async (t) => {
  const times = [];
  t.mock.method(globalThis, "setTimeout", (_, ms) => times.push(ms));
  const network = new Network(status(503, { "Retry-After": String(30 * 86_400) }));
  const { client } = meet({ transports: ["sse"], network, clock: settingsOf({}).clock });
  const follow = client.follow("c");
  await settle();
  assert.equal(follow.why.retry, 30 * 86_400_000);
  assert.deepEqual(times, [50_000, 50_000, 2 ** 31 - 1]);
  client.close();
});

test("a fetch of one's own that does not heed its signal keeps no page from coming back, and nothing comes twice", async () => {
  const [first, second] = [new Stream(), new Stream()];
  const never = { response: new Promise(() => null) };
  const network = new Network(never, first, second);
  const fetch = (url, asked) => network.fetch(url, { ...asked, signal: new AbortController().signal });
  const { client, clock } = meet({ transports: ["sse"], network, fetch, silence: 10_000 });
  const follow = client.follow("c", { after: "e.1" });
  const heard = listen(follow);
  await clock.advance(10_000); // in vain
  await clock.advance(1_000);
  await first.send("open", opened("e.1"));
  await first.event("e.2");
  await first.send("live", live("e.2"));
  assert.equal(follow.state, "live");
  await clock.advance(10_000); // silent
  assert.deepEqual([follow.state, follow.why.reason], ["connecting", "silent"]);
  await clock.advance(1_000);
  await first.event("e.3");
  await second.send("open", opened("e.2"));
  await second.event("e.3");
  assert.deepEqual([heard, follow.state], [["e.2", "e.3"], "behind"]);
});

test("an answer of success with nothing in it is no login: another transport may have more", async () => {
  const network = new Network(status(204), json({ channel: "c", events: [], cursor: "e.1", gap: null, live: true, retry: 9_000 }));
  const { client, clock } = meet({ transports: ["sse", "poll"], network });
  const follow = client.follow("c", { after: "e.1" });
  const told = [];
  follow.on("state", (_, { reason, error }) => told.push([reason, error?.status]));
  await clock.advance(0);
  assert.deepEqual([told[0], follow.state, client.transport], [["type", 204], "live", "poll"]);
});

test("an answer to a poll that does not say when to ask again is not the last", async () => {
  const page = { channel: "c", events: [], cursor: "e.1", gap: null, live: true };
  const network = new Network(json(page), json({ ...page, events: [note("e.2")], cursor: "e.2", retry: 9_000 }));
  const { client, clock } = meet({ transports: ["poll"], network });
  const heard = listen(client.follow("c", { after: "e.1" }));
  await clock.advance(1_000);
  assert.deepEqual(heard, ["e.2"]);
});

test("a goodbye that does not say when to come back leaves that to the client", async () => {
  const [stream, next] = [new Stream(), new Stream()];
  const { client, clock, network } = meet({ transports: ["sse"], network: new Network(stream, next) });
  const follow = client.follow("c", { after: "e.1" });
  await settle();
  await stream.send("open", opened("e.1"));
  await stream.send("bye", { code: 1012, reason: "restarting" });
  assert.deepEqual([follow.state, follow.why.reason, follow.why.retry], ["connecting", "restarting", 1_000]);
  await clock.advance(1_000);
  assert.equal(network.requests.length, 2);
});

test("a URL that is followed twice in other words, without streams, begins on a poll of its own as well", async () => {
  const page = { channel: "c", events: [], cursor: "e.1", gap: null, live: true, retry: 9_000 };
  const shared = { ...page, follows: [{ url: "/c?after=e.1", channel: "c", cursor: "e.1" }], gaps: [], refused: [] };
  const network = new Network(json(shared), json(page));
  const { client, clock } = meet({ socket: "/live", transports: ["poll"], network });
  const follows = [client.follow("c", { after: "e.1" }), client.follow("c?after=e.1")];
  follows.forEach(listen);
  await clock.advance(100);
  assert.deepEqual(follows.map(({ state, cursor }) => [state, cursor]), [["live", "e.1"], ["live", "e.1"]]);
});

test("a URL that says itself where to begin loses nothing on any transport", async () => {
  const page = { channel: "c", events: [note("e.2"), note("e.3")], cursor: "e.3", gap: null, live: true, retry: 9_000 };
  const stream = new Stream();
  for (const [transport, answer] of [["poll", json(page)], ["long-poll", json(page)], ["sse", stream]]) {
    const { client, clock } = meet({ transports: [transport], network: new Network(answer, new Held()) });
    const follow = client.follow("c?after=e.1");
    const heard = listen(follow);
    await clock.advance(0);
    if (transport === "sse") {
      await stream.send("open", opened("e.1"));
      for (const id of ["e.2", "e.3"]) await stream.event(id);
      await stream.send("live", live("e.3"));
    }
    assert.deepEqual([heard, follow.state, follow.cursor], [["e.2", "e.3"], "live", "e.3"], transport);
  }
});
