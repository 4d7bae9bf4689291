/** The order's log as a tape; and in the lanes under it, where each client has read to, and what it lacks. */

import { offsetOf } from "/triolet/triolet.js";
import { describe, make } from "./words.js";

const CELL = 94;

export class Tape {
  #box;
  #cells = new Map();
  #lanes;
  #head = 0;
  #isDue = false;

  constructor(box, lanes) {
    this.#box = box;
    this.#lanes = lanes;
    new ResizeObserver(() => this.draw()).observe(box);
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

  /** An event of the log: the events come in order. It comes in from the right. */
  add(event) {
    const cell = make("div", `cell ${event.event}`);
    cell.dataset.offset = this.#head = offsetOf(event.id);
    cell.title = describe(event);
    cell.append(make("b", "", this.#head), make("span", "", describe(event)));
    this.#cells.set(this.#head, cell);
    this.draw();
  }

  #draw() {
    const width = this.#box.clientWidth;
    if (!width || !this.#head) return;
    const oldest = this.#head - Math.ceil(width / CELL) - 1;
    for (const [offset, cell] of this.#cells) {
      if (offset >= oldest) continue;
      cell.remove();
      this.#cells.delete(offset);
    }
    for (const cell of this.#cells.values()) {
      if (cell.isConnected) continue;
      place(cell, width);
      this.#box.append(cell);
      cell.getBoundingClientRect();
    }
    for (const [offset, cell] of this.#cells) place(cell, this.#left(offset, width));
    for (const lane of this.#lanes) this.#drawLane(lane, width);
  }

  #left(offset, width) {
    return width - (this.#head - offset + 1) * CELL;
  }

  #drawLane({ order, row }, width) {
    const at = Math.max(10, this.#left(offsetOf(order.cursor), width) + CELL / 2);
    row.read.style.width = `${at}px`;
    row.missing.style.left = `${at}px`;
    row.missing.style.width = `${Math.max(0, width - CELL / 2 - at)}px`;
    place(row.mark, at);
    row.count.textContent = order.behind ? `${order.behind} to come` : "";
  }
}

function place(element, left) {
  element.style.transform = `translateX(${left}px)`;
}
