/** What the page calls things, and how it draws an order's way. */

export const STATES = ["created", "paid", "packed", "shipped", "delivered"];

/** What somebody does to bring an order into a state. */
export const ACTIONS = {
  paid: "Pay the order",
  packed: "Pack it",
  shipped: "Ship it",
  delivered: "Deliver it",
};

export const TRANSPORTS = {
  websocket: "WebSocket",
  sse: "Server-Sent Events",
  "long-poll": "Long polling",
  poll: "Short polling",
};

/** An event in a few words. */
export function describe({ event, data }) {
  return event === "order-status" ? data.state : String(data.text ?? event);
}

export function timeOf(ms) {
  return new Date(ms).toLocaleTimeString([], { hourCycle: "h23" });
}

export function newestOf(states) {
  return STATES.findLast((state) => state in states);
}

/** A new element, with a class and a text. */
export function make(name, className = "", text = "") {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
}

/** The parts of a copied template that have a name, as `data-cut`. */
export function partsOf(element) {
  const parts = {};
  for (const part of element.querySelectorAll("*")) {
    for (const name of Object.keys(part.dataset)) parts[name] = part;
  }
  return parts;
}

/** Draws an order's way into a list: what it has been through, where it is, what is to come. */
export function timeline(list, states, withTimes = true) {
  const newest = STATES.indexOf(newestOf(states));
  const items = STATES.map((state, at) => {
    const item = make("li", at < newest ? "done" : at === newest ? "done now" : "");
    if (at === newest) item.setAttribute("aria-current", "step");
    item.append(make("span", "", state));
    if (withTimes) item.append(make("small", "", states[state] ? timeOf(states[state]) : ""));
    return item;
  });
  list.replaceChildren(...items);
}

let said = [];

/** Has a screen reader say it when it has a moment; what comes close together is said in one go. */
export function announce(text) {
  if (said.length === 0) {
    setTimeout(() => {
      document.getElementById("said").textContent = said.join(" ");
      said = [];
    }, 500);
  }
  said.push(text);
}
