/** How the dialogues begin: a client of the page's, and everything it hears noted down. */

import { Socket, follow } from "../../../src/triolet/static/triolet.js";
import { Clock, Network, Stream, makeSockets, settle } from "./fakes.mjs";

const URL_OF_ORDER = "http://shop.example/orders/A123/events";
export const BEGIN = { type: "open", channel: "c", cursor: "e.1" };

/** Follows with everything noted down, and every jitter at its most. */
export function listen(transport, more = {}) {
  const heard = { events: [], states: [], gaps: [], faults: [], retries: [], errors: [], expiring: [], renewed: [] };
  const clock = new Clock();
  const track = follow(more.url ?? URL_OF_ORDER, {
    transport,
    clock,
    random: () => 1,
    fetch: new Network().fetch,
    onEvent: ({ id }, { state }) => heard.events.push(`${id} ${state}`),
    onState: (state, { retry, error }) => {
      heard.states.push(state);
      if (retry !== undefined) heard.retries.push(retry);
      if (error !== undefined) heard.errors.push([error.message, error.code]);
    },
    onGap: ({ from, to, missed, reason }) => heard.gaps.push([from, to, missed, reason]),
    onFault: ({ kind }) => heard.faults.push(kind),
    onExpiring: (warning) => heard.expiring.push([warning.in, warning.refused]),
    onRenewed: (renewed) => heard.renewed.push(renewed.in),
    ...more,
  });
  return { track, heard, clock };
}

export async function openStream(more = {}, begin = BEGIN) {
  const streams = [new Stream(), new Stream(), new Stream()];
  const network = new Network(...streams);
  const client = listen("sse", { fetch: network.fetch, ...more });
  await settle();
  await streams[0].send("open", begin);
  await streams[0].send("live", { channel: "c", cursor: "e.1" });
  return { ...client, network, streams };
}

export function openSocket(more = {}) {
  const { WebSocket, opened } = makeSockets();
  const clock = new Clock();
  const { fetch } = new Network();
  const socket = new Socket("http://shop.example/warehouse", { WebSocket, clock, random: () => 1, fetch, ...more });
  return { socket, opened, clock };
}

export const note = (id) => ({ id, event: "note", data: {}, time: 7 });
export const event = (channel, id) => ({ ...note(id), type: "event", channel });
