/** What does not compile, and for which reason: the number is TypeScript's. */

import { Socket, connect, follow } from "triolet-client";
import type { Item, LiveEvent } from "triolet-client";

type OrderEvents = { "order-status": { state: "paid" | "packed" }; note: { text: string } };

const live = connect();
const order = live.follow<OrderEvents>("/orders/A123/events");
declare const item: Item<OrderEvents>;

// @ts-expect-error 2339: not every item has data
item.data;
// @ts-expect-error 2367: no event of this name
export const isOther = item.type === "event" && item.event === "order-statos";
// @ts-expect-error 2339: which event it is has not been asked
export const state = item.type === "event" && item.data.state;
// @ts-expect-error 2339: of the other event
export const text = item.type === "event" && item.event === "order-status" && item.data.text;
// @ts-expect-error 18047: nobody may know it
export const missed = item.type === "gap" && item.missed.toFixed();

// @ts-expect-error 2345: no event of this name, and not one of the client's
order.on("order-statos", () => null);
// @ts-expect-error 2345: nor here
order.on("event:order-statos", () => null);
// @ts-expect-error 2339: its data are known
order.on("order-status", (event) => event.data.text);
// @ts-expect-error 2339: so they are by its longer name
order.on("event:order-status", (event) => event.data.text);
// @ts-expect-error 2345: what is called is given other data
order.on("note", (event: LiveEvent<"note", { text: number }>) => event);
// @ts-expect-error 2339: a gap is no event
order.on("gap", (gap) => gap.data);
// @ts-expect-error 18047: nobody may know it
order.on("snapshot", (snapshot) => snapshot.missed.toFixed());
// @ts-expect-error 2339: what is told has no place
order.on("tell", (tell) => tell.id);
// @ts-expect-error 2322: it is asked for or not
live.follow("/x", { fold: 1 });
// @ts-expect-error 2367: no state of a follow
order.on("state", (state) => state === "idle");
// @ts-expect-error 2345: a function
order.on("live", "now");
// @ts-expect-error 2540: it is the client's to say
order.state = "live";
// @ts-expect-error 2344: names of events, with what their data are
live.follow<string>("/orders/A123/events");
// @ts-expect-error 2322: no cursor
live.follow("/orders/A123/events", { after: new Date() });

// @ts-expect-error 2322: no transport
connect("/", { transports: ["carrier pigeon"] });
// @ts-expect-error 2561: it is `transports`
connect("/", { transport: "sse" });
// @ts-expect-error 2345: nothing happens by this name
live.on("open", () => null);
// @ts-expect-error 2551: what is answered is known
live.send<{ picked: string }>("/x").then((reply) => reply.data.packed);
// @ts-expect-error 2339: what is said of a member is known
live.presence<{ name: string }>("/x").on("join", (one) => one.info.age);
// @ts-expect-error 2345: nothing happens by this name
live.presence("/x").on("event", () => null);

// @ts-expect-error 2554: it needs a URL
new Socket();
// @ts-expect-error 2339: it is the machinery's
follow("/x").take({ type: "open" });
