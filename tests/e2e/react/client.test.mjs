/** Dialogues about the client of a part of a page: when there is one, whose it is, and what is shown of it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as React from "react";
import { renderToString } from "react-dom/server";
import { connect } from "triolet-client";
import { Live, useChannel, useCommand, useLive, usePresence } from "triolet-client/react";
import { Held, Stream, json, makeBrowser, status } from "../script/fakes.mjs";
import { Boundary, complaints, h, live, opened, rest, show, world } from "./stage.mjs";

const { Activity, StrictMode, startTransition, useEffect, useLayoutEffect } = React;

/** A presence's events, as a stream brings them. */
const said = (id, name, member, session) =>
  `id: e.${id}\nevent: ${name}\ndata: ${JSON.stringify({ member, session, stated: id })}\n\n`;

function State() {
  const { client, state, transport, unanswered } = useLive();
  return `${client ? "a client" : "none"} ${state} ${transport} ${unanswered}`;
}

function Ids({ url = "c", after = "e.1" }) {
  const { value } = useChannel(url, { after, initial: [], reduce: (list, { id }) => [...list, id] });
  return value.join();
}

// --- whose client ------------------------------------------------------------------------------------------

test("there is a client from when the page is mounted until it is gone, and its state is shown", async () => {
  const stream = new Stream();
  const { clock, sockets, props } = world(stream);
  const before = [];
  function First() {
    before.push(useLive().client);
    return null;
  }
  const page = await show(h(Live, { ...props, transports: undefined, socket: "/live" }, h(First), h(State)));
  assert.equal(before[0], null);
  assert.equal(before.at(-1).state, "connecting");
  assert.equal(page.text, "a client connecting websocket 0");
  await sockets[0].open();
  await sockets[0].say({ type: "open", channel: null, cursor: null });
  await clock.advance(16);
  assert.equal(page.text, "a client live websocket 0");
  await page.leave();
  assert.ok(sockets[0].closed);
  assert.equal(before.at(-1).state, "gone");
  assert.deepEqual([clock.pending, complaints, page.recovered], [[], [], []]);
});

test("while it connects it is shown why the last try has failed", async () => {
  const stream = new Stream();
  const { clock, props } = world(status(503), stream);
  const Why = () => `${useLive().why.reason}`;
  const page = await show(h(Live, props, h(Why), h(Ids)));
  await clock.advance(16);
  assert.equal(page.text, "HTTP 503");
  await clock.advance(1_000);
  await stream.send("open", opened("e.1"));
  await stream.send("live", live("e.1"));
  await clock.advance(16);
  assert.equal(page.text, "undefined");
  await page.leave();
});

test("another base, another user or another option is another client, and nothing of the one before is shown", async () => {
  const streams = Array.from({ length: 4 }, () => new Stream());
  const { clock, network, props } = world(...streams);
  const as = (more) => h(Live, { ...props, token: "a", ...more }, h(Ids));
  const page = await show(as({}));
  const other = { base: "http://other.example/" };
  const others = [{ user: "bob" }, other, { ...other, token: "b" }];
  for (const [number, more] of others.entries()) {
    await streams[number].send("open", opened("e.1"));
    await streams[number].event("e.2");
    await clock.advance(16);
    assert.equal(page.text, "e.2");
    await page.show(as(more));
    assert.equal(page.text, "");
    assert.ok(streams[number].aborted);
  }
  const asked = network.requests.map(({ host, headers }) => [host, headers.Authorization]);
  const ours = ["shop.example", "Bearer a"];
  assert.deepEqual(asked, [ours, ours, ["other.example", "Bearer a"], ["other.example", "Bearer b"]]);
  await page.leave();
  assert.deepEqual([clock.pending, complaints], [[], []]);
});

test("options that are written anew in each render are the same, and the newest token is asked for", async () => {
  const streams = [new Stream(), new Stream()];
  const { clock, network, props } = world(...streams);
  const as = (name) => {
    const headers = () => ({ "X-Name": name });
    return h(Live, { ...props, transports: ["sse"], token: () => name, headers, store: { get() {}, set() {} } }, h(Ids));
  };
  const page = await show(as("one"));
  await streams[0].send("open", opened("e.1"));
  await page.show(as("two"));
  assert.equal(network.requests.length, 1);
  await streams[0].end();
  await clock.advance(1_000);
  const asked = network.requests.map(({ headers }) => [headers.Authorization, headers["X-Name"]]);
  assert.deepEqual(asked, [["Bearer one", "one"], ["Bearer two", "two"]]);
  await page.leave();
});

test("where it is said who the page is, another token of the same user goes on", async () => {
  const streams = [new Stream(), new Stream(), new Stream()];
  const { clock, network, props } = world(...streams);
  const as = (user, token) => h(Live, { ...props, user, token, headers: { "X-Token": token } }, h(Ids));
  const page = await show(as("ada", "one"));
  await streams[0].send("open", opened("e.1"));
  await streams[0].event("e.2");
  await page.show(as("ada", "two"));
  await streams[0].end();
  await clock.advance(1_000);
  await streams[1].send("open", opened("e.2"));
  await streams[1].event("e.3");
  await clock.advance(16);
  assert.equal(page.text, "e.2,e.3");
  await page.show(as("bob", "three"));
  assert.deepEqual([page.text, streams[1].aborted], ["", true]);
  const from = (path) => /after=([^&]*)/.exec(path)[1];
  const asked = network.requests.map(({ path, headers }) => [from(path), headers.Authorization, headers["X-Token"]]);
  const expected = [["e.1", "Bearer one", "one"], ["e.2", "Bearer two", "two"], ["e.1", "Bearer three", "three"]];
  assert.deepEqual(asked, expected);
  await page.leave();
});

test("a page without a token has its cookie alone, and is out where that is over", async () => {
  const { network, clock, props } = world(status(401));
  const Order = () => useChannel("c").state;
  const page = await show(h(Live, { ...props, user: "ada", token: null }, h(Order)));
  await clock.advance(16);
  assert.deepEqual([page.text, network.requests.length, clock.pending], ["gone", 1, []]);
  await page.leave();
});

test("a connection is shared with tabs of the same user alone", async () => {
  const streams = [new Stream(), new Stream(), new Stream()];
  const { clock, network, props } = world(...streams);
  const browser = makeBrowser();
  const as = (user) => h(Live, { ...props, ...browser, share: true, user, token: user }, h(Ids));
  const tabs = [await show(as("ada")), await show(as("ada")), await show(as("bob"))];
  await clock.advance(50);
  await rest();
  assert.deepEqual(network.requests.map(({ headers }) => headers.Authorization), ["Bearer ada", "Bearer bob"]);
  for (const tab of tabs) await tab.leave();
});

test("a client that is given is its owner's to close", async () => {
  const [stream, other] = [new Stream(), new Stream()];
  const { clock, props } = world(stream, other);
  const client = connect(props.base, props);
  const page = await show(h(StrictMode, null, h(Live, { client, clock }, h(State), " ", h(Ids))));
  await stream.send("open", opened("e.1"));
  await stream.event("e.2");
  await clock.advance(16);
  assert.equal(page.text, "a client behind sse 0 e.2");
  await page.leave();
  assert.deepEqual([client.state, stream.aborted], ["idle", true]);
  client.close();
  assert.deepEqual([clock.pending, complaints], [[], []]);
});

test("an option that is none is an error of the page, and hooks without a client say what is missing", async () => {
  const page = await show(h(Boundary, null, h(Live, { ...world().props, transports: ["pigeon"] })));
  assert.match(page.text, /transports: some of/);
  await page.leave();
  for (const hook of [useLive, usePresence, useCommand]) {
    const Alone = () => hook(null) && null;
    const alone = await show(h(Boundary, null, h(Alone)));
    assert.match(alone.text, new RegExp(`${hook.name}: there is no <Live>`));
    await alone.leave();
  }
});

// --- drawn on a server, and in parts -----------------------------------------------------------------------

test("what a server has drawn is taken over without a word, and goes on", async () => {
  const stream = new Stream();
  const { clock, network, props } = world(stream);
  function Order() {
    const { value, state } = useChannel("c", { after: "e.7", initial: "paid", reduce: (_, { data }) => data.state });
    return h("p", null, `${value} ${state}`);
  }
  const element = h(StrictMode, null, h(Live, props, h(Order), h("i", null, h(State))));
  const markup = renderToString(element);
  assert.equal(markup, "<p>paid connecting</p><i>none idle null 0</i>");
  assert.equal(network.requests.length, 0);
  const page = await show(element, markup);
  await clock.advance(16);
  assert.deepEqual([page.text, network.requests.length], ["paid connectinga client connecting sse 0", 1]);
  await stream.send("open", opened("e.7"));
  await stream.event("e.8", { state: "packed" });
  await stream.send("live", live("e.8"));
  await clock.advance(16);
  assert.equal(page.text, "packed livea client live sse 0");
  assert.deepEqual([complaints, page.recovered], [[], []]);
  await page.leave();
});

test("a client that is live before its page is taken over makes no other page of it", async () => {
  const stream = new Stream();
  const { clock, props } = world(stream);
  const client = connect(props.base, props);
  client.follow("c", { after: "e.1" });
  await rest();
  await stream.send("open", opened("e.1"));
  const element = h(Live, { client, clock }, h(State));
  const page = await show(element, "a client idle null 0");
  await clock.advance(16);
  assert.equal(page.text, "a client behind sse 0");
  assert.deepEqual([complaints, page.recovered], [[], []]);
  await page.leave();
  client.close();
});

test("what is drawn in parts shows one truth, although it changes between two of them", async () => {
  const { clock, props } = world();
  const client = connect(props.base, props);
  const drawn = [];
  const shown = [];
  function Reader() {
    const begun = performance.now();
    while (performance.now() - begun < 8); // longer than React draws before it lets others run
    const { unanswered } = useLive();
    drawn.push(unanswered);
    return h("i", null, unanswered);
  }
  function Readers() {
    useLayoutEffect(() => void shown.push(document.body.textContent));
    return Array.from({ length: 6 }, (_, key) => h(Reader, { key }));
  }
  const page = await show(h(Live, { client, clock }));
  startTransition(() => page.root.render(h(Live, { client, clock }, h(Readers))));
  while (drawn.length < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([drawn.length < 6, page.text], [true, ""], "React is in the middle of it");
  void client.send("pick");
  await clock.advance(16);
  while (page.text === "") await rest();
  assert.deepEqual([shown, new Set(drawn).size], [["111111"], 2]);
  await page.leave();
  client.close();
});

// --- who is there, commands --------------------------------------------------------------------------------

test("who is there is a list, in which who has not changed is the same as before", async () => {
  const streams = [new Stream(), new Stream()];
  const { clock, network, props } = world(...streams);
  const drawn = [];
  function Who({ url }) {
    drawn.push(usePresence(url));
    return drawn.at(-1).members.map(({ member }) => member).join();
  }
  const at = (url) => h(StrictMode, null, h(Live, props, h(Who, { url })));
  const page = await show(at(null));
  assert.deepEqual([drawn.at(-1).state, network.requests.length], ["idle", 0]);
  await page.show(at("who"));
  assert.deepEqual([drawn.at(-1).state, network.requests.map(({ path }) => path)], ["connecting", ["/who?after=0&format=triolet"]]);
  const [stream, again] = streams;
  await stream.send("open", opened("e.0"));
  await stream.send(said(1, "join", "ada", "s1"));
  await stream.send(said(2, "join", "bob", "s2"));
  await clock.advance(16);
  assert.equal(page.text, "");
  await stream.send("live", live("e.2"));
  await clock.advance(16);
  assert.equal(page.text, "ada,bob");
  const [ada] = drawn.at(-1).members;
  assert.deepEqual(ada, { member: "ada", info: null, sessions: 1 });
  await stream.send(said(3, "join", "bob", "s3"));
  await clock.advance(16);
  assert.deepEqual([drawn.at(-1).members[0] === ada, drawn.at(-1).members[1].sessions], [true, 2]);
  assert.ok(Object.isFrozen(drawn.at(-1).members) && drawn.at(-1).members.every(Object.isFrozen));
  await stream.end();
  await rest();
  await clock.advance(16);
  assert.deepEqual([page.text, drawn.at(-1).state], ["ada,bob", "connecting"]);
  await clock.advance(1_000);
  await again.send("open", opened("e.3"));
  await again.send(said(4, "leave", "ada", "s1"));
  await again.send("live", live("e.4"));
  await clock.advance(16);
  assert.deepEqual([page.text, drawn.at(-1).state], ["bob", "live"]);
  await page.show(at(null));
  assert.deepEqual([page.text, drawn.at(-1).state, again.aborted], ["", "idle", true]);
  await page.leave();
  assert.deepEqual([clock.pending, complaints], [[], []]);
});

if (Activity) {
  test("what is hidden does not listen, and finds out anew who is there when it is seen again", async () => {
    const streams = [new Stream(), new Stream()];
    const { clock, props } = world(...streams);
    const drawn = [];
    function Who() {
      drawn.push(usePresence("who"));
      return drawn.at(-1).members.map(({ member }) => member).join();
    }
    const at = (mode) => h(Live, props, h(Activity, { mode }, h(Who)));
    const page = await show(at("visible"));
    await streams[0].send("open", opened("e.0"));
    await streams[0].send(said(1, "join", "ada", "s1"));
    await streams[0].send("live", live("e.1"));
    await clock.advance(16);
    await page.show(at("hidden"));
    assert.ok(streams[0].aborted);
    await page.show(at("visible"));
    assert.deepEqual([page.text, drawn.at(-1).state, drawn.at(-1).why], ["ada", "connecting", {}]);
    await streams[1].send("open", opened("e.0"));
    await streams[1].send(said(1, "join", "ada", "s1") + said(2, "leave", "ada", "s1"));
    await streams[1].send("live", live("e.2"));
    await clock.advance(16);
    assert.deepEqual([page.text, drawn.at(-1).state], ["", "live"]);
    await page.leave();
  });
}

function makePick() {
  const made = { sends: new Set(), drawn: [] };
  made.Pick = function Pick({ url }) {
    const [pick, outcome] = useCommand(url);
    made.pick = pick;
    made.sends.add(pick);
    made.drawn.push(outcome);
    return `${outcome.pending} ${outcome.error?.name ?? "-"} ${outcome.reply?.data?.picked ?? "-"}`;
  };
  return made;
}

test("a command is pending until it is answered, and its reply is shown and promised", async () => {
  const held = new Held();
  const { network, props } = world(held);
  const made = makePick();
  const page = await show(h(Live, props, h(made.Pick, { url: "pick" })));
  assert.equal(page.text, "false - -");
  const answer = made.pick({ shelf: 3 });
  await rest();
  assert.equal(page.text, "true - -");
  const [{ method, path, body }] = network.requests;
  assert.deepEqual([method, path, body], ["POST", "/pick", '{"shelf":3}']);
  await held.give(json({ picked: "A1" }));
  assert.deepEqual(await answer, { status: 200, data: { picked: "A1" }, repeated: false });
  await rest();
  assert.equal(page.text, "false - A1");
  assert.deepEqual([made.sends.size, made.drawn.every(Object.isFrozen), complaints], [1, true, []]);
  await page.leave();
});

test("a command that fails is an error that nobody has to catch, and the next one begins anew", async () => {
  const { network, clock, props } = world();
  const made = makePick();
  const page = await show(h(Live, { ...props, timeout: 5_000 }, h(made.Pick, { url: "pick" })));
  made.pick(1);
  await clock.advance(5_000);
  assert.equal(page.text, "false Unanswered -");
  network.answers.push(status(404));
  made.pick(2);
  await rest();
  assert.deepEqual([page.text, made.drawn.at(-1).reply.status], ["false - -", 404]);
  await page.show(h(Live, { ...props, timeout: 5_000 }, h(made.Pick, { url: null })));
  assert.deepEqual([page.text, made.sends.size], ["false - -", 2]);
  await assert.rejects(made.pick(3), /useCommand: there is no URL/);
  await rest();
  assert.equal(page.text, "false TypeError -");
  await page.leave();
});

test("of two commands at once the newest counts, and pending are both", async () => {
  const [first, second] = [new Held(), new Held()];
  const { props } = world(first, second);
  const made = makePick();
  const page = await show(h(Live, props, h(made.Pick, { url: "pick" })));
  made.pick(1);
  made.pick(2);
  await rest();
  await second.give(json({ picked: "second" }));
  await rest();
  assert.equal(page.text, "true - second");
  await first.give(json({ picked: "first" }));
  await rest();
  assert.equal(page.text, "false - second");
  await page.leave();
});

test("a component that is gone has sent its command all the same", async () => {
  const held = new Held();
  const { network, clock, sockets, props } = world(held);
  const made = makePick();
  function Leaving() {
    useEffect(() => () => void made.pick("bye"), []);
    return h(made.Pick, { url: "pick" });
  }
  const page = await show(h(Live, { ...props, transports: undefined, socket: "/live" }, h(Leaving)));
  await page.leave();
  await held.give(json({ picked: "A1" }));
  assert.deepEqual(network.requests.map(({ body }) => body), ['"bye"']);
  const late = made.pick("late");
  network.answers.push(json({ picked: "A2" }));
  await clock.advance(1_000);
  assert.equal((await late).data.picked, "A2");
  assert.deepEqual([sockets.length, clock.pending, complaints], [1, [], []]);
});
