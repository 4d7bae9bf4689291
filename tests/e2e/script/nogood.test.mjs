/** Dialogues about what is no good, or too much: it is its own affair, and ends nothing beside it. Run by `node --test`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { openSocket } from "./dialogues.mjs";
import { Network, Stream, makeBrowser, settle } from "./fakes.mjs";
import { HELLO, bracket, listen, live, meet, note, opened } from "./meeting.mjs";

const SOCKET = { socket: "/live" };

/** A store that has one text for each cursor. */
const having = (text) => ({ get: (key) => (key.includes("cursor") ? text : null), set: () => {} });

test("what can be no cursor is an error at once, and nothing is asked for", async () => {
  const { client, sockets } = meet(SOCKET);
  const { socket } = openSocket();
  for (const after of ["now", "e.", "e.5 c", "-0", "e5", "1e+21", 1e21, {}, `${"e".repeat(33)}.1`]) {
    assert.throws(() => client.follow("c", { after }), TypeError);
    assert.throws(() => socket.follow("/c", { after }), TypeError);
  }
  for (const after of [undefined, null, "", 0, "0", -50, "-50", "e.5", "r_w-8.1041", 7]) client.follow("c", { after });
  await settle();
  await sockets[0].open();
  await sockets[0].say(HELLO, { type: "refused", url: "/c", sub: "s1" });
  const places = [undefined, undefined, undefined, "0", "0", "-50", "-50", "e.5", "r_w-8.1041", "7"];
  assert.deepEqual(sockets[0].sent.map(({ after }) => after), places);
});

test("a store that has what is no cursor is told of, and done without", async () => {
  for (const kept of ["{}", "null", "now", " c", "e.x c", "?"]) {
    const { client, sockets } = meet({ ...SOCKET, store: having(kept) });
    const faults = [];
    const complain = console.error;
    console.error = ({ kind, error }) => faults.push([kind, error.message]); // before anybody listens
    const follow = client.follow("/c/events", { after: "e.1" });
    console.error = complain;
    await settle();
    await sockets[0].open();
    await sockets[0].say(HELLO, ...bracket("s1", opened("e.1", { sub: "s1" }), live("e.1", { subs: ["s1"] })));
    assert.deepEqual(faults, [["store", `no cursor: ${kept.split(" ")[0]}`]]);
    assert.deepEqual(sockets[0].sent.map(({ after }) => after), ["e.1"]);
    assert.equal(follow.state, "live");
  }
});

test("a message that JSON cannot say is null: the server ends a socket by what is none", async () => {
  const { client, sockets } = meet(SOCKET);
  await settle();
  await sockets[0].open();
  for (const data of [undefined, () => {}, 0]) assert.equal(client.tell(data), true);
  assert.deepEqual(sockets[0].sent.map(({ data }) => data), [null, null, 0]);
});

test("what is more than the server follows on one socket has another connection, until there is room", async () => {
  const streams = [new Stream(), new Stream()];
  const { client, sockets, clock, network } = meet({ ...SOCKET, network: new Network(...streams) });
  const heard = ["/a", "/c"].map((url) => listen(client.follow(url, { after: "e.1" })));
  await settle();
  await sockets[0].open();
  await sockets[0].say(HELLO, ...bracket("s1", opened("e.1", { sub: "s1", channel: "a" })));
  await sockets[0].say({ type: "refused", url: "/c", sub: "s2", reason: "follows" });
  await settle();
  assert.deepEqual(network.requests.map(({ path }) => path), ["/live?format=triolet&follow=%2Fc%3Fafter%3De.1"]);
  await streams[0].send("open", opened("e.1", { url: "/c?after=e.1" }));
  await streams[0].send(`data: ${JSON.stringify(note("e.2"))}\n\n`);
  await streams[0].send("live", live("e.2"));
  await sockets[0].say(...bracket("s1", live("e.1", { subs: ["s1"], channel: "a" })), note("e.2", { channel: "a" }));
  assert.deepEqual([heard, client.state, client.transport], [[["e.2"], ["e.2"]], "live", "websocket"]);
  await sockets[0].lose();
  await clock.advance(1_000);
  await sockets[1].open();
  await sockets[1].say(HELLO);
  assert.deepEqual(sockets[1].sent.map(({ url, after }) => [url, after]), [["/a", "e.2"], ["/c", "e.2"]]);
  client.close();
  assert.deepEqual(clock.pending, []);
});
