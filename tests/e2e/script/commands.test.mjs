/** Dialogues about commands: what is to happen once, over both ways and whatever the network does. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { newId } from "../../../src/triolet/static/commands.js";
import { Unanswered, command } from "../../../src/triolet/static/triolet.js";
import { BEGIN, listen, openSocket, openStream } from "./dialogues.mjs";
import { Clock, Held, Network, json, makeSockets, settle, status } from "./fakes.mjs";
import { meet } from "./meeting.mjs";

const PICK = "http://shop.example/orders/A123/pick";

/** Asks over HTTP, with everything that the promise comes to noted down. */
function ask(answers, more = {}, data = { shelf: 7 }) {
  const network = new Network(...answers);
  const clock = new Clock();
  const outcome = {};
  const times = [];
  const fetch = (...request) => {
    times.push(clock.time);
    return network.fetch(...request);
  };
  const asked = { id: "c1", fetch, clock, random: () => 1, ...more };
  command(PICK, data, asked).then(
    (reply) => Object.assign(outcome, { reply }),
    (error) => Object.assign(outcome, { error }),
  );
  return { network, clock, outcome, times };
}

async function openLive(more = {}) {
  const client = openSocket(more);
  await settle();
  await client.opened[0].open();
  await client.opened[0].say({ type: "open", channel: null, cursor: null });
  return client;
}

const reply = (id, more = {}) => ({ type: "reply", id, status: 200, data: { picked: id }, ...more });

// --- by POST -----------------------------------------------------------------------------------------------

test("a command is a POST with a key, and its answer is the app's", async () => {
  const { network, outcome, clock } = ask([json({ picked: 1 })], { token: async () => "t", headers: { "X-Tab": "1" } });
  await settle();
  const [{ method, path, headers, body }] = network.requests;
  assert.deepEqual([method, path, body], ["POST", "/orders/A123/pick", '{"shelf":7}']);
  assert.deepEqual(headers, {
    "X-Tab": "1",
    Authorization: "Bearer t",
    "Content-Type": "application/json",
    "Idempotency-Key": '"c1"',
  });
  assert.deepEqual(outcome.reply, { status: 200, data: { picked: 1 }, repeated: false });
  assert.deepEqual(clock.pending, []);
});

test("an answer is JSON, text or nothing, a refusal as well, and says whether it is one of before", async () => {
  const text = { response: new Response("gone", { status: 410, headers: { "Content-Type": "text/plain" } }) };
  const lies = { response: new Response("{", { headers: { "Content-Type": "application/json" } }) };
  for (const [answer, expected] of [
    [json({ error: "shelf" }, { "Idempotency-Replayed": "true" }, 409), [409, { error: "shelf" }, true]],
    [json(null), [200, null, false]],
    [status(204), [204, null, false]],
    [status(500), [500, null, false]],
    [text, [410, "gone", false]],
    [lies, [200, "{", false]],
  ]) {
    const { outcome } = ask([answer]);
    await settle();
    assert.deepEqual(Object.values(outcome.reply), expected);
  }
});

test("what says 'not now' is asked again under the same id, when it says or with backoff", async () => {
  const { network, clock, outcome, times } = ask([
    json({ error: "running" }, { "Retry-After": "1" }, 409),
    status(429, { "Retry-After": "7" }),
    status(503),
    status(504),
    undefined, // the network is down
    json("done", { "Idempotency-Replayed": "true" }),
  ]);
  await clock.advance(40_000);
  assert.deepEqual(times, [0, 1_000, 8_000, 12_000, 20_000, 36_000]);
  assert.deepEqual(new Set(network.requests.map(({ headers }) => headers["Idempotency-Key"])), new Set(['"c1"']));
  assert.deepEqual(outcome.reply, { status: 200, data: "done", repeated: true });
});

test("a request that is never answered is asked again when it has been silent for long", async () => {
  const silent = new Held();
  const { network, clock, outcome } = ask([silent, json(1)], { timeout: 90_000 });
  await clock.advance(50_000);
  assert.ok(silent.aborted);
  await clock.advance(1_000);
  assert.equal(network.requests.length, 2);
  assert.equal(outcome.reply.data, 1);
});

test("when the time is over nobody knows whether it happened, and the error says so and why", async () => {
  const { outcome, clock, network } = ask([], { timeout: 10_000 });
  await clock.advance(9_999);
  assert.deepEqual(outcome, {});
  await clock.advance(1);
  assert.ok(outcome.error instanceof Unanswered);
  assert.match(outcome.error.message, /\/orders\/A123\/pick: 10000 ms are over; it may have happened$/);
  assert.deepEqual([outcome.error.id, outcome.error.sent, outcome.error.cause.message], ["c1", true, "network down"]);
  await clock.advance(100_000);
  assert.equal(network.requests.length, 4);
  assert.deepEqual(clock.pending, []);
});

test("a page gives up by its signal, and learns the same", async () => {
  const controller = new AbortController();
  const held = new Held();
  const { outcome, clock } = ask([held], { signal: controller.signal });
  await settle();
  controller.abort(new Error("the user left"));
  await settle();
  assert.ok(held.aborted);
  assert.match(outcome.error.message, /the user left; it may have happened$/);
  assert.deepEqual(clock.pending, []);
  const before = ask([json(1)], { signal: controller.signal });
  await settle();
  assert.equal(before.outcome.error.sent, false);
  assert.match(before.outcome.error.message, /it was never sent$/);
  assert.deepEqual(before.network.requests, []);
});

test("a token that cannot be fetched is waited for; one that cannot be sent is the end", async () => {
  let fails = 1;
  const token = async () => (fails-- > 0 ? Promise.reject(new Error("away")) : "t");
  const { outcome, clock, network } = ask([json(1)], { token });
  await clock.advance(1_000);
  assert.equal(network.requests[0].headers.Authorization, "Bearer t");
  assert.equal(outcome.reply.status, 200);
  const never = ask([json(1)], { token: () => "a b" });
  await settle();
  assert.deepEqual([never.outcome.error.sent, never.network.requests.length], [false, 0]);
});

test("what cannot be asked is an error at once", async () => {
  const circle = {};
  circle.circle = circle;
  for (const [data, more] of [
    [1, { id: "ä" }],
    [1, { id: "" }],
    [1, { id: 5 }],
    [1, { id: "a\nb" }],
    [1, { timeout: 0 }],
    [1, { timeout: "soon" }],
    [1, { token: "a b" }],
    [() => 1, {}],
    [circle, {}],
  ]) {
    const { outcome, network } = ask([json(1)], more, data);
    await settle();
    assert.ok(outcome.error instanceof TypeError);
    assert.equal(network.requests.length, 0);
  }
});

test("an id is a string of structured fields, and the data are those of the call", async () => {
  const data = { shelf: 7 };
  const { network, clock } = ask([undefined, json(1)], { id: 'a"b\\c' }, data);
  data.shelf = 8;
  await clock.advance(1_000);
  assert.equal(network.requests[0].headers["Idempotency-Key"], '"a\\"b\\\\c"');
  assert.deepEqual(
    network.requests.map(({ body }) => body),
    ['{"shelf":7}', '{"shelf":7}'],
  );
});

test("an id of one's own is random, where there is no secure context too", () => {
  const ids = new Set([newId(), newId(), newId({ getRandomValues: (bytes) => crypto.getRandomValues(bytes) })]);
  assert.equal(ids.size, 3);
  const zeros = newId({ getRandomValues: (bytes) => bytes.fill(10) });
  assert.equal(zeros, "CgoKCgoKCgoKCgoKCgoKCg==");
});

test("a stream's handle asks from its URL, with its options", async () => {
  const { track, network } = await openStream({ token: "t" });
  network.answers.unshift(json({ picked: 1 }));
  const answer = await track.command("pick?fast=1", null);
  assert.equal(answer.status, 200);
  const { host, path, headers, body } = network.requests[1];
  assert.deepEqual([host, path, headers.Authorization, body], [
    "shop.example",
    "/orders/A123/pick?fast=1",
    "Bearer t",
    "null",
  ]);
});

// --- over a WebSocket --------------------------------------------------------------------------------------

test("a socket asks over its WebSocket, and answers come in any order", async () => {
  const { socket, opened, clock } = await openLive();
  const [one, two] = [
    socket.command("/orders/A1/pick?fast=1", { shelf: 1 }, { id: "1" }),
    socket.command("/orders/A2/pick", undefined, { id: "2" }),
  ];
  assert.deepEqual(opened[0].sent, [
    { type: "command", id: "1", url: "/orders/A1/pick?fast=1", data: { shelf: 1 } },
    { type: "command", id: "2", url: "/orders/A2/pick", data: null },
  ]);
  await opened[0].say(reply("x"), reply("2", { repeated: true }), reply("1", { status: 404, data: null }));
  assert.deepEqual(await one, { status: 404, data: null, repeated: false });
  assert.deepEqual(await two, { status: 200, data: { picked: "2" }, repeated: true });
  assert.deepEqual(clock.pending, [50_000]);
});

test("a channel's own WebSocket carries commands too, and while it is away they go by POST", async () => {
  const { WebSocket, opened } = makeSockets();
  const network = new Network(json("by POST"));
  const { track, clock, heard } = listen("websocket", { WebSocket, fetch: network.fetch });
  await settle();
  await opened[0].open();
  await opened[0].say(BEGIN);
  const asked = [track.command("pick", 1, { id: "1" }), track.command("pick", 2, { id: "2" })];
  assert.deepEqual(opened[0].sent[0], { type: "command", id: "1", url: "/orders/A123/pick", data: 1 });
  await opened[0].say(reply("1"));
  await opened[0].lose();
  await clock.advance(1_000);
  assert.deepEqual((await Promise.all(asked)).map(({ data }) => data), [{ picked: "1" }, "by POST"]);
  await opened[1].open();
  track.command("pick", 3, { id: "3" });
  assert.equal(opened[1].sent[0].id, "3");
  assert.deepEqual(heard.faults, []);
});

test("what was not answered is asked again, in order, as soon as the socket is back", async () => {
  const { socket, opened, clock } = await openLive({ fetch: new Network().fetch });
  const asked = ["1", "2", "3"].map((id) => socket.command(`/orders/${id}/pick`, { id }, { id, timeout: 600_000 }));
  await opened[0].say(reply("2"));
  await opened[0].say({ type: "bye", code: 1012, reason: "restarting", retry: 4_321 });
  await opened[0].lose(1012);
  await clock.advance(4_321);
  await opened[1].open();
  assert.deepEqual(
    opened[1].sent.map(({ id, data }) => [id, data]),
    [
      ["1", { id: "1" }],
      ["3", { id: "3" }],
    ],
  );
  await opened[1].say(reply("3"), reply("1"));
  assert.deepEqual((await Promise.all(asked)).map(({ data }) => data.picked), ["1", "2", "3"]);
});

test("while there is no WebSocket, commands go by POST, under the same id and the same path", async () => {
  const network = new Network(json({ picked: 1 }), json({ picked: 2 }));
  const { socket, opened, clock } = openSocket({ fetch: network.fetch, token: "t" });
  assert.equal((await socket.command("/orders/A1/pick", 1)).status, 200);
  await opened[0].open();
  const asked = socket.command("/orders/A2/pick", 2, { id: "2" });
  await opened[0].lose();
  await clock.advance(1_000);
  assert.equal((await asked).data.picked, 2);
  const [, { host, path, headers }] = network.requests;
  assert.deepEqual([host, path, headers["Idempotency-Key"], headers.Authorization], [
    "shop.example",
    "/orders/A2/pick",
    '"2"',
    "Bearer t",
  ]);
  assert.equal(opened[0].sent[0].url, path);
});

test("a reply that says 'not now' is waited for and asked again", async () => {
  const { socket, opened, clock } = await openLive();
  const asked = socket.command("/orders/A1/pick", 1, { id: "1" });
  await opened[0].say(reply("1", { status: 409, data: { error: "running" }, retry: 1_500 }));
  await clock.advance(1_499);
  assert.equal(opened[0].sent.length, 1);
  await clock.advance(1);
  assert.equal(opened[0].sent.length, 2);
  await opened[0].say(reply("1"));
  assert.equal((await asked).status, 200);
});

test("a command to another origin goes there, and not over the socket", async () => {
  const network = new Network(json(1));
  const { socket, opened } = await openLive({ fetch: network.fetch });
  await socket.command("http://bank.example/pay", 1);
  assert.deepEqual([network.requests[0].host, opened[0].sent], ["bank.example", []]);
});

test("a command that the network loses waits, however open the socket is to another place", async () => {
  const network = new Network(undefined, json(1));
  const { socket, clock } = await openLive({ fetch: network.fetch });
  const asked = socket.command("http://bank.example/pay", 1);
  await clock.advance(999);
  assert.equal(network.requests.length, 1);
  await clock.advance(1);
  assert.equal((await asked).data, 1);
});

test("a command that was sent over a WebSocket and not answered may have happened", async () => {
  const { socket, clock } = await openLive({ silence: 200_000 });
  const outcome = socket.command("/orders/A1/pick", 1, { id: "1" }).catch((error) => error);
  await clock.advance(60_000);
  assert.deepEqual([(await outcome).sent, (await outcome).id], [true, "1"]);
  assert.match((await outcome).message, /60000 ms are over; it may have happened$/);
});

test("a reply shows that all is well: the next loss is one of its own", async () => {
  const retries = [];
  const { socket, opened, clock } = await openLive({ onState: (_, { retry }) => retry && retries.push(retry) });
  await opened[0].lose();
  await clock.advance(1_000);
  await opened[1].open();
  socket.command("/orders/A1/pick", 1, { id: "1" });
  await opened[1].say(reply("1"));
  await opened[1].lose();
  assert.deepEqual(retries, [1_000, 1_000]);
});

test("a closed socket's commands go on by POST", async () => {
  const network = new Network(json(1));
  const { socket, opened, clock } = await openLive({ fetch: network.fetch });
  const asked = socket.command("/orders/A1/pick", 1);
  assert.equal(opened[0].sent.length, 1);
  socket.close();
  await clock.advance(1_000);
  assert.equal((await asked).data, 1);
});

test("sixteen are open, the others wait in order; one that waits in vain was never sent", async () => {
  const { socket, opened, clock } = await openLive();
  const controller = new AbortController();
  const outcomes = [];
  for (let number = 1; number <= 20; number++) {
    const more = number === 17 ? { signal: controller.signal } : {};
    const asked = socket.command(`/orders/${number}/pick`, number, { id: `${number}`, timeout: 600_000, ...more });
    asked.then(({ data }) => outcomes.push(data.picked), ({ sent }) => outcomes.push(sent));
  }
  const sent = () => opened[0].sent.filter(({ type }) => type === "command").map(({ id }) => Number(id));
  assert.deepEqual(sent(), Array.from({ length: 16 }, (_, index) => index + 1));
  controller.abort();
  await settle();
  await opened[0].say(reply("5"));
  await opened[0].say(reply("1"), reply("2"));
  assert.deepEqual(sent().slice(16), [18, 19, 20]);
  assert.deepEqual(outcomes, [false, "5", "1", "2"]);
  socket.close();
  await clock.advance(0);
});

test("a thousand may wait; of more the page is told at once", async () => {
  const { socket } = await openLive();
  const asked = Array.from({ length: 1_017 }, (_, index) => socket.command("/pick", index, { timeout: 600_000 }));
  await assert.rejects(asked.at(-1), (error) => error instanceof Unanswered && !error.sent);
});

test("a place that comes free is used, whenever the command next in line gives up", async () => {
  for (let moment = 0; moment < 30; moment++) {
    const { socket, opened } = await openLive();
    const controller = new AbortController();
    const asked = Array.from({ length: 18 }, (_, index) =>
      socket.command("/pick", index, { id: `${index}`, ...(index === 16 && { signal: controller.signal }) }),
    );
    const outcome = asked[16].catch(({ name }) => name);
    opened[0].onmessage({ data: JSON.stringify(reply("0")) });
    for (let turn = 0; turn < moment; turn++) await Promise.resolve();
    controller.abort();
    assert.equal(await outcome, "Unanswered");
    await settle();
    assert.equal(opened[0].sent.at(-1).id, "17");
  }
});

test("what was asked over one of two WebSockets is asked again when that is lost, whichever of them is the newer", async () => {
  for (const lost of [0, 1]) {
    const network = new Network(json({ picked: 1 }), json({ picked: 1 }));
    const { client, sockets, clock } = meet({ transports: ["websocket"], network });
    const replies = [];
    const send = (id) => client.send("/pick", null, { id }).then(({ status }) => replies.push(`${id} ${status}`));
    for (const [number, url] of ["c", "d"].entries()) {
      client.follow(url);
      await settle();
      await sockets[number].open();
      send(`over ${number}`);
      await settle();
    }
    assert.deepEqual(sockets.map(({ sent }) => sent.map(({ id }) => id)), [["over 0"], ["over 1"]]);
    await sockets[lost].lose(1006);
    await clock.advance(1_000);
    const other = sockets[1 - lost];
    // Over the newer one that is left, or by POST.
    assert.deepEqual([other.sent.at(-1).id, network.requests.length], lost === 0 ? ["over 0", 0] : ["over 0", 1]);
    await other.say(reply("over 0"), reply("over 1"));
    assert.deepEqual(replies.sort(), ["over 0 200", "over 1 200"]);
  }
});

test("a command that may be too long for a message goes by POST: a server ends a WebSocket for good by one", async () => {
  const { client, sockets, network } = meet({ socket: "/live", network: new Network(json({}, {}, 413)) });
  await settle();
  await sockets[0].open();
  const short = client.send("/pick", "x".repeat(60_000), { id: "short" });
  const long = client.send("/pick", "字".repeat(30_000), { id: "long" }); // what counts is bytes
  await settle();
  assert.deepEqual(sockets[0].sent.map(({ id }) => id), ["short"]);
  assert.equal((await long).status, 413);
  await sockets[0].say(reply("short"));
  assert.deepEqual([(await short).status, network.requests.length], [200, 1]);
});
