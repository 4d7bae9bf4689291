import { connect } from "/triolet/triolet.js";

const live = connect("/", { socket: "/warehouse" });

live.follow("/tasks/events", { after: "0" }).on("task", ({ data: { pick } }) => {
  const line = document.createElement("li");
  line.append(pick, button("Where is it?", () => live.tell({ where: pick })), button("Picked", () => picked(pick)));
  document.querySelector("#tasks").append(line);
});

live.on("message", ({ order, where, error }) => answer(error ?? `${order} is on ${where}`));

async function picked(order) {
  const { status } = await live.send(`/orders/${order}/pick`);
  answer(status === 200 ? `${order} is packed` : `${order} is no order of ours`);
}

function button(text, press) {
  const button = document.createElement("button");
  button.textContent = text;
  button.onclick = press;
  return button;
}

function answer(text) {
  document.querySelector("#answer").textContent = text;
}
