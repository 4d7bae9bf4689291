/** The orders, for who has a token. The query says whose, over which transport, and whether there is only one. */

import { follow } from "/triolet/triolet.js";

const query = new URLSearchParams(location.search);
const element = (id) => document.querySelector(`#${id}`);
const count = (id) => (element(id).textContent = Number(element(id).textContent) + 1);

async function fetchToken() {
  const answer = await fetch(`/token/${query.get("user")}`, { method: "POST" });
  return (await answer.json()).token;
}

globalThis.states = [];

follow("/orders/events", {
  transport: query.get("transport") ?? "sse",
  token: query.has("once") ? await fetchToken() : fetchToken,
  after: "0",
  onEvent: ({ data }) => {
    const line = document.createElement("li");
    line.textContent = data;
    element("orders").append(line);
  },
  onState: (now, { error }) => {
    states.push(now);
    element("state").textContent = now;
    if (error?.code === 4401) element("ended").textContent = "expired";
  },
  onRenewed: () => count("renewed"),
  onExpiring: ({ refused }) => refused && count("refused"),
});
