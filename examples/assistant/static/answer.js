/** One answer: it is followed, and shown part by part, each drawn anew when it has changed, once in a frame at most. */

import { Values } from "/triolet/folds.js";
import { markdown } from "./vendor/markdown.js";

const ENDS = {
  done: () => "",
  stopped: ({ reason }) => (reason === "restarting" ? "Stopped: its server was restarted" : `Stopped ${reason}`),
  failed: () => "It failed. The server’s log says why",
  lost: () => "Lost: its server was killed",
};

export function make(name, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

export class Answer {
  counts = { told: 0, live: 0, folded: 0, folds: 0 };
  isWriting = true;
  #values = new Values();
  #shown = new Map();
  #due = new Set();
  #box;
  #end;
  #changed;
  #follow;

  /** @param live the page's client  @param {string} url the answer's channel  @param {Element} box where it is shown */
  constructor(live, url, box, changed) {
    this.#box = box;
    this.#end = box.querySelector(".end");
    this.#changed = changed;
    box.classList.add("writing");
    box.querySelector(".parts").replaceChildren();
    this.#end.textContent = "";
    this.#follow = live.follow(url, { after: "0", fold: true });
    this.#follow.on("event", (item) => this.#take(item));
    this.#follow.on("gap", () => this.#close("gap", "Some of it is no longer kept"));
    this.#follow.on("end", ({ data }) => this.#close(data.outcome, (ENDS[data.outcome] ?? String)(data)));
    changed(this);
  }

  /** Leaves it: another answer has taken its place. */
  leave() {
    this.#follow.close();
  }

  #take(item) {
    this.counts.told += item.folded;
    if (item.folded > 1) {
      this.counts.folded += item.folded;
      this.counts.folds += 1;
    } else {
      this.counts.live += 1;
    }
    this.#values.take(item);
    if (!this.#due.size) requestAnimationFrame(() => this.#draw());
    this.#due.add(item.key);
    this.#changed(this);
  }

  #draw() {
    for (const key of this.#due) {
      const value = this.#values.get(key);
      if (typeof value === "string") this.#part(key, "div", "words").replaceChildren(markdown(value));
      else this.#card(key, value);
    }
    this.#due.clear();
    this.#changed(this);
  }

  #part(key, name, kind) {
    if (!this.#shown.has(key)) {
      this.#shown.set(key, make(name, { class: kind }));
      this.#box.querySelector(".parts").append(this.#shown.get(key));
    }
    return this.#shown.get(key);
  }

  #card(key, { topic, found }) {
    const summary = make("summary", {}, make("span", { text: "Looked up in the manual" }), make("code", { text: topic }));
    const label = `What the manual says of ${topic}`;
    const text = make("pre", { tabindex: 0, role: "region", "aria-label": label, text: found });
    this.#part(key, "details", "tool").replaceChildren(summary, text);
  }

  #close(outcome, text) {
    this.isWriting = false;
    this.#box.classList.remove("writing");
    this.#end.dataset.outcome = outcome;
    this.#end.textContent = text;
    this.#changed(this);
  }
}
