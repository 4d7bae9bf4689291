import { connect } from "/triolet/triolet.js";

const live = connect("/", { socket: "/live" });
const room = live.follow("/rooms/lobby/events", { after: "-50" });
const here = live.presence("/rooms/lobby/presence");

room.on("said", ({ data, time }) => show(`${new Date(time).toLocaleTimeString()} ${data.by ?? "somebody"}: ${data.text}`));
room.on("gap", ({ reason }) => show(`(Something is missing here: ${reason}.)`));
room.on("state", (state) => (document.querySelector("#state").textContent = state));
room.on("gone", () => location.assign("/"));
here.on("change", () => (document.querySelector("#here").textContent = [...here.keys()].join(", ")));

document.querySelector("#say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = event.target.elements.text.value;
  event.target.reset();
  const { status } = await live.send("/rooms/lobby/say", { text });
  if (status !== 200) show(`(This was not said: ${text})`);
});

function show(text) {
  const line = document.createElement("li");
  line.textContent = text;
  document.querySelector("#lines").append(line);
}
