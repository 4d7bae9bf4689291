/** Follows that share a stream or a poll: what `conformance/many.json` does not say, since it is of this client alone. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Held, Network, Stream, json, settle } from "./fakes.mjs";
import { listen, meet, note, opened } from "./meeting.mjs";

const OVER = (transport) => ({ socket: "/live", transports: [transport] });
const followed = ({ path }) => new URL(path, "http://shop.example").searchParams.getAll("follow");

test("a page that does not take what comes has a stream of its own until it does, and the others go on", async () => {
  const [both, own, rest] = [new Stream(), new Stream(), new Stream()];
  const { client, network, clock } = meet({ ...OVER("sse"), network: new Network(both, rest, own) });
  const slow = client.follow("/c/events", { after: "e.1", buffer: 2 });
  const heard = listen(client.follow("/d/events", { after: "e.1" }));
  await settle();
  const [c, d] = followed(network.requests[0]);
  await both.send("open", opened("e.1", { url: c }));
  await both.send("open", opened("e.1", { url: d, channel: "d" }));
  for (const message of [note("e.2"), note("e.3"), note("e.2", { channel: "d" })]) {
    await both.send(`data: ${JSON.stringify(message)}\n\n`);
  }
  await clock.advance(50);
  assert.deepEqual(network.requests.slice(1).map(followed), [["/d/events?after=e.2"]]);
  assert.deepEqual([heard, slow.state, slow.behind], [["e.2"], "behind", 2]);
  const taken = listen(slow);
  await settle();
  await own.send("open", opened("e.3"));
  await own.event("e.4");
  assert.equal(network.requests[2].path, "/c/events?after=e.3&format=triolet");
  assert.deepEqual(taken, ["e.2", "e.3", "e.4"]);
});

test("URLs that are too long for one request share several, and one that is too long for any has its own", async () => {
  const { client, network } = meet(OVER("sse"));
  const name = (number) => `/${"x".repeat(900)}/${number}`;
  for (let number = 0; number < 8; number++) client.follow(name(number));
  client.follow(`/${"x".repeat(3_000)}`);
  await settle();
  assert.deepEqual(network.requests.map((request) => followed(request).length).sort(), [0, 2, 6]);
});

test("whose events fill a poll is asked for last", async () => {
  const { client, network, clock } = meet({ ...OVER("poll"), network: new Network(new Held(), new Held()) });
  const [first] = network.answers;
  for (const name of ["c", "d"]) client.follow(`/${name}/events`, { after: "e.1" });
  await settle();
  const follows = [...followed(network.requests[0])].map((url, at) => ({ url, channel: "cd"[at], cursor: `e.${2 - at}` }));
  await first.give(json({ follows, events: [note("e.2")], gaps: [], refused: [], live: false, retry: 0, time: 0 }));
  await clock.advance(0);
  assert.deepEqual(followed(network.requests[1]), ["/d/events?after=e.1", "/c/events?after=e.2"]);
});

test("who leaves before anything was asked for is asked for by nobody", async () => {
  const { client, network } = meet(OVER("sse"));
  client.follow("/c/events").close();
  client.follow("/d/events");
  await settle();
  assert.deepEqual(network.requests.map(followed), [["/d/events"]]);
});
