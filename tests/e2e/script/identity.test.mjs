/** Dialogues about who the page is: tokens, their end, renewal and revocation. Run by `node --test`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Socket, follow, ticketed } from "../../../src/triolet/static/triolet.js";
import { BEGIN, listen, openSocket, openStream } from "./dialogues.mjs";
import { Held, Network, Stream, json, makeSockets, settle, status } from "./fakes.mjs";

const EXPIRED = { type: "bye", code: 4401, reason: "expired", retry: null };
const REVOKED = { type: "bye", code: 4403, reason: "revoked", retry: null };
const POLLED = { channel: "c", events: [], cursor: "e.1", gap: null, live: true, retry: 2_000 };

/** A function that gives a new token each time: "t1", "t2", … */
function tokens() {
  let number = 0;
  return async () => `t${(number += 1)}`;
}

async function openWebSocket(more = {}) {
  const { WebSocket, opened } = makeSockets();
  const client = listen("websocket", { WebSocket, ...more });
  await settle();
  await opened[0].open();
  await opened[0].say(BEGIN, { type: "live", channel: "c", cursor: "e.1" });
  return { ...client, opened };
}

// --- the token on its way ----------------------------------------------------------------------------------

test("a token goes in a header where there is one, and as a subprotocol of a WebSocket; never in a URL", async () => {
  for (const transport of ["sse", "poll", "long-poll"]) {
    const network = new Network(new Stream());
    listen(transport, { fetch: network.fetch, token: "a.b/c=", headers: { "X-Tab": "1" } });
    await settle();
    assert.equal(network.requests[0].path, `/orders/A123/events${transport === "sse" ? "?format=triolet" : ""}`);
    assert.equal(network.requests[0].headers.Authorization, "Bearer a.b/c=");
    assert.equal(network.requests[0].headers["X-Tab"], "1");
  }
  const { WebSocket, opened } = makeSockets();
  listen("websocket", { WebSocket, token: "a.b-c_d" });
  await settle();
  assert.equal(opened[0].url, "ws://shop.example/orders/A123/events");
  assert.deepEqual(opened[0].protocol, ["triolet.1", "triolet.token.a.b-c_d"]);
});

test("a function is asked for a token before each connection, and may say that nobody is there", async () => {
  const network = new Network(new Stream(), new Stream());
  const given = ["first", null];
  const { clock, heard } = listen("sse", { fetch: network.fetch, token: () => given.shift() });
  await settle();
  await network.answered[0].end();
  await clock.advance(1_000);
  assert.deepEqual(
    network.requests.map(({ headers }) => headers.Authorization),
    ["Bearer first", undefined],
  );
  assert.deepEqual(heard.retries, [1_000]);
});

test("a token that cannot be sent is an error at once, which does not tell it", () => {
  for (const [transport, token] of [
    ["websocket", "a/b"],
    ["websocket", "YQ=="],
    ["websocket", "a,b"],
    ["sse", "a b"],
    ["sse", "a\nb"],
    ["poll", "tökén"],
    ["long-poll", ""],
    ["sse", 7],
  ]) {
    const isOurs = (error) => error instanceof TypeError && /^token: /.test(error.message) && !/a.b|YQ/.test(error);
    assert.throws(() => follow("http://shop.example/c", { transport, token }), isOurs);
  }
  assert.throws(() => new Socket("http://shop.example/s", { token: "a/b" }), TypeError);
});

test("a function that gives what cannot be sent is not asked again", async () => {
  const { WebSocket, opened } = makeSockets();
  const { track, heard } = listen("websocket", { WebSocket, token: () => "a/b" });
  await settle();
  assert.equal(track.state, "gone");
  assert.match(heard.errors[0][0], /^token: a WebSocket/);
  assert.equal(opened.length, 0);
});

test("a function that fails is asked again with backoff, and the page is told", async () => {
  const network = new Network(new Stream());
  let fails = 3;
  const token = async () => (fails-- > 0 ? Promise.reject(new Error("no token today")) : "t");
  const { clock, heard } = listen("sse", { fetch: network.fetch, token });
  await clock.advance(6_999);
  assert.deepEqual(heard.retries, [1_000, 2_000, 4_000]);
  assert.deepEqual(heard.errors[0], ["no token today", undefined]);
  assert.equal(network.requests.length, 0);
  await clock.advance(1);
  assert.equal(network.requests[0].headers.Authorization, "Bearer t");
});

test("a function that never answers counts as silence; a closed client waits for none", async () => {
  for (const transport of ["sse", "long-poll", "websocket"]) {
    const { track, clock, heard } = listen(transport, { token: () => new Promise(() => {}) });
    await clock.advance(50_000);
    assert.deepEqual(heard.errors, [["silent", undefined]]);
    await clock.advance(1_000);
    track.close();
    await settle();
    assert.deepEqual(clock.pending, []);
  }
});

test("a client that is closed while its token is fetched opens nothing", async () => {
  const { WebSocket, opened } = makeSockets();
  const network = new Network(new Stream());
  for (const transport of ["sse", "poll", "websocket"]) {
    let give = null;
    const token = () => new Promise((resolve) => (give = resolve));
    const { track } = listen(transport, { WebSocket, fetch: network.fetch, token });
    await settle();
    track.close();
    give("t");
    await settle();
  }
  assert.deepEqual([opened, network.requests], [[], []]);
});

test("a client that is closed just as its token has come leaves no WebSocket open", async () => {
  for (let moment = 0; moment < 20; moment++) {
    const { WebSocket, opened } = makeSockets();
    let give = null;
    const { track } = listen("websocket", { WebSocket, token: () => new Promise((resolve) => (give = resolve)) });
    await settle();
    give("t");
    for (let turn = 0; turn < moment; turn++) await Promise.resolve();
    track.close();
    await settle();
    assert.ok(opened.every(({ closed }) => closed));
  }
});

test("polls keep their token until it is refused, and come back with another", async () => {
  const expired = json({ error: "expired" }, {}, 401);
  const network = new Network(json(POLLED), json(POLLED), expired, json(POLLED));
  const { clock, heard, track } = listen("poll", { fetch: network.fetch, token: tokens() });
  await clock.advance(4_000);
  assert.deepEqual(
    network.requests.map(({ headers }) => headers.Authorization),
    ["Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"],
  );
  assert.deepEqual(heard.errors, [["expired", 4401]]);
  assert.equal(track.state, "live");
});

test("an event source of the page's own gets a URL with a ticket", async () => {
  const network = new Network(json({ ticket: "x y", in: 30_000 }), status(401));
  const options = { fetch: network.fetch, token: "t" };
  const url = await ticketed("http://shop.example/orders/A123/events?after=0", options);
  assert.equal(url, "http://shop.example/orders/A123/events?after=0&ticket=x+y");
  const [{ method, path, headers }] = network.requests;
  assert.deepEqual([method, path, headers.Authorization], ["POST", "/triolet/ticket", "Bearer t"]);
  await assert.rejects(ticketed("http://shop.example/c", options), { name: "Ended", status: 401 });
});

// --- the end -----------------------------------------------------------------------------------------------

test("an expired token is replaced at once, but only once: then with backoff", async () => {
  const { opened, clock, heard, track } = await openWebSocket({ token: tokens() });
  await opened[0].say(EXPIRED);
  await opened[0].lose(4401);
  await clock.advance(0);
  assert.deepEqual(opened[1].protocol, ["triolet.1", "triolet.token.t2"]);
  await opened[1].lose(4401);
  await clock.advance(2_000);
  await opened[2].lose(4401);
  assert.deepEqual(heard.retries, [0, 2_000, 4_000]);
  assert.deepEqual(heard.errors[0], ["expired", 4401]);
  track.close();
  await settle();
  assert.deepEqual(clock.pending, []);
});

test("tokens that are over as they come make nobody run in circles; later it may hurry again", async () => {
  const { opened, clock, heard } = await openWebSocket({ token: tokens() });
  const expire = async () => {
    await opened.at(-1).open();
    await opened.at(-1).say(BEGIN, { type: "live", channel: "c", cursor: "e.1" }, EXPIRED);
    await opened.at(-1).lose(4401);
  };
  await expire();
  await clock.advance(0);
  await expire();
  await clock.advance(1_000);
  await expire();
  await clock.advance(29_000);
  await expire();
  assert.deepEqual(heard.retries, [0, 1_000, 1_000, 0]);
});

test("an expired stream whose token is a text, or a cookie, is over, and says so", async () => {
  for (const token of ["t", undefined]) {
    const { streams, heard, track, clock } = await openStream({ token });
    await streams[0].send("bye", EXPIRED);
    assert.equal(track.state, "gone");
    assert.deepEqual(heard.errors, [["expired", 4401]]);
    assert.deepEqual(clock.pending, []);
  }
});

test("a revoked client is over, whatever it has for a token", async () => {
  const { streams, heard, track, clock } = await openStream({ token: tokens() });
  await streams[0].send("bye", REVOKED);
  assert.equal(track.state, "gone");
  assert.deepEqual(heard.errors, [["revoked", 4403]]);
  assert.deepEqual(clock.pending, []);
});

test("an answer says of an end what a bye says", async () => {
  for (const [answer, token, state, error] of [
    [json({ error: "expired" }, {}, 401), "t", "gone", ["expired", 4401]],
    [json({ error: "expired" }, {}, 401), tokens(), "connecting", ["expired", 4401]],
    [json({ error: "token" }, {}, 401), "t", "gone", ["HTTP 401", undefined]],
    [json({ error: "token" }, {}, 401), tokens(), "connecting", ["HTTP 401", undefined]],
    [json({ error: "revoked" }, {}, 403), tokens(), "gone", ["revoked", 4403]],
    [json({ error: "constructor" }, {}, 403), tokens(), "gone", ["HTTP 403", undefined]],
    [json(null, {}, 403), tokens(), "gone", ["HTTP 403", undefined]],
  ]) {
    for (const transport of ["sse", "long-poll"]) {
      const prepared = { response: answer.response.clone() };
      const { track, heard } = listen(transport, { fetch: new Network(prepared).fetch, token });
      await settle();
      assert.equal(track.state, state);
      assert.deepEqual(heard.errors, [error]);
    }
  }
});

// --- renewal -----------------------------------------------------------------------------------------------

test("a WebSocket is renewed in band, after a part of the time that is left", async () => {
  const { opened, clock, heard, track } = await openWebSocket({ token: tokens() });
  await opened[0].say({ type: "expiring", in: 30_000 });
  await clock.advance(14_999);
  assert.deepEqual(opened[0].sent, []);
  await clock.advance(1);
  assert.deepEqual(opened[0].sent, [{ type: "auth", token: "t2" }]);
  await opened[0].say({ type: "renewed", in: 3_600_000 });
  assert.deepEqual([heard.expiring, heard.renewed], [[[30_000, false]], [3_600_000]]);
  await opened[0].say({ type: "expiring", in: 30_000 });
  await clock.advance(15_000);
  assert.deepEqual(opened[0].sent[1], { type: "auth", token: "t3" });
  assert.deepEqual([track.state, opened.length], ["live", 1]);
});

test("clients spread over the second quarter, and renew at most once a second", async () => {
  for (const [random, left, delay] of [
    [0, 30_000, 7_500],
    [0.5, 30_000, 11_250],
    [0, 2_000, 1_000],
  ]) {
    const { opened, clock } = await openWebSocket({ token: tokens(), random: () => random });
    await opened[0].say({ type: "expiring", in: left });
    assert.ok(clock.pending.includes(delay));
  }
});

test("a token that cannot be fetched is asked for again while the connection stands, which is told", async () => {
  const answers = ["t1", new Error("away"), new Error("away"), "t4"];
  const token = async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const { opened, clock, heard, track } = await openWebSocket({ token });
  await opened[0].say({ type: "expiring", in: 30_000 });
  await clock.advance(18_000);
  assert.deepEqual(opened[0].sent, [{ type: "auth", token: "t4" }]);
  assert.deepEqual(heard.retries, [1_000, 2_000]);
  assert.deepEqual(heard.errors[0], ["away", undefined]);
  assert.equal(track.state, "live");
});

test("two warnings in a row are answered one after the other", async () => {
  const { opened, clock } = await openWebSocket({ token: tokens() });
  await opened[0].say({ type: "expiring", in: 30_000 }, { type: "expiring", in: 30_000 });
  await clock.advance(15_000);
  assert.deepEqual(opened[0].sent, [{ type: "auth", token: "t2" }]);
  await clock.advance(15_000);
  assert.deepEqual(opened[0].sent[1], { type: "auth", token: "t3" });
});

test("a refusal is told and not answered: the end comes when it was said", async () => {
  const { opened, clock, heard } = await openWebSocket({ token: tokens() });
  await opened[0].say({ type: "expiring", in: 30_000 });
  await clock.advance(15_000);
  await opened[0].say({ type: "expiring", in: 14_000, refused: true });
  await opened[0].say({ type: "expiring", in: null, refused: true });
  await clock.advance(14_000);
  assert.equal(opened[0].sent.length, 1);
  assert.deepEqual(heard.expiring, [
    [30_000, false],
    [14_000, true],
    [null, true],
  ]);
});

test("a WebSocket without a function for tokens can say nothing, and its page is told", async () => {
  for (const token of [undefined, "t"]) {
    const { opened, clock, heard } = await openWebSocket({ token });
    await opened[0].say({ type: "expiring", in: 30_000 });
    await clock.advance(30_000);
    assert.deepEqual(opened[0].sent, []);
    assert.deepEqual(heard.expiring, [[30_000, false]]);
  }
});

test("a connection that ends is renewed no more", async () => {
  const { opened, clock, track } = await openWebSocket({ token: tokens() });
  await opened[0].say({ type: "expiring", in: 30_000 });
  track.close();
  await settle();
  assert.deepEqual(clock.pending, []);
  assert.deepEqual(opened[0].sent, []);
});

test("a socket of many channels is renewed, and hears of it itself", async () => {
  const heard = [];
  const onExpiring = (warning) => heard.push(warning);
  const { opened, clock } = openSocket({ token: tokens(), onExpiring, onRenewed: (renewed) => heard.push(renewed) });
  await settle();
  assert.deepEqual(opened[0].protocol, ["triolet.1", "triolet.token.t1"]);
  await opened[0].open();
  await opened[0].say({ type: "open", channel: null, cursor: null }, { type: "expiring", in: 30_000 });
  await clock.advance(15_000);
  assert.deepEqual(opened[0].sent, [{ type: "auth", token: "t2" }]);
  await opened[0].say({ type: "renewed", in: null });
  assert.deepEqual(heard, [{ in: 30_000, refused: false }, { in: null }]);
});

/** A stream that is about to expire, and what is answered to the requests beside it. */
async function expiringStream(answers, more = {}) {
  const stream = await openStream(more);
  stream.network.answers.splice(0, 2, ...answers);
  await stream.streams[0].send("expiring", { in: 30_000, key: "k1" });
  await stream.clock.advance(15_000);
  return { ...stream, renewals: stream.network.requests.slice(1) };
}

test("a stream is renewed beside it, by its key, with a new token or with the cookies of then", async () => {
  for (const [token, authorization] of [
    [tokens(), "Bearer t2"],
    [undefined, undefined],
  ]) {
    const { renewals, heard, streams, track } = await expiringStream([status(204)], { token });
    const [{ method, path, headers, body }] = renewals;
    assert.deepEqual([method, path, body], ["POST", "/triolet/renew", '{"key":"k1"}']);
    assert.deepEqual([headers.Authorization, headers["Content-Type"]], [authorization, "application/json"]);
    await streams[0].send("renewed", { in: 60_000 });
    assert.deepEqual([heard.expiring, heard.renewed], [[[30_000, false]], [60_000]]);
    assert.equal(track.state, "live");
  }
});

test("a stream whose token is a text has no other one to say", async () => {
  const { renewals } = await expiringStream([status(204)], { token: "t" });
  assert.deepEqual(renewals, []);
});

test("a renewal that is not taken is told; one that the network loses is tried again", async () => {
  const refused = await expiringStream([status(401)]);
  await refused.clock.advance(10_000);
  assert.equal(refused.network.requests.length, 2);
  assert.deepEqual(refused.heard.expiring.at(-1), [30_000, true]);
  const answers = [status(503, { "Retry-After": "3" }), undefined, status(202)];
  const { clock, heard, network } = await expiringStream(answers, { token: tokens() });
  await clock.advance(5_000);
  assert.deepEqual(heard.retries, [3_000, 2_000]);
  assert.deepEqual(
    network.requests.map(({ headers }) => headers.Authorization),
    ["Bearer t1", "Bearer t2", "Bearer t3", "Bearer t4"],
  );
  assert.equal(heard.expiring.length, 1);
});

test("a warning that overtakes the answer to the last renewal is not lost", async () => {
  const slow = new Held();
  const { clock, network, streams } = await expiringStream([slow, status(204)]);
  await streams[0].send("renewed", { in: 6_000 });
  await streams[0].send("expiring", { in: 6_000, key: "k2" });
  await slow.give(status(204));
  await clock.advance(3_000);
  assert.equal(network.requests.at(-1).body, '{"key":"k2"}');
});

test("a server of another place is asked there", async () => {
  for (const [base, host, path] of [
    ["/shop/triolet/", "shop.example", "/shop/triolet/renew"],
    ["https://live.example/triolet/", "live.example", "/triolet/renew"],
  ]) {
    const { renewals } = await expiringStream([status(204)], { base });
    assert.deepEqual([renewals[0].host, renewals[0].path], [host, path]);
  }
});
