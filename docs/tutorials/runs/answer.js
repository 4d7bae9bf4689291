import { connect } from "/triolet/triolet.js";
import { Values } from "/triolet/folds.js";

const answer = document.querySelector("#answer");
const values = new Values();
for await (const item of connect().follow("/answers/42/events", { after: "0", fold: true })) {
  answer.textContent = values.take(item).get("text") ?? "";
  if (item.type === "gap") answer.textContent = "Some of this answer is no longer kept.";
  if (item.type === "end" && item.data.outcome !== "done") answer.append(` (${item.data.reason ?? item.data.outcome})`);
}
