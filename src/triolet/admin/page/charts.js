/** Small charts of the last hour, as SVG. */

const NAMESPACE = "http://www.w3.org/2000/svg";
/** What is drawn, in ms: all that there is, but no less than this, and no more than that. */
const [LEAST, MOST] = [300_000, 3_600_000];
const [WIDTH, HEIGHT] = [360, 66];
/** Above the curve there is room for a caption. */
const HEAD = 22;

/** Two points that are further apart than this, in ms, are not joined: nobody has looked in between. */
const APART = 25_000;

/** @param {string} name @param {Record<string, string | number>} attributes */
function shape(name, attributes) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}

/** How much of the past there is to draw, in ms. @param {any[][]} points @param {number} now */
export function spanOf(points, now) {
  return Math.min(MOST, Math.max(LEAST, points.length ? now - points[0][0] : 0));
}

/** Unbroken pieces of a row of points, as [x, y]. */
function pieces(points, of, now, top) {
  const span = spanOf(points, now);
  const found = [];
  let last = null;
  for (const point of points) {
    const value = of(point);
    if (value === null) {
      last = null;
      continue;
    }
    if (last === null || point[0] - last > APART) found.push([]);
    const x = WIDTH * (1 - (now - point[0]) / span);
    found.at(-1).push([Math.max(0, x), HEIGHT - 3 - (HEIGHT - 3 - HEAD) * (value / top)]);
    last = point[0];
  }
  return found;
}

const line = (piece) => "M" + piece.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L");

/** One value of the hour's points. */
export class Chart {
  #of;
  #format;
  #points = [];
  #now = 0;
  #area = shape("path", { class: "area" });
  #curve = shape("path", { class: "curve" });
  #cross = shape("line", { class: "cross", y1: HEAD - 4, y2: HEIGHT });
  #caption = document.createElement("figcaption");

  /**
   * @param {string} name  what it is of
   * @param {(point: any[]) => number | null} of  the value of a point
   * @param {(value: number | null) => string} format
   * @param {number} least  the height of the chart at least, so that nothing looks like much
   */
  constructor(name, of, format, least = 0) {
    this.name = name;
    this.#of = of;
    this.#format = format;
    this.least = least;
    this.element = document.createElement("figure");
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    for (const part of [1, 2, 3]) {
      const x = (WIDTH * part) / 4;
      this.svg.append(shape("line", { class: "grid", x1: x, x2: x, y1: HEAD, y2: HEIGHT }));
    }
    this.svg.append(this.#area, this.#curve, this.#cross);
    this.#cross.style.display = "none";
    this.#caption.setAttribute("aria-hidden", "true");
    this.element.append(this.svg, this.#caption);
    this.element.addEventListener("pointermove", (event) => this.#point(event));
    this.element.addEventListener("pointerleave", () => this.#leave());
  }

  /** @param {any[][]} points @param {number} now */
  draw(points, now) {
    [this.#points, this.#now] = [points, now];
    const values = points.map(this.#of).filter((value) => value !== null);
    const top = Math.max(this.least, ...values) || 1;
    const found = pieces(points, this.#of, now, top);
    this.#curve.setAttribute("d", found.map((piece) => (piece.length > 1 ? line(piece) : `${line(piece)}h.1`)).join(""));
    const below = (piece) => `${line(piece)}V${HEIGHT}H${piece[0][0].toFixed(1)}Z`;
    this.#area.setAttribute("d", found.map(below).join(""));
    const most = values.length ? Math.max(...values) : null;
    const said = most === null ? "nothing yet" : `${this.#format(Math.min(...values))} to ${this.#format(most)}`;
    this.svg.setAttribute("aria-label", `${this.name}: ${said}`);
    if (this.#cross.style.display === "none") this.#caption.textContent = most ? `up to ${this.#format(most)}` : "";
  }

  /** Says what was where the pointer is. @param {PointerEvent} event */
  #point({ clientX }) {
    const { left, width } = this.element.getBoundingClientRect();
    const span = spanOf(this.#points, this.#now);
    const time = this.#now - span * (1 - (clientX - left) / width);
    const point = this.#points.reduce((best, one) => (Math.abs(one[0] - time) < Math.abs(best[0] - time) ? one : best), this.#points[0]);
    if (!point) return;
    const x = WIDTH * (1 - (this.#now - point[0]) / span);
    this.#cross.setAttribute("x1", x);
    this.#cross.setAttribute("x2", x);
    this.#cross.style.display = "";
    this.#caption.textContent = `${clock(point[0])}: ${this.#format(this.#of(point))}`;
  }

  #leave() {
    this.#cross.style.display = "none";
    this.draw(this.#points, this.#now);
  }
}

const hours = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A time of day. @param {number} time  ms since 1970 */
export const clock = (time) => hours.format(time);
