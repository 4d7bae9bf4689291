/** The page: it follows the machine's figures, from ten minutes ago on, and shows them as numbers and as charts. */

import { connect } from "/triolet/triolet.js";
import { showState } from "./badge.js";
import { Charts, History } from "./charts.js";

const SECONDS = 600;
const SAY_EVERY = 30; // seconds: a screen reader that is told each second says nothing else

const element = (id) => document.getElementById(id);
const history = new History(SECONDS);
const charts = new Charts(history, describe);
const live = connect("/", { socket: "/live" });
const counts = { gaps: 0, faults: 0 };
let newest = null;
let isDue = false;
let saidAt = -Infinity;

showState(live);

const machine = live.follow("/machine/events", { after: -SECONDS });
machine.on("figures", ({ data, time }) => {
  newest = data;
  history.add(time / 1_000, data);
  draw();
});
// What this page did not read in time it is not sent: the lines have a hole there.
machine.on("gap", ({ missed }) => (counts.gaps += missed ?? 1));
machine.on("fault", () => (counts.faults += 1));

const processes = live.follow("/processes/events");
processes.on("tell", ({ data }) => showProcesses(data));

/** However much comes at once, it is drawn once. A tab in the background has no pictures to wait for, and draws too. */
function draw() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    charts.draw(newest.cpu.length);
    describe(newest);
    showAudience(newest);
    say(newest);
  }, 16);
}

/** The figures of now, or of the moment under the pointer, in words beside each chart. */
function describe({ cpu, mem, net, disk, procs } = newest) {
  element("cpu").textContent = `${Math.round(mean(cpu))} % of ${cpu.length} ${cpu.length === 1 ? "core" : "cores"}`;
  element("mem").textContent = `${mem.toFixed(1)} % used`;
  element("net").textContent = `↓ ${bytes(net[0])}/s  ↑ ${bytes(net[1])}/s`;
  element("disk").textContent = `read ${bytes(disk[0])}/s, written ${bytes(disk[1])}/s`;
  element("procs").textContent = `${procs} there are; of one core`;
}

function showAudience({ viewers, late, behind, own }) {
  element("viewers").textContent = viewers.toLocaleString("en");
  element("late").textContent = `${late.toFixed(1)} ms`;
  element("behind").textContent = behind.toLocaleString("en");
  element("own").textContent = `${own.toFixed(1)} %`;
  // Of a few viewers most of the cost is the server's own, and the measuring: to share it out would say nothing.
  const isCrowd = viewers >= 100;
  element("each").textContent = isCrowd ? `${((own / 100 / viewers) * 1e6).toFixed(1)} µs` : "–";
  element("each-why").textContent = isCrowd ? "of CPU a second, and some 200 bytes" : "told from a hundred viewers on";
  element("held").textContent = `${history.size} seconds are drawn, ${counts.gaps} were left out.`;
}

function showProcesses(busiest) {
  element("processes").replaceChildren(
    ...busiest.map(([name, cpu]) => {
      const item = document.createElement("li");
      const [bar, shown, percent] = ["meter", "span", "b"].map((tag) => document.createElement(tag));
      Object.assign(bar, { max: 100, value: Math.min(100, cpu), ariaHidden: "true" });
      [shown.textContent, percent.textContent] = [name, `${cpu.toFixed(0)} %`];
      item.append(shown, percent, bar);
      return item;
    }),
  );
}

function say({ cpu, mem, viewers }) {
  if (performance.now() < saidAt + SAY_EVERY * 1_000) return;
  saidAt = performance.now();
  element("said").textContent =
    `Processor ${Math.round(mean(cpu))} %, memory ${Math.round(mem)} %, ${viewers} ${viewers === 1 ? "viewer" : "viewers"}.`;
}

function mean(numbers) {
  return numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
}

function bytes(count) {
  const power = count < 1_000 ? 0 : Math.min(3, Math.floor(Math.log10(count) / 3));
  return `${(count / 1_000 ** power).toFixed(power ? 1 : 0)} ${["B", "kB", "MB", "GB"][power]}`;
}
