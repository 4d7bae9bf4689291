/** One job: it is followed, and its card shows how far it is, on a map and in words. */

import { Values } from "/triolet/folds.js";
import { colour, draw } from "./map.js";

const number = (value) => Math.round(value).toLocaleString("en");

export class Card {
  state = "waiting";
  #values = new Values();
  #box;
  #isDue = false;
  #changed;

  /** @param live the page's client  @param {Element} box  @param job what is told of it  @param changed called as its state is another */
  constructor(live, box, job, changed) {
    this.#box = box;
    this.#changed = changed;
    this.name = `${job.hubs} hubs for ${job.name}`;
    box.dataset.job = job.job;
    this.#part("h3").textContent = this.name;
    this.#say();
    const follow = live.follow(`/jobs/${job.job}/events`, { after: "0", fold: true });
    follow.on("event", (item) => {
      this.#values.take(item);
      this.#become(this.#values.get("progress")?.state ?? this.state);
    });
    follow.on("end", ({ data }) => this.#become(data.outcome, data.reason));
    this.#part(".about").textContent = `${job.tries} tries, ${job.alone ? "whoever looks" : "as long as somebody looks"}`;
    new ResizeObserver(() => this.#plan()).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#plan());
  }

  #part(selector) {
    return this.#box.querySelector(selector);
  }

  #become(state, reason) {
    const isNew = state !== this.state;
    this.state = this.#box.dataset.state = state;
    this.reason = reason;
    this.#say();
    this.#plan();
    if (isNew) this.#changed(this);
  }

  #say() {
    const isOver = !["receiving", "waiting", "working"].includes(this.state);
    this.#part(".state").textContent = this.reason ? `${this.state}: ${this.reason}` : this.state;
    this.#part(".stop").hidden = isOver;
    this.#part(".again")?.toggleAttribute("hidden", !isOver);
  }

  /** However often something is told, it is drawn once in a frame. */
  #plan() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  #draw() {
    const { count = 0, shown = [] } = this.#values.get("places") ?? {};
    const { done = 0, far, hubs = [] } = this.#values.get("progress") ?? {};
    const canvas = this.#part("canvas");
    this.#part("progress").value = done;
    if (shown.length) draw(canvas, shown, hubs);
    if (!far) return;
    this.#part(".far").textContent = `${number(far)} km to the nearest hub`;
    canvas.setAttribute("aria-label", `A map of ${number(count)} places and ${hubs.length} hubs`);
    this.#part("details").hidden = false;
    const rows = hubs.map(([, , places, near], at) => {
      const [row, name, mark] = ["tr", "td", "i"].map((tag) => document.createElement(tag));
      mark.style.background = colour(at);
      name.append(mark, near);
      row.append(name);
      row.insertCell().textContent = number(places);
      return row;
    });
    this.#part("tbody").replaceChildren(...rows);
  }
}
