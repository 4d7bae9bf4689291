/** What the page shows of one client: a lane below the log, with the switches of its network, and a card. */

import { offsetOf } from "/triolet/triolet.js";
import { TRANSPORTS, announce, describe, make, partsOf } from "./words.js";

const CUT_MS = 10_000;
const MOST_ROWS = 60;
const LATE_MS = 1_000;

/** So long may a client be behind before it shows: no longer than an eye notices. */
const PATIENCE_MS = 150;

export class Lane {
  #about;
  #card;
  #draw;
  #states;
  #why = {};
  #retryAt = 0;
  #behindSince = 0;
  #isAway = false;
  #caughtUp = 0;

  /** `about` is what the page says of the client; `link` is its network, `live` what `connect` gave, `order` a follow. */
  constructor(about, { link, live, order }, snapshot) {
    this.link = link;
    this.live = live;
    this.order = order;
    this.row = copyOf("lane", about);
    this.#about = about;
    this.#card = copyOf("card", about);
    this.#card.recent.ariaLabel = `Events of the ${about.name}`;
    this.#draw = about.face(this.#card.face, live);
    this.#states = { ...snapshot.states };
    this.#draw(this.#states);
    this.#note(offsetOf(snapshot.cursor), "page loaded here", "start");

    order.on("event", (event) => this.#heard(event));
    order.on("gap", ({ missed, reason, to }) => this.#note(offsetOf(to), `${missed ?? "some"} lost (${reason})`, "gap"));
    order.on("state", (state, why) => this.#changed(state, why));
    link.onBack = () => live.probe();
    this.row.cut.onclick = () => link.cut(CUT_MS);
    this.row.slow.onclick = () => this.#slow();
  }

  // --- what happens to it -----------------------------------------------------------------------------------

  #heard(event) {
    const age = Math.max(0, Date.now() - event.time);
    const isMissed = this.order.state === "behind";
    if (event.event === "order-status") this.#states[event.data.state] = event.time;
    if (isMissed) this.#caughtUp += 1;
    this.#draw(this.#states);
    this.#card.took.textContent = duration(age);
    const kind = isMissed ? "caught-up" : age > LATE_MS ? "late" : "prompt";
    const words = { "caught-up": "caught up · ", late: "late · ", prompt: "" };
    this.#note(offsetOf(event.id), describe(event), kind, words[kind] + duration(age));
    queueMicrotask(() => this.render()); // by then the follow counts it as taken
  }

  #changed(state, why) {
    if (state === "connecting" && !this.#isAway) announce(`${this.#about.name}: no connection.`);
    if (state === "live" && this.#isAway) announce(`${this.#about.name}: back, ${this.#caughtUp} events caught up.`);
    if (state === "live") this.#caughtUp = 0;
    if (state !== "behind") this.#isAway = state === "connecting";
    this.#why = why;
    this.#retryAt = Date.now() + (why.retry ?? 0);
    this.render();
  }

  #slow() {
    this.link.slow = !this.link.slow;
    this.row.slow.setAttribute("aria-pressed", this.link.slow);
    this.#card.element.classList.toggle("slow", this.link.slow);
    this.render();
  }

  // --- what it shows ----------------------------------------------------------------------------------------

  /** The state of the follow; "behind" too where events are known of, as the other clients have them, and do not come. */
  get #state() {
    const { state, behind } = this.order;
    if (state !== "live" || behind === 0) this.#behindSince = 0;
    else this.#behindSince ||= Date.now();
    return this.#behindSince && Date.now() - this.#behindSince > PATIENCE_MS ? "behind" : state;
  }

  render() {
    const state = this.#state;
    const { cursor, behind } = this.order;
    for (const { element, transport } of [this.row, this.#card]) {
      element.dataset.state = state;
      transport.textContent = TRANSPORTS[this.live.transport];
    }
    const card = this.#card;
    card.element.dataset.offset = card.cursor.textContent = offsetOf(cursor);
    card.cursor.title = cursor;
    card.badge.textContent = state;
    card.why.textContent = this.#reason(state);
    card.lag.textContent = behind === 1 ? "1 event" : `${behind} events`;
    card.lag.classList.toggle("bad", behind > 0);
    const left = Math.ceil((this.link.cutUntil - Date.now()) / 1_000);
    this.row.cut.classList.toggle("on", this.link.isCut);
    this.row.seconds.textContent = this.link.isCut ? `${left} s left` : "Cut 10 s";
  }

  #reason(state) {
    if (this.link.isCut) return "no network";
    if (state === "gone") return this.#why.reason ?? "";
    const left = Math.max(0, this.#retryAt - Date.now()) / 1_000;
    if (state === "connecting") return left ? `retry in ${left.toFixed(1)} s` : "trying";
    return this.link.slow ? "reads slowly" : "";
  }

  #note(offset, text, kind, tag = "") {
    const row = make("li");
    row.dataset.offset = offset;
    row.dataset.kind = kind;
    row.append(make("span", "at", offset), make("span", "what", text), make("span", "tag", tag));
    const { recent } = this.#card;
    recent.prepend(row);
    if (recent.children.length > MOST_ROWS) recent.lastElementChild.remove();
    if (kind === "gap") announce(`${this.#about.name}: ${text}.`);
  }
}

/** A copy of a template, put where its kind belongs, as its parts. */
function copyOf(kind, about) {
  const copy = document.getElementById(`${kind}-template`).content.cloneNode(true);
  const element = copy.firstElementChild;
  const parts = { ...partsOf(element), element };
  element.dataset[kind] = about.id;
  element.ariaLabel = about.name;
  for (const name of ["name", "about", "truth"]) if (parts[name]) parts[name].textContent = about[name];
  parts.icon?.setAttribute("href", `#${about.icon}`);
  document.getElementById(`${kind}s`).append(copy);
  return parts;
}

function duration(ms) {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
