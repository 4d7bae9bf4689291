/** Dialogues about many subscriptions on one WebSocket: each has an identity of its own. Run by `node --test`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { event, openSocket } from "./dialogues.mjs";
import { settle } from "./fakes.mjs";

const HELLO = { type: "open", channel: null, cursor: null };
const URL_OF_A = "/a/events";

/** Follows of one URL on one socket, with everything noted down in `heard`. Until there is an answer one is asked for. */
async function openFollows(...places) {
  const { socket, opened, clock } = openSocket();
  await settle();
  await opened[0].open();
  await opened[0].say(HELLO);
  const follows = places.map((after) => {
    const heard = [];
    const note = (kind) => (said) => heard.push(`${kind} ${said.kind ?? said.id ?? said.to ?? said.cursor}`);
    const options = { onEvent: note("event"), onGap: note("gap"), onFault: note("fault") };
    return { heard, track: socket.follow(URL_OF_A, { after, ...options }) };
  });
  return { socket, opened, clock, follows };
}

const open = (sub, cursor, more = {}) => ({ type: "open", channel: "a", cursor, url: URL_OF_A, sub, ...more });
const live = (cursor, ...subs) => ({ type: "live", channel: "a", cursor, subs });
const bracket = (subs, ...messages) => [{ type: "for", subs, next: messages.length }, ...messages];

test("two follows of one channel each get everything from where they stand", async () => {
  const { opened, follows } = await openFollows("e.5", "e.2");
  const [one, two] = follows;
  const asked = (after, sub) => ({ type: "follow", url: URL_OF_A, after, sub });
  assert.deepEqual(opened[0].sent, [asked("e.5", "s1")]);
  await opened[0].say(...bracket(["s1"], open("s1", "e.5"), live("e.5", "s1")));
  assert.deepEqual(opened[0].sent.slice(1), [asked("e.2", "s2")]);
  await opened[0].say(...bracket(["s2"], open("s2", "e.2"), event("a", "e.3")));
  await opened[0].say(event("a", "e.6"));
  await opened[0].say(...bracket(["s2"], event("a", "e.4"), event("a", "e.5"), event("a", "e.6"), live("e.6", "s1", "s2")));
  await opened[0].say(event("a", "e.7"));
  assert.deepEqual(one.heard, ["event e.6", "event e.7"]);
  assert.deepEqual(two.heard, ["event e.3", "event e.4", "event e.5", "event e.6", "event e.7"]);
  assert.deepEqual([one.track.state, two.track.state], ["live", "live"]);
});

test("who is named by no live takes what is in its brackets alone", async () => {
  const { opened, follows } = await openFollows("e.5", "e.5");
  const [one, two] = follows;
  await opened[0].say(...bracket(["s1"], open("s1", "e.5")), ...bracket(["s2"], open("s2", "e.5")));
  await opened[0].say(...bracket(["s1", "s2"], live("e.5", "s1", "s2")));
  await opened[0].say(event("a", "e.6"));
  await opened[0].say(...bracket(["s1"], live("e.6", "s1")), event("a", "e.7"));
  assert.deepEqual(two.heard, ["event e.6"]);
  await opened[0].say(...bracket(["s2"], { type: "gap", channel: "a", from: "e.6", to: "e.7", missed: 1, reason: "skipped" }));
  assert.deepEqual([one.heard, two.heard], [["event e.6", "event e.7"], ["event e.6", "gap e.7"]]);
});

test("each leaves for itself, also before the server has answered, and what comes for it later is nobody's", async () => {
  const { opened, follows } = await openFollows("e.5", "e.5");
  const [one, two] = follows;
  one.track.close();
  assert.deepEqual(opened[0].sent[1], { type: "unfollow", channel: "", sub: "s1" });
  await opened[0].say(...bracket(["s1"], open("s1", "e.5"), event("a", "e.6")));
  await opened[0].say(...bracket(["s2"], open("s2", "e.5"), live("e.5", "s2")), event("a", "e.6"));
  assert.deepEqual([one.heard, two.heard], [[], ["event e.6"]]);
  two.track.close();
  assert.deepEqual(opened[0].sent.at(-1), { type: "unfollow", channel: "a", sub: "s2" });
  assert.equal(opened[0].sent.filter(({ type }) => type === "unfollow").length, 2);
});

test("who waits for the answer to another one of its URL is asked for when that has left", async () => {
  const { opened, follows } = await openFollows("e.5", "e.2");
  const [one, two] = follows;
  one.track.close(); // and nothing answers it any more
  assert.deepEqual(opened[0].sent.slice(1), [
    { type: "unfollow", channel: "", sub: "s1" },
    { type: "follow", url: URL_OF_A, after: "e.2", sub: "s2" },
  ]);
  await opened[0].say(...bracket(["s2"], open("s2", "e.2"), event("a", "e.3"), live("e.3", "s2")));
  assert.deepEqual([two.heard, two.track.state], [["event e.3"], "live"]);
});

test("a beat moves whom it speaks of: who is live on the channel, or is alone on it", async () => {
  const { opened, follows } = await openFollows("e.5", "e.2");
  const [one, two] = follows;
  await opened[0].say(...bracket(["s1"], open("s1", "e.5"), live("e.5", "s1")), ...bracket(["s2"], open("s2", "e.2")));
  await opened[0].say({ type: "beat", time: 1, cursors: { a: "e.5" } });
  assert.deepEqual([one.heard, two.heard, two.track.cursor], [[], [], "e.2"]);
});

test("a refusal ends the subscription that it names", async () => {
  const { opened, follows } = await openFollows("e.5", "e.5");
  await opened[0].say({ type: "refused", url: URL_OF_A, sub: "s1" });
  assert.deepEqual(follows.map(({ track }) => track.state), ["gone", "connecting"]);
  await opened[0].say(...bracket(["s2"], open("s2", "e.5")), { type: "refused", url: URL_OF_A, channel: "a", sub: "s2" });
  assert.equal(follows[1].track.state, "gone");
});

test("a hole in one is its own: it is asked for again, and the other hears of nothing", async () => {
  const { opened, follows } = await openFollows("e.5", "e.5");
  const [one, two] = follows;
  for (const sub of ["s1", "s2"]) await opened[0].say(...bracket([sub], open(sub, "e.5")));
  await opened[0].say(...bracket(["s1"], event("a", "e.7")));
  assert.deepEqual(opened[0].sent.slice(-2), [
    { type: "unfollow", channel: "a", sub: "s1" },
    { type: "follow", url: URL_OF_A, after: "e.5", sub: "s3" },
  ]);
  assert.deepEqual([one.heard, two.heard, opened.length], [["fault hole"], [], 1]);
  await opened[0].say(...bracket(["s3"], open("s3", "e.5"), event("a", "e.6")));
  assert.deepEqual(one.heard, ["fault hole", "event e.6"]);
});

test("after a loss each is asked for from its own cursor, under a name of its own", async () => {
  const { opened, follows, clock } = await openFollows("e.5", "e.2");
  await opened[0].say(...bracket(["s1"], open("s1", "e.5"), event("a", "e.6")), ...bracket(["s2"], open("s2", "e.2")));
  await opened[0].lose();
  await clock.advance(1_000);
  await opened[1].open();
  assert.deepEqual(opened[1].sent.map(({ after, sub }) => [after, sub]), [["e.6", "s3"], ["e.2", "s4"]]);
  assert.deepEqual(follows.map(({ track }) => track.state), ["connecting", "connecting"]);
});

test("an app's own channel and a subscription of it stand beside each other", async () => {
  const events = [];
  const { socket, opened } = openSocket({ onEvent: ({ id }) => events.push(id) });
  await settle();
  await opened[0].open();
  const own = [];
  socket.follow(URL_OF_A, { after: "e.1", onEvent: ({ id }) => own.push(id) });
  await opened[0].say(HELLO, { type: "open", channel: "a", cursor: "e.3" }, { type: "live", channel: "a", cursor: "e.3" });
  await opened[0].say(...bracket(["s1"], open("s1", "e.1"), event("a", "e.2")), event("a", "e.4"));
  assert.deepEqual([events, own], [["e.4"], ["e.2"]]);
});

// --- a server that knows no subscriptions ------------------------------------------------------------------

const plain = (cursor) => ({ type: "open", channel: "a", cursor, url: URL_OF_A });

test("a server without subscriptions follows a channel once, from the earliest of those who share it", async () => {
  const { opened, follows } = await openFollows("e.5", "e.2", "e.4", undefined);
  assert.deepEqual(opened[0].sent, [{ type: "follow", url: URL_OF_A, after: "e.5", sub: "s1" }]);
  await opened[0].say(plain("e.5"));
  assert.deepEqual(opened[0].sent.slice(1), [{ type: "follow", url: URL_OF_A, after: "e.2", sub: "s2" }]);
  await opened[0].say(event("a", "e.6")); // of the follow that was just given up
  await opened[0].say(plain("e.2"));
  for (let offset = 3; offset <= 6; offset++) await opened[0].say(event("a", `e.${offset}`));
  await opened[0].say({ type: "live", channel: "a", cursor: "e.6" }, event("a", "e.7"));
  const heard = () => follows.map((one) => one.heard.map((said) => said.replace("event e.", "")).join(""));
  assert.deepEqual(heard(), ["67", "34567", "567", "7"]);
  assert.equal(opened[0].sent.length, 2);
  for (const { track } of follows.slice(1)) track.close();
  assert.equal(opened[0].sent.length, 2);
  follows[0].track.close();
  assert.deepEqual(opened[0].sent.at(-1), { type: "unfollow", channel: "a" });
});

test("one that comes later to such a server joins the others, or has them wait for what it has not", async () => {
  const { opened, follows, socket } = await openFollows("e.5");
  await opened[0].say(plain("e.5"), event("a", "e.6"), { type: "live", channel: "a", cursor: "e.6" });
  const heard = [];
  const joined = socket.follow(URL_OF_A, { after: "e.6", onEvent: ({ id }) => heard.push(id) });
  assert.deepEqual([joined.state, opened[0].sent.length], ["live", 1]);
  socket.follow(URL_OF_A, { after: "e.5", onEvent: ({ id }) => heard.push(`late ${id}`) });
  assert.deepEqual(opened[0].sent.at(-1).after, "e.5");
  await opened[0].say(plain("e.5"), event("a", "e.6"), event("a", "e.7"));
  assert.deepEqual(heard, ["late e.6", "e.7", "late e.7"]);
  assert.deepEqual(follows[0].heard, ["event e.6", "event e.7"]);
});

test("who begins at the oldest event of such a server is asked for once", async () => {
  const { opened, follows, socket } = await openFollows("0");
  await opened[0].say(plain("e.0"), { type: "live", channel: "a", cursor: "e.0" });
  const heard = [];
  socket.follow(URL_OF_A, { after: "0", onEvent: ({ id }) => heard.push(id) });
  await opened[0].say(plain("e.0"), { type: "live", channel: "a", cursor: "e.0" }, event("a", "e.1"));
  assert.equal(opened[0].sent.length, 2);
  assert.deepEqual([follows[0].heard, heard], [["event e.1"], ["e.1"]]);
});

test("two URLs of one channel share it on such a server as well", async () => {
  const { opened, follows, socket } = await openFollows("e.3");
  await opened[0].say(plain("e.3"), event("a", "e.4"));
  const heard = [];
  socket.follow("/a/again", { after: "e.6", onEvent: ({ id }) => heard.push(id) });
  await opened[0].say({ ...plain("e.6"), url: "/a/again" });
  assert.deepEqual(opened[0].sent.at(-1), { type: "follow", url: URL_OF_A, after: "e.4", sub: "s3" });
  await opened[0].say(plain("e.4"), event("a", "e.5"), event("a", "e.6"), event("a", "e.7"));
  assert.deepEqual([follows[0].heard.length, heard], [4, ["e.7"]]);
});

test("who leaves such a server before it has answered is unfollowed when it does", async () => {
  const { opened, follows } = await openFollows("e.2");
  follows[0].track.close();
  await opened[0].say(plain("e.2"), event("a", "e.3"));
  assert.deepEqual(opened[0].sent.at(-1), { type: "unfollow", channel: "a" });
  assert.deepEqual(follows[0].heard, []);
});

// --- URLs --------------------------------------------------------------------------------------------------

test("what came of a connection that was lost while the sharing was loaded is nobody's on the next one", async () => {
  const { opened, clock, follows } = await openFollows("e.1");
  for (const message of [plain("e.1"), event("a", "e.2")]) opened[0].onmessage({ data: JSON.stringify(message) });
  await opened[0].lose();
  assert.equal(follows[0].track.state, "connecting");
  await clock.advance(1_000);
  await opened[1].open();
  await opened[1].say(HELLO, ...bracket(["s2"], open("s2", "e.1"), event("a", "e.2"), live("e.2", "s2")));
  assert.deepEqual([follows[0].heard, follows[0].track.state], [["event e.2"], "live"]);
  follows[0].track.close();
  assert.deepEqual(opened[1].sent.at(-1), { type: "unfollow", channel: "a", sub: "s2" });
});

test("a socket takes every URL that fetch takes, of its own server", async () => {
  const { socket, opened } = openSocket();
  await settle();
  await opened[0].open();
  const at = "http://shop.example";
  for (const url of ["events", new URL("/b/events?x=1", at), `${at}/c/events#now`, "/größe/日本", "//shop.example/d", "?all=1"]) {
    socket.follow(url);
  }
  assert.deepEqual(
    opened[0].sent.map(({ url }) => url),
    ["/events", "/b/events?x=1", "/c/events", "/gr%C3%B6%C3%9Fe/%E6%97%A5%E6%9C%AC", "/d", "/warehouse?all=1"],
  );
  assert.throws(() => socket.follow("https://bank.example/events"), TypeError);
});

test("a socket's onState is the socket's, not of the channels that the app chooses", async () => {
  const states = [];
  const { opened } = openSocket({ onState: (state) => states.push(state) });
  await settle();
  await opened[0].open();
  await opened[0].say(HELLO, { type: "open", channel: "a", cursor: "e.3" }, { type: "live", channel: "a", cursor: "e.3" });
  assert.deepEqual(states, ["live"]);
});

test("a WebSocket that is refused is not tried for ever: its URL says why", async () => {
  for (const [status, state] of [
    [401, "gone"],
    [404, "gone"],
    [426, "connecting"],
    [503, "connecting"],
  ]) {
    const fetch = async () => new Response("", { status });
    const { socket, opened } = openSocket({ fetch });
    await settle();
    await opened[0].lose();
    assert.equal(socket.state, state);
  }
});

test("a WebSocket that is refused for its token is tried with the next one, where there may be one", async () => {
  const fetch = async () => Response.json({ error: "expired" }, { status: 401 });
  for (const [token, state] of [
    ["t", "gone"],
    [async () => "t", "connecting"],
  ]) {
    const { socket, opened } = openSocket({ fetch, token });
    await settle();
    await opened[0].lose();
    assert.equal(socket.state, state);
  }
});

test("where a WebSocket has been open its URL is asked only after a while, and seldom", async () => {
  let asked = 0;
  const fetch = async () => {
    asked += 1;
    return new Response("", { status: 426 });
  };
  const { opened, clock } = openSocket({ fetch });
  await settle();
  await opened[0].open();
  await opened[0].say(HELLO);
  await opened[0].lose();
  for (const [tries, times] of [[7, 0], [8, 1], [23, 1], [24, 2]]) {
    while (opened.length <= tries) {
      await clock.advance(30_000);
      await opened.at(-1).lose();
    }
    assert.equal(asked, times);
  }
});

test("a beat that was on its way when the live one left moves nobody else", async () => {
  const { opened, follows } = await openFollows("e.5", "e.2");
  const [one, two] = follows;
  await opened[0].say(...bracket(["s1"], open("s1", "e.5"), live("e.5", "s1")));
  await opened[0].say(...bracket(["s2"], open("s2", "e.2"), event("a", "e.3")));
  one.track.close();
  await opened[0].say({ type: "beat", time: 1, cursors: { a: "e.9" } });
  assert.deepEqual(two.heard, ["event e.3"]);
  assert.equal(two.track.cursor, "e.3");
});

test("a beat tells by its name the place of one that is not live, which is filtered perhaps", async () => {
  const { opened, follows } = await openFollows("e.5", "e.2");
  const [one, two] = follows;
  await opened[0].say(...bracket(["s1"], open("s1", "e.5"), live("e.5", "s1")));
  await opened[0].say(...bracket(["s2"], open("s2", "e.2", { filtered: true }), live("e.5", "s1")));
  await opened[0].say(event("a", "e.6"), event("a", "e.7"));
  await opened[0].say({ type: "beat", time: 1, cursors: { a: "e.7" }, places: { s2: "e.7", s9: "e.1" } });
  assert.deepEqual([one.track.cursor, two.track.cursor, two.heard], ["e.7", "e.7", []]);
});

test("a channel that the app follows no longer has no hole by a beat of those who follow it by its URL", async () => {
  const faults = [];
  const { socket, opened } = openSocket({ onFault: ({ kind }) => faults.push(kind) });
  await settle();
  await opened[0].open();
  socket.follow(URL_OF_A, { after: "e.3" });
  await opened[0].say(HELLO, { type: "open", channel: "a", cursor: "e.3" }, { type: "live", channel: "a", cursor: "e.3" });
  await opened[0].say(...bracket(["s1"], open("s1", "e.3"), live("e.3")), ...bracket(["s1"], live("e.3", "s1")));
  await opened[0].say(event("a", "e.4"), { type: "beat", time: 1, cursors: { a: "e.4" } });
  assert.deepEqual([faults, opened.length], [[], 1]);
});
