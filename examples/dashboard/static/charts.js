/** The charts: what the last ten minutes brought, drawn by uPlot. */

import uPlot from "./vendor/uplot.js";

const HOLE = 2.5; // seconds without a figure: the line is broken there
const SHORTEST = 60; // seconds that a chart shows at least

/** The figures by second, the oldest first. */
export class History {
  constructor(seconds) {
    this.seconds = seconds;
    this.rows = [];
  }

  get size() {
    return this.rows.filter(({ figures }) => figures).length;
  }

  add(time, figures) {
    const last = this.rows.at(-1)?.time;
    if (time <= last) return;
    if (time - last > HOLE) this.rows.push({ time: last + 1, figures: null });
    this.rows.push({ time, figures });
    while (this.rows[0].time < time - this.seconds) this.rows.shift();
  }

  /** For uPlot: times, and for each line its values. */
  columns(...lines) {
    const of = (line) => this.rows.map(({ figures }) => (figures ? line(figures) : null));
    return [this.rows.map(({ time }) => time), ...lines.map(of)];
  }
}

const mean = ({ cpu }) => cpu.reduce((sum, one) => sum + one, 0) / cpu.length;

/** Each chart's lines: what it draws of the figures, in which colour, and whether the area below is filled. */
const LINES = {
  audience: () => [{ of: ({ viewers }) => viewers, colour: "--accent", fill: "--accent-fill" }],
  cpu: (cores) => [
    ...Array.from({ length: cores }, (_, at) => ({ of: ({ cpu }) => cpu[at], colour: `--s${at % 4}`, width: 1 })),
    { of: mean, colour: "--ink", fill: "--accent-fill", width: 2 },
  ],
  mem: () => [{ of: ({ mem }) => mem, colour: "--s1", fill: "--s1-fill" }],
  net: () => [
    { of: ({ net }) => net[0], colour: "--s0", fill: "--s0-fill" },
    { of: ({ net }) => net[1], colour: "--s3" },
  ],
  disk: () => [
    { of: ({ disk }) => disk[0], colour: "--s0" },
    { of: ({ disk }) => disk[1], colour: "--s2", fill: "--s2-fill" },
  ],
};

const PERCENT = new Set(["cpu", "mem"]);

export class Charts {
  #history;
  #describe;
  #plots = new Map();
  #colours = new Map();

  /** `describe(figures)` is called with those under the pointer, and without any when it has left. */
  constructor(history, describe) {
    this.#history = history;
    this.#describe = describe;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#colours.clear();
      for (const { plot } of this.#plots.values()) plot.redraw();
    });
  }

  draw(cores) {
    for (const box of document.querySelectorAll("[data-chart]")) {
      const { plot, lines } = this.#plots.get(box) ?? this.#make(box, cores);
      plot.setData(this.#history.columns(...lines.map(({ of }) => of)));
      box.dataset.points = this.#history.size;
    }
  }

  #make(box, cores) {
    const lines = LINES[box.dataset.chart](cores);
    const isSmall = box.dataset.chart === "audience";
    const isPercent = PERCENT.has(box.dataset.chart);
    const axis = { stroke: () => this.#colour("--faint"), font: "12px sans-serif", ticks: { show: false }, gap: 6 };
    const grid = { stroke: () => this.#colour("--line"), width: 1 };
    const plot = new uPlot(
      {
        ...sizeOf(box),
        padding: [8, isSmall ? 0 : 4, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false }, sync: { key: "machine" } },
        scales: {
          x: { range: (_, min, max) => [Math.min(Math.max(min, max - this.#history.seconds), max - SHORTEST), max] },
          y: { range: isPercent ? [0, 100] : (_, min, max) => [0, niceTop(Math.max(max, isSmall ? 1 : 10))] },
        },
        axes: [
          { ...axis, show: !isSmall, size: 26, grid: { show: false }, space: 90, values: (_, at, __, ___, step) => at.map((one) => clock(one, step)) },
          { ...axis, show: !isSmall, size: 52, grid, space: 34, values: (_, at) => at.map(isPercent ? percent : short) },
        ],
        series: [
          {},
          ...lines.map(({ colour, fill, width = 1.5 }) => ({
            stroke: () => this.#colour(colour),
            fill: fill && (() => this.#colour(fill)),
            width,
            points: { show: false },
          })),
        ],
        hooks: { setCursor: [({ cursor }) => this.#describe(this.#history.rows[cursor.idx ?? -1]?.figures ?? undefined)] },
      },
      this.#history.columns(...lines.map(({ of }) => of)),
      box,
    );
    new ResizeObserver(() => plot.setSize(sizeOf(box))).observe(box);
    const made = { plot, lines };
    this.#plots.set(box, made);
    return made;
  }

  #colour(name) {
    if (!this.#colours.has(name)) {
      this.#colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
    }
    return this.#colours.get(name);
  }
}

function sizeOf({ clientWidth: width, clientHeight: height }) {
  return { width, height };
}

function niceTop(max) {
  const step = 10 ** Math.floor(Math.log10(max));
  return Math.ceil((max * 1.1) / step) * step;
}

const clock = (at, step) => new Date(at * 1_000).toLocaleTimeString("en-GB").slice(0, step < 60 ? 8 : 5);
const percent = (value) => `${value} %`;
const short = (value) => new Intl.NumberFormat("en", { notation: "compact" }).format(value);
