const answer = document.querySelector("#answer");
const source = new EventSource("/answers/42/events?after=0&fold=1");
source.addEventListener("delta", (event) => (answer.textContent += JSON.parse(event.data)));
source.addEventListener("triolet.end", (event) => {
  source.close();
  const { outcome, reason } = JSON.parse(event.data).data;
  if (outcome !== "done") answer.textContent += ` (${outcome}${reason ? `: ${reason}` : ""})`;
});
