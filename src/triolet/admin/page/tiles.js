/** The tiles: a number of now, and the hour behind it. */

import { Chart } from "./charts.js";
import { element, mark, say } from "./lists.js";
import { age, bytes, count, isMuch, lasting, many, rate, share } from "./words.js";

const PLACES = { connections: 1, behind: 2, delivered: 3, published: 4, closed: 5, written: 6, acknowledged: 7, memory: 8 };

/** Where a name of Point's stands in it (figures.py). @param {keyof typeof PLACES} name */
const of = (name) => (point) => point[PLACES[name]];

const total = (open) => Object.values(open).reduce((sum, one) => sum + one, 0);
const perSecond = (value) => [rate(value), "/s"];
const rateOf = (value) => `${rate(value)}/s`;

/** Each: its name, its chart, and what it says of the figures: [value, unit], what else there is, how bad it is. */
const TILES = [
  {
    name: "Connections",
    chart: new Chart("Connections", of("connections"), (value) => count(value ?? 0), 10),
    said: ({ open, polls }) => {
      const parts = [many(open.websocket ?? 0, "WebSocket"), many(open.sse ?? 0, "event stream")];
      if (polls) parts.push(`${many(polls, "poll")} waiting`);
      return { value: [count(total(open)), ""], more: parts.join(", "), split: [open.websocket ?? 0, open.sse ?? 0] };
    },
  },
  {
    name: "Behind",
    chart: new Chart("Clients behind", of("behind"), (value) => count(value ?? 0), 10),
    said: ({ behind, stalled, slowest, open }) => {
      const furthest = `the furthest ${many(slowest.events, "event")}, ${age(slowest.seconds)}`;
      const more = behind ? `${stalled === 1 ? "1 takes" : `${count(stalled)} take`} nothing; ${furthest}` : "everybody has all that there is";
      return { value: [count(behind), ""], more, level: isMuch(behind, total(open)) ? "warn" : null };
    },
  },
  {
    name: "Age when written",
    chart: new Chart("Age of 99 in 100 events when written", of("written"), age, 0.01),
    said: ({ written }) => {
      const more = written.most === null ? "no event in ten seconds" : `99 in 100 events; half within ${age(written.half)}`;
      return { value: lasting(written.most), more, level: written.most > 1 ? "warn" : null };
    },
  },
  {
    name: "Age when acknowledged",
    chart: new Chart("Age of 99 in 100 events when acknowledged", of("acknowledged"), age, 0.01),
    said: ({ acknowledged: { half, most } }) => {
      return { value: lasting(most), more: most === null ? "no client says so now" : `99 in 100 events; half within ${age(half)}` };
    },
  },
  {
    name: "Delivered",
    chart: new Chart("Events delivered a second", of("delivered"), rateOf, 1),
    said: ({ rates, followers }) => ({ value: perSecond(rates.delivered), more: `to ${many(followers, "follower")} of channels` }),
  },
  {
    name: "Published",
    chart: new Chart("Events published a second", of("published"), rateOf, 1),
    said: ({ rates }) => ({ value: perSecond(rates.published), more: "by these workers" }),
  },
  {
    name: "Ended",
    chart: new Chart("Connections ended a second", of("closed"), rateOf, 1),
    said: ({ rates }) => {
      const refused = rates.refused ? `, ${rateOf(rates.refused)} refused` : "";
      const more = `${rateOf(rates.opened)} opened, ${rateOf(rates.returned)} came back${refused}`;
      return { value: perSecond(rates.closed), more, level: rates.refused ? "warn" : null };
    },
  },
  {
    name: "Memory",
    chart: new Chart("Memory held, of its ceiling", of("memory"), (part) => share(part ?? 0, 1), 1),
    said: ({ memory, workers }) => {
      const fullest = Math.max(0, ...workers.map(({ held, ceiling }) => held / Math.max(1, ceiling)));
      const more = `of ${bytes(memory.ceiling).join(" ")}; the fullest worker ${share(fullest, 1)}`;
      return { value: bytes(memory.held), more, level: fullest >= 0.9 ? "bad" : fullest >= 0.8 ? "warn" : null };
    },
  },
];

/** @param {HTMLElement} place */
export function makeTiles(place) {
  const updates = TILES.map(({ name, chart, said }) => {
    const [number, unit, more] = [element("span"), element("small"), element("p", "more")];
    const value = element("p", "value", number, unit);
    const [first, second] = [element("i"), element("i")];
    const split = element("div", "split", first, second);
    const tile = element("section", "tile", element("h2", "", name), value, more, chart.element);
    place.append(tile);
    return (figures, points) => {
      const now = said(figures);
      say(number, now.value[0]);
      say(unit, now.value[1]);
      if (now.split) {
        first.style.flexGrow = String(now.split[0]);
        second.style.flexGrow = String(now.split[1]);
        more.replaceChildren(split, now.more);
      } else say(more, now.more);
      mark(tile, now.level ?? null);
      chart.draw(points, figures.time);
    };
  });
  return (figures, points) => updates.forEach((update) => update(figures, points));
}
