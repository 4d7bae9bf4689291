/** Dialogues about what a component shows of a channel's state, of folds, and of its end. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Live, useChannel, useFolded } from "triolet-client/react";
import { Stream } from "../script/fakes.mjs";
import { h, live, opened, show, world } from "./stage.mjs";

const token = (id, data, folded = 1) =>
  `id: ${id}\nevent: message\ndata: ${JSON.stringify(data)}\nkey: text\nfold: concat\nfolded: ${folded}\n\n`;

test("a component shows the text of an answer, and how it has ended", async () => {
  const stream = new Stream();
  const { network, clock, props } = world(stream);
  const drawn = [];
  function Answer() {
    const { value, end, state } = useFolded("answer");
    drawn.push(value);
    return h("p", null, `${value.get("text") ?? "…"} ${end?.data ?? ""} ${state}`);
  }
  const page = await show(h(Live, props, h(Answer)));
  assert.equal(page.text, "…  connecting");
  await stream.send("open", opened("0"));
  await stream.send(token("e.3", "Hello", 3));
  await stream.send("live", live("e.3"));
  await clock.advance(16);
  const before = drawn.at(-1);
  await stream.send(token("e.4", "!"));
  await clock.advance(16);
  assert.deepEqual([page.text, before.get("text")], ["Hello!  live", "Hello"]);
  await stream.send("end", { channel: "c", cursor: "e.5", data: "done", time: 7 });
  await clock.advance(16);
  assert.equal(page.text, "Hello! done gone");
  assert.deepEqual(network.requests.map(({ path }) => path), ["/answer?fold=1&after=0&format=triolet"]);
  await page.leave();
});

test("with a snapshot it begins at the channel's state, which a reducer is given too", async () => {
  const streams = [new Stream(), new Stream()];
  const { network, clock, props } = world(...streams);
  function Cart() {
    const { value } = useFolded("cart", { snapshot: true });
    const { value: types } = useChannel("cart", {
      snapshot: true,
      initial: "",
      reduce: (all, { type }) => `${all} ${type}`,
    });
    return h("p", null, `${JSON.stringify([...value])}${types}`);
  }
  const page = await show(h(Live, props, h(Cart)));
  for (const stream of streams) {
    await stream.send("open", opened(null));
    await stream.send("snapshot", { channel: "c", cursor: "e.9", data: { text: "Hel" } });
    await stream.send(token("e.10", "lo"));
  }
  await clock.advance(16);
  assert.equal(page.text, '[["text","Hello"]] snapshot event');
  const paths = ["/cart?snapshot=1&fold=1&format=triolet", "/cart?snapshot=1&format=triolet"];
  assert.deepEqual(network.requests.map(({ path }) => path), paths);
  await page.leave();
});
