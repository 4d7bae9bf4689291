/** A line chart of several series over months, on a logarithmic axis, as SVG. It draws at most once per frame. */

const MARGIN = { top: 14, right: 74, bottom: 30, left: 46 };
const LOWEST = 4;
const HIGHEST = 900;
const TICKS = [5, 10, 20, 50, 100, 200, 500];
const LABEL_HEIGHT = 16;
const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export class Chart {
  #box;
  #months;
  #series = new Map();
  #root = svg("svg", { role: "img", "aria-label": "Prices of five shares, from 2000 to 2010" });
  #grid = svg("g", { class: "grid" });
  #bands = svg("g", { class: "bands" });
  #lines = svg("g", { class: "lines" });
  #ends = svg("g", { class: "ends" });
  #cross = svg("g", { class: "cross" });
  #late = [];
  #pointer = null;
  #isDue = false;

  /** @param {Element} box  @param {string[]} months  @param {{symbol: string}[]} shares */
  constructor(box, months, shares) {
    this.#box = box;
    this.#months = new Map(months.map((month, at) => [month, at]));
    shares.forEach(({ symbol }, at) => this.#series.set(symbol, { symbol, at, points: [], seen: new Map() }));
    this.#root.append(this.#grid, this.#bands, this.#lines, this.#ends, this.#cross);
    box.append(this.#root);
    new ResizeObserver(() => this.draw()).observe(box);
    this.#root.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.#root.addEventListener("pointerleave", () => this.#point(null));
  }

  /** Puts a price where it belongs. */
  add(symbol, month, price) {
    const series = this.#series.get(symbol);
    const at = this.#months.get(month);
    series.points.push([at, price]);
    series.seen.set(at, price);
    this.draw();
  }

  /** Marks months as having come late. */
  mark(month) {
    const at = this.#months.get(month);
    const last = this.#late.at(-1);
    if (last && (at === last[1] || at === last[1] + 1)) last[1] = at;
    else if (!this.#late.some(([from, to]) => at >= from && at <= to)) this.#late.push([at, at]);
  }

  /** Begins a new round. */
  clear() {
    this.#late = [];
    for (const series of this.#series.values()) {
      series.points = [];
      series.seen.clear();
    }
  }

  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#box;
    if (!width || !height) return;
    this.#root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const plot = { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: height - MARGIN.bottom };
    const last = this.#months.size - 1;
    const x = (at) => plot.left + ((plot.right - plot.left) * at) / last;
    const rise = Math.log(HIGHEST / LOWEST);
    const y = (price) => plot.bottom - ((plot.bottom - plot.top) * Math.log(price / LOWEST)) / rise;
    this.#drawGrid(plot, x, y);
    this.#bands.replaceChildren(
      ...this.#late.map(([from, to]) => {
        const left = x(Math.max(0, from - 0.5));
        const right = x(Math.min(last, to + 0.5));
        return svg("rect", { x: left, y: plot.top, width: right - left, height: plot.bottom - plot.top, rx: 4 });
      }),
    );
    this.#lines.replaceChildren(
      ...[...this.#series.values()].map(({ symbol, at, points }) => {
        const line = points.map(([month, price]) => `${x(month).toFixed(1)},${y(price).toFixed(1)}`).join(" ");
        return svg("polyline", { points: line, class: `s${at}`, "data-symbol": symbol, "data-points": points.length });
      }),
    );
    this.#drawEnds(plot, x, y);
    this.#drawCross(plot, x, y);
  }

  #drawGrid(plot, x, y) {
    const marks = [];
    for (const price of TICKS) {
      marks.push(svg("line", { x1: plot.left, x2: plot.right, y1: y(price), y2: y(price) }));
      marks.push(svg("text", { x: plot.left - 10, y: y(price) + 4, "text-anchor": "end" }, `$${price}`));
    }
    const every = plot.right - plot.left < 560 ? 2 : 1;
    for (const [month, at] of this.#months) {
      if (!month.endsWith("-01-01") || Number(month.slice(0, 4)) % every) continue;
      marks.push(svg("line", { x1: x(at), x2: x(at), y1: plot.bottom, y2: plot.bottom + 5, class: "tick" }));
      marks.push(svg("text", { x: x(at), y: plot.bottom + 20, "text-anchor": "middle" }, month.slice(0, 4)));
    }
    this.#grid.replaceChildren(...marks);
  }

  /** A dot at each line's end, and beside it the share's name; names that would overlap are pushed apart. */
  #drawEnds(plot, x, y) {
    const ends = [...this.#series.values()]
      .filter(({ points }) => points.length)
      .map(({ symbol, at, points }) => ({ symbol, at, left: x(points.at(-1)[0]), top: y(points.at(-1)[1]) }))
      .sort((one, other) => one.top - other.top);
    let free = plot.top;
    for (const end of ends) {
      end.label = Math.max(end.top, free);
      free = end.label + LABEL_HEIGHT;
    }
    this.#ends.replaceChildren(
      ...ends.flatMap(({ symbol, at, left, top, label }) => [
        svg("circle", { cx: left, cy: top, r: 4, class: `s${at}` }),
        svg("text", { x: left + 10, y: label + 4, class: `s${at}` }, symbol),
      ]),
    );
  }

  #point(left) {
    this.#pointer = left;
    this.draw();
  }

  #drawCross(plot, x, y) {
    this.#cross.replaceChildren();
    if (this.#pointer === null) return;
    const share = (this.#pointer - plot.left) / (plot.right - plot.left);
    const at = Math.round(share * (this.#months.size - 1));
    const found = [...this.#series.values()].filter(({ seen }) => seen.has(at));
    if (!found.length) return;
    found.sort((one, other) => other.seen.get(at) - one.seen.get(at));
    const isRight = share > 0.75;
    const left = x(at) + (isRight ? -130 : 12);
    const month = [...this.#months.keys()][at].slice(0, 7);
    this.#cross.append(
      svg("line", { x1: x(at), x2: x(at), y1: plot.top, y2: plot.bottom }),
      ...found.map(({ at: color, seen }) =>
        svg("circle", { cx: x(at), cy: y(seen.get(at)), r: 3.5, class: `s${color}` }),
      ),
      svg("rect", { x: left, y: plot.top + 4, width: 118, height: 30 + found.length * 18, rx: 8 }),
      svg("text", { x: left + 12, y: plot.top + 24, class: "month" }, month),
      ...found.flatMap(({ symbol, at: color, seen }, row) => [
        svg("text", { x: left + 12, y: plot.top + 44 + row * 18, class: `s${color}` }, symbol),
        svg("text", { x: left + 106, y: plot.top + 44 + row * 18, "text-anchor": "end" }, seen.get(at).toFixed(2)),
      ]),
    );
  }
}
