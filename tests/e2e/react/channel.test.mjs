/** Dialogues about what a component shows of a channel. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as React from "react";
import { connect } from "triolet-client";
import { Live, useChannel, usePresence } from "triolet-client/react";
import { Stream, json } from "../script/fakes.mjs";
import { Boundary, complaints, h, live, opened, rest, show, world } from "./stage.mjs";

const { Activity, StrictMode, memo } = React;

const ids = (list, item) => [...list, item.type === "event" ? item.id : `gap ${item.to}`];
const all = { after: "e.1", initial: [], reduce: ids };

/** A component that says what it shows; `drawn` is each picture that it was drawn with. */
function makeOrder() {
  const drawn = [];
  function Order({ url = "c", options = all, name = "" }) {
    const picture = useChannel(url, options);
    drawn.push(picture);
    const { value, state } = picture;
    return h("p", null, `${name}${JSON.stringify(value?.id ?? value ?? null)} ${state} `);
  }
  return { Order: memo(Order), drawn };
}

async function open(options, streams = [new Stream(), new Stream()]) {
  const outside = world(...streams);
  const { Order, drawn } = makeOrder();
  const page = await show(h(Live, outside.props, h(Order, { options })));
  await streams[0].send("open", opened("e.1"));
  await streams[0].send("live", live("e.1"));
  await outside.clock.advance(16);
  return { ...outside, page, Order, drawn, streams, stream: streams[0] };
}

test("a component shows the newest event, and has left the channel when it is gone", async () => {
  const stream = new Stream();
  const { network, clock, props } = world(stream);
  const { Order, drawn } = makeOrder();
  const page = await show(h(Live, props, h(Order, { options: { after: "e.1" } })));
  assert.equal(page.text, "null connecting ");
  await stream.send("open", opened("e.1"));
  await clock.advance(16);
  assert.equal(page.text, "null behind ");
  await stream.send("live", live("e.1"));
  await stream.event("e.2", { state: "paid" });
  await clock.advance(16);
  assert.equal(page.text, '"e.2" live ');
  const { value, state, why, gap, cursor } = drawn.at(-1);
  assert.deepEqual([value.event, value.data, state, why, gap, cursor], ["note", { state: "paid" }, "live", {}, null, "e.2"]);
  assert.ok(drawn.every(Object.isFrozen));
  assert.deepEqual(network.requests.map(({ path }) => path), ["/c?after=e.1&format=triolet"]);
  await page.leave();
  assert.ok(stream.aborted);
  assert.deepEqual([clock.pending, complaints, page.recovered], [[], [], []]);
});

test("StrictMode makes one connection, on which everything comes once", async () => {
  const stream = new Stream();
  const { network, sockets, clock, props } = world(stream);
  const { Order } = makeOrder();
  const page = await show(h(StrictMode, null, h(Live, props, h(Order))));
  await stream.send("open", opened("e.1"));
  await stream.event("e.2");
  await stream.event("e.3");
  await clock.advance(16);
  assert.equal(page.text, '["e.2","e.3"] behind ');
  assert.equal(network.requests.length, 1);
  await page.leave();
  assert.ok(stream.aborted);
  const strict = await show(h(StrictMode, null, h(Live, { ...props, transports: undefined, socket: "/live" }, h(Order))));
  await sockets[0].open();
  await sockets[0].say({ type: "open", channel: null, cursor: null });
  assert.deepEqual(sockets[0].sent, [{ type: "follow", url: "/c", after: "e.1", sub: "s1" }]);
  await strict.leave();
  assert.deepEqual([sockets.length, sockets[0].closed, clock.pending, complaints], [1, true, [], []]);
});

test("without a URL nothing is followed, and another URL is begun anew", async () => {
  const [one, other] = [new Stream(), new Stream()];
  const { network, clock, props } = world(one, other);
  const { Order, drawn } = makeOrder();
  const at = (url) => h(Live, props, h(Order, { url }));
  const page = await show(at(null));
  assert.equal(page.text, "[] idle ");
  await page.show(at("a"));
  await one.send("open", opened("e.1"));
  await one.event("e.2");
  await clock.advance(16);
  assert.equal(page.text, '["e.2"] behind ');
  const before = drawn.length;
  await page.show(at(new URL("b", "http://shop.example/")));
  assert.equal(page.text, "[] connecting ");
  assert.ok(drawn.slice(before).every(({ value }) => value.length === 0), "nothing of the other is drawn");
  assert.ok(one.aborted);
  await page.show(at(false));
  assert.equal(page.text, "[] idle ");
  assert.ok(other.aborted);
  assert.deepEqual(network.requests.map(({ path }) => path), ["/a?after=e.1&format=triolet", "/b?after=e.1&format=triolet"]);
  await page.leave();
});

test("a thousand events of one tick are drawn once", async () => {
  const { page, stream, clock, drawn } = await open(all);
  const before = drawn.length;
  await stream.send(Array.from({ length: 1_000 }, (_, n) => `id: e.${n + 2}\nevent: note\ndata: {}\n\n`).join(""));
  await clock.advance(16);
  assert.equal(drawn.at(-1).value.length, 1_000);
  assert.equal(drawn.length, before + 1);
  await page.leave();
});

test("events that come one by one are drawn no more often than a screen shows", async () => {
  const { page, stream, clock, drawn } = await open({ ...all, initial: [] });
  await clock.advance(1_000);
  const before = drawn.length;
  for (let n = 2; n <= 100; n++) await stream.event(`e.${n}`);
  await rest();
  assert.deepEqual(drawn.slice(before).map(({ value }) => value.length), [1], "the first of them is drawn at once");
  await clock.advance(15);
  assert.equal(drawn.length, before + 1);
  await clock.advance(1);
  assert.deepEqual(drawn.slice(before).map(({ value }) => value.length), [1, 99]);
  await page.leave();
  assert.deepEqual(clock.pending, []);
});

test("an event of which the reducer makes nothing draws nothing", async () => {
  const { page, stream, clock, drawn } = await open({ ...all, reduce: (value, { id }) => (id === "e.3" ? id : value) });
  const before = drawn.length;
  await stream.event("e.2");
  await clock.advance(1_000);
  assert.equal(drawn.length, before);
  await stream.event("e.3");
  await clock.advance(16);
  assert.deepEqual([drawn.length, drawn.at(-1).value, drawn.at(-1).cursor], [before + 1, "e.3", "e.3"]);
  await page.leave();
});

test("what a reducer throws is thrown in the render, and the channel is left", async () => {
  const streams = [new Stream(), new Stream()];
  const { network, clock, props } = world(...streams);
  const { Order } = makeOrder();
  const reduced = [];
  const reduce = (value, item) => {
    reduced.push(item.id);
    if (item.id === "e.3") throw new TypeError("no such state");
    return ids(value, item);
  };
  const shown = (key) => h(Live, props, h(Boundary, { key }, h(Order, { options: { ...all, reduce } })));
  const page = await show(shown("one"));
  await streams[0].send("open", opened("e.1"));
  await streams[0].event("e.2");
  await streams[0].send(["e.3", "e.4"].map((id) => `id: ${id}\nevent: note\ndata: {}\n\n`).join(""));
  await rest();
  assert.deepEqual([page.text, reduced, streams[0].aborted], ["no such state", ["e.2", "e.3"], true]);
  assert.ok(complaints.every((text) => /no such state|error occurred in/.test(text)), "React says which component it was");
  await page.show(shown("other"));
  assert.deepEqual([page.text, network.requests.length], ["[] connecting ", 2]);
  await page.leave();
  assert.deepEqual(clock.pending, []);
});

test("what will never come reaches the reducer, and stands beside the value", async () => {
  const { page, stream, clock, drawn } = await open(all);
  await stream.event("e.2");
  await stream.send("gap", { channel: "c", from: "e.2", to: "e.9", missed: 7, reason: "expired" });
  await stream.event("e.10");
  await clock.advance(16);
  const { value, gap, cursor } = drawn.at(-1);
  assert.deepEqual([value, gap.missed, gap.reason, cursor], [["e.2", "gap e.9", "e.10"], 7, "expired", "e.10"]);
  await page.leave();
});

test("the newest events are kept, as many as one likes", async () => {
  const { page, stream, clock, drawn } = await open({ keep: 3 });
  assert.deepEqual(drawn[0].value, []);
  for (let n = 2; n <= 6; n++) await stream.event(`e.${n}`);
  await stream.send("gap", { channel: "c", from: "e.6", to: "e.9", missed: 3, reason: "expired" });
  await clock.advance(16);
  assert.deepEqual(drawn.at(-1).value.map(({ id }) => id), ["e.4", "e.5", "e.6"]);
  assert.deepEqual([drawn.at(-1).gap.to, Object.isFrozen(drawn.at(-1).value)], ["e.9", true]);
  await page.leave();
});

test("an option that is none is an error in the render", async () => {
  const wrong = [
    [{ keep: 0 }, /keep: how many events/],
    [{ keep: Infinity }, /keep: how many events/],
    [{ keep: 2, reduce: ids }, /keep: goes without reduce/],
    [{ reduce: "ids" }, /reduce: a function/],
    [{ buffer: 0 }, /buffer: 1 or more/],
  ];
  for (const [options, said] of wrong) {
    const { Order } = makeOrder();
    const page = await show(h(Live, world().props, h(Boundary, null, h(Order, { options }))));
    assert.match(page.text, said);
    await page.leave();
  }
  const { Order } = makeOrder();
  const page = await show(h(Boundary, null, h(Order)));
  assert.equal(page.text, "useChannel: there is no <Live> around this component");
  await page.leave();
});

test("two components that follow one channel each have it from their own place", async () => {
  const { sockets, clock, props } = world();
  const { Order } = makeOrder();
  const two = [h(Order, { key: 1, name: "one " }), h(Order, { key: 2, name: "two ", options: { ...all, after: "e.0" } })];
  const page = await show(h(Live, { ...props, transports: undefined, socket: "/live" }, ...two));
  await sockets[0].open();
  await sockets[0].say({ type: "open", channel: null, cursor: null });
  const event = (id) => ({ type: "event", channel: "c", id, event: "note", data: {}, time: 7 });
  const bracket = (sub, ...messages) => [{ type: "for", subs: [sub], next: messages.length }, ...messages];
  await sockets[0].say(...bracket("s1", opened("e.1", { sub: "s1" }), live("e.1", { subs: ["s1"] })));
  const asked = sockets[0].sent.map(({ sub, after }) => [sub, after]);
  assert.deepEqual([asked, sockets.length], [[["s1", "e.1"], ["s2", "e.0"]], 1]);
  const missed = [opened("e.0", { sub: "s2" }), event("e.1"), live("e.1", { subs: ["s1", "s2"] })];
  await sockets[0].say(...bracket("s2", ...missed), event("e.2"));
  await clock.advance(16);
  assert.equal(page.text, 'one ["e.2"] live two ["e.1","e.2"] live ');
  await page.show(h(Live, { ...props, transports: undefined, socket: "/live" }, two[1]));
  assert.deepEqual(sockets[0].sent.at(-1), { type: "unfollow", channel: "c", sub: "s1" });
  await sockets[0].say(event("e.3"));
  await clock.advance(16);
  assert.equal(page.text, 'two ["e.1","e.2","e.3"] live ');
  await page.leave();
});

test("the newest reducer counts, and other options do not begin anew", async () => {
  const { page, stream, clock, Order, network, props } = await open(all);
  const loud = (list, { id }) => [...list, `${id}!`];
  await page.show(h(Live, props, h(Order, { options: { after: "e.1", initial: ["other"], reduce: loud, buffer: 7 } })));
  await stream.event("e.2");
  await clock.advance(16);
  assert.deepEqual([page.text, network.requests.length], ['["e.2!"] live ', 1]);
  await page.leave();
});

test("from another place it is begun anew, with what is known there", async () => {
  const { page, stream, clock, Order, network, props } = await open(all);
  await stream.event("e.2");
  await clock.advance(16);
  await page.show(h(Live, props, h(Order, { options: { ...all, after: "e.7", initial: ["known"] } })));
  assert.equal(page.text, '["known"] connecting ');
  assert.deepEqual(network.requests.map(({ path }) => path), ["/c?after=e.1&format=triolet", "/c?after=e.7&format=triolet"]);
  assert.ok(stream.aborted);
  await page.leave();
});

if (Activity) {
  test("what is hidden leaves, and goes on from where it stood when it is seen again", async () => {
    const streams = [new Stream(), new Stream()];
    const { clock, network, props } = world(...streams);
    const { Order } = makeOrder();
    const at = (mode) => h(Live, props, h(Activity, { mode }, h(Order)));
    const page = await show(at("visible"));
    await streams[0].send("open", opened("e.1"));
    await streams[0].event("e.2");
    await clock.advance(16);
    await page.show(at("hidden"));
    assert.ok(streams[0].aborted);
    await page.show(at("visible"));
    await streams[1].send("open", opened("e.2"));
    await streams[1].event("e.3");
    await clock.advance(16);
    assert.deepEqual(network.requests.map(({ path }) => path), ["/c?after=e.1&format=triolet", "/c?after=e.2&format=triolet"]);
    assert.equal(page.text, '["e.2","e.3"] behind ');
    await page.leave();
  });
}

test("a channel that is over says why, and so does one of a client that is closed", async () => {
  const { page, stream, clock, drawn } = await open(all);
  await stream.send("bye", { code: 4403, reason: "revoked", retry: null });
  await clock.advance(16);
  assert.deepEqual([drawn.at(-1).state, drawn.at(-1).why.reason], ["gone", "revoked"]);
  await page.leave();
  const { props } = world();
  const client = connect(props.base, props);
  client.close();
  const closed = makeOrder();
  const Who = () => `${JSON.stringify(usePresence("who"))}`;
  const after = await show(h(Live, { client }, h(closed.Order), h(Who)));
  assert.deepEqual([closed.drawn.at(-1).state, closed.drawn.at(-1).why.reason], ["gone", "closed"]);
  assert.ok(after.text.endsWith('{"members":[],"state":"gone","why":{"reason":"closed"}}'));
  await after.leave();
  assert.deepEqual(complaints, []);
});

test("a client's store keeps no place of what a reload forgets, unless the hook says so", async () => {
  const kept = {};
  const store = { get: (key) => kept[key], set: (key, value) => void (kept[key] = value) };
  for (const [own, cursors] of [[undefined, []], [store, ["e.2 c"]]]) {
    const stream = new Stream();
    const { props } = world(stream);
    const { Order } = makeOrder();
    const page = await show(h(Live, { ...props, store }, h(Order, { options: { ...all, store: own } })));
    await stream.send("open", opened("e.1"));
    await stream.event("e.2");
    assert.deepEqual(Object.keys(kept).filter((key) => key.includes("cursor")).map((key) => kept[key]), cursors);
    await page.leave();
  }
});

test("polls are shown as streams are", async () => {
  const body = { channel: "c", cursor: "e.3", gap: null, live: true, retry: 2_000 };
  const events = ["e.2", "e.3"].map((id) => ({ id, event: "note", data: {}, time: 7 }));
  const { clock, props } = world(json({ ...body, events }));
  const { Order } = makeOrder();
  const page = await show(h(Live, { ...props, transports: ["poll"] }, h(Order)));
  await clock.advance(16);
  assert.equal(page.text, '["e.2","e.3"] live ');
  await page.leave();
});
