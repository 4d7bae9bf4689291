/** What the page calls things. */

export const STATES = ["created", "paid", "packed", "shipped", "delivered"];

/** What somebody does to bring an order into a state. */
export const ACTIONS = {
  paid: "Pay the order",
  packed: "Pack it",
  shipped: "Ship it",
  delivered: "Deliver it",
};

/** An event in a few words. */
export function describe({ event, data }) {
  return event === "order-status" ? data.state : String(data.text ?? event);
}

/** Draws an order's way into a list: what it has been through, where it is, what is to come. */
export function timeline(list, states, withTimes = true) {
  const newest = STATES.findLastIndex((state) => state in states);
  const items = STATES.map((state, at) => {
    const item = document.createElement("li");
    item.className = at < newest ? "done" : at === newest ? "done now" : "";
    const name = document.createElement("span");
    name.textContent = state;
    item.append(name);
    if (withTimes) {
      const time = document.createElement("small");
      time.textContent = states[state] ? new Date(states[state]).toLocaleTimeString() : "";
      item.append(time);
    }
    return item;
  });
  list.replaceChildren(...items);
}
