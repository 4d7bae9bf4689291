/** The page: one WebSocket for five shares, each followed twice: whole for the chart, and the latest price for its box. */

import { connect, offsetOf } from "/triolet/triolet.js";
import { Chart } from "./chart.js";

const CUT_MS = 10_000;
const element = (id) => document.getElementById(id);

// --- a connection that can be lost on purpose -----------------------------------------------------------------

let cutUntil = 0;
const sockets = new Set();

class LosableSocket extends WebSocket {
  constructor(...how) {
    super(...how);
    sockets.add(this);
    this.addEventListener("close", () => sockets.delete(this));
    if (Date.now() < cutUntil) super.close();
  }
}

function cut() {
  cutUntil = Date.now() + CUT_MS;
  for (const open of sockets) open.close(4000, "cut by the page");
  setTimeout(() => live.probe(), CUT_MS);
}

// --- what is followed -----------------------------------------------------------------------------------------

// No other transport: ten streams would take more than the six connections that a browser opens to a host.
const live = connect("/", { socket: "/ticker", transports: ["websocket"], WebSocket: LosableSocket });

const counts = { received: 0, caughtUp: 0, faults: 0, gaps: 0, leftOut: 0 };
const boxes = new Map();
const charted = [];
let chart = null;
let lap = -1;
let retryAt = 0;

/** Every month, however late: the line has no hole. */
function followForChart({ symbol, after }) {
  let wasLive = false;
  const share = live.follow(`/stocks/${symbol}/events`, { after });
  share.on("price", ({ data }) => {
    counts.received += 1;
    if (data.lap > lap) begin(data.lap);
    if (data.lap < lap) return;
    chart.add(symbol, data.date, data.price);
    element("month").textContent = monthOf(data.date);
    if (wasLive && share.state === "behind") {
      counts.caughtUp += 1;
      chart.mark(data.date);
    }
  });
  share.on("live", () => (wasLive = true));
  share.on("gap", ({ missed }) => (counts.gaps += missed ?? 1));
  share.on("fault", countFault);
  share.on("state", (_, { retry = 0 }) => (retryAt = Date.now() + retry));
  charted.push(share);
}

/** The newest price is enough: those that it replaces are left out, and that is said. */
function followForBox({ symbol, newest }) {
  const share = live.follow(`/stocks/${symbol}/latest`, { after: newest });
  share.on("price", ({ data }) => showPrice(symbol, data));
  share.on("gap", ({ missed }) => (counts.leftOut += missed ?? 1));
  share.on("fault", countFault);
}

function countFault(fault) {
  counts.faults += 1;
  console.error(fault);
}

live.on("state", (state) => {
  element("badge").dataset.state = state;
  element("state").textContent = state;
});

// --- what is drawn --------------------------------------------------------------------------------------------

/** The first price of a new round wipes the chart. */
function begin(next) {
  lap = next;
  chart.clear();
}

function showPrice(symbol, { price, lap }) {
  const box = boxes.get(symbol);
  const change = box.price === null || lap !== box.lap ? 0 : (price / box.price - 1) * 100;
  Object.assign(box, { price, lap });
  box.shown.textContent = price.toFixed(2);
  box.change.textContent = `${change < 0 ? "▼" : "▲"} ${Math.abs(change).toFixed(1)} %`;
  box.change.className = change < 0 ? "change down" : "change up";
}

function monthOf(date) {
  return new Date(`${date}T12:00`).toLocaleDateString("en", { month: "long", year: "numeric" });
}

function addBox({ symbol, name, first }, at) {
  const item = document.createElement("li");
  item.className = `panel s${at}`;
  item.dataset.symbol = symbol;
  const box = { price: null, lap: -1 };
  for (const part of ["symbol", "name", "shown", "change"]) {
    box[part] = document.createElement("span");
    box[part].className = part;
    item.append(box[part]);
  }
  box.symbol.textContent = symbol;
  box.name.textContent = name;
  box.shown.textContent = "–";
  box.change.textContent = first ? `from ${monthOf(first)}` : "";
  boxes.set(symbol, box);
  element("legend").append(item);
}

// --- controls, and what time changes --------------------------------------------------------------------------

async function changeRate() {
  const { value } = element("rate");
  showRate(value);
  await fetch(`/rate?value=${encodeURIComponent(value)}`, { method: "POST" });
}

function showRate(rate) {
  element("rate-shown").textContent = Number(rate) ? `${rate} months a second` : "stopped";
}

function tick() {
  element("received").textContent = counts.received.toLocaleString("en");
  element("caught-up").textContent = counts.caughtUp.toLocaleString("en");
  element("left-out").textContent = counts.leftOut.toLocaleString("en");
  element("faults").textContent = counts.faults;
  element("gaps").textContent = counts.gaps;
  const cutLeft = Math.ceil((cutUntil - Date.now()) / 1_000);
  element("cut").classList.toggle("on", cutLeft > 0);
  element("cut").textContent = cutLeft > 0 ? `Disconnected, ${cutLeft} s left` : "Disconnect for 10 s";
  const left = Math.max(0, retryAt - Date.now()) / 1_000;
  const why = { connecting: `tries again in ${left.toFixed(1)} s`, behind: "catching up", live: "up to date" };
  element("why").textContent = why[live.state] ?? live.state;
  element("cursors").textContent = charted.map(({ cursor }) => offsetOf(cursor)).join(" · ");
}

async function start() {
  const { shares, months, rate, fastest } = await (await fetch("/state")).json();
  chart = new Chart(element("chart"), months, shares);
  shares.forEach(addBox);
  shares.forEach(followForChart);
  shares.forEach(followForBox);
  element("rate").max = fastest;
  element("rate").value = rate;
  showRate(rate);
  element("rate").addEventListener("input", changeRate);
  element("cut").addEventListener("click", cut);
  setInterval(tick, 100);
}

start();
