/** The whole country, small, with the tiles that the page follows lit. */

import { corners } from "./tiles.js";

const MERCATOR = (lat) => Math.asinh(Math.tan((lat * Math.PI) / 180)) * (180 / Math.PI);

export class Overview {
  #canvas;
  #nation;
  #tiles;
  #viewport;
  #frame = null;

  constructor(canvas, nation, tiles, viewport) {
    this.#canvas = canvas;
    this.#nation = nation;
    this.#tiles = tiles.map((tile) => ({ tile, ...corners(tile) }));
    this.#viewport = viewport;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Draws it, once for all that changes until the next frame. */
  draw() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#draw();
    });
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = devicePixelRatio;
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    const pen = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#canvas);
    const ink = (name) => style.getPropertyValue(name).trim();
    const west = Math.min(...this.#tiles.map((tile) => tile.west));
    const east = Math.max(...this.#tiles.map((tile) => tile.east));
    const top = MERCATOR(Math.max(...this.#tiles.map((tile) => tile.north)));
    const size = (width / (east - west)) * scale;
    const x = (lon) => (lon - west) * size;
    const y = (lat) => (top - MERCATOR(lat)) * size;

    const states = new Map(this.#viewport);
    for (const { tile, north, south, west: left, east: right } of this.#tiles) {
      const state = states.get(tile);
      pen.fillStyle = ink(state === undefined ? "--dark" : state === "live" ? "--lit" : `--${state}-lit`) || ink("--gone-lit");
      pen.fillRect(x(left) + 0.5, y(north) + 0.5, x(right) - x(left) - 1, y(south) - y(north) - 1);
    }
    pen.beginPath();
    for (const ring of this.#nation.features.flatMap(({ geometry }) => geometry.coordinates.flat())) {
      ring.forEach(([lon, lat], at) => (at === 0 ? pen.moveTo(x(lon), y(lat)) : pen.lineTo(x(lon), y(lat))));
    }
    pen.strokeStyle = ink("--outline");
    pen.lineWidth = scale;
    pen.stroke();
  }
}
