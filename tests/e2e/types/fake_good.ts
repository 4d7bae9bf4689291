/** What compiles: a test of a page, on the fake server. */

import { connect } from "triolet-client";
import { FakeServer, fakeServer } from "triolet-client/fake";
import type { CommandHandler } from "triolet-client/fake";

const server: FakeServer = fakeServer({ keep: 10 });
const live = connect("https://shop.test", { ...server.options, transports: ["sse"] });

const pick: CommandHandler = (data, { id, params, publish }) => {
  publish(`/orders/${params.id}/events`, { state: "packed" }, { event: "order-status" });
  return { status: 200, data: { picked: data.by, id } };
};

export async function test(): Promise<string[]> {
  server.channel("/orders/<id>/events", { name: ({ id }) => `orders/${id}` });
  server.command("/orders/<id>/pick", pick);
  server.identify((token) => (token === null ? null : { subject: token, expiresAt: server.time + 1_000 }));
  const order = live.follow<{ "order-status": { state: string } }>("/orders/A1/events");
  server.channel("/carts/<id>/events", { snapshot: ({ id }) => ({ id, apples: 3 }) });
  await server.settle(() => order.state === "live");
  const [{ folded }, end] = [server.publish("/x", 1, { key: "k", fold: "sum" }), server.end("/x", { outcome: "done" })];
  server.tell("/orders/A1/events", { who: "ann" }, { event: "typing", key: String(folded + end.time) });
  server.delete("/x");
  await server.advance(60_000);
  await server.close();
  return server.commands.map(({ url }) => url);
}
