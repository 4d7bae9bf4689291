/** The page: a map that follows its tiles, and a plane that the map goes along with. */

import { connect } from "/triolet/triolet.js";
import { Air } from "./air.js";
import { showState } from "./badge.js";
import { distance } from "./great-circle.js";
import { layGround, nameCities } from "./ground.js";
import { Network } from "./network.js";
import { Overview } from "./overview.js";
import { GLIDE_MS, STILL, Sky } from "./sky.js";
import { tilesWithin } from "./tiles.js";
import L from "./vendor/leaflet.js";
import { Viewport } from "./viewport.js";

const CUT_MS = 10_000;
const LISTED = 60;
const AMERICA = [[25.2, -124.6], [49.2, -67.2]];
const element = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");

// --- what is followed, and drawn --------------------------------------------------------------------------------

const network = new Network();
const live = connect("/", { socket: "/live", ...network.options });
showState(live);

const { airports, tiles, planes } = await (await fetch("/sky")).json();
const all = new Set(tiles);
element("all").textContent = number(planes);

const map = L.map("map", { zoomControl: false, attributionControl: false, minZoom: 4, maxZoom: 10, zoomSnap: 0.5 });
L.control.zoom({ position: "bottomright" }).addTo(map);
map.fitBounds(AMERICA);
map.setMaxBounds(map.getBounds().pad(0.6));
if (map.getSize().x > 700) map.setView([39.6, -84.5], 6);
else map.setView([39.6, -82], 5);

const sky = new Sky((tile, name) => viewport.has(tile) || (goesAlong && name === air.chosen));
const viewport = new Viewport(live, sky, () => overview?.draw());
const air = new Air(map, sky, viewport, airports);
let overview = null;
let goesAlong = false;
let heardAt = 0;

/** Follows what the map shows, and the tile of the plane that it goes along with, wherever that is by now. */
function look() {
  const tiles = tilesWithin(map.getBounds(), all);
  const plane = goesAlong ? sky.get(air.chosen) : null;
  viewport.show(plane ? tiles.add(plane.tile) : tiles);
}

map.on("moveend", look);
look();
layGround(map).then((nation) => {
  overview = new Overview(element("overview"), nation, tiles, viewport);
  nameCities(map, airports);
  document.body.dataset.ready = "";
});

// --- a plane that is looked at ----------------------------------------------------------------------------------

function choose(name) {
  air.chosen = name;
  goesAlong = name !== null;
  heardAt = 0;
  element("flight").hidden = name === null;
  element("card-eyebrow").textContent = name === null ? "A plane" : "This plane";
  element("card-title").textContent = name ?? "Choose one";
  element("card-way").textContent = "Click a plane, or take one from the list: the map goes with it.";
  showCard();
  showList();
  if (name !== null) say(`${name}: ${element("card-way").textContent}`);
}

function showCard() {
  const plane = sky.get(air.chosen);
  element("go-along").setAttribute("aria-pressed", String(goesAlong));
  element("go-along").classList.toggle("primary", goesAlong);
  element("go-along").disabled = !plane;
  if (air.chosen === null) return;
  element("flight").classList.toggle("lost", !plane);
  if (!plane) {
    element("card-way").textContent = "Out of sight: the page does not follow the tile that it is over.";
    return;
  }
  const [start, goal] = [air.airport(plane.from), air.airport(plane.to)];
  const way = `${start.city} to ${goal.city}${plane.done === 1 ? ": landed" : ""}`;
  if (element("card-way").textContent !== way) element("card-way").textContent = way;
  element("progress").style.width = `${plane.done * 100}%`;
  element("to-go").textContent = `${number(Math.round(distance(plane, goal)))} km`;
  element("tile").textContent = plane.tile;
  element("age").textContent = `${((performance.now() - plane.since) / 1_000).toFixed(0)} s ago`;
}

/** With each word of the plane the map sets out to where it is, and is there with it, one second later. */
air.onFrame = () => {
  const plane = goesAlong ? sky.get(air.chosen) : null;
  if (!plane || plane.since === heardAt) return;
  heardAt = plane.since;
  map.panTo([plane.lat, plane.lon], { animate: !STILL.matches, duration: GLIDE_MS / 1_000, easeLinearity: 1 });
};

map.on("click", ({ containerPoint }) => choose(air.at(containerPoint)?.name ?? null));
map.on("mousemove", ({ containerPoint }) => map.getContainer().classList.toggle("over", air.at(containerPoint) !== null));
map.on("dragstart", () => {
  goesAlong = false;
  showCard();
});
element("go-along").addEventListener("click", () => {
  goesAlong = !goesAlong;
  heardAt = 0;
  showCard();
});
element("let-go").addEventListener("click", () => choose(null));

// --- what is counted, listed and said ---------------------------------------------------------------------------

let inView = [];
let cutUntil = 0;

function cut() {
  cutUntil = Date.now() + CUT_MS;
  network.cut(true);
  setTimeout(() => {
    network.cut(false);
    live.probe();
  }, CUT_MS);
}

function count() {
  const bounds = map.getBounds();
  inView = [...sky].filter(({ lat, lon }) => bounds.contains([lat, lon])).sort((a, b) => (a.name < b.name ? -1 : 1));
  element("in-view").textContent = number(inView.length);
  element("followed").textContent = `${viewport.size} of ${all.size}`;
  element("came").textContent = number(viewport.counts.came);
  element("left-out").textContent = number(viewport.counts.leftOut);
  const left = Math.ceil((cutUntil - Date.now()) / 1_000);
  element("cut").classList.toggle("on", left > 0);
  element("cut").disabled = left > 0;
  element("cut").textContent = left > 0 ? `No network, ${left} s left` : "Lose the network for 10 s";
  map.getContainer().classList.toggle("stale", live.state !== "live");
  showCard();
}

/** Changes only what is another one, so that the keyboard stays where it is. */
function showList() {
  const wanted = inView.slice(0, LISTED);
  const list = element("list");
  while (list.children.length > wanted.length) list.lastElementChild.remove();
  wanted.forEach(({ name, from, to, done }, at) => {
    const item = list.children[at] ?? list.appendChild(listItem());
    const way = done === 1 ? `at ${to}` : `${from} → ${to}`;
    const button = item.firstElementChild;
    button.dataset.plane = name;
    button.setAttribute("aria-pressed", String(name === air.chosen));
    if (button.textContent !== `${name} ${way}`) button.replaceChildren(bold(name), ` ${way}`);
  });
}

function listItem() {
  const item = document.createElement("li");
  const button = item.appendChild(document.createElement("button"));
  button.addEventListener("click", () => choose(button.dataset.plane));
  return item;
}

function bold(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

function say(text) {
  element("said").textContent = text;
}

element("cut").addEventListener("click", cut);
setInterval(count, 250);
setInterval(showList, 2_000);
let quiet = null;
map.on("moveend", () => {
  if (goesAlong) return;
  clearTimeout(quiet);
  quiet = setTimeout(() => say(`${inView.length} planes in view, ${viewport.size} tiles followed`), 1_000);
});
