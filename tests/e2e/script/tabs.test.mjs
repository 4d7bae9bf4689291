/** Dialogues of tabs that share one connection: who leads, each its own cursor, and who comes after. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock, Network, makeBrowser, settle } from "./fakes.mjs";
import { HELLO, bracket, listen, live, meet, note, opened } from "./meeting.mjs";

const URL_OF_C = "/c/events";

/** Tabs of one browser, with one clock. */
function openBrowser(more = {}) {
  const browser = makeBrowser();
  const clock = new Clock();
  const open = (own = {}) => meet({ socket: "/live", share: true, clock, ...browser, ...more, ...own });
  return { clock, open, browser };
}

/** What one tab has of its browser: until it wakes nothing reaches it, and it says nothing. */
function makeHanging({ locks, BroadcastChannel }) {
  const tab = { isHung: false };
  const waiting = [];
  let woken = Promise.resolve();
  tab.hang = () => {
    tab.isHung = true;
    woken = new Promise((resolve) => (tab.resume = resolve));
  };
  tab.wake = async () => {
    tab.isHung = false;
    tab.resume();
    for (const call of waiting.splice(0)) call();
    await settle();
  };
  tab.BroadcastChannel = class extends BroadcastChannel {
    postMessage(data) {
      if (!tab.isHung) super.postMessage(data);
    }

    set onmessage(hear) {
      this.hear = hear;
    }

    get onmessage() {
      return (message) => (tab.isHung ? waiting.push(() => this.hear(message)) : this.hear(message));
    }
  };
  const later = (error) => woken.then(() => Promise.reject(error));
  tab.locks = { request: (...asked) => locks.request(...asked).catch(later) };
  return tab;
}

/** What a server says to a subscription that begins at a cursor and is live at once. */
async function welcome(socket, sub, cursor, ...events) {
  const end = events.at(-1)?.id ?? cursor;
  await socket.say(...bracket(sub, opened(cursor, { sub }), ...events, live(end, { subs: [sub] })));
  await settle();
}

/** Two tabs that follow one channel; the first one leads. */
async function openTwo() {
  const { clock, open } = openBrowser();
  const one = open();
  await clock.advance(10);
  const two = open();
  await clock.advance(10);
  one.follow = one.client.follow(URL_OF_C, { after: "e.1" });
  two.follow = two.client.follow(URL_OF_C, { after: "e.1" });
  [one.heard, two.heard] = [listen(one.follow), listen(two.follow)];
  await clock.advance(100);
  await one.sockets[0].open();
  await one.sockets[0].say(HELLO);
  await settle();
  return { clock, open, one, two };
}

test("two tabs have one connection, and both get everything", async () => {
  const { one, two } = await openTwo();
  assert.deepEqual([one.sockets.length, two.sockets.length], [1, 0]);
  assert.deepEqual([one.client.isLeader, two.client.isLeader], [true, false]);
  assert.deepEqual(one.sockets[0].sent, [{ type: "follow", url: URL_OF_C, after: "e.1", sub: "s1" }]);
  await welcome(one.sockets[0], "s1", "e.1", note("e.2"));
  await one.sockets[0].say(note("e.3"));
  await settle();
  assert.deepEqual([one.heard, two.heard], [["e.2", "e.3"], ["e.2", "e.3"]]);
  assert.deepEqual([one.client.state, two.client.state, two.client.transport], ["live", "live", "websocket"]);
});

test("who asks for the newest so many shares it with those that ask for as many", async () => {
  const { clock, open } = openBrowser();
  const tabs = [open(), open(), open()];
  await clock.advance(10);
  const heard = ["e.1", "-2", -2].map((after, place) => listen(tabs[place].client.follow(URL_OF_C, { after })));
  await clock.advance(100);
  const [{ sockets: [socket] }] = tabs;
  await socket.open();
  await socket.say(HELLO);
  await welcome(socket, "s1", "e.1", note("e.2"), note("e.3"), note("e.4"));
  assert.deepEqual(socket.sent.map(({ after }) => after), ["e.1", "-2"]);
  await welcome(socket, "s2", "e.2", note("e.3"), note("e.4"));
  assert.deepEqual(heard, [["e.2", "e.3", "e.4"], ["e.3", "e.4"], ["e.3", "e.4"]]);
});

test("a broken promise of the server's is told to each tab", async () => {
  const { one, two } = await openTwo();
  const faults = [];
  for (const { follow } of [one, two]) follow.on("fault", (fault) => faults.push(fault));
  await welcome(one.sockets[0], "s1", "e.1", note("e.2"));
  await one.sockets[0].say(note("e.2"), note("e.3"));
  await settle();
  const repeat = { kind: "repeat", channel: "c", from: "e.2", to: "e.2" };
  assert.deepEqual([faults, one.heard, two.heard], [[repeat, repeat], ["e.2", "e.3"], ["e.2", "e.3"]]);
});

test("a tab that stands elsewhere has its own place, until it has caught up", async () => {
  const { one, two, clock } = await openTwo();
  await welcome(one.sockets[0], "s1", "e.1", note("e.2"), note("e.3"));
  const late = two.client.follow(URL_OF_C, { after: "e.0" });
  const heard = listen(late);
  await clock.advance(0);
  assert.deepEqual(one.sockets[0].sent.at(-1), { type: "follow", url: URL_OF_C, after: "e.0", sub: "s2" });
  await one.sockets[0].say(...bracket("s2", opened("e.0", { sub: "s2" }), note("e.1"), note("e.2"), note("e.3")));
  await one.sockets[0].say(...bracket("s2", live("e.3", { subs: ["s1", "s2"] })));
  await settle();
  assert.deepEqual(one.sockets[0].sent.at(-1), { type: "unfollow", channel: "c", sub: "s2" });
  await one.sockets[0].say(live("e.3", { subs: ["s1"] }), note("e.4"));
  await settle();
  assert.deepEqual([heard, late.state], [["e.1", "e.2", "e.3", "e.4"], "live"]);
  assert.deepEqual(two.heard, ["e.2", "e.3", "e.4"]);
});

test("one that begins now begins where the connection stands", async () => {
  const { one, two, clock } = await openTwo();
  await welcome(one.sockets[0], "s1", "e.1", note("e.2"));
  const now = two.client.follow(URL_OF_C);
  const heard = listen(now);
  await clock.advance(0);
  assert.equal(one.sockets[0].sent.length, 1);
  await one.sockets[0].say(note("e.3"));
  await settle();
  assert.deepEqual([heard, now.state], [["e.3"], "live"]);
});

test("when the leader goes the next one goes on, from the oldest place, and nobody misses or repeats", async () => {
  const { one, two, clock } = await openTwo();
  await welcome(one.sockets[0], "s1", "e.1", note("e.2"));
  await one.page.say("pagehide");
  await clock.advance(100);
  assert.ok(one.sockets[0].closed);
  assert.equal(two.client.isLeader, true);
  assert.equal(one.follow.why.reason, "paused");
  const late = two.client.follow(URL_OF_C, { after: "e.0" });
  const heard = listen(late);
  await two.sockets[0].open();
  await two.sockets[0].say(HELLO);
  await welcome(two.sockets[0], "s1", "e.2", note("e.3"));
  assert.deepEqual(two.sockets[0].sent.map(({ after }) => after), ["e.2", "e.0"]);
  assert.deepEqual(two.heard, ["e.2", "e.3"]);
  await one.page.say("pageshow");
  await clock.advance(100);
  const missed = [note("e.1"), note("e.2"), note("e.3")];
  await two.sockets[0].say(...bracket("s2", opened("e.0", { sub: "s2" }), ...missed));
  await settle();
  assert.deepEqual([one.heard, one.sockets.length], [["e.2", "e.3"], 1]);
  assert.deepEqual(heard, ["e.1", "e.2", "e.3"]);
});

test("a new leader asks for a channel once, from the oldest place of all tabs", async () => {
  const { clock, open } = openBrowser();
  const tabs = [open(), open(), open()];
  await clock.advance(10);
  tabs.forEach(({ client }, index) => client.follow(URL_OF_C, { after: `e.${5 - index}` }));
  await clock.advance(100);
  const [{ sockets }] = tabs;
  await sockets[0].open();
  await sockets[0].say(HELLO);
  assert.deepEqual(sockets[0].sent.map(({ after }) => after), ["e.3"]);
});

test("a gap that only others have, who stood further back, moves nobody back", async () => {
  const { clock, open } = openBrowser();
  const tabs = [open(), open()];
  await clock.advance(10);
  const heard = tabs.map(({ client }, index) => listen(client.follow(URL_OF_C, { after: `e.${5 - 4 * index}` })));
  await clock.advance(100);
  const [{ sockets }] = tabs;
  await sockets[0].open();
  await sockets[0].say(HELLO);
  const gap = { type: "gap", channel: "c", from: "e.1", to: "e.4", missed: 3, reason: "expired" };
  const rest = [note("e.5"), note("e.6"), live("e.6", { subs: ["s1"] })];
  await sockets[0].say(...bracket("s1", opened("e.1", { sub: "s1" }), gap, ...rest));
  await settle();
  assert.deepEqual(heard, [["e.6"], ["gap e.4 expired", "e.5", "e.6"]]);
});

test("a leader that has long been hidden tries as often as a tab that is looked at needs it", async () => {
  const { one, two, clock } = await openTwo();
  await welcome(one.sockets[0], "s1", "e.1");
  await one.page.turn("hidden");
  for (let beat = 0; beat < 31; beat++) {
    await clock.advance(10_000);
    await one.sockets[0].say({ type: "beat", time: 10_000 * beat, cursors: { c: "e.1" } });
  }
  await one.sockets[0].lose();
  await settle();
  assert.equal(two.client.state, "connecting");
  await clock.advance(1_000);
  assert.equal(one.sockets.length, 2);
  await two.page.turn("hidden");
  await one.sockets[1].lose();
  await clock.advance(59_000);
  assert.equal(one.sockets.length, 2);
  await two.page.turn("visible");
  await clock.advance(0);
  assert.equal(one.sockets.length, 3);
});

test("a tab that is closed without a word is left out", async () => {
  const { one, two, clock } = await openTwo();
  await welcome(one.sockets[0], "s1", "e.1");
  two.client.follow("/d/events");
  await clock.advance(0);
  assert.equal(one.sockets[0].sent.at(-1).url, "/d/events");
  two.client.close();
  await clock.advance(0);
  assert.equal(one.sockets[0].sent.at(-1).type, "unfollow");
  assert.equal(one.follow.state, "live");
});

test("what the app says is for all tabs, and any of them talks to it", async () => {
  const { one, two, clock } = await openTwo();
  const heard = [];
  for (const { client } of [one, two]) client.on("message", (data) => heard.push(data));
  await one.sockets[0].say({ type: "message", data: "hi" });
  assert.equal(two.client.tell("up"), true);
  await clock.advance(0);
  assert.deepEqual(heard, ["hi", "hi"]);
  assert.deepEqual(one.sockets[0].sent.at(-1), { type: "message", data: "up" });
});

test("the end of a channel is told in every tab, with its reason", async () => {
  const { one, two } = await openTwo();
  await welcome(one.sockets[0], "s1", "e.1");
  await one.sockets[0].say({ type: "refused", url: URL_OF_C, channel: "c", sub: "s1" });
  await settle();
  for (const { follow } of [one, two]) assert.deepEqual([follow.state, follow.why.error.code], ["gone", 4403]);
});

test("where a browser cannot share, each tab has a connection", async () => {
  const { client, sockets } = meet({ socket: "/live", share: true, locks: null, BroadcastChannel: null, network: new Network() });
  client.follow(URL_OF_C);
  await settle();
  assert.equal(sockets.length, 1);
});

test("a tab that may not share, as in a sandbox, has a connection of its own, and says so", async () => {
  const denied = new DOMException("denied", "SecurityError");
  class NoChannel {
    constructor() {
      throw denied;
    }
  }
  for (const no of [{ locks: { request: async () => Promise.reject(denied) } }, { BroadcastChannel: NoChannel }]) {
    const { clock, open } = openBrowser(no);
    const { client, sockets, page } = open();
    const faults = [];
    client.on("fault", ({ kind, error }) => faults.push([kind, error]));
    const heard = listen(client.follow(URL_OF_C, { after: "e.1" }));
    await settle();
    await sockets[0].open();
    await sockets[0].say(HELLO);
    await welcome(sockets[0], "s1", "e.1", note("e.2"));
    await page.say("online");
    assert.deepEqual([heard, faults, sockets.length, client.isLeader], [["e.2"], [["share", denied]], 1, true]);
    client.close();
    assert.deepEqual(clock.pending, []);
  }
});

test("a client that is closed while it is found out whether it may share opens nothing", async () => {
  const { clock, open } = openBrowser();
  const { client, sockets } = open();
  client.follow(URL_OF_C);
  await null;
  client.close();
  await settle();
  assert.deepEqual([sockets.length, clock.pending, client.state], [0, [], "gone"]);
});

for (const first of ["-2", "0"]) {
  test(`a tab that has a place does not join one that has none yet (${first})`, async () => {
    const { clock, open } = openBrowser();
    const one = open();
    await clock.advance(10);
    const two = open();
    await clock.advance(10);
    one.client.follow(URL_OF_C, { after: first });
    await clock.advance(100); // the socket is still being opened
    two.client.follow(URL_OF_C, { after: "e.100" });
    await clock.advance(10);
    const [socket] = one.sockets;
    await socket.open();
    await socket.say(HELLO, ...bracket("s1", opened("e.98", { sub: "s1" })));
    assert.deepEqual(socket.sent.map(({ after }) => after), [first, "e.100"]);
  });
}

test("a tab that is full leaves once, and asks once when it has room", async () => {
  const { clock, open } = openBrowser();
  const one = open();
  await clock.advance(10);
  const two = open();
  await clock.advance(10);
  const follow = two.client.follow(URL_OF_C, { after: "e.0", buffer: 10 });
  await clock.advance(100);
  const [socket] = one.sockets;
  await socket.open();
  await socket.say(HELLO);
  const notes = Array.from({ length: 300 }, (_, n) => note(`e.${n + 1}`));
  await socket.say(...bracket("s1", opened("e.0", { sub: "s1" }), ...notes, live("e.300", { subs: ["s1"] })));
  await clock.advance(10);
  assert.equal(follow.behind, 10);
  const items = follow[Symbol.asyncIterator]();
  for (let taken = 0; taken < 10; taken += 1) await items.next();
  await clock.advance(10);
  assert.ok(socket.sent.length <= 4, JSON.stringify(socket.sent));
  assert.equal(socket.sent.at(-1).after, "e.10");
});

test("a leader that hangs is noticed: one of the others goes on for all, and it is one of them when it wakes", async () => {
  const { clock, open, browser } = openBrowser();
  const hanging = makeHanging(browser);
  const tabs = [open(hanging)];
  await clock.advance(10);
  tabs.push(open({ random: () => 0 }), open({ random: () => 0.5 }));
  await clock.advance(10);
  const heard = tabs.map(({ client }) => listen(client.follow(URL_OF_C, { after: "e.1" })));
  await clock.advance(100);
  const [one, two, three] = tabs;
  await one.sockets[0].open();
  await one.sockets[0].say(HELLO);
  await welcome(one.sockets[0], "s1", "e.1", note("e.2"));
  hanging.hang();
  await clock.advance(49_000);
  assert.deepEqual([two.client.isLeader, three.client.isLeader], [false, false]);
  await clock.advance(6_200);
  assert.deepEqual([two.sockets.length, three.sockets.length, three.client.state], [1, 0, "connecting"]);
  await two.sockets[0].open();
  await two.sockets[0].say(HELLO);
  assert.deepEqual(two.sockets[0].sent, [{ type: "follow", url: URL_OF_C, after: "e.2", sub: "s1" }]);
  await welcome(two.sockets[0], "s1", "e.2", note("e.3"));
  assert.deepEqual(heard, [["e.2"], ["e.2", "e.3"], ["e.2", "e.3"]]);
  await hanging.wake();
  await clock.advance(100);
  assert.deepEqual([one.client.isLeader, one.sockets.every(({ closed }) => closed)], [false, true]);
  assert.deepEqual(two.sockets[0].sent.at(-1), { type: "follow", url: URL_OF_C, after: "e.2", sub: "s2" });
  await two.sockets[0].say(...bracket("s2", opened("e.2", { sub: "s2" }), note("e.3")));
  await two.sockets[0].say(...bracket("s2", live("e.3", { subs: ["s1", "s2"] })));
  await settle();
  await two.sockets[0].say(live("e.3", { subs: ["s1"] }), note("e.4"));
  await settle();
  assert.deepEqual(heard, [["e.2", "e.3", "e.4"], ["e.2", "e.3", "e.4"], ["e.2", "e.3", "e.4"]]);
});

test("a leader that has nothing to say is asked, and stays the leader", async () => {
  const { one, two, clock } = await openTwo();
  await clock.advance(500_000);
  assert.deepEqual([one.client.isLeader, two.client.isLeader, two.sockets.length], [true, false, 0]);
});

test("that the socket cannot be had is told in every tab", async () => {
  const network = new Network({ response: new Response(null, { status: 404 }) });
  const { clock, open } = openBrowser({ transports: ["websocket"], network });
  const tabs = [open(), open()];
  const faults = [[], []];
  tabs.forEach(({ client }, index) => client.on("fault", (fault) => faults[index].push(fault)));
  await clock.advance(10);
  await tabs[0].sockets[0].lose();
  await clock.advance(10);
  for (const [fault] of faults) assert.deepEqual([fault?.kind, fault?.error.status, fault?.error.name], ["socket", 404, "Ended"]);
});

test("why a try has failed is told once in each tab, however much it follows", async () => {
  const { clock, open } = openBrowser({ transports: ["websocket"] });
  const tabs = [open(), open()];
  await clock.advance(10);
  for (const { client } of tabs) for (const url of ["/c", "/d", "/e"]) client.follow(url, { after: "e.1" });
  await clock.advance(100);
  const told = tabs.map(({ client }) => {
    const whys = [];
    client.on("state", (state, { reason }) => whys.push(`${state} ${reason}`));
    return whys;
  });
  for (const number of [0, 1]) {
    await tabs[0].sockets[number].lose(1006);
    await clock.advance(2_000);
  }
  const once = ["connecting closed 1006", "connecting closed 1006"];
  assert.deepEqual(told, [once, once]);
});

test("that the server has ended the socket is told in every tab, also where nothing is followed", async () => {
  const { clock, open } = openBrowser({ transports: ["websocket"] });
  const tabs = [open(), open(), open()];
  await clock.advance(10);
  const follow = tabs[2].client.follow(URL_OF_C, { after: "e.1" });
  await clock.advance(100);
  const [socket] = tabs[0].sockets;
  await socket.open();
  await socket.say(HELLO);
  const told = tabs.map(({ client }) => {
    const whys = [];
    client.on("state", (state, { reason, error }) => whys.push([state, reason, error.code]));
    client.on("fault", ({ kind }) => whys.push(kind));
    return whys;
  });
  await socket.say({ type: "bye", code: 4403, reason: "revoked", retry: null });
  await socket.lose(4403);
  await clock.advance(10);
  const once = [["idle", "revoked", 4403]];
  assert.deepEqual([told, follow.state], [[once, once, once], "gone"]);
});

test("two that stand on one URL, and have got two channels, stay two", async () => {
  const { one, two, clock } = await openTwo();
  const [socket] = one.sockets;
  await welcome(socket, "s1", "e.1", note("e.2"), note("e.3"));
  const late = two.client.follow(URL_OF_C, { after: "e.0" });
  const heard = listen(late);
  await clock.advance(0);
  const d = (message) => ({ ...message, channel: "d" });
  await socket.say(...bracket("s2", d(opened("e.0", { sub: "s2" })), d(note("e.1")), d(note("e.2")), d(note("e.3"))));
  await socket.say(d(live("e.3", { subs: ["s2"] })));
  await settle();
  await socket.say(note("e.4"), d(note("e.4")), d(note("e.5")));
  await settle();
  assert.deepEqual(socket.sent.map(({ type }) => type), ["follow", "follow"]);
  assert.deepEqual([two.heard, heard], [["e.2", "e.3", "e.4"], ["e.1", "e.2", "e.3", "e.4", "e.5"]]);
  assert.deepEqual([two.follow.channel, late.channel], ["c", "d"]);
});

test("a URL that is another channel under the next leader is one gap in each tab", async () => {
  const { one, two, clock } = await openTwo();
  await welcome(one.sockets[0], "s1", "e.1", note("e.2"));
  await one.sockets[0].lose(1006);
  await clock.advance(1_000);
  const socket = one.sockets[1];
  await socket.open();
  const d = (message) => ({ ...message, channel: "d" });
  await socket.say(HELLO, ...bracket("s2", d(opened("e.2", { sub: "s2" })), d(note("e.3")), d(live("e.3", { subs: ["s2"] }))));
  await settle();
  const all = ["e.2", "gap e.2 epoch", "e.3"];
  assert.deepEqual([one.heard, two.heard], [all, all]);
});

test("a tab that is closed in a handler that hears why it connects leaves no timer", async () => {
  const { clock, open } = openBrowser();
  const { client, sockets } = open({ transports: ["websocket"] });
  const follow = client.follow(URL_OF_C, { after: "e.1" });
  await clock.advance(100);
  follow.on("state", () => client.close());
  await sockets[0].lose(1006);
  await settle();
  assert.deepEqual([client.state, clock.pending], ["gone", []]);
});
