/** One client on the page: its state, its place, what it heard, and the switches of its network. */

import { offsetOf } from "/triolet/triolet.js";
import { Link } from "./link.js";
import { STATES, describe, timeline } from "./words.js";

const CUT_MS = 10_000;
const MOST_ROWS = 60;
const LATE_MS = 1_000;

/** So long may a client be behind before it shows: no longer than an eye notices. */
const PATIENCE_MS = 150;

export class Card {
  #parts = {};
  #face;
  #track = null;
  #why = {};
  #retryAt = 0;
  #behindSince = 0;
  #wasConnected = false;

  /** @param {Object} client  id, name, icon, transport, about, truth, face(element) → show(state, time) */
  constructor(client) {
    const copy = document.getElementById("client-template").content.cloneNode(true);
    this.element = copy.firstElementChild;
    this.element.dataset.client = client.id;
    for (const part of this.element.querySelectorAll("*")) {
      for (const name of Object.keys(part.dataset)) this.#parts[name] = part;
    }
    for (const name of ["name", "transport", "about", "truth"]) this.#parts[name].textContent = client[name];
    this.element.querySelector("use").setAttribute("href", `#${client.icon}`);
    this.client = client;
    this.link = new Link();
    this.#face = client.face(this.#parts.face);
    this.#parts.cut.addEventListener("click", () => this.link.cut(CUT_MS));
    this.#parts.slow.addEventListener("click", () => this.#slow());
    this.link.onBack = () => this.#track?.retry();
  }

  get track() {
    return this.#track;
  }

  /** The client's own knowledge, from the page's snapshot on. */
  begin(snapshot, track) {
    this.#track = track;
    this.states = { ...snapshot.states };
    this.#face(this.states);
    this.#row({ offset: offsetOf(snapshot.cursor), text: "page loaded here", kind: "start" });
    this.render();
  }

  heard(event, track) {
    const age = Math.max(0, Date.now() - event.time);
    const caughtUp = track.state === "behind";
    const late = !caughtUp && age > LATE_MS;
    if (event.event === "order-status") this.states[event.data.state] = event.time;
    this.#face(this.states);
    this.#parts.took.textContent = duration(age);
    const tag = caughtUp ? `caught up · ${duration(age)}` : late ? `late · ${duration(age)}` : duration(age);
    const kind = caughtUp ? "caught-up" : late ? "late" : "prompt";
    this.#row({ offset: offsetOf(event.id), text: describe(event), kind, tag });
    this.render();
  }

  lost(gap) {
    const missed = gap.missed === null ? "events" : `${gap.missed} events`;
    this.#row({ offset: offsetOf(gap.to), text: `${missed} lost for good (${gap.reason})`, kind: "gap" });
  }

  changed(state, why) {
    this.#why = why;
    this.#retryAt = Date.now() + (why.retry ?? 0);
    if (state === "live") this.#wasConnected = true;
    this.render();
  }

  /** What the badge says: "gone" is a client without a connection, whether it will be back or not. */
  get badge() {
    const { state, lag } = this.#track;
    if (state === "connecting") return this.#wasConnected ? "gone" : "connecting";
    if (state !== "live") return state;
    if (!lag) this.#behindSince = 0;
    else this.#behindSince ||= Date.now();
    return lag && Date.now() - this.#behindSince > PATIENCE_MS ? "behind" : "live";
  }

  render() {
    if (!this.#track) return;
    const { cursor, lag } = this.#track;
    const { badge } = this;
    this.element.dataset.state = badge;
    this.element.dataset.offset = cursor ? offsetOf(cursor) : "";
    this.#parts.badge.textContent = badge;
    this.#parts.why.textContent = this.#reason(badge);
    this.#parts.cursor.textContent = cursor ? offsetOf(cursor) : "–";
    this.#parts.cursor.title = cursor ?? "";
    this.#parts.lag.textContent = lag === 1 ? "1 event" : `${lag} events`;
    this.#parts.lag.classList.toggle("bad", lag > 0);
    this.#parts.cut.disabled = this.link.isCut;
    const left = Math.ceil((this.link.cutUntil - Date.now()) / 1_000);
    this.#parts.cut.lastElementChild.textContent = this.link.isCut ? `Cut, ${left} s left` : "Cut network, 10 s";
  }

  #reason(badge) {
    if (this.link.isCut) return "no network";
    if (this.#track.state === "gone") return this.#why.error?.message ?? "closed";
    if (badge === "gone" || badge === "connecting") {
      const left = Math.max(0, this.#retryAt - Date.now());
      return left ? `retry in ${(left / 1_000).toFixed(1)} s` : "trying";
    }
    return this.link.slow ? "reads slowly" : "";
  }

  #slow() {
    this.link.slow = !this.link.slow;
    this.#parts.slow.setAttribute("aria-pressed", this.link.slow);
    this.#parts.slow.lastElementChild.textContent = this.link.slow ? "Read normally" : "Read slowly";
    this.element.classList.toggle("slow", this.link.slow);
    this.render();
  }

  #row({ offset, text, kind, tag = "" }) {
    const row = document.createElement("li");
    row.dataset.offset = offset;
    row.dataset.kind = kind;
    for (const [name, content] of [
      ["at", offset],
      ["what", text],
      ["tag", tag],
    ]) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = content;
      row.append(part);
    }
    this.#parts.recent.prepend(row);
    while (this.#parts.recent.children.length > MOST_ROWS) this.#parts.recent.lastElementChild.remove();
  }
}

function duration(ms) {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

/** How each client shows the order. Each knows only what it has heard itself. */
export const faces = {
  customer(element) {
    const line = document.createElement("p");
    line.className = "sentence";
    const steps = document.createElement("ol");
    steps.className = "dots";
    element.append(line, steps);
    const sentences = {
      created: "Thank you! We wait for your payment.",
      paid: "Paid. We look for your things.",
      packed: "Packed, and waiting for the courier.",
      shipped: "On its way to you.",
      delivered: "Delivered. Enjoy!",
    };
    return (states) => {
      line.textContent = sentences[newest(states)] ?? "";
      timeline(steps, states, false);
    };
  },

  kiosk(element) {
    const word = document.createElement("p");
    word.className = "screen";
    element.append(word);
    return (states) => (word.textContent = newest(states) ?? "");
  },

  board(element) {
    const table = document.createElement("table");
    const rows = STATES.map((state) => {
      const row = table.insertRow();
      row.insertCell().textContent = state;
      row.insertCell();
      return row;
    });
    element.append(table);
    return (states) =>
      rows.forEach((row, at) => {
        const time = states[STATES[at]];
        row.classList.toggle("done", time !== undefined);
        row.cells[1].textContent = time === undefined ? "–" : new Date(time).toLocaleTimeString();
      });
  },
};

function newest(states) {
  return STATES.findLast((state) => state in states);
}
