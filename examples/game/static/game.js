/** The page: one WebSocket for the game, both ways, and one client for what counts. */

import { Socket, connect } from "/triolet/triolet.js";
import { showState } from "./badge.js";
import { Motion } from "./motion.js";
import { SlowableSocket, line } from "./slow.js";
import { listen } from "./steer.js";
import { View, hueOf } from "./view.js";

const AHEAD = 2; // states that the page asks for before they come: more would only wait, on a line that is slow
const TICKS_SHOWN = 60;
const BOARD_SHOWN = 7;
const NEWS_SHOWN = 9;
const WHY = {
  fast: "Each bar is a tick of the server’s: it came.",
  slow: "Four messages a second come through. Pale ticks were left out, so that the ones that come are new.",
};

const element = (id) => document.getElementById(id);
const canvas = element("canvas");
const view = new View(canvas);
const motion = new Motion();
const arrivals = []; // of the last second
let seat = null;
let aim = [0, 0];
let leftOut = 0;

// --- what is only for now ---------------------------------------------------------------------------------------

const socket = new Socket("/play", { WebSocket: SlowableSocket, onMessage: take, onState: become });

function take(message) {
  if (message.tick !== undefined) return takeState(message);
  if (message.width) {
    view.world = message;
    motion.ms = message.ms;
  }
  if (message.lost && message.lost === seat) {
    seat = null; // the server was started anew, or has heard nothing of this page for ten seconds
    void join(motion.name);
  }
}

/** Asks for one state more, and says what the player wants. */
const ask = () => socket.send({ seat, aim });

function takeState(state) {
  const { age, leftOut: missed } = motion.take(state, performance.now());
  ask();
  arrivals.push(performance.now());
  leftOut += missed;
  showArrival(state.tick, missed);
  element("age").textContent = `${Math.round(age)} ms`;
  canvas.dataset.tick = state.tick;
  canvas.dataset.leftOut = leftOut;
  canvas.dataset.me = motion.me?.name ?? "";
}

/** A new connection has been asked for nothing. */
function become(state) {
  if (state !== "live") return;
  motion.forget();
  for (let asked = 0; asked < AHEAD; asked += 1) ask();
}

listen(
  canvas,
  () => view.place(motion.me ?? { x: 0, y: 0 }),
  (x, y) => {
    motion.aim(x, y);
    aim = [x, y];
  },
);

// --- what counts ------------------------------------------------------------------------------------------------

const live = connect("/", { socket: "/live" });
const news = live.follow("/news/events", { snapshot: true });
let board = {};

showState(live);
live.on("state", (state) => state === "live" && socket.retry()); // it hears first that the network is back
news.on("snapshot", ({ data }) => showBoard((board = data)));
news.on("swallowed", ({ data: { by, whom } }) => {
  board[by] = (board[by] ?? 0) + 1;
  showBoard();
  tell(`${by} has swallowed ${whom}`, [by, whom].includes(motion.name));
});
news.on("joined", ({ data }) => tell(`${data.who} has come`, true));
news.on("left", ({ data }) => tell(`${data.who} has left`, true));

/** Asked once, however often it takes: the answer has the seat. */
async function join(name) {
  const { status, data } = await live.send("/join", name);
  element("error").textContent = status === 200 ? "" : data.message;
  if (status !== 200) return;
  seat = data.seat;
  motion.name = data.you;
  element("start").hidden = true;
  canvas.focus();
}

// --- what is shown, and said ------------------------------------------------------------------------------------

function picture(now) {
  requestAnimationFrame(picture);
  if (!motion.newest) return;
  const drops = motion.draw(now, view.world);
  view.draw(drops, motion.newest.food, motion.me);
}

function showArrival(tick, missed) {
  const bars = element("strip").children;
  for (let back = Math.min(missed, TICKS_SHOWN); back > 0; back -= 1) bar(bars, tick - back).className = "missed";
  bar(bars, tick).className = "came";
  for (let on = 1; on < 4; on += 1) bar(bars, tick + on).className = "";
}

const bar = (bars, tick) => bars[((tick % TICKS_SHOWN) + TICKS_SHOWN) % TICKS_SHOWN];

function showLine() {
  while (arrivals[0] < performance.now() - 2_000) arrivals.shift();
  element("rate").textContent = Math.round(arrivals.length / 2);
  element("left-out").textContent = leftOut.toLocaleString("en");
  element("me").hidden = !motion.me;
  if (motion.me) element("me").textContent = `${motion.name} · size ${size(motion.me)} · ${board[motion.name] ?? 0} swallowed`;
}

function showBoard() {
  const best = Object.entries(board).sort(([, a], [, b]) => b - a);
  if (!best.length) return;
  element("board").replaceChildren(
    ...best.slice(0, BOARD_SHOWN).map(([name, count]) => {
      const item = document.createElement("li");
      const [shown, points] = ["span", "b"].map((tag) => document.createElement(tag));
      [shown.textContent, points.textContent] = [name, count];
      item.style.setProperty("--hue", hueOf(name));
      item.classList.toggle("mine", name === motion.name);
      item.append(shown, points);
      return item;
    }),
  );
}

/** News for all eyes; a screen reader is told of those that come and go, and of what happens to its player. */
function tell(text, isForAll) {
  element("news").querySelector(".nothing")?.remove();
  const item = document.createElement("li");
  item.textContent = text;
  element("news").prepend(item);
  while (element("news").children.length > NEWS_SHOWN) element("news").lastChild.remove();
  if (isForAll) say(text + (motion.me ? `. Your size is ${size(motion.me)}.` : ""));
}

function say(text) {
  element("said").textContent = text;
}

const size = ({ radius }) => Math.round((radius / 4) ** 2);

/** In words, for whoever does not see it: the food and the drops that are nearest. */
function near() {
  const { me, newest } = motion;
  if (!me || !newest) return "You are not in the arena yet.";
  const others = [...newest.drops.values()].filter(({ name }) => name !== me.name);
  const food = newest.food.map(([x, y]) => ({ name: "food", x, y, radius: 0 }));
  const nearest = (things) => things.sort((a, b) => far(a) - far(b))[0];
  const far = ({ x, y }) => Math.hypot(x - me.x, y - me.y);
  const where = (thing) => {
    const [dx, dy] = [thing.x - me.x, thing.y - me.y];
    const sides = [dy < -30 ? "above" : dy > 30 ? "below" : "", dx < -30 ? "left" : dx > 30 ? "right" : ""];
    const kind = thing.radius > me.radius ? "larger, " : thing.radius ? "smaller, " : "";
    return `${thing.name}: ${kind}${sides.filter(Boolean).join(" ") || "here"}`;
  };
  return `Your size is ${size(me)}. ${[nearest(food), nearest(others)].filter(Boolean).map(where).join(". ")}.`;
}

addEventListener("keydown", ({ code, target }) => code === "KeyL" && target === canvas && say(near()));

element("strip").append(...Array.from({ length: TICKS_SHOWN }, () => document.createElement("i")));
element("start").addEventListener("submit", (event) => {
  event.preventDefault();
  void join(element("name").value);
});
element("slow").addEventListener("click", () => {
  line.isSlow = !line.isSlow;
  element("slow").ariaPressed = String(line.isSlow);
  element("slow").textContent = line.isSlow ? "Make me fast again" : "Make me slow";
  element("why").textContent = line.isSlow ? WHY.slow : WHY.fast;
});
setInterval(showLine, 250);
requestAnimationFrame(picture);
