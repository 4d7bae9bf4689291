/** On a server, where there is neither a window nor a network for it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createElement as h } from "react";
import { renderToString } from "react-dom/server";

for (const name of ["fetch", "WebSocket", "setTimeout", "queueMicrotask"]) {
  globalThis[name] = () => assert.fail(`${name} was called`);
}

const { Live, useChannel, useCommand, useLive, usePresence } = await import("triolet-client/react");

test("what is drawn is what is known at first, and nothing is begun", () => {
  assert.equal(typeof globalThis.window, "undefined");
  function Order({ id }) {
    const { client, ...rest } = useLive();
    const order = useChannel(`/orders/${id}/events`, { after: "e.7", initial: ["paid"], reduce: (list) => list });
    const newest = useChannel(`/orders/${id}/events`);
    const nothing = useChannel(null, { keep: 3 });
    const here = usePresence(new URL("http://shop.example/who"));
    const [, outcome] = useCommand(`/orders/${id}/pick`);
    return h("p", null, JSON.stringify([client, rest, order, newest, nothing, here, outcome]).replaceAll('"', ""));
  }
  const drawn = renderToString(h(Live, { base: "/", socket: "/live", token: () => assert.fail() }, h(Order, { id: "A1" })));
  assert.deepEqual(drawn.slice(3, -4).split(/(?<=\}),/), [
    "[null,{state:idle,why:{}",
    "transport:null,unanswered:0}",
    "{value:[paid],state:connecting,why:{}",
    "gap:null,end:null,cursor:e.7}",
    "{state:connecting,why:{}",
    "gap:null,end:null,cursor:null}",
    "{value:[],state:idle,why:{}",
    "gap:null,end:null,cursor:null}",
    "{members:[],state:connecting,why:{}}",
    "{pending:false,error:null,reply:null}]",
  ]);
});
