/** Draws the planes and the tiles over the map, and knows which plane is under the finger. */

import { bearing, route } from "./great-circle.js";
import { STILL, shown } from "./sky.js";
import { corners } from "./tiles.js";

const FRAME_MS = 33;
const REACH = 18;
const PLANE = new Path2D("M0-9c1 0 1.5 1 1.500 2.600v3.300l7.500 4.600v1.900l-7.500-2.300v4.300l2.200 1.700v1.500L0 6.700-3.700 7.600V6.100l2.200-1.700V.1L-9 2.400V.5l7.500-4.600v-3.300C-1.500-8-1-9 0-9z");

export class Air {
  #map;
  #sky;
  #viewport;
  #airports;
  #canvas = document.createElement("canvas");
  #drawnAt = 0;
  #colours = {};

  /** Called before each frame is drawn. */
  onFrame = () => {};

  /** The name of the plane that is looked at. */
  chosen = null;

  constructor(map, sky, viewport, airports) {
    this.#map = map;
    this.#sky = sky;
    this.#viewport = viewport;
    this.#airports = new Map(airports.map((airport) => [airport.code, airport]));
    this.#canvas.className = "air";
    map.getContainer().append(this.#canvas);
    map.on("zoomstart", () => this.#canvas.classList.add("away"));
    map.on("zoomend", () => this.#canvas.classList.remove("away"));
    const readColours = () => (this.#colours = coloursOf(this.#canvas));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
    readColours();
    const frame = (now) => {
      requestAnimationFrame(frame);
      if (now - this.#drawnAt < (STILL.matches ? 10 * FRAME_MS : FRAME_MS)) return;
      this.#drawnAt = now;
      this.onFrame();
      this.#draw(performance.now());
    };
    requestAnimationFrame(frame);
  }

  airport(code) {
    return this.#airports.get(code);
  }

  /** The plane that is nearest to a point of the map, within reach. */
  at({ x, y }) {
    const now = performance.now();
    const near = [...this.#sky].map((plane) => {
      const point = this.#point(shown(plane, now));
      return { plane, far: Math.hypot(point.x - x, point.y - y) };
    });
    return near.filter(({ far }) => far < REACH).sort((a, b) => a.far - b.far)[0]?.plane ?? null;
  }

  #point({ lat, lon }) {
    return this.#map.latLngToContainerPoint([lat, lon]);
  }

  #draw(now) {
    const { x: width, y: height } = this.#map.getSize();
    const scale = devicePixelRatio;
    if (this.#canvas.width !== width * scale || this.#canvas.height !== height * scale) {
      this.#canvas.width = width * scale;
      this.#canvas.height = height * scale;
    }
    const pen = this.#canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.#drawTiles(pen);
    const chosen = this.#sky.get(this.chosen);
    if (chosen) this.#drawRoute(pen, chosen);
    for (const plane of this.#sky) if (plane !== chosen) this.#drawPlane(pen, plane, now);
    if (chosen) this.#drawPlane(pen, chosen, now);
  }

  #drawTiles(pen) {
    for (const [tile, state] of this.#viewport) {
      const { north, south, west, east } = corners(tile);
      const [first, last] = [this.#point({ lat: north, lon: west }), this.#point({ lat: south, lon: east })];
      pen.strokeStyle = this.#colours.tile;
      pen.lineWidth = 1;
      pen.strokeRect(first.x + 0.5, first.y + 0.5, last.x - first.x, last.y - first.y);
      if (state === "live") continue;
      pen.fillStyle = state === "behind" ? this.#colours.behind : this.#colours.gone;
      pen.globalAlpha = 0.14;
      pen.fillRect(first.x, first.y, last.x - first.x, last.y - first.y);
      pen.globalAlpha = 1;
    }
  }

  #drawRoute(pen, plane) {
    const [start, goal] = [this.airport(plane.from), this.airport(plane.to)];
    pen.strokeStyle = this.#colours.chosen;
    pen.lineWidth = 1.5;
    pen.setLineDash([6, 5]);
    pen.beginPath();
    for (const place of route(start, goal)) {
      const { x, y } = this.#point(place);
      pen.lineTo(x, y);
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  #drawPlane(pen, plane, now) {
    const isChosen = plane.name === this.chosen;
    const here = shown(plane, now);
    const { x, y } = this.#point(here);
    if (x < -60 || y < -60 || x > this.#canvas.width + 60 || y > this.#canvas.height + 60) return;
    pen.fillStyle = pen.strokeStyle = isChosen ? this.#colours.chosen : this.#colours.plane;
    if (plane.done === 1) {
      pen.globalAlpha = isChosen ? 1 : 0.55;
      pen.beginPath();
      pen.arc(x, y, isChosen ? 5 : 2.5, 0, 2 * Math.PI);
      pen.fill();
      pen.globalAlpha = 1;
      return;
    }
    this.#drawTrail(pen, plane, here, isChosen);
    const size = Math.min(1.25, 0.42 + 0.09 * this.#map.getZoom()) * (isChosen ? 1.35 : 1);
    pen.save();
    pen.translate(x, y);
    pen.rotate((bearing(here, this.airport(plane.to)) * Math.PI) / 180);
    pen.scale(size, size);
    pen.lineWidth = 2.5;
    pen.strokeStyle = this.#colours.halo;
    pen.stroke(PLANE);
    pen.fill(PLANE);
    pen.restore();
  }

  /** Where it was: each piece is fainter than the one before. */
  #drawTrail(pen, plane, here, isChosen) {
    const places = [...plane.trail, here];
    pen.lineWidth = isChosen ? 2.4 : 1.4;
    for (let at = 1; at < places.length; at += 1) {
      const [from, to] = [this.#point(places[at - 1]), this.#point(places[at])];
      pen.globalAlpha = (0.5 * at) / places.length;
      pen.beginPath();
      pen.moveTo(from.x, from.y);
      pen.lineTo(to.x, to.y);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }
}

function coloursOf(element) {
  const style = getComputedStyle(element);
  const names = ["plane", "halo", "chosen", "tile", "behind", "gone"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}
