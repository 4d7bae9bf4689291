/** The page: it follows the conversation's turns, and of each turn the newest answer. All on one connection. */

import { connect } from "/triolet/triolet.js";
import { Answer, make } from "./answer.js";
import { showState } from "./badge.js";

const element = (id) => document.getElementById(id);
const chat = location.pathname; // whoever opens this URL has the same conversation
const live = connect("/", { socket: "/live" });
const turns = new Map();

// --- what is told -----------------------------------------------------------------------------------------------

live.follow(`${chat}/events`, { after: "0" }).on("turn", ({ data }) => {
  const isAtEnd = innerHeight + scrollY >= document.body.scrollHeight - 80;
  const turn = turns.get(data.turn) ?? addTurn(data);
  turn.answer?.leave();
  turn.id = data.answer;
  element("who").textContent = `Answered by ${data.by}.`;
  turn.answer = new Answer(live, `${chat}/${data.answer}/events`, turn.box, (answer) => show(turn, answer));
  if (isAtEnd) scrollTo(0, document.body.scrollHeight);
});

function addTurn({ turn: key, question }) {
  const box = element("answer").content.firstElementChild.cloneNode(true);
  const turn = { box, stop: box.querySelector(".stop"), again: box.querySelector(".again") };
  turn.stop.addEventListener("click", () => send(`${chat}/${turn.id}/stop`));
  turn.again.addEventListener("click", () => send(`${chat}/ask`, { turn: key, question }));
  turns.set(key, turn);
  element("turns").append(make("li", { class: "turn" }, make("p", { class: "question", text: question }), box));
  element("hello").hidden = true;
  return turn;
}

/** What an answer's buttons are, what it was made of, and (for the newest) what the page was told. */
function show(turn, answer) {
  const isNewest = turn === [...turns.values()].at(-1);
  const isAtEnd = innerHeight + scrollY >= document.body.scrollHeight - 80;
  turn.stop.hidden = !answer.isWriting;
  turn.again.hidden = answer.isWriting;
  if (!isNewest) return;
  for (const [name, count] of Object.entries(answer.counts)) element(name).textContent = count.toLocaleString("en");
  const said = answer.isWriting ? "The assistant is writing." : "The answer has ended.";
  if (element("said").textContent !== said) element("said").textContent = said;
  if (isAtEnd) scrollTo(0, document.body.scrollHeight);
}

// --- what is asked ----------------------------------------------------------------------------------------------

/** Asks for a command, which the client repeats until it is answered. Returns whether it was done. */
async function send(url, data) {
  element("problem").hidden = true;
  try {
    const { status, data: reply } = await live.send(url, data);
    if (status < 400) return true;
    element("problem").textContent = reply?.message ?? `The server says ${status}.`;
  } catch (error) {
    element("problem").textContent = error.message;
  }
  element("problem").hidden = false;
  return false;
}

async function ask(question) {
  if (!question.trim()) return;
  element("send").disabled = true;
  if (await send(`${chat}/ask`, { turn: crypto.randomUUID?.() ?? `${Math.random()}`, question })) element("question").value = "";
  element("send").disabled = false;
  element("question").focus();
}

element("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(element("question").value);
});
element("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  element("composer").requestSubmit();
});
element("chips").addEventListener("click", ({ target }) => target.matches("button") && ask(target.textContent));
element("reload").addEventListener("click", () => location.reload());
element("copy").addEventListener("click", async () => {
  await navigator.clipboard?.writeText(location.href); // which pages have that came by TLS, or from this machine
  element("copy").textContent = navigator.clipboard ? "Copied" : location.href;
});
showState(live);
