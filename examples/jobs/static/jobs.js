/** The page: the list of jobs, and how one is begun. All of it on one connection. */

import { connect } from "/triolet/triolet.js";
import { showState } from "./badge.js";
import { Card } from "./card.js";

const NEWEST = 12; // jobs that are shown
const AIRPORTS = "US airports"; // what the server has itself
const MOST_BYTES = 4 << 20;
const element = (id) => document.getElementById(id);
const live = connect("/", { socket: "/live" });
const files = new Map(); // by job: what was sent from here, so that it can be sent once more

// --- what is told -----------------------------------------------------------------------------------------------

live.follow("/jobs/events", { after: `-${NEWEST}` }).on("job", ({ data: job }) => {
  const box = element("card").content.firstElementChild.cloneNode(true);
  box.querySelector(".stop").addEventListener("click", () => send(`/jobs/${job.job}/stop`));
  const file = files.get(job.job);
  if (file) box.querySelector(".again").addEventListener("click", () => upload(file, job));
  else if (job.name === AIRPORTS) box.querySelector(".again").addEventListener("click", () => send("/jobs", how(job)));
  else box.querySelector(".again").remove(); // this page does not have its file
  element("jobs").prepend(box);
  element("none").hidden = true;
  new Card(live, box, job, (card) => (element("said").textContent = `${card.name}: ${card.state}`));
});

// --- what is begun ----------------------------------------------------------------------------------------------

const how = ({ hubs, tries, alone }) => ({ hubs, tries, alone });
const asked = () => ({ hubs: element("hubs").valueAsNumber, tries: element("tries").valueAsNumber, alone: +element("alone").checked });

/** Asks for a command, which the client repeats until it is answered. */
async function send(url, data) {
  say("");
  try {
    const { status, data: reply } = await live.send(url, data);
    if (status >= 400) say(reply?.message ?? `The server says ${status}.`);
  } catch (error) {
    say(error.message);
  }
}

/** A UUID; where a page is no secure context there is no `crypto.randomUUID`. */
function newId() {
  const digits = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0"));
  return digits.join("").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Sends a file: the body of one request. How much of it has come the job itself tells, here and elsewhere. */
async function upload(file, job) {
  say("");
  if (file.size > MOST_BYTES || !file.size) return say("A file has up to 4 MB, and is not empty.");
  const id = newId();
  files.set(id, file);
  try {
    const reply = await fetch(`/jobs/${id}?${new URLSearchParams({ ...how(job), name: file.name })}`, { method: "PUT", body: file });
    if (!reply.ok) say(`The server did not take ${file.name}: ${reply.status}.`);
  } catch {
    say(`${file.name} could not be sent.`);
  }
}

function say(problem) {
  element("problem").textContent = problem;
  element("problem").hidden = !problem;
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send("/jobs", asked());
});
element("file").addEventListener("change", ({ target }) => {
  if (target.files.length) upload(target.files[0], asked());
  target.value = "";
});
for (const name of ["hubs", "tries"]) {
  element(name).addEventListener("input", () => (element(`${name}-shown`).textContent = element(name).value));
}
const drop = element("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) upload(event.dataTransfer.files[0], asked());
  });
}
showState(live);
