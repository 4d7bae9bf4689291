/** The rows of the page's lists: each makes its element once, and then changes what has changed. */

import { clock } from "./charts.js";
import { element, mark, say } from "./lists.js";
import { TRANSPORTS, age, bytes, count, many, rate } from "./words.js";

/** What is wrong now. */
export function noticeRow() {
  const row = element("li");
  return {
    element: row,
    update: ({ level, text }) => {
      mark(row, level);
      say(row, text);
    },
  };
}

/** Somebody who is behind; the whole row asks why. @param {(worker: number, id: number) => void} ask */
export const furthestRow = (ask) => (first) => {
  const [name, about] = [element("span", "name mono"), element("span", "about")];
  const [number, chip] = [element("span", "side"), element("span", "chip")];
  const [events, old, why] = [element("span"), element("small"), element("span", "why", "Why?")];
  number.append(events, old);
  const foot = element("span", "side", why);
  const row = element("button", "row", name, number, about, foot);
  row.type = "button";
  row.addEventListener("click", () => ask(first.worker, first.id));
  return {
    element: element("li", "", row),
    update: ({ worker, id, transport, subject, channels, stalled_seconds: stalled, follows }) => {
      const furthest = channels[0];
      say(name, furthest ? furthest.channel : "no channel");
      say(events, furthest ? many(furthest.events_behind, "event") : "");
      say(old, furthest ? ` ${age(furthest.seconds_behind)} old` : "");
      const who = [TRANSPORTS[transport] ?? transport, `connection ${id}`, `worker ${worker}`];
      if (subject !== null) who.unshift(subject);
      if (follows > 1) who.push(`${many(follows, "channel")}`);
      say(chip, stalled > 1 ? `takes nothing for ${age(stalled)}` : "catches up");
      mark(chip, stalled > 1 ? "warn" : null);
      about.replaceChildren(chip, ` ${who.join(" · ")}`);
    },
  };
};

export function workerRow() {
  const [name, about] = [element("span", "name"), element("span", "about")];
  const [side, chip, fill] = [element("span", "side"), element("span", "chip"), element("i")];
  const meter = element("span", "meter", fill);
  side.append(chip);
  const row = element("li", "", name, side, about, meter);
  return {
    element: row,
    update: (worker) => {
      const { number, process, open, behind, delivered, held, ceiling, draining, silent } = worker;
      say(name, `Worker ${number}`);
      const state = silent !== null ? `no answer for ${age(silent)}` : draining ? "drains" : "serves";
      row.dataset.state = silent !== null ? "silent" : draining ? "draining" : "serving";
      say(chip, state);
      mark(chip, silent !== null ? "bad" : draining ? "warn" : "good");
      const connections = Object.values(open).reduce((sum, one) => sum + one, 0);
      const told = [many(connections, "connection"), `${count(behind)} behind`, `${rate(delivered)} events/s`];
      if (process !== null) told.push(`${bytes(held).join(" ")} of ${bytes(ceiling).join(" ")}`, `process ${process}`);
      say(about, told.join(" · "));
      const part = held / Math.max(1, ceiling);
      fill.style.transform = `scaleX(${Math.min(1, part)})`;
      mark(meter, part >= 0.9 ? "bad" : part >= 0.8 ? "warn" : null);
    },
  };
}

/** A row with a bar under it: how much of the most it is. */
function barRow(fill) {
  const [name, side, more, bar] = [element("span", "name"), element("span", "side"), element("small"), element("span", "bar")];
  const number = element("span");
  side.append(number, more);
  return {
    element: element("li", "", name, side, bar),
    update: (item) => {
      const said = fill(item);
      name.classList.toggle("mono", said.mono);
      say(name, said.name);
      say(number, said.number);
      say(more, said.more);
      bar.style.transform = `scaleX(${said.part})`;
    },
  };
}

export const channelRow = () =>
  barRow(({ name, followers, per_second: speed, part }) => {
    return { name, mono: true, number: count(followers), more: `${rate(speed)} events/s`, part };
  });

export const closingRow = () =>
  barRow(({ code, reason, number, part }) => {
    return { name: `${code} ${reason}`, mono: false, number: count(number), more: "", part };
  });

export function happeningRow({ time, level, text }) {
  const when = element("time", "", clock(time));
  when.dateTime = new Date(time).toISOString();
  const row = element("li", "", when, element("span", "text", text));
  mark(row, level);
  return { element: row, update: () => {} };
}
