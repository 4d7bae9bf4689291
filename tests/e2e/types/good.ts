/** What compiles: what an app in TypeScript writes. */

import { Client, Ended, EventStreamParser, Follow, Presence, Socket, Unanswered } from "triolet-client";
import { command, connect, follow, offsetOf, ticketed } from "triolet-client";
import { Values, apply } from "triolet-client/folds";
import type { ClientState, ConnectOptions, End, EventOf, FollowOptions, Gap, Item, Live, LiveEvent } from "triolet-client";
import type { Options, Present, Reply, Snapshot, State, Store, Tell, Transport, Why } from "triolet-client";

type OrderEvents = {
  "order-status": { state: "paid" | "packed" };
  note: { text: string };
  state: number; // a name that is also one of the client's
};

interface AnInterface {
  "order-status": { state: string };
}

/** Whether two types are one, and not only alike. */
type Same<One, Other> =
  (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false;
const same = <One, Other>(isSo: Same<One, Other>) => isSo;

const store: Store = {
  get: (key) => localStorage.getItem(key),
  set: (key, value) => localStorage.setItem(key, value),
};
const options: ConnectOptions = {
  transports: ["sse", "poll"],
  token: async () => "a token",
  headers: () => ({ "X-Shop": "1" }),
  share: "ann",
  store,
  commit: "before",
  buffer: 10,
  fetch: (url, asked) => fetch(url, { ...asked, credentials: "include" }),
};
export const live: Client = connect(new URL("https://shop.example"), options);
connect();

// --- a follow whose events are known

const order = live.follow<OrderEvents>("/orders/A123/events", { after: localStorage.getItem("cursor"), store: null });
same<typeof order, Follow<OrderEvents>>(true);
const values = new Values();
live.follow("/answers/42", { fold: true, snapshot: true, after: "0" }).on("event", (event) => {
  console.log(values.take(event).get("text"), event.folded.toFixed(), apply(event.fold ?? "latest", 1, event.data));
});

export async function read(): Promise<string | undefined> {
  for await (const item of order) {
    same<typeof item, Item<OrderEvents>>(true);
    if (item.type === "event") {
      same<typeof item, EventOf<OrderEvents>>(true);
      const [id, at, key]: [string, number, string | undefined] = [item.id, item.time, item.key];
      if (item.event === "order-status") {
        same<typeof item.data.state, "paid" | "packed">(true);
        same<typeof item, LiveEvent<"order-status", { state: "paid" | "packed" }>>(true);
      } else if (item.event === "note") return `${id} ${at} ${key} ${item.data.text}`;
      else same<typeof item.data, number>(true);
    } else if (item.type === "gap") {
      same<typeof item, Gap>(true);
      if (item.missed !== null) return item.missed.toFixed();
    } else if (item.type === "end") {
      same<typeof item, End>(true);
      return String(item.data.outcome ?? item.time.toFixed());
    } else if (item.type === "snapshot") {
      same<typeof item, Snapshot>(true);
      values.take(item);
    } else same<typeof item, Live>(true);
  }
  const why: Why = order.why;
  return why.error?.code === 4401 ? why.reason : undefined;
}

const off: () => void = order.on("order-status", (event) => same<typeof event.data.state, "paid" | "packed">(true));
order.on("note", async ({ data }) => console.log(data.text.length));
order.on("event:order-status", ({ data, event }) => console.log(data.state, event.length));
order.on("event:state", (event) => same<typeof event.data, number>(true));
order.on("state", (state, why) => same<typeof state, State>(true) && console.log(why.retry));
order.on("event", (event) => same<typeof event, EventOf<OrderEvents>>(true));
order.on("gap", ({ from, to, missed, reason }) => console.log(from, to, missed ?? "?", reason));
order.on("end", async (end) => same<typeof end, End>(true) && console.log(end.data.outcome));
order.on("snapshot", ({ data, missed }) => console.log(data, missed ?? "?"));
order.on("tell", (tell) => same<typeof tell, Tell>(true) && console.log(tell.event, tell.data, tell.key?.length));
order.on("live", ({ cursor }) => localStorage.setItem("cursor", cursor));
order.on("gone", ({ reason = "closed", error }) => console.log(reason, error?.status));
order.on("beat", ({ cursors, stale }) => console.log(Object.keys(cursors), stale === true));
order.on("fault", (fault) => fault.kind === "store" && console.error(fault.error));
order.on("expiring", (warning) => same<typeof warning.in, number | null>(true) && console.log(warning.refused));
order.on("renewed", (renewed) => same<typeof renewed.in, number | null>(true));
order.on("lag", ({ behind }) => behind.toFixed());
off();

export const facts: [string, string | null, string | null, State, number, boolean] = [
  order.url,
  order.channel,
  order.cursor,
  order.state,
  order.behind,
  order.filtered,
];
export const stream: ReadableStream<Item<OrderEvents>> = order.readable();
export const done = Promise.all([order.ready(), order.commit(), order.ready({ signal: AbortSignal.timeout(1) })]);
order.expect("5f3a.7");
order.close();

live.follow<AnInterface>("/x").on("order-status", ({ data }) => data.state.length);

// --- a follow whose events are not

const any = live.follow("/anything", { after: 0 } satisfies FollowOptions);
any.on("whatever", (event) => console.log(event.data.what.ever, event.event.length));
any.on("event", (event) => same<typeof event, LiveEvent>(true));
any.on("state", (state) => same<typeof state, State>(true));

// --- the rest of a client

live.on("state", (state) => same<typeof state, ClientState>(true));
live.on("transport", (transport) => same<typeof transport, Transport>(true));
live.on("message", (said) => console.log(said.anything));
live.on("event", ({ channel, data }) => console.log(channel, data));
live.on("unanswered", (count) => count.toFixed());

export async function pick(): Promise<boolean> {
  try {
    const reply = await live.send<{ picked: string }>("/orders/A123/pick", { by: "ann" }, { id: "1", timeout: 10 });
    same<typeof reply, Reply<{ picked: string }>>(true);
    return reply.status === 200 && reply.data.picked === "A123" && !reply.repeated;
  } catch (error) {
    return error instanceof Unanswered ? error.sent && error.id === "1" : error instanceof Ended && error.retry === null;
  }
}

export const ready: Promise<boolean> = live.ready({ timeout: 1 }).then(() => live.probe());
export const said: boolean = live.tell({ any: "thing" });

const here = live.presence<{ name: string }>("/orders/A123/presence", {
  roster: async () => ({ sessions: [{ member: "ann", session: "1", info: { name: "Ann" } }], cursor: "0" }),
});
same<typeof here, Presence<{ name: string }>>(true);
here.on("join", ({ member, info }) => console.log(member, info.name));
here.on("change", (all) => [...all.values()].map((one: Present<{ name: string }>) => one.sessions));
here.on("gone", ({ reason, error }) => console.log(reason, error instanceof Error));
export const names: (string | undefined)[] = [here.get("ann")?.info.name, ...here.keys()];
here.close();
live.close();

// --- less of it

const track = follow("/orders/A123/events", { transport: "websocket", onEvent: (event, handle) => handle.expect(event.id) });
track.command<number>("/x").then(({ data }) => data.toFixed());
const socket = new Socket("/warehouse", { onMessage: (data) => console.log(data), onState: (state) => state.length });
socket.follow("/tasks/events", { onGap: ({ missed }) => console.log(missed) } satisfies Options).close();
export const sent: boolean = socket.send({ picked: "A123" });
export const url: Promise<string> = ticketed("/orders/A123/events", { token: "a.b.c" });
export const asked: Promise<Reply<{ ok: boolean }>> = command<{ ok: boolean }>("/x", null, { signal: undefined });
export const offset: number = offsetOf("5f3a.1043") + new EventStreamParser().push("data: 1\n\n").length;
