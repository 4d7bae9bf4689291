/** The page: an order, its log, and four clients that follow it, each over a transport of its own. */

import { connect, offsetOf } from "/triolet/triolet.js";
import { board, customer, kiosk, warehouse } from "./faces.js";
import { Lane } from "./lane.js";
import { Link } from "./link.js";
import { Tape } from "./tape.js";
import { Tour } from "./tour.js";
import { ACTIONS, STATES, TRANSPORTS, announce, newestOf, timeline } from "./words.js";

const BURST = 40;
const TAPE_EVENTS = 24;

const number = new URLSearchParams(location.search).get("order") ?? "A123";
const url = `/orders/${encodeURIComponent(number)}`;
const events = `${url}/events`;
const element = (id) => document.getElementById(id);

const SLOW_STREAM = "Slow is real: the page stops pulling from the response, TCP fills up, and the server waits.";

const CLIENTS = [
  {
    id: "customer",
    name: "Customer’s phone",
    icon: "i-phone",
    face: customer,
    about: "One HTTP response that never ends; the page reads it as it comes.",
    truth: SLOW_STREAM,
    options: { transports: ["sse"] },
  },
  {
    id: "warehouse",
    name: "Warehouse",
    icon: "i-boxes",
    face: warehouse,
    about: "One socket, both ways: it follows this order and all tasks, and says what is picked.",
    truth: "No browser can stop reading a WebSocket. While slow, its messages wait in the page, not in the network.",
    options: { transports: ["websocket"], socket: "/live" },
  },
  {
    id: "kiosk",
    name: "Kiosk",
    icon: "i-kiosk",
    face: kiosk,
    about: "Behind an old proxy that lets no stream through. It asks, and the server answers when it has something.",
    truth: SLOW_STREAM,
    options: { transports: ["long-poll"] },
  },
  {
    id: "board",
    name: "Status board",
    icon: "i-board",
    face: board,
    about: "Asks again and again, as often as the server suggests. Late by design, and works everywhere.",
    truth: SLOW_STREAM,
    options: { transports: ["poll"] },
  },
];

// --- the page's own client: it takes whichever transport the network lets through ------------------------------

const shop = connect("/", { socket: "/live" });
const lanes = [];
const tape = new Tape(element("cells"), lanes);
const tour = new Tour(element("tour"), { events, url });
let states = {};

function followOrder(cursor) {
  const order = shop.follow(events, { after: Math.max(0, offsetOf(cursor) - TAPE_EVENTS) });
  order.on("event", (event) => {
    tape.add(event);
    for (const lane of lanes) lane.order.expect(event.id); // from now on, who has not got it is behind
  });
  order.on("order-status", ({ data: { state }, time }) => {
    if (!states[state]) announce(`The order is ${state}.`);
    states[state] ??= time;
    drawOrder();
  });
  order.on("gap", async () => {
    ({ states } = await (await fetch(url)).json());
    drawOrder();
  });
  let wasLive = false;
  order.on("state", (state) => {
    wasLive ||= state === "live";
    const isAway = wasLive && state === "connecting";
    if (isAway && element("away").hidden) announce(element("away").textContent);
    element("away").hidden = !isAway;
  });
}

function showPresence(you) {
  const here = shop.presence(`${url}/presence`);
  here.on("change", () => {
    const names = [...here.values()].map(({ member, sessions }) => {
      return `${member}${member === you ? " (you)" : ""} on ${sessions} ${sessions === 1 ? "connection" : "connections"}`;
    });
    element("here").textContent = names.length ? `Looking at it: ${names.join(", ")}` : "";
  });
}

/** Asks for something that is to happen once: sent under one id until it is answered, over cuts and restarts. */
async function ask(button, path, data) {
  if (!path || button.ariaBusy === "true") return;
  const say = (text) => (element("answer").textContent = text);
  const waiting = setTimeout(say, 400, `${button.textContent}: waits for an answer.`);
  button.ariaBusy = "true";
  try {
    const { status, data: said } = await shop.send(`${url}/${path}`, data);
    say(status === 200 ? "" : said.message);
  } catch (error) {
    say(error.message);
  }
  clearTimeout(waiting);
  button.ariaBusy = "false";
}

// --- the order ------------------------------------------------------------------------------------------------

function drawOrder() {
  timeline(element("timeline"), states);
  const next = STATES[STATES.indexOf(newestOf(states)) + 1];
  element("advance").textContent = next ? ACTIONS[next] : "Delivered";
  element("advance").ariaDisabled = String(!next);
  element("advance").dataset.next = next ?? "";
  tour.look(states);
}

function newOrder() {
  const next = Number(number.slice(1)) + 1;
  return `/?order=A${next > 199 ? 123 : next}`;
}

/** Everything is drawn anew five times a second, because time passes: countdowns, and what has become late. */
function tick() {
  for (const lane of lanes) lane.render();
  tape.draw();
  element("over").textContent = TRANSPORTS[shop.transport];
  element("over").dataset.state = shop.state;
}

// --- begin ----------------------------------------------------------------------------------------------------

async function begin() {
  const answer = await fetch(url);
  if (answer.status === 404) return location.replace("/");
  const snapshot = await answer.json();
  states = { ...snapshot.states };
  document.title = `Order ${number} · Triolet`;
  element("number").textContent = number;
  for (const about of CLIENTS) {
    const link = new Link();
    const live = connect("/", { ...about.options, ...link.network });
    const order = live.follow(events, { after: snapshot.cursor });
    lanes.push(new Lane(about, { link, live, order }, snapshot));
    order.on("event", () => tape.draw());
  }
  followOrder(snapshot.cursor);
  showPresence(snapshot.you);
  drawOrder();
  element("advance").onclick = ({ target }) => ask(target, target.dataset.next);
  element("burst").onclick = ({ target }) => ask(target, "positions", { count: BURST });
  setInterval(tick, 200);
}

for (const link of document.querySelectorAll("[data-fresh]")) link.href = newOrder();
begin();
