/** The page: an order, its log, and four clients that follow it in four ways. */

import { Socket, follow } from "/triolet/triolet.js";
import { Card, faces } from "./card.js";
import { Tape } from "./tape.js";
import { Tour } from "./tour.js";
import { ACTIONS, STATES, timeline } from "./words.js";

const BURST = 40;
const TAPE_EVENTS = 24;

const order = new URLSearchParams(location.search).get("order") ?? "A123";
const url = `/orders/${encodeURIComponent(order)}`;
const events = `${url}/events`;
const element = (id) => document.getElementById(id);

const slowStream = "Slow is real: the page stops pulling from the response, TCP fills up, and the server waits.";
const tape = new Tape(element("tape"));
let states = {};

// --- the four clients ----------------------------------------------------------------------------------------

function followOver(transport, card, after) {
  return follow(events, { transport, after, fetch: card.link.fetch, ...callbacks(card) });
}

function callbacks(card) {
  return {
    onEvent: (event, track) => {
      noted(event);
      card.heard(event, track);
      tape.draw();
    },
    onState: (state, why) => {
      card.changed(state, why);
      tape.draw();
    },
    onGap: (gap) => card.lost(gap),
  };
}

/** The warehouse: one WebSocket for the order, for the tasks of all orders, and for what it has to say. */
class Warehouse {
  #list = document.createElement("ul");
  #tasks = new Map();
  #socket = null;

  face = (element) => {
    this.#list.className = "tasks";
    element.append(this.#list);
    return () => {};
  };

  begin = (card, after) => {
    this.#socket = new Socket("/warehouse", { WebSocket: card.link.WebSocket, onState: () => this.#draw() });
    this.#socket.follow("/tasks/events", { after: 0, onEvent: ({ data }) => this.#task(data) });
    this.#draw();
    return this.#socket.follow(events, { after, ...callbacks(card) });
  };

  #task({ order, done }) {
    if (done) this.#tasks.delete(order);
    else this.#tasks.set(order, false);
    this.#draw();
  }

  #draw() {
    const rows = [...this.#tasks].map(([order, sent]) => {
      const row = document.createElement("li");
      const text = document.createElement("span");
      text.textContent = `Order ${order}: to be picked`;
      const button = document.createElement("button");
      button.dataset.pick = order;
      button.textContent = sent ? "…" : "Picked";
      button.disabled = sent || this.#socket.state !== "live";
      button.addEventListener("click", () => this.#pick(order));
      row.append(text, button);
      return row;
    });
    if (!rows.length) {
      rows.push(document.createElement("li"));
      rows[0].className = "nothing";
      rows[0].textContent = "Nothing to pick. A paid order brings a task.";
    }
    this.#list.replaceChildren(...rows);
  }

  /** The task leaves the list when its event comes: only then is it true. */
  #pick(order) {
    if (!this.#socket.send({ pick: order })) return;
    this.#tasks.set(order, true);
    this.#draw();
    setTimeout(() => this.#tasks.has(order) && this.#task({ order, done: false }), 3_000);
  }
}

const warehouse = new Warehouse();

const CLIENTS = [
  {
    id: "customer",
    name: "Customer’s phone",
    icon: "i-phone",
    transport: "Server-Sent Events",
    about: "One HTTP response that never ends; the page reads it as it comes.",
    truth: slowStream,
    face: faces.customer,
    begin: (card, after) => followOver("sse", card, after),
  },
  {
    id: "warehouse",
    name: "Warehouse",
    icon: "i-boxes",
    transport: "WebSocket",
    about: "One socket, both ways: it follows this order and all tasks, and says what is picked.",
    truth: "No browser can stop reading a WebSocket. While slow, its messages wait in the page, not in the network.",
    face: warehouse.face,
    begin: warehouse.begin,
  },
  {
    id: "kiosk",
    name: "Kiosk",
    icon: "i-kiosk",
    transport: "Long polling",
    about:
      "Behind an old proxy that lets no stream through. It asks, and the server holds the answer until it has one.",
    truth: slowStream,
    face: faces.kiosk,
    begin: (card, after) => followOver("long-poll", card, after),
  },
  {
    id: "board",
    name: "Status board",
    icon: "i-board",
    transport: "Short polling",
    about: "Asks again and again, as often as the server suggests. Late by design, and works everywhere.",
    truth: slowStream,
    face: faces.board,
    begin: (card, after) => followOver("poll", card, after),
  },
];

const cards = CLIENTS.map((client) => {
  const card = new Card(client);
  element("clients").append(card.element);
  tape.add(client.name, () => ({ badge: card.element.dataset.state, cursor: card.track?.cursor }));
  return card;
});

// --- the shop's own knowledge: whatever anybody has heard, and what its requests were answered ----------------

function noted(event) {
  if (event.event === "order-status") {
    states[event.data.state] ??= event.time;
    drawOrder();
  }
  known(event.id);
  tape.event(event);
}

function known(cursor) {
  tape.head(cursor);
  for (const card of cards) card.track?.expect(cursor);
}

function nextState() {
  return STATES[STATES.findLastIndex((state) => state in states) + 1];
}

function drawOrder() {
  timeline(element("timeline"), states);
  const next = nextState();
  element("advance").disabled = !next;
  element("advance").textContent = next ? ACTIONS[next] : "Delivered";
  element("advance").dataset.next = next ?? "";
  tour.look(states);
}

/** Tells the shop something. The answer carries the event's cursor: from then on, who has not got it is behind. */
async function post(path) {
  const response = await fetch(`${url}/${path}`, { method: "POST" });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  known(answer.id);
  return answer;
}

async function press(button, path) {
  button.disabled = true;
  try {
    await post(path);
  } catch (error) {
    button.title = error.message;
  } finally {
    button.disabled = false;
    drawOrder();
  }
}

const tour = new Tour(element("tour"), { events, url, post });

element("advance").addEventListener("click", ({ target }) => press(target, target.dataset.next));
element("burst").addEventListener("click", ({ target }) => press(target, `positions?count=${BURST}`));
element("renew").addEventListener("click", () => location.assign(newOrder()));

function newOrder() {
  const number = Number(order.slice(1)) + 1;
  return `/?order=A${number > 199 ? 123 : number}`;
}

// --- begin ---------------------------------------------------------------------------------------------------

/** Everything is drawn anew five times a second, because time passes: countdowns, and what has become late. */
function tick() {
  for (const card of cards) card.render();
  tape.draw();
  const isAlone = cards.every((card) => card.track?.state === "connecting" && !card.link.isCut);
  element("away").hidden = !isAlone || cards.every((card) => card.badge === "connecting");
}

async function begin() {
  const response = await fetch(url);
  if (response.status === 404) return location.replace("/");
  const snapshot = await response.json();
  ({ states } = snapshot);
  document.title = `Order ${snapshot.order} · Triolet`;
  document.querySelector("[data-order]").textContent = snapshot.order;
  for (const link of document.querySelectorAll("[data-fresh]")) link.href = newOrder();
  const offset = Number(snapshot.cursor.split(".").pop());
  const recent = await fetch(`${events}?after=${Math.max(0, offset - TAPE_EVENTS)}`);
  for (const event of (await recent.json()).events) tape.event(event);
  known(snapshot.cursor);
  for (const card of cards) card.begin(snapshot, card.client.begin(card, snapshot.cursor));
  known(snapshot.cursor);
  drawOrder();
  for (const id of ["burst", "renew"]) element(id).disabled = false;
  setInterval(tick, 200);
}

begin();
