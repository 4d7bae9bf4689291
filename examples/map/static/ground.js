/** What lies under the planes: land, states, counties from near, and cities. All of it from this server. */

import L from "./vendor/leaflet.js";
import { feature, mesh } from "./vendor/topojson.js";

const NEIGHBOURS = new Set(["124", "484", "192", "044", "320", "084", "340", "222", "332", "214", "388", "630", "796"]);
const COUNTIES_FROM = 7;
const BIG_CITIES = 20;

const load = async (name) => (await fetch(`/static/vendor/${name}.json`)).json();

/** Draws it, and again in the other colours when the page's scheme changes. */
export async function layGround(map) {
  const [world, america] = await Promise.all([load("countries"), load("counties")]);
  const renderer = L.canvas({ padding: 0.4 });
  const layer = (data, style) => L.geoJSON(data, { renderer, interactive: false, style: () => style() });
  const { countries } = world.objects;
  const near = { ...countries, geometries: countries.geometries.filter(({ id }) => NEIGHBOURS.has(id)) };
  const counties = mesh(america, america.objects.counties, (a, b) => a !== b && a.id.slice(0, 2) === b.id.slice(0, 2));
  const fine = layer(counties, () => ({ color: ink("--county"), weight: 0.7, fill: false }));
  const layers = [
    layer(feature(world, near), () => ({ ...flat("--abroad"), stroke: false })),
    layer(feature(america, america.objects.nation), () => ({ ...flat("--land"), color: ink("--coast"), weight: 1 })),
    layer(mesh(america, america.objects.states, (a, b) => a !== b), () => ({ color: ink("--border"), weight: 1, fill: false })),
  ];
  for (const one of layers) one.addTo(map);
  const showCounties = () => (map.getZoom() >= COUNTIES_FROM ? fine.addTo(map) : fine.remove());
  map.on("zoomend", showCounties);
  showCounties();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const one of [...layers, fine]) one.setStyle(one.options.style());
  });
  return feature(america, america.objects.nation);
}

/** The names of cities: the big ones from afar, all from near. */
export function nameCities(map, airports) {
  airports.forEach(({ city, lat, lon }, at) => {
    const icon = L.divIcon({ className: at < BIG_CITIES ? "city big" : "city", iconSize: [0, 0], html: label(city) });
    L.marker([lat, lon], { icon, interactive: false, keyboard: false }).addTo(map);
  });
}

function label(city) {
  const name = document.createElement("span");
  name.textContent = city;
  return name;
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function flat(name) {
  return { fillColor: ink(name), fillOpacity: 1 };
}
