import { follow } from "/triolet/triolet.js";

const history = document.querySelector("#history");
const state = document.querySelector("#state");

function show(text) {
  const line = document.createElement("li");
  line.textContent = text;
  history.append(line);
}

follow(`${location.pathname}/events`, {
  after: "0",
  onEvent: (event) => show(`${event.data.state} (${new Date(event.time).toLocaleTimeString()})`),
  onGap: (gap) => show(`${gap.missed ?? "Some"} older events are no longer kept`),
  onState: (now) => (state.textContent = now),
});
