/** The fake server, as users' tests have it: ends, what is deleted, states, folds, and what is only told. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeServer } from "../../../src/triolet/static/fake.js";
import { foldedOf } from "../../../src/triolet/static/fake-folds.js";
import { Values } from "../../../src/triolet/static/folds.js";
import { connect } from "../../../src/triolet/static/triolet.js";

const BASE = "https://shop.test";
const CART = "/carts/7/events";
const WAYS = ["websocket", "socket", "sse", "long-poll", "poll"];

function open(t, { way = "sse", fake, ...followed } = {}) {
  const server = fakeServer(fake);
  t.after(() => server.close());
  const cart = { apples: 3 };
  server.channel("/carts/<id>/events", { snapshot: ({ id }) => ({ id, ...cart }) });
  server.socket("/live");
  const transports = [way === "socket" ? "websocket" : way];
  const client = connect(BASE, { ...server.options, transports, socket: way === "socket" ? "/live" : undefined });
  const hear = (options) => {
    const follow = client.follow(CART, options);
    const mine = [];
    for (const name of ["event", "end", "snapshot", "gap", "tell"]) follow.on(name, (item) => mine.push(item));
    return { follow, mine };
  };
  return { server, client, cart, hear, ...hear(followed) };
}

for (const way of WAYS) {
  test(`a page on ${way} is told of the end as publish and end return it`, async (t) => {
    const { server, follow, mine, client, hear } = open(t, { way });
    await server.settle();
    const event = server.publish(CART, 1, { key: "k", fold: "sum" });
    const end = server.end(CART, { outcome: "done" });
    assert.deepEqual(server.end(CART, "twice"), end);
    await server.advance(2_000);
    assert.deepEqual(mine.map((one) => JSON.parse(JSON.stringify(one))), [event, end]);
    assert.deepEqual([follow.why.reason, server.followers(CART)], ["ended", 0]);
    assert.equal(client.state, way === "socket" ? "live" : "idle");
    const { mine: late } = hear({ after: event.id });
    await server.advance(2_000);
    assert.deepEqual(late, [end]);
  });

  test(`a page on ${way} has the state in place of a gap that loses something`, async (t) => {
    const { server, cart, mine, hear } = open(t, { way, snapshot: true });
    const { mine: plain } = hear({});
    await server.settle();
    cart.apples = 9;
    for (const happen of [
      () => server.gap(CART, 2),
      () => server.publish(CART, "next"),
      () => server.gap(CART, 2, "skipped"),
    ]) {
      happen();
      await server.advance(2_000);
    }
    const said = (items) => items.map(({ type, data, reason }) => `${type} ${reason ?? JSON.stringify(data)}`);
    const states = ['snapshot {"id":"7","apples":3}', 'snapshot {"id":"7","apples":9}'];
    assert.deepEqual(said(mine), [...states, 'event "next"', "gap skipped"]);
    assert.deepEqual(said(plain), ["gap expired", 'event "next"', "gap skipped"]);
  });
}

test("what is only for now is heard by who follows by a stream, or waits in a long poll", async (t) => {
  for (const way of WAYS) {
    const { server, mine, follow } = open(t, { way });
    await server.settle();
    server.tell(CART, { who: "ann" }, { event: "typing", key: "ann" });
    server.publish(CART, 1);
    await server.advance(2_000);
    const told = { type: "tell", channel: "carts/7/events", event: "typing", data: { who: "ann" }, key: "ann" };
    assert.deepEqual(mine.filter(({ type }) => type === "tell"), way === "poll" ? [] : [told], way);
    assert.equal(follow.cursor, "fake-1.1");
  }
});

test("a deleted channel begins anew where it was", async (t) => {
  const { server, mine } = open(t);
  await server.settle();
  server.publish(CART, 1);
  server.delete(CART);
  await server.settle();
  assert.deepEqual(mine.at(-1).data, { outcome: "deleted" });
  assert.equal(server.publish(CART, "anew").id, "fake-1.3");
  server.end(CART);
  server.delete(CART);
  assert.equal(server.publish(CART, "once more").id, "fake-1.6");
});

test("what was missed comes folded, and makes the same", async (t) => {
  const values = new Values();
  const { server, follow } = open(t, { fold: true, after: "0" });
  const folded = [];
  follow.on("event", (item) => values.take(item) && folded.push(item.folded));
  for (const part of ["Hel", "lo"]) server.publish(CART, part, { key: "text", fold: "concat" });
  await server.settle();
  server.publish(CART, "!", { key: "text", fold: "concat" });
  await server.settle();
  assert.deepEqual([folded, values.get("text")], [[2, 1], "Hello!"]);
});

test("whatever is folded, the states are the same", () => {
  let seed = 1;
  const draw = (below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const jsons = ["a", "bc", 1, -2.5, true, null, [1], ["b"], { x: 1 }, { x: null }, { x: { y: 2 } }, { x: { y: null }, z: 1 }];
  for (let round = 0; round < 500; round++) {
    const events = Array.from({ length: 8 }, (_, place) => {
      const fold = ["concat", "latest", "merge", "sum"][draw(2) ? round % 4 : draw(4)];
      const key = draw(5) ? "k" : "other";
      return { type: "event", id: `e.${place + 1}`, event: "m", data: jsons[draw(jsons.length)], key, fold };
    });
    const made = foldedOf(events);
    const states = (all) => all.reduce((values, event) => values.take(event), new Values());
    assert.deepEqual(states(made), states(events), JSON.stringify(events));
    assert.equal(made.reduce((sum, { folded = 1 }) => sum + folded, 0), events.length);
  }
});

test("what cannot be is refused where it is said", async (t) => {
  const { server } = open(t);
  server.end(CART);
  const wrong = [
    [() => server.publish(CART, 1), /publish: the channel at \/carts\/7\/events has ended/],
    [() => server.gap(CART), /gap: the channel at \/carts\/7\/events has ended/],
    [() => server.publish("/x", 1, { fold: "sum" }), /fold: sum has to be of an event with a key: give it one as well/],
    [() => server.publish("/x", 1, { fold: "max", key: "k" }), /fold: one of concat, latest, merge, sum, not max/],
    [() => server.end("/x", () => {}), /data: has to be what JSON can say/],
    [() => server.tell("/x", 1, { event: "triolet.bye" }), /Triolet's own/],
  ];
  for (const [call, message] of wrong) assert.throws(call, message);
  server.restart({ lose: 1 });
  server.publish(CART, "its end was lost");
});
