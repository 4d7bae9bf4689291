/** Many channels by one request to the fake server: `?follow=` on a socket that has no handler. */

import { parseAfter } from "./fake-log.js";
import { locateHere, nameOf } from "./fake-routes.js";

/** @import { Found, Message, Page, Place, Wish } from "./fake-api.js" */

/** As the server has it by default. */
const FOLLOWS = 128;

/** @typedef {Wish & {channel: string, after: ?Place, url: string}} Followed */

/**
 * What a request follows, and what is refused of it; or why it can be none.
 *
 * @param {URL} url
 * @param {(url: URL) => ?Found} find  what may be followed at a URL
 * @param {(found: Found, url: URL) => Wish} wishOf
 * @returns {{follows: Followed[], refused: Message[]} | string}
 */
export function askedOf({ searchParams }, find, wishOf) {
  const urls = [...new Set(searchParams.getAll("follow"))];
  if (urls.length > FOLLOWS) return "follows";
  /** @type {Followed[]} */
  const follows = [];
  /** @type {Message[]} */
  const refused = [];
  for (const asked of urls) {
    const url = locateHere(asked, "follow");
    const place = url.searchParams.get("after");
    const after = place ? parseAfter(place) : null;
    if (place && after === null) return "cursor";
    const found = find(url);
    const channel = found && nameOf(found, url);
    if (!found || channel === null) refused.push({ type: "refused", url: asked });
    else if (follows.some((one) => one.channel === channel)) refused.push({ type: "refused", url: asked, reason: "repeat" });
    else follows.push({ channel, after, url: asked, ...wishOf(found, url) });
  }
  return { follows, refused };
}

/**
 * The answer to a poll of many.
 *
 * @param {Followed[]} follows
 * @param {(Page & {snapshot: ?Message})[]} pages  of each of them
 * @param {Message[]} refused
 * @param {Message[]} told
 * @param {{live: boolean, retry: ?number, time: number}} now
 */
export function manyBody(follows, pages, refused, told, now) {
  const snapshots = pages.flatMap(({ snapshot }) => snapshot ?? []);
  const ends = pages.flatMap(({ end }) => end ?? []);
  return {
    follows: follows.map(({ url, channel }, at) => ({ url, channel, cursor: pages[at].cursor })),
    events: pages.flatMap(({ events }) => events),
    gaps: pages.flatMap(({ gap }) => gap ?? []),
    refused,
    ...now,
    ...(ends.length > 0 && { ends }),
    ...(snapshots.length > 0 && { snapshots }),
    ...(told.length > 0 && { told }),
  };
}

/** A message as an event stream of many channels has it. @param {Message} message */
export function blockOfMany(message) {
  const retry = message.type === "bye" && message.retry !== null ? `retry: ${message.retry}\n` : "";
  const name = message.type === "event" ? "" : `event: triolet.${message.type}\n`;
  return `${retry}${name}data: ${JSON.stringify(message)}\n\n`;
}
