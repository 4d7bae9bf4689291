/** The guided tour: one client loses its network between two events. What goes over the wire is shown as it went. */

import { connect, offsetOf } from "/triolet/triolet.js";
import { Link } from "./link.js";
import { STATES, make, partsOf } from "./words.js";

const LIFE_AFTER_TOUR = 4_000;

export class Tour {
  #parts;
  #events;
  #url;
  #link = new Link();
  /** The shop, which does something to the order, and the client, which follows it and loses its network. */
  #shop = connect("/", { transports: ["sse"], fetch: (url, init) => this.#recorded(fetch, url, init) });
  #client = connect("/", { transports: ["sse"], fetch: (url, init) => this.#streamed(url, init) });
  #follow = null;
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

  constructor(element, { events, url }) {
    this.#parts = partsOf(element);
    this.#events = events;
    this.#url = url;
    this.#steps.forEach(([title, text, act], at) => {
      const [step, button] = [make("li"), make("button")];
      button.append(make("span", "n", at + 1), make("span", "title", title), make("span", "text", text));
      button.dataset.step = at + 1;
      button.onclick = () => this.#take(at, act);
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
    this.#buttons[this.#done]?.focus();
  }

  #draw() {
    this.#buttons.forEach((button, at) => {
      button.disabled = !this.#isOpen || at !== this.#done;
      button.parentElement.className = at < this.#done ? "done" : at === this.#done ? "due" : "";
    });
  }

  // --- the steps --------------------------------------------------------------------------------------------

  async #load() {
    this.#parts.wire.replaceChildren();
    const response = await this.#recorded(fetch, this.#events);
    const body = await response.json();
    this.#line("in", JSON.stringify(body));
    this.#cursor = body.cursor;
    this.#line("note", `The page shows the order as of event ${offsetOf(this.#cursor)}.`);
  }

  async #open() {
    this.#follow = this.#client.follow(this.#events, { after: this.#cursor });
    this.#follow.on("event", ({ id }) => (this.#cursor = id));
    await this.#follow.ready();
  }

  async #publish(...states) {
    for (const state of states) {
      const { status, data } = await this.#shop.send(`${this.#url}/${state}`);
      this.#line("in", JSON.stringify(data));
      if (status !== 200) throw new Error(data.message);
      if (!this.#link.isCut) await this.#until(() => offsetOf(this.#cursor) >= offsetOf(data.id));
    }
  }

  #drop() {
    this.#link.cut();
    this.#line("fault", `The connection is gone. The client has seen ${offsetOf(this.#cursor)}, and tries again in vain.`);
  }

  async #back() {
    this.#link.mend();
    await this.#client.probe();
    this.#line("note", `Event ${offsetOf(this.#cursor)} came late, in its place, and once. The tour is over.`);
    setTimeout(() => this.#client.close(), LIFE_AFTER_TOUR);
  }

  async #until(condition) {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 30));
  }

  // --- the wire ---------------------------------------------------------------------------------------------

  /** A request as it goes out, and the head of its answer. */
  async #recorded(network, url, init = {}) {
    const { pathname, search } = new URL(url, location.href);
    this.#line("out", `${init.method ?? "GET"} ${pathname}${search} HTTP/1.1`);
    for (const [name, value] of Object.entries(init.headers ?? {})) this.#line("out", `${name}: ${value}`);
    const response = await network(url, init);
    this.#line("in", `HTTP/1.1 ${response.status} ${response.statusText}`);
    for (const name of ["content-type", "cache-control"]) {
      if (response.headers.has(name)) this.#line("in", `${name}: ${response.headers.get(name)}`);
    }
    return response;
  }

  /** The client's stream, shown line by line on its way. While the network is cut, nothing goes out at all. */
  async #streamed(url, init) {
    const { fetch } = this.#link.network;
    if (this.#link.isCut) return fetch(url, init);
    const response = await this.#recorded(fetch, url, init);
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
    const line = make("p", kind, text);
    if (text.startsWith("id: ")) line.dataset.id = text.slice(4);
    if (kind === "out" && text.includes("after=")) line.dataset.after = text.split("after=")[1].split(" ")[0];
    this.#parts.wire.append(line);
    requestAnimationFrame(() => (this.#parts.wire.scrollTop = this.#parts.wire.scrollHeight));
  }
}
