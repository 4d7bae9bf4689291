/** Dialogues about why there is no connection: each try that fails says so, to the follow and to the client. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Network, Stream, settle, status } from "./fakes.mjs";
import { HELLO, bracket, live, meet, opened } from "./meeting.mjs";

/** What the client says of its state from now on: why in a word, its status, its code, and when it tries again. */
function whys({ client }) {
  const told = [];
  client.on("state", (state, { reason, retry, error }) => told.push([state, reason, error?.status, error?.code, retry]));
  return told;
}

test("a page that only connects is told why each try has failed: its status, or that nobody is there", async () => {
  const met = meet({ transports: ["sse"], network: new Network(status(503), status(500)) });
  const told = whys(met);
  met.client.follow("c");
  await met.clock.advance(9_000);
  assert.deepEqual(told, [
    ["connecting", undefined, undefined, undefined, undefined],
    ["connecting", "HTTP 503", 503, undefined, 1_000],
    ["connecting", "HTTP 500", 500, undefined, 2_000],
    ["connecting", "unreachable", undefined, undefined, 4_000],
    ["connecting", "unreachable", undefined, undefined, 8_000],
  ]);
  assert.deepEqual([met.client.why.reason, met.client.why.error.message], ["unreachable", "network down"]);
});

test("a WebSocket says by which code it ended, and of one that never opened nobody knows more", async () => {
  const met = meet({ socket: "/live", transports: ["websocket"] });
  const told = whys(met);
  await settle();
  await met.sockets[0].lose(1006);
  await met.clock.advance(1_000);
  await met.sockets[1].open();
  await met.sockets[1].say(HELLO);
  assert.deepEqual([met.client.state, met.client.why], ["live", {}]);
  await met.sockets[1].lose(1013);
  assert.deepEqual(told, [
    ["connecting", "closed 1006", undefined, 1006, 1_000],
    ["live", undefined, undefined, undefined, undefined],
    ["connecting", "closed 1013", undefined, 1013, 2_000],
  ]);
});

test("many follows on one socket are one reason, and it is told once", async () => {
  const met = meet({ socket: "/live", transports: ["websocket"] });
  for (const url of ["c", "d", "e"]) met.client.follow(url);
  await settle();
  const told = whys(met);
  for (const socket of [0, 1]) {
    await met.sockets[socket].lose(1006);
    await met.clock.advance(2_000);
  }
  assert.deepEqual(told.map(([state, , , code]) => [state, code]), [["connecting", 1006], ["connecting", 1006]]);
});

test("what is wrong with a follow that is over is no reason of those that connect, and none of those that are live", async () => {
  const stream = new Stream();
  const met = meet({ transports: ["sse"], network: new Network(status(403), stream) });
  const told = whys(met);
  const refused = met.client.follow("secret");
  met.client.follow("c");
  await settle();
  await stream.send("open", opened("e.1"));
  await stream.send("live", live("e.1"));
  assert.deepEqual([refused.state, refused.why.error.status], ["gone", 403]);
  assert.deepEqual(told.map(([state, reason]) => [state, reason]), [
    ["connecting", undefined],
    ["behind", undefined],
    ["live", undefined],
  ]);
});

test("a presence that only connects says why, as a follow does", async () => {
  const met = meet({ transports: ["sse"], network: new Network(status(503)) });
  const told = [];
  met.client.presence("/who").on("state", (state, { error, reason }) => told.push([state, error.status ?? reason]));
  await met.clock.advance(2_000);
  assert.deepEqual(told, [["connecting", 503], ["connecting", "unreachable"]]);
});

test("a follow that is refused for now says why it waits, on the one socket and on the stream of several", async () => {
  const busy = { type: "refused", url: "/c", reason: "busy", retry: 9_000 };
  const one = meet({ socket: "/live", transports: ["websocket"] });
  const follow = one.client.follow("c", { after: "e.1" });
  await settle();
  await one.sockets[0].open();
  await one.sockets[0].say(HELLO, { ...busy, sub: "s1" });
  const stream = new Stream();
  const many = meet({ socket: "/live", transports: ["sse"], network: new Network(stream) });
  const other = many.client.follow("c", { after: "e.1" });
  await settle();
  await stream.send("refused", { ...busy, url: "/c?after=e.1" });
  for (const { state, why } of [follow, other]) {
    assert.deepEqual([state, why.reason, why.retry, why.error.retry], ["connecting", "busy", 9_000, 9_000]);
  }
  assert.deepEqual([one.client.why.reason, many.client.why.reason], ["busy", "busy"]);
});

test("why a follow is over is no reason of those that are live", async () => {
  for (const [answer, end] of [[status(403), () => null], [status(503), (follow) => follow.close()]]) {
    const stream = new Stream();
    const met = meet({ transports: ["sse"], network: new Network(stream, answer) });
    met.client.follow("c");
    const other = met.client.follow("d");
    await stream.send("open", opened("e.1"));
    await stream.send("live", live("e.1"));
    end(other);
    assert.deepEqual([other.state, met.client.state, met.client.why], ["gone", "live", {}]);
  }
});

test("a credential that cannot be renewed is told to what follows over the one socket, as over one of its own", async () => {
  const token = () => (token.asked++ ? Promise.reject(new Error("no more tokens")) : "t");
  token.asked = 0;
  const met = meet({ socket: "/live", transports: ["websocket"], token });
  const follow = met.client.follow("c", { after: "e.1" });
  await settle();
  const [socket] = met.sockets;
  await socket.open();
  await socket.say(HELLO, ...bracket("s1", opened("e.1", { sub: "s1" }), live("e.1", { subs: ["s1"] })));
  await socket.say({ type: "expiring", in: 8_000 });
  await met.clock.advance(4_000);
  assert.deepEqual([follow.state, follow.why.error?.message], ["live", "no more tokens"]);
});
