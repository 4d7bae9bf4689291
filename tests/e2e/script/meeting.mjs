/** How the dialogues of `connect` begin. */

import { connect } from "../../../src/triolet/static/triolet.js";
import { Clock, Network, Page, makeSockets } from "./fakes.mjs";

export const BASE = "http://shop.example/";
export const HELLO = { type: "open", channel: null, cursor: null };
export const note = (id, more = {}) => ({ type: "event", channel: "c", id, event: "note", data: {}, time: 7, ...more });
export const opened = (cursor, more = {}) => ({ type: "open", channel: "c", cursor, ...more });
export const live = (cursor, more = {}) => ({ type: "live", channel: "c", cursor, ...more });
export const bracket = (sub, ...messages) => [{ type: "for", subs: [sub], next: messages.length }, ...messages];

/** A client of a network that is down until it is given answers; every jitter is at its most. */
export function meet(options = {}) {
  const clock = options.clock ?? new Clock();
  const network = options.network ?? new Network();
  const page = new Page();
  const { WebSocket, opened } = makeSockets();
  const world = { clock, fetch: network.fetch, WebSocket, page, random: () => 1, winners: new Map() };
  const client = connect(BASE, { ...world, ...options });
  const states = [];
  client.on("state", (state) => states.push(state));
  return { client, clock, network, page, sockets: opened, states, world };
}

/** What a follow says, noted down. */
export function listen(follow) {
  const heard = [];
  follow.on("event", ({ id }) => heard.push(id));
  follow.on("gap", ({ to, reason }) => heard.push(`gap ${to} ${reason}`));
  return heard;
}
