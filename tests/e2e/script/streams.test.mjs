/** Dialogues over event streams, with a server that the test plays; how the client comes back. Run by `node --test`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamParser, offsetOf } from "../../../src/triolet/static/triolet.js";
import { BEGIN, listen, openStream } from "./dialogues.mjs";
import { Network, Stream, json, settle, status } from "./fakes.mjs";

// --- the parser of event streams ---------------------------------------------------------------------------

const STREAM = [
  ": a comment\nretry: 500\n\n",
  "id: 1\nevent: paid\ndata: {\ndata:  1}\ntime: 12\n\n",
  "data\n\n",
  "id: a\0b\ndata: x:y\n\n",
  "event: lost\n\n",
  "id\ndata: ä€😀\n\n",
].join("");

const PARSED = [
  { event: "paid", data: "{\n 1}", id: "1", time: 12 },
  { event: "message", data: "", id: "1", time: null },
  { event: "message", data: "x:y", id: "1", time: null },
  { event: "message", data: "ä€😀", id: "", time: null },
];

for (const [name, ending] of Object.entries({ LF: "\n", CR: "\r", CRLF: "\r\n" })) {
  test(`the parser reads lines that end in ${name}, wherever the text is cut`, () => {
    const text = STREAM.replaceAll("\n", ending);
    for (let size = 1; size < 12; size++) {
      const parser = new EventStreamParser();
      const parsed = [];
      for (let at = 0; at < text.length; at += size) parsed.push(...parser.push(text.slice(at, at + size)));
      assert.deepEqual(parsed, PARSED);
    }
  });
}

test("the parser gives an event as soon as its empty line has come, without waiting for half of a CRLF", () => {
  assert.equal(new EventStreamParser().push("data: 1\r\r").length, 1);
});

test("a long event that comes in many pieces is looked through once", (context) => {
  const split = context.mock.method(String.prototype, "split");
  const parser = new EventStreamParser();
  const pieces = ["data: ", ...Array(1_000).fill("x".repeat(100)), "\n", "\n"];
  const [event] = pieces.flatMap((piece) => parser.push(piece));
  const looked = split.mock.calls.reduce((sum, { this: text }) => sum + text.length, 0);
  assert.deepEqual([event.data.length, looked], [100_000, 100_008]);
});

test("a character whose bytes come apart is whole again", async () => {
  const data = [];
  const { streams } = await openStream({ onEvent: (event) => data.push(event.data) });
  for (const byte of new TextEncoder().encode('id: e.2\ndata: "€😀"\n\n')) await streams[0].bytes(Uint8Array.of(byte));
  assert.deepEqual(data, ["€😀"]);
});

// --- Server-Sent Events ------------------------------------------------------------------------------------

test("a stream is opened after the cursor, and says when it is live", async () => {
  const stream = new Stream();
  const network = new Network(stream);
  const { heard, track } = listen("sse", { fetch: network.fetch, after: "e.1041" });
  await settle();
  assert.equal(network.requests[0].path, "/orders/A123/events?after=e.1041&format=triolet");
  await stream.send("open", { channel: "orders/A123", cursor: "e.1041" });
  await stream.event("e.1042");
  await stream.send("live", { channel: "orders/A123", cursor: "e.1042" });
  await stream.event("e.1043");
  assert.deepEqual(heard.events, ["e.1042 behind", "e.1043 live"]);
  assert.deepEqual(heard.states, ["behind", "live"]);
  assert.equal(track.channel, "orders/A123");
  assert.equal(offsetOf(track.cursor), 1043);
});

test("a client that comes back says the last id it saw, in the URL, where nothing on the way takes it off", async () => {
  const { streams, network, clock, heard } = await openStream();
  await streams[0].event("e.2");
  await streams[0].end();
  await clock.advance(1_000);
  assert.equal(network.requests[1].path, "/orders/A123/events?after=e.2&format=triolet");
  assert.equal(network.requests[1].headers["Last-Event-ID"], undefined);
  await streams[1].send("open", { channel: "c", cursor: "e.2" });
  await streams[1].event("e.3");
  assert.deepEqual(heard.events, ["e.2 live", "e.3 behind"]);
});

test("a client that saw no event comes back to where its stream began", async () => {
  const { streams, network, clock } = await openStream();
  await streams[0].end();
  await clock.advance(1_000);
  assert.equal(network.requests[1].path, "/orders/A123/events?after=e.1&format=triolet");
});

test("the full form is asked for, also where the page's URL says another", async () => {
  const network = new Network(new Stream());
  listen("sse", { fetch: network.fetch, url: "http://shop.example/answers?format=plain&after=0", after: "e.1" });
  await settle();
  assert.equal(network.requests[0].path, "/answers?format=triolet&after=e.1");
});

test("a bare offset becomes a full cursor with the first event, or with live", async () => {
  for (const [message, cursor] of [
    ["event", "e.6"],
    ["live", "e.5"],
  ]) {
    const stream = new Stream();
    const { track } = listen("sse", { fetch: new Network(stream).fetch, after: 5 });
    await settle();
    await stream.send("open", { channel: "c", cursor: "5" });
    await (message === "event" ? stream.event("e.6") : stream.send("live", { channel: "c", cursor: "e.5" }));
    assert.equal(track.cursor, cursor);
  }
});

test("after 0 begins with whatever is the oldest event", async () => {
  const stream = new Stream();
  const { heard } = listen("sse", { fetch: new Network(stream).fetch, after: 0 });
  await settle();
  await stream.send("open", { channel: "c", cursor: "0" });
  await stream.event("e.301");
  assert.deepEqual(heard.events, ["e.301 behind"]);
  assert.deepEqual(heard.faults, []);
});

test("a gap that is announced is told, and is no hole", async () => {
  const { streams, heard } = await openStream();
  await streams[0].send("gap", { channel: "c", from: "e.1", to: "e.90", missed: 89, reason: "expired" });
  await streams[0].event("e.91");
  await streams[0].send("gap", { channel: "c", from: "e.91", to: "f.0", missed: null, reason: "epoch" });
  await streams[0].event("f.1");
  assert.deepEqual(heard.gaps, [
    ["e.1", "e.90", 89, "expired"],
    ["e.91", "f.0", null, "epoch"],
  ]);
  assert.deepEqual(heard.events, ["e.91 live", "f.1 live"]);
  assert.deepEqual(heard.faults, []);
});

test("another life of the log that begins without a gap is no hole where the offsets go on", async () => {
  const { streams, heard, track } = await openStream();
  await streams[0].send("live", { channel: "c", cursor: "f.1" });
  assert.equal(track.cursor, "f.1");
  await streams[0].event("f.2");
  await streams[0].event("g.3");
  assert.deepEqual(heard.events, ["f.2 live", "g.3 live"]);
  await streams[0].event("h.5");
  assert.deepEqual(heard.faults, ["hole"]);
});

test("conflated events leave holes that are none, up to where the gap says", async () => {
  const { streams, heard, track } = await openStream();
  const gap = { channel: "c", from: "e.1", to: "e.9", missed: 6, reason: "conflated" };
  await streams[0].send("gap", gap);
  assert.equal(track.cursor, "e.1");
  await streams[0].event("e.5");
  assert.equal(track.cursor, "e.5");
  await streams[0].event("e.9");
  await streams[0].send("live", { channel: "c", cursor: "e.9" });
  assert.deepEqual(heard.gaps, [["e.1", "e.9", 6, "conflated"]]);
  assert.deepEqual([heard.faults, track.state], [[], "live"]);
  await streams[0].event("e.11");
  assert.deepEqual(heard.faults, ["hole"]);
});

test("a hole is a fault: the client comes back for what is missing", async () => {
  const { streams, heard, network, clock } = await openStream();
  await streams[0].event("e.3");
  assert.deepEqual(heard.faults, ["hole"]);
  assert.deepEqual(heard.events, []);
  assert.ok(streams[0].aborted);
  await clock.advance(1_000);
  assert.equal(network.requests[1].path, "/orders/A123/events?after=e.1&format=triolet");
  await streams[1].send("open", BEGIN);
  await streams[1].event("e.2");
  await streams[1].event("e.3");
  assert.deepEqual(heard.events, ["e.2 behind", "e.3 behind"]);
  assert.deepEqual(heard.gaps, []);
});

test("what is missing a second time is told as lost, and it goes on", async () => {
  const { streams, heard, clock } = await openStream();
  await streams[0].event("e.3");
  await clock.advance(1_000);
  await streams[1].send("open", BEGIN);
  await streams[1].event("e.3");
  assert.deepEqual(heard.gaps, [["e.1", "e.2", 1, "hole"]]);
  assert.deepEqual(heard.events, ["e.3 behind"]);
});

test("another life of the log without a gap, whose offsets do not go on, is a hole, and so is a beat that is ahead", async () => {
  for (const tell of [
    (stream) => stream.event("f.3"),
    (stream) => stream.send("beat", { time: 1, cursors: { c: "e.2" } }),
    (stream) => stream.send("live", { channel: "c", cursor: "e.4" }),
  ]) {
    const { streams, heard } = await openStream();
    await tell(streams[0]);
    assert.deepEqual(heard.faults, ["hole"]);
  }
});

const FILTERED = { ...BEGIN, filtered: true };

test("where the server says that it filters, holes are none, and live and beats move over them", async () => {
  const { streams, heard, track, network, clock } = await openStream({}, FILTERED);
  assert.equal(track.filtered, true);
  await streams[0].event("e.4");
  await streams[0].send("live", { channel: "c", cursor: "e.7" });
  assert.equal(track.cursor, "e.7");
  await streams[0].send("beat", { time: 1, cursors: { c: "e.9" } });
  assert.equal(track.cursor, "e.9");
  await streams[0].event("f.12"); // another life of the log, and the offsets go on
  assert.deepEqual([heard.events, heard.faults, heard.gaps], [["e.4 live", "f.12 live"], [], []]);
  await streams[0].end();
  await clock.advance(1_000);
  assert.equal(network.requests[1].path, "/orders/A123/events?after=f.12&format=triolet");
  await streams[1].send("open", { channel: "c", cursor: "f.12" }); // it may see all of them now
  await streams[1].event("f.14");
  assert.deepEqual([track.filtered, heard.faults], [false, ["hole"]]);
});

test("a filtered client, too, is not given an event twice, nor moved back", async () => {
  const { streams, heard, track } = await openStream({}, FILTERED);
  for (const id of ["e.4", "e.4", "e.2"]) await streams[0].event(id);
  await streams[0].send("beat", { time: 1, cursors: { c: "e.3" } });
  assert.equal(track.cursor, "e.4");
  assert.deepEqual([heard.events, heard.faults], [["e.4 live"], ["repeat", "repeat"]]);
  await streams[0].event("f.3");
  assert.deepEqual(heard.faults, ["repeat", "repeat", "hole"]);
});

test("a repeated event is a fault, and is not delivered again", async () => {
  const { streams, heard } = await openStream();
  for (const id of ["e.2", "e.2", "e.1", "e.3"]) await streams[0].event(id);
  assert.deepEqual(heard.events, ["e.2 live", "e.3 live"]);
  assert.deepEqual(heard.faults, ["repeat", "repeat"]);
});

test("the page's own error ends no connection", async () => {
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  const { streams, track } = await openStream({ onEvent: () => assert.fail("a bug of the page's") });
  await streams[0].event("e.2");
  delete globalThis.reportError;
  assert.deepEqual(reported, ["a bug of the page's"]);
  assert.equal(track.state, "live");
  assert.equal(track.cursor, "e.2");
});

test("lag counts the events that are known from elsewhere and have not come", async () => {
  const { streams, track } = await openStream();
  track.expect("e.4");
  track.expect("e.3");
  assert.equal(track.lag, 3);
  await streams[0].event("e.2");
  assert.equal(track.lag, 2);
});

// --- coming back -------------------------------------------------------------------------------------------

test("a network that is down is tried after 1, 2, 4, 8, 16 and then every 30 seconds at most", async () => {
  const { clock, heard, track } = listen("sse", { fetch: new Network().fetch });
  await clock.advance(120_000);
  assert.deepEqual(heard.retries, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(track.state, "connecting");
});

test("the wait is drawn from the whole range", async () => {
  const { clock, heard } = listen("sse", { fetch: new Network().fetch, random: () => 0.25 });
  await clock.advance(800);
  assert.deepEqual(heard.retries, [250, 500, 1_000]);
});

test("once a stream was live, the backoff begins anew", async () => {
  const streams = [new Stream()];
  const network = new Network();
  const { clock, heard } = listen("sse", { fetch: network.fetch });
  await clock.advance(6_000);
  network.answers.push(streams[0]);
  await clock.advance(1_000);
  await streams[0].send("open", BEGIN);
  await streams[0].send("live", { channel: "c", cursor: "e.1" });
  await streams[0].end();
  assert.deepEqual(heard.retries, [1_000, 2_000, 4_000, 1_000]);
});

test("a bye says when to come back, or that nobody is wanted back", async () => {
  const first = await openStream();
  await first.streams[0].send("bye", { code: 1012, reason: "restarting", retry: 4_321 });
  assert.deepEqual(first.heard.retries, [4_321]);
  assert.ok(first.streams[0].aborted);
  const second = await openStream();
  await second.streams[0].send("bye", { code: 1000, reason: "done", retry: null });
  assert.equal(second.track.state, "gone");
  assert.deepEqual(second.clock.pending, []);
});

test("a refusal is final, an overload is not", async () => {
  for (const [answer, state, retries] of [
    [status(403), "gone", []],
    [status(404), "gone", []],
    [status(204), "gone", []],
    [status(429, { "Retry-After": "7" }), "connecting", [7_000]],
    [status(503), "connecting", [1_000]],
    [json({}), "connecting", [1_000]], // no event stream: a captive portal, say
  ]) {
    const { track, heard } = listen("sse", { fetch: new Network(answer).fetch });
    await settle();
    assert.equal(track.state, state);
    assert.deepEqual(heard.retries, retries);
  }
});

test("silence ends a connection: after 50 seconds, or two and a half of the beats seen", async () => {
  const before = await openStream();
  await before.clock.advance(49_999);
  assert.equal(before.track.state, "live");
  await before.clock.advance(1);
  assert.equal(before.track.state, "connecting");
  assert.ok(before.streams[0].aborted);

  const after = await openStream();
  for (const time of [100_000, 110_000]) {
    await after.streams[0].send("beat", { time, cursors: { c: "e.1" } });
    if (time === 100_000) await after.clock.advance(10_000);
  }
  await after.clock.advance(24_999);
  assert.equal(after.track.state, "live");
  await after.clock.advance(1);
  assert.equal(after.track.state, "connecting");
});

test("the pace of beats is the page's own clock's, wherever the server's jumps to", async () => {
  for (const jumped of [3_710_000, 110_100, -7_000_000]) {
    const { streams, clock, track } = await openStream();
    await streams[0].send("beat", { time: 100_000, cursors: {} });
    await clock.advance(10_000);
    await streams[0].send("beat", { time: jumped, cursors: {} });
    await clock.advance(24_999);
    assert.equal(track.state, "live");
    await clock.advance(1);
    assert.equal(track.state, "connecting");
  }
});

test("only beats with nothing between them show the pace", async () => {
  const { streams, clock, track } = await openStream();
  await streams[0].send("beat", { time: 100_000, cursors: {} });
  await streams[0].event("e.2");
  await streams[0].send("beat", { time: 100_100, cursors: {} });
  await clock.advance(49_000);
  assert.equal(track.state, "live");
});

test("retry tries at once; close is the end, and says so once", async () => {
  const { track, clock, heard, network } = await openStream();
  network.answers.length = 0;
  await clock.advance(50_000);
  assert.equal(network.requests.length, 1);
  track.retry();
  await settle();
  assert.equal(network.requests.length, 2);
  track.close();
  track.close();
  await clock.advance(100_000);
  assert.equal(network.requests.length, 2);
  assert.equal(heard.states.filter((state) => state === "gone").length, 1);
  assert.deepEqual(clock.pending, []);
});
