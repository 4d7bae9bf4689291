import { connect } from "/triolet/triolet.js";

const live = connect();
const order = live.follow(`${location.pathname}/events`, { after: "0" });

order.on("order-status", ({ data, time }) => show(`${data.state} (${new Date(time).toLocaleTimeString()})`));
order.on("gap", ({ missed }) => show(`${missed ?? "Some"} older events are no longer kept`));
order.on("state", (state) => (document.querySelector("#state").textContent = state));

function show(text) {
  const line = document.createElement("li");
  line.textContent = text;
  document.querySelector("#history").append(line);
}
