/** The page: one WebSocket, a channel for each share, a chart. */

import { Socket, offsetOf } from "/triolet/triolet.js";
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
  setTimeout(() => socket.retry(), CUT_MS);
}

// --- what has come --------------------------------------------------------------------------------------------

const counts = { received: 0, caughtUp: 0, faults: 0, gaps: 0 };
const rows = new Map();
const tracks = [];
let chart = null;
let lap = -1;
let retryAt = 0;

const socket = new Socket("/ticker", {
  WebSocket: LosableSocket,
  onState: (state, { retry }) => {
    retryAt = Date.now() + (retry ?? 0);
    tick();
  },
});

function follow({ symbol, after }) {
  const track = socket.follow(`/stocks/${symbol}/events`, {
    after,
    onEvent: ({ data }, { state }) => {
      counts.received += 1;
      begin(data.lap);
      if (data.lap < lap) return;
      chart.add(symbol, data.date, data.price);
      if (state === "behind" && counts.isBack) {
        counts.caughtUp += 1;
        chart.mark(data.date);
      }
      show(symbol, data);
    },
    onState: (state) => (counts.isBack ||= state === "connecting"),
    onGap: ({ missed }) => (counts.gaps += missed ?? 1),
    onFault: (fault) => {
      counts.faults += 1;
      console.error(fault);
    },
  });
  tracks.push(track);
}

/** The first price of a new round wipes the chart. */
function begin(next) {
  if (next <= lap) return;
  lap = next;
  chart.clear();
  rows.forEach(reset);
}

function reset(row) {
  row.price = null;
  row.shown.textContent = "–";
  row.change.textContent = row.first ? `from ${monthOf(row.first)}` : "";
  row.change.className = "change";
}

function show(symbol, { date, price }) {
  const row = rows.get(symbol);
  const change = row.price === null ? 0 : (price / row.price - 1) * 100;
  row.price = price;
  row.shown.textContent = price.toFixed(2);
  row.change.textContent = `${change < 0 ? "▼" : "▲"} ${Math.abs(change).toFixed(1)} %`;
  row.change.className = change < 0 ? "change down" : "change up";
  element("month").textContent = monthOf(date);
}

function monthOf(date) {
  return new Date(`${date}T12:00`).toLocaleDateString("en", { month: "long", year: "numeric" });
}

function addLegend({ symbol, name, first }, at) {
  const item = document.createElement("li");
  item.className = `panel s${at}`;
  item.dataset.symbol = symbol;
  const parts = {};
  for (const part of ["symbol", "name", "shown", "change"]) {
    parts[part] = document.createElement("span");
    parts[part].className = part;
    item.append(parts[part]);
  }
  parts.symbol.textContent = symbol;
  parts.name.textContent = name;
  rows.set(symbol, { ...parts, first });
  reset(rows.get(symbol));
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

function badge() {
  if (socket.state !== "live") return counts.received ? "gone" : "connecting";
  return tracks.every((track) => track.state === "live") ? "live" : "behind";
}

function tick() {
  element("badge").textContent = element("badge").dataset.state = badge();
  element("received").textContent = counts.received.toLocaleString("en");
  element("caught-up").textContent = counts.caughtUp.toLocaleString("en");
  element("faults").textContent = counts.faults;
  element("gaps").textContent = counts.gaps;
  const cutLeft = Math.ceil((cutUntil - Date.now()) / 1_000);
  element("cut").disabled = cutLeft > 0;
  element("cut").textContent = cutLeft > 0 ? `Disconnected, ${cutLeft} s left` : "Disconnect for 10 s";
  const left = Math.max(0, retryAt - Date.now()) / 1_000;
  const why = {
    gone: `tries again in ${left.toFixed(1)} s`,
    behind: "catching up",
    live: "up to date",
    connecting: "",
  };
  element("why").textContent = why[badge()];
  element("cursors").textContent = tracks.map(({ cursor }) => (cursor ? offsetOf(cursor) : "–")).join(" · ");
}

async function start() {
  const state = await (await fetch("/state")).json();
  chart = new Chart(element("chart"), state.months, state.shares);
  state.shares.forEach(addLegend);
  state.shares.forEach(follow);
  element("rate").max = state.fastest;
  element("rate").value = state.rate;
  showRate(state.rate);
  element("rate").addEventListener("input", changeRate);
  element("cut").addEventListener("click", cut);
  setInterval(tick, 100);
}

start();
