/** The orders, for as long as its visitor is logged in. The query says over which transport. */

import { follow } from "/triolet/triolet.js";

const state = document.querySelector("#state");
const orders = document.querySelector("#orders");

follow("/orders/events", {
  transport: new URLSearchParams(location.search).get("transport") ?? "sse",
  after: "0",
  onEvent: ({ data }) => {
    const line = document.createElement("li");
    line.textContent = data;
    orders.append(line);
  },
  onState: (now, { error }) => {
    const isOut = [4401, 4403].includes(error?.code) || error?.status === 401;
    state.textContent = now === "gone" && isOut ? "signed out" : now;
  },
});

document.querySelector("#logout").onclick = () => fetch("/logout", { method: "POST" });
