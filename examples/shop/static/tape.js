/** The order's log as a tape, and under it one lane for each client: where it has read to, and what it lacks. */

import { offsetOf } from "/triolet/triolet.js";
import { describe } from "./words.js";

const CELL = 94;

export class Tape {
  #cells;
  #lanes;
  #known = new Map();
  #drawn = new Map();
  #head = 0;
  #rows = [];
  #isDue = false;

  constructor(element) {
    this.#cells = element.querySelector("[data-cells]");
    this.#lanes = element.querySelector("[data-lanes]");
    new ResizeObserver(() => this.draw()).observe(this.#cells);
  }

  /** Draws once before the next frame, however much has come until then. */
  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  /** Adds a client's lane. `look` tells its badge and cursor whenever it is drawn. */
  add(name, look) {
    const lane = document.createElement("div");
    lane.className = "lane";
    const parts = {};
    for (const part of ["label", "track", "read", "missing", "mark", "count"]) {
      parts[part] = document.createElement("span");
      parts[part].className = part;
    }
    parts.label.textContent = name;
    parts.track.append(parts.read, parts.missing, parts.mark, parts.count);
    lane.append(parts.label, parts.track);
    this.#lanes.append(lane);
    this.#rows.push({ lane, parts, look });
  }

  /** An event that anybody heard. */
  event(event) {
    const offset = offsetOf(event.id);
    const isNews = !this.#known.has(offset);
    this.#known.set(offset, event);
    if (isNews && this.#drawn.has(offset)) this.#fill(this.#drawn.get(offset), offset);
    this.head(event.id);
  }

  /** An event is known to exist, though nobody may have heard of it yet. */
  head(cursor) {
    if (offsetOf(cursor) <= this.#head) return;
    this.#head = offsetOf(cursor);
    this.draw();
  }

  #cell(offset) {
    const cell = document.createElement("div");
    cell.dataset.offset = offset;
    cell.append(document.createElement("b"), document.createElement("span"));
    cell.firstElementChild.textContent = offset;
    this.#fill(cell, offset);
    this.#drawn.set(offset, cell);
    return cell;
  }

  #fill(cell, offset) {
    const event = this.#known.get(offset);
    cell.className = `cell ${event ? event.event : "unheard"}`;
    cell.lastElementChild.textContent = event ? describe(event) : "…";
    cell.title = event ? describe(event) : "nobody here has heard it yet";
  }

  #draw() {
    const width = this.#cells.clientWidth;
    if (!width || !this.#head) return;
    const visible = Math.ceil(width / CELL) + 1;
    const oldest = Math.max(1, this.#head - visible + 1);
    for (const [offset, cell] of this.#drawn) {
      if (offset >= oldest - 2) continue;
      cell.remove();
      this.#drawn.delete(offset);
    }
    for (const offset of this.#known.keys()) {
      if (offset < oldest - 2) this.#known.delete(offset);
    }
    for (let offset = oldest; offset <= this.#head; offset++) {
      if (this.#drawn.has(offset)) continue;
      const cell = this.#cell(offset);
      this.#place(cell, width); // comes in from the right
      this.#cells.append(cell);
      cell.getBoundingClientRect();
    }
    for (const [offset, cell] of this.#drawn) this.#place(cell, this.#left(offset, width));
    this.#drawLanes(width);
  }

  #left(offset, width) {
    return width - (this.#head - offset + 1) * CELL;
  }

  #place(cell, left) {
    cell.style.transform = `translateX(${left}px)`;
  }

  #drawLanes(width) {
    for (const { lane, parts, look } of this.#rows) {
      const { badge, cursor } = look();
      if (!cursor) continue;
      const behind = Math.max(0, this.#head - offsetOf(cursor));
      const at = Math.max(10, this.#left(offsetOf(cursor), width) + CELL / 2);
      lane.dataset.state = badge;
      parts.read.style.width = `${at}px`;
      parts.missing.style.left = `${at}px`;
      parts.missing.style.width = `${Math.max(0, width - CELL / 2 - at)}px`;
      parts.mark.style.transform = `translateX(${at}px)`;
      parts.count.textContent = behind ? `${behind} to come` : "";
    }
  }
}
