/** Dialogues about the end: whenever a page closes its client, nothing is left, and nothing is heard after it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Held, Network, Page, Stream, json, settle } from "./fakes.mjs";
import { HELLO, bracket, live, meet, note, opened } from "./meeting.mjs";

const POLLED = { channel: "c", events: [], cursor: "e.1", gap: null, live: true, retry: 2_000 };

/** A page that counts who listens to it. */
class Counted extends Page {
  listeners = 0;
  addEventListener(...given) {
    this.listeners += 1;
    super.addEventListener(...given);
  }
  removeEventListener(...given) {
    this.listeners -= 1;
    super.removeEventListener(...given);
  }
}

/** A client, and what it and a follow of it have said. */
function begin(options, network = new Network()) {
  const page = new Counted();
  const met = meet({ network, ...options, page });
  const said = [];
  for (const name of ["state", "transport", "message", "fault", "beat"]) met.client.on(name, () => said.push(name));
  met.follow = met.client.follow("c", { after: "e.1" });
  for (const name of ["state", "gone", "event", "gap", "live", "beat", "tell", "lag", "fault"]) {
    met.follow.on(name, () => said.push(`follow ${name}`));
  }
  return { ...met, page, said };
}

/** That a client which was closed has left nothing behind. */
async function checkOver({ client, clock, page, sockets, network, said }) {
  const before = said.length;
  assert.deepEqual([clock.pending, page.listeners], [[], 0]);
  assert.equal(client.state, "gone");
  await page.say("online");
  await clock.advance(100_000);
  assert.deepEqual(clock.pending, []);
  assert.deepEqual(said.slice(before), [], "it is heard after its end");
  assert.ok(sockets.every(({ closed }) => closed), "a socket is open");
  assert.ok(network.answered.every((one) => one.aborted !== false), "a request is open");
}

const SCENES = {
  "before anything": async (options) => begin(options),
  "while a token is waited for": async (options) => {
    const met = begin({ ...options, token: () => new Promise(() => null) });
    await settle();
    return met;
  },
  "while it is asked for": async (options) => {
    const met = begin(options, new Network(new Held()));
    await settle();
    return met;
  },
  "while it waits for the next try": async (options) => {
    const met = begin(options);
    await settle();
    for (const socket of met.sockets) await socket.lose(1006);
    await met.clock.advance(10);
    return met;
  },
  "while the browser keeps the page": async (options) => {
    const met = begin(options, new Network(new Held()));
    await settle();
    await met.page.say("pagehide");
    return met;
  },
};

for (const [when, scene] of Object.entries(SCENES)) {
  test(`closed ${when}, it leaves nothing and says nothing more`, async () => {
    for (const options of [
      {},
      { socket: "/live" },
      ...["websocket", "sse", "long-poll", "poll"].map((one) => ({ transports: [one] })),
      { transports: ["sse"], socket: "/live" },
    ]) {
      const met = await scene(options);
      met.client.close();
      await settle();
      await checkOver(met);
    }
  });
}

/** What brings an event and then more, on each transport. */
const TALKS = {
  async websocket() {
    const met = begin({ transports: ["websocket"] });
    await settle();
    await met.sockets[0].open();
    return { met, talk: () => met.sockets[0].say(opened("e.1"), note("e.2"), live("e.2")).catch(() => null) };
  },
  async socket() {
    const met = begin({ socket: "/live", transports: ["websocket"], acknowledge: 500 });
    await settle();
    await met.sockets[0].open();
    const begun = [HELLO, ...bracket("s1", opened("e.1", { sub: "s1" }), note("e.2"), live("e.2", { subs: ["s1"] }))];
    return { met, talk: () => met.sockets[0].say(...begun).catch(() => null) };
  },
  async sse() {
    const stream = new Stream();
    const met = begin({ transports: ["websocket", "sse"] }, new Network(stream));
    await settle();
    await met.sockets[0].lose(1006);
    await met.clock.advance(0);
    const block = (type, data) => `event: triolet.${type}\ndata: ${JSON.stringify(data)}\n\n`;
    const event = 'id: e.2\nevent: note\ndata: {}\ntime: 7\n\n';
    const beat = block("beat", { time: 1, cursors: { c: "e.2" } });
    return { met, talk: () => stream.send(block("open", opened("e.1")) + event + block("live", live("e.2")) + beat) };
  },
  async "long-poll"() {
    const held = new Held();
    const met = begin({ transports: ["long-poll"] }, new Network(held));
    await settle();
    return { met, talk: () => held.give(json({ ...POLLED, events: [note("e.2")], cursor: "e.2" })) };
  },
  async poll() {
    const held = new Held();
    const met = begin({ transports: ["poll"] }, new Network(held));
    await settle();
    return { met, talk: () => held.give(json({ ...POLLED, events: [note("e.2")], cursor: "e.2" })) };
  },
};

for (const [transport, begun] of Object.entries(TALKS)) {
  for (const name of ["event", "state", "live"]) {
    test(`closed in a handler of ${name}, over ${transport}, it leaves nothing and says nothing more`, async () => {
      const { met, talk } = await begun();
      met.follow.on(name, () => met.client.close());
      await talk();
      met.network.answered.length = 0; // an answer that has come is none that waits
      await checkOver(met);
    });
  }
}

test("a follow that was refused for now, and is closed meanwhile, leaves no timer", async () => {
  const met = begin({ socket: "/live", transports: ["websocket"] });
  await settle();
  await met.sockets[0].open();
  await met.sockets[0].say(HELLO, { type: "refused", url: "/c", sub: "s1", reason: "busy", retry: 9_000 });
  assert.equal(met.follow.why.reason, "busy");
  met.client.close();
  await checkOver(met);
});

test("a follow that was refused for now, and whose socket ends for good meanwhile, leaves no timer", async () => {
  const { client, follow, sockets, clock } = begin({ socket: "/live", transports: ["websocket"] });
  await settle();
  await sockets[0].open();
  await sockets[0].say(HELLO, { type: "refused", url: "/c", sub: "s1", reason: "busy", retry: 9_000 });
  await sockets[0].say({ type: "bye", code: 1000, reason: "done", retry: null });
  await sockets[0].lose(1000);
  assert.deepEqual([follow.state, client.state, clock.pending], ["gone", "idle", []]);
});

test("closed while it is asked why no WebSocket opens, it leaves nothing", async () => {
  for (const options of [{ transports: ["websocket"] }, { transports: ["websocket"], socket: "/live" }]) {
    const met = begin(options, new Network(new Held()));
    await settle();
    await met.sockets[0].lose(1006);
    assert.equal(met.network.requests.length, 1);
    met.client.close();
    await settle();
    await checkOver(met);
  }
});

test("where nobody may leave an error of a WebSocket unheard, as with the package ws, somebody hears it to its end", async () => {
  const { client, sockets } = begin({ socket: "/live" });
  await settle();
  const heard = () => typeof sockets[0].onerror === "function";
  assert.ok(heard());
  client.close(); // which is an error of its own, where it is not open yet
  assert.ok(sockets[0].closed && heard());
});
