/** The guided tour: one client loses its network between two events. What goes over the wire is shown as it went. */

import { follow, offsetOf } from "/triolet/triolet.js";
import { Link } from "./link.js";
import { STATES } from "./words.js";

const LIFE_AFTER_TOUR = 4_000;

export class Tour {
  #parts = {};
  #events;
  #url;
  #post;
  #link = new Link();
  #track = null;
  #cursor = null;
  #done = 0;
  #isOpen = false;
  #buttons = [];

  #steps = [
    ["The page is loaded", "The page asks once where the log stands.", () => this.#load()],
    ["The stream opens", "It follows from exactly there: after that event.", () => this.#open()],
    ["Paid, then packed", "Two events come while everything is well.", () => this.#publish("paid", "packed")],
    ["The network drops", "No goodbye. The client only knows its last id.", () => this.#drop()],
    ["Shipped, unheard", "The log has the event. The client has not.", () => this.#publish("shipped")],
    ["Back again", "It says the last id it saw, and gets what came since.", () => this.#back()],
  ];

  constructor(element, { events, url, post }) {
    for (const part of element.querySelectorAll("*")) {
      for (const name of Object.keys(part.dataset)) this.#parts[name] = part;
    }
    this.#events = events;
    this.#url = url;
    this.#post = post;
    this.#steps.forEach(([title, text, act], at) => {
      const step = document.createElement("li");
      const button = document.createElement("button");
      for (const [name, content] of [
        ["n", at + 1],
        ["title", title],
        ["text", text],
      ]) {
        const part = document.createElement("span");
        part.className = name;
        part.textContent = content;
        button.append(part);
      }
      button.dataset.step = at + 1;
      button.addEventListener("click", () => this.#take(at, act));
      step.append(button);
      this.#parts.steps.append(step);
      this.#buttons.push(button);
    });
    this.#line("note", "Press step 1. Nothing here is staged: these are the page’s own requests.");
    this.#draw();
  }

  /** The tour begins with an order that was created and no more. */
  look(states) {
    const isFresh = STATES.every((state) => state in states === (state === "created"));
    this.#isOpen = isFresh || this.#done > 0;
    this.#parts.stale.hidden = this.#isOpen;
    if (this.#done === 0) this.#draw();
  }

  async #take(at, act) {
    for (const button of this.#buttons) button.disabled = true;
    try {
      await act();
      this.#done = at + 1;
    } catch (error) {
      this.#line("note", `That did not work: ${error.message}. Try the step again.`);
    }
    this.#draw();
  }

  #draw() {
    this.#buttons.forEach((button, at) => {
      button.disabled = !this.#isOpen || at !== this.#done;
      button.parentElement.className = at < this.#done ? "done" : at === this.#done ? "due" : "";
    });
  }

  async #load() {
    this.#parts.wire.replaceChildren();
    const response = await this.#recorded(this.#events);
    const body = await response.json();
    this.#line("in", JSON.stringify(body));
    this.#cursor = body.cursor;
    this.#line("note", `The page shows the order as of event ${offsetOf(this.#cursor)}.`);
  }

  #open() {
    return new Promise((resolve) => {
      const opened = (state) => state === "live" && resolve();
      const fetch = (url, init) => this.#streamed(url, init);
      this.#track = follow(this.#events, { transport: "sse", after: this.#cursor, fetch, onState: opened });
    });
  }

  async #publish(...states) {
    for (const state of states) {
      this.#line("out", `POST ${this.#url}/${state}`);
      const answer = await this.#post(state);
      this.#line("in", JSON.stringify(answer));
      if (!this.#link.isCut) await this.#arrived(answer.id);
    }
  }

  #drop() {
    const seen = offsetOf(this.#track.cursor);
    this.#link.cut();
    this.#line("fault", `The connection is gone. The client has seen ${seen}, and tries again in vain.`);
  }

  async #back() {
    this.#link.mend();
    this.#track.retry();
    await this.#live();
    this.#line("note", `Event ${offsetOf(this.#track.cursor)} came late, in its place, and once. The tour is over.`);
    setTimeout(() => this.#track.close(), LIFE_AFTER_TOUR);
  }

  #arrived(cursor) {
    return this.#until(() => offsetOf(this.#track.cursor) >= offsetOf(cursor));
  }

  #live() {
    return this.#until(() => this.#track.state === "live");
  }

  async #until(condition) {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 30));
  }

  /** A request as it goes out, and the head of its answer. While the network is cut, nothing goes out at all. */
  async #recorded(url, init = {}) {
    if (!this.#link.isCut) {
      const { pathname, search } = new URL(url, location.href);
      this.#line("out", `GET ${pathname}${search} HTTP/1.1`);
      for (const [name, value] of Object.entries(init.headers ?? {})) this.#line("out", `${name}: ${value}`);
    }
    const response = await this.#link.fetch(url, init);
    this.#line("in", `HTTP/1.1 ${response.status} ${response.statusText}`);
    for (const name of ["content-type", "cache-control"]) {
      if (response.headers.has(name)) this.#line("in", `${name}: ${response.headers.get(name)}`);
    }
    return response;
  }

  /** A stream is shown line by line, on its way to the client. */
  async #streamed(url, init) {
    const response = await this.#recorded(url, init);
    const decoder = new TextDecoder();
    let rest = "";
    const show = new TransformStream({
      transform: (chunk, controller) => {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
        rest = lines.pop();
        for (const line of lines) this.#line("in", line);
        controller.enqueue(chunk);
      },
    });
    const { status, headers } = response;
    return new Response(response.body.pipeThrough(show), { status, headers });
  }

  /** One line on the wire. `out` goes to the server, `in` comes from it. */
  #line(kind, text) {
    const line = document.createElement("p");
    line.className = kind;
    line.textContent = text;
    if (text.startsWith("id: ")) line.dataset.id = text.slice(4);
    if (text.startsWith("Last-Event-ID: ")) line.dataset.lastEventId = text.slice(15);
    this.#parts.wire.append(line);
    requestAnimationFrame(() => (this.#parts.wire.scrollTop = this.#parts.wire.scrollHeight));
  }
}
