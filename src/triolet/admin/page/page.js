/**
 * The operator's page. It is a client of Triolet's: it follows the channel of figures, whose state is the last hour, and
 * each event of which is a second. What comes from users (names of channels, subjects) is only ever a text here.
 */

import { follow } from "/triolet/triolet.js";

import { clock, spanOf } from "./charts.js";
import { List, element, mark, say } from "./lists.js";
import { channelRow, closingRow, furthestRow, happeningRow, noticeRow, workerRow } from "./rows.js";
import { makeTiles } from "./tiles.js";
import { age, count, isMuch, many, rate, share } from "./words.js";

/** What there may be of the hour (bounds.py): 360 points of ten seconds. */
const POINTS = 360;
/** From here on what is shown is old, in ms; and with nothing for so long another connection is tried. */
const [OLD, SILENCE] = [3_500, 8_000];
const KEY = "triolet:admin-key";

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);

const lists = {
  notices: new List("notices", ({ key }) => key, noticeRow),
  furthest: new List("furthest", ({ worker, id }) => `${worker}/${id}`, furthestRow(explain)),
  workers: new List("workers", ({ number }) => String(number), workerRow),
  channels: new List("channels", ({ name }) => name, channelRow),
  closings: new List("closings", ({ code, reason }) => `${code} ${reason}`, closingRow),
  happenings: new List("happenings", ({ time, text }) => `${time} ${text}`, happeningRow),
};
const drawTiles = makeTiles(at("tiles"));

/** @type {any[][]} */
let points = [];
/** @type {Map<string, string> | null} the notices that are shown, by their keys; null before there were figures */
let told = null;
/** @type {any} */
let track = null;
let heardAt = 0;
let shownTime = 0;

// --- what is shown --------------------------------------------------------------------------------------

/** @param {any} figures */
function show(figures) {
  heardAt = performance.now();
  shownTime = figures.time;
  if (figures.point && figures.point[0] > (points.at(-1)?.[0] ?? 0)) points.push(figures.point);
  points = points.slice(-POINTS);
  at("all").hidden = false;
  verdict(figures);
  drawTiles(figures, points);
  lists.notices.show(figures.notices);
  lists.furthest.show(figures.furthest);
  lists.workers.show(figures.workers);
  lists.channels.show(withParts(figures.channels, ({ followers }) => followers));
  lists.closings.show(withParts(figures.closings, ({ number }) => number));
  lists.happenings.show(figures.happenings);
  const gaps = Object.entries(figures.gaps).map(([reason, number]) => `${count(number)} ${reason}`);
  say(at("gaps"), gaps.length ? `Gaps that clients were told of: ${gaps.join(", ")}.` : "");
  say(at("serving"), `${figures.serving} of ${figures.wanted} serve`);
  showLog(figures);
  say(at("span"), `the last ${age(spanOf(points, figures.time) / 1_000)}`.replace("60\u00a0min", "hour"));
  announce(figures.notices);
  seen();
}

/** Each item with the part that it has of the largest. @param {any[]} items @param {(item: any) => number} of */
function withParts(items, of) {
  const most = Math.max(1, ...items.map(of));
  return items.map((item) => ({ ...item, part: of(item) / most }));
}

/** @param {any} figures */
function showLog({ log, away, rates, lag }) {
  say(at("log-kind"), log || "not open");
  say(at("log-state"), away ? "away" : "reached");
  at("log-state").className = "chip";
  mark(at("log-state"), away ? "bad" : "good");
  say(at("log-rate"), `${rate(rates.published)} events/s`);
  say(at("log-lag"), lag.events ? `${many(lag.events, "event")}, ${age(lag.seconds)}` : "none");
  say(at("log-tail"), lag.room ? `${count(lag.waiting)} of ${many(lag.room, "event")}` : many(lag.waiting, "event"));
}

/** In one sentence whether clients are fresh. @param {any} figures */
function verdict({ open, behind, written, acknowledged, notices, away }) {
  const connections = Object.values(open).reduce((sum, one) => sum + one, 0);
  const level = notices.length ? notices[0].level : connections ? "good" : "none";
  const calm = connections === 0 ? "Nobody is connected" : behind ? "Nearly all clients are fresh" : "All clients are fresh";
  const title = { bad: "Something is wrong", warn: "This wants a look" }[level] ?? calm;
  say(at("share"), share(connections - behind, connections));
  say(at("share-of"), away ? "of clients have all that is known here" : "of clients are up to date");
  mark(at("share").parentElement, !connections || away ? "none" : isMuch(behind, connections) ? "warn" : "good");
  const said = [`${many(connections, "connection")}, ${count(behind)} behind.`];
  if (written.most !== null) said.push(`99 in 100 events were written within ${age(written.most)}.`);
  if (acknowledged.most !== null) said.push(`Clients had them within ${age(acknowledged.most)}.`);
  say(at("verdict-title"), title);
  say(at("verdict-text"), said.join(" "));
  mark(at("verdict"), level);
  document.title = `${level === "bad" ? "✕ " : level === "warn" ? "▲ " : ""}Triolet: ${title}`;
}

/** Says once what begins and ends, to those who do not see it; not what changes every second. @param {any[]} notices */
function announce(notices) {
  const now = new Map(notices.map(({ key, text }) => [key, text]));
  if (told !== null) {
    const begun = [...now].filter(([key]) => !told?.has(key)).map(([, text]) => text);
    const over = [...told].filter(([key]) => !now.has(key)).map(([, text]) => `Over: ${text}`);
    if (begun.length || over.length) say(at("said"), [...begun, ...over].join(" "));
  }
  told = now;
}

// --- whether it hears anything --------------------------------------------------------------------------

/** @param {string} state  connecting, live, lost or gone @param {string} text */
function line(state, text) {
  document.body.dataset.line = state;
  say(at("line"), text);
  at("retry").hidden = state !== "lost";
}

/** Looks at how old it is what is shown. */
function seen() {
  if (track === null || track.state === "gone") return;
  const old = performance.now() - heardAt;
  if (shownTime === 0) return;
  if (track.state === "live" && old < OLD) line("live", `Live, ${clock(shownTime)}`);
  else {
    if (document.body.dataset.line === "live") say(at("said"), "No figures come any more: trying again.");
    line("lost", `No figures since ${clock(shownTime)}`);
  }
}

/** @param {string} state @param {any} why */
function changed(state, why) {
  if (state === "gone") {
    if (why.error?.status === 401) return askForKey();
    return line("gone", `It ended: ${why.error?.message ?? why.reason}. Load the page again.`);
  }
  if (state === "connecting" && shownTime === 0 && why.error) line("lost", `No connection: ${why.error.message}`);
  else seen();
}

function begin() {
  const token = sessionStorage.getItem(KEY) ?? undefined;
  track = follow("/figures?snapshot=1", {
    token,
    silence: SILENCE,
    onSnapshot: ({ data }) => {
      points = data.points;
      const wasAsked = !at("door").hidden;
      at("door").hidden = true;
      at("links").hidden = token !== undefined; // a browser sends no key by following a link
      show(data.now);
      if (wasAsked) at("verdict-title").focus();
    },
    onEvent: ({ data }) => show(data),
    onState: changed,
  });
}

/** A page that nobody looks at needs no figures: many tabs of one browser would take all its connections. */
function turned() {
  if (document.visibilityState === "hidden") {
    const left = track;
    track = null;
    left?.close();
  } else if (track === null) begin();
}

// --- the key --------------------------------------------------------------------------------------------

function askForKey() {
  line("gone", "Waiting for the key");
  say(at("door-no"), sessionStorage.getItem(KEY) === null ? "" : "This is not the key.");
  sessionStorage.removeItem(KEY);
  at("all").hidden = true;
  at("door").hidden = false;
  at("key").focus();
}

at("door").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const key = at("key").value.trim();
  at("key").value = "";
  if (!/^[!-~]+$/.test(key)) return say(at("door-no"), "A key is made of letters, digits and signs, without a space.");
  sessionStorage.setItem(KEY, key);
  begin();
});

// --- why somebody is behind -----------------------------------------------------------------------------

/** @param {number} worker @param {number} id */
async function explain(worker, id) {
  const dialog = at("why");
  say(at("why-title"), `Connection ${id} of worker ${worker}`);
  if (!dialog.open) {
    at("why-sentences").replaceChildren();
    say(at("why-verdict"), "asking");
    mark(at("why-verdict"), null);
    dialog.showModal();
  }
  at("why-again").onclick = () => explain(worker, id);
  const [verdict, sentences] = await reasons(worker, id);
  say(at("why-verdict"), verdict);
  mark(at("why-verdict"), { "up to date": "good", closed: null }[verdict] ?? "warn");
  at("why-sentences").replaceChildren(...sentences.map((text) => element("li", "", text)));
}

/** @param {number} worker @param {number} id @returns {Promise<[string, string[]]>} */
async function reasons(worker, id) {
  try {
    const key = sessionStorage.getItem(KEY);
    const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
    const answer = await fetch(`/explain/${id}`, { headers, cache: "no-store" });
    const said = await answer.json();
    if (!answer.ok) return ["unknown", [said.message]];
    const one = said.explanations.find((/** @type {any} */ each) => each.worker === worker);
    return one ? [one.verdict, one.sentences] : ["unknown", ["Its worker does not answer, or does not remember it."]];
  } catch (error) {
    return ["unknown", [`It cannot be asked: ${/** @type {any} */ (error).message}`]];
  }
}

at("why-close").addEventListener("click", () => at("why").close());
at("why").addEventListener("click", (/** @type {Event} */ { target }) => target === at("why") && at("why").close());
at("retry").addEventListener("click", () => track?.retry());
document.addEventListener("visibilitychange", turned);
setInterval(seen, 1_000);
say(at("host"), location.host);
if (document.visibilityState !== "hidden") begin();
