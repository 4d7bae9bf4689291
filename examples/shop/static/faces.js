/** How each client shows the order: `face(element, client)` gives what draws it. Each knows only what it has heard itself. */

import { STATES, make, newestOf, timeOf, timeline } from "./words.js";

const SENTENCES = {
  created: "Thank you! We wait for your payment.",
  paid: "Paid. We look for your things.",
  packed: "Packed, and waiting for the courier.",
  shipped: "On its way to you.",
  delivered: "Delivered. Enjoy!",
};

export function customer(element) {
  const [line, steps] = [make("p", "sentence"), make("ol", "dots")];
  element.append(line, steps);
  return (states) => {
    line.textContent = SENTENCES[newestOf(states)] ?? "";
    timeline(steps, states, false);
  };
}

export function kiosk(element) {
  const word = make("p", "screen");
  element.append(word);
  return (states) => (word.textContent = newestOf(states) ?? "");
}

export function board(element) {
  const table = make("table");
  const rows = STATES.map((state) => {
    const row = table.insertRow();
    row.insertCell().textContent = state;
    row.insertCell();
    return row;
  });
  element.append(table);
  return (states) =>
    rows.forEach((row, at) => {
      const time = states[STATES[at]];
      row.classList.toggle("done", time !== undefined);
      row.cells[1].textContent = time === undefined ? "–" : timeOf(time);
    });
}

/** The tasks of all orders, on the same WebSocket as the order, and a command for each. */
export function warehouse(element, live) {
  const list = make("ul", "tasks");
  list.tabIndex = 0;
  list.setAttribute("aria-label", "Tasks");
  element.append(list);
  const tasks = new Map();

  live.follow("/tasks/events", { after: 0 }).on("task", ({ data: { order, done } }) => {
    tasks.get(order)?.remove();
    tasks.delete(order);
    if (!done) tasks.set(order, taskOf(order));
    if (!done) list.append(tasks.get(order));
    nothing.hidden = tasks.size > 0;
  });

  /** The command is sent until it is answered. The task leaves the list when its event comes: only then is it true. */
  function taskOf(order) {
    const [row, button] = [make("li"), make("button", "", "Picked")];
    button.dataset.pick = order;
    button.onclick = async () => {
      button.textContent = "Waits for an answer";
      await live.send(`/orders/${order}/packed`).catch(() => (button.textContent = "Picked"));
    };
    row.append(make("span", "", `Order ${order}: to be picked`), button);
    return row;
  }

  const nothing = make("li", "nothing", "Nothing to pick. A paid order brings a task.");
  list.append(nothing);
  return () => {};
}
