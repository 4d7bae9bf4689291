/** The page of the chat: one room at a time, followed from its newest fifty events on; older ones are asked for. */

import { connect, offsetOf } from "/triolet/triolet.js";
import { showState } from "./badge.js";
import { Messages } from "./messages.js";
import { Outbox } from "./outbox.js";

const PAGE = 50;
const TYPING_MS = 2_500; // so often it is told that somebody types; one who is silent for longer than twice that does not

const at = (id) => document.getElementById(id);
const { you, moderator } = document.body.dataset;

const live = connect("/", { socket: "/live" });
showState(live);
const messages = new Messages(at("messages"), at("scroll"), { you, remove: moderator === undefined ? null : remove });
const outbox = new Outbox(live, you, messages);

let room; // what is open: its name, its follow, its presence, and how far back its history is shown

function enter(name) {
  if (room?.name === name) return;
  room?.follow.close();
  room?.presence.close();
  const url = `/rooms/${name}`;
  const follow = live.follow(`${url}/events`, { after: -PAGE });
  const presence = live.presence(`${url}/presence`);
  const here = (room = { name, url, follow, presence, oldest: null });
  messages.clear();
  at("older").hidden = true;
  stopTyping();

  follow.on("message", ({ id, data, time }) => {
    place(id);
    stopTyping(data.who);
    messages.add({ id, time, ...data });
    if (data.who === you) outbox.delivered(data.sent);
  });
  follow.on("removed", ({ id, data }) => {
    place(id);
    messages.take(data.about);
  });
  for (const what of ["muted", "banned"]) {
    follow.on(what, ({ id, data }) => {
      place(id);
      messages.note(`${data.by} has ${what} ${data.about}.`);
    });
  }
  follow.on("gap", () => messages.note("Some messages were too old to be kept."));
  follow.on("live", () => {
    messages.arrived();
    outbox.show(name);
  });
  follow.on("tell", ({ data }) => data.who !== you && startTyping(data.who));
  follow.on("gone", ({ reason }) => here === room && reason !== "closed" && at("over").showModal());
  presence.on("change", () => showPresent(presence));

  at("room").textContent = name;
  const links = [...at("rooms").querySelectorAll("a")];
  for (const link of links) link.ariaCurrent = link.hash === `#${name}` ? "page" : null;
  at("topic").textContent = links.find((link) => link.ariaCurrent).dataset.topic;
  document.title = `${name} · The chat · Triolet`;
}

// --- history

/** Remembers where the oldest event stands that the page has seen. */
function place(id) {
  if (room.oldest !== null) return;
  room.oldest = offsetOf(id);
  at("older").hidden = room.oldest <= 1;
}

at("older").addEventListener("click", async () => {
  const here = room;
  const { url, oldest } = here;
  const first = Math.max(0, oldest - 1 - PAGE);
  const older = [];
  let isAll = first === 0;
  for (let after = first, live = false; after < oldest - 1 && !live; ) {
    const answer = await fetch(`${url}/events?after=${after}`);
    if (!answer.ok) return;
    const page = await answer.json(); // of long messages not all that there are: they are asked for from its cursor on
    if (room !== here || room.oldest !== oldest) return;
    older.push(...page.events.filter(({ id }) => offsetOf(id) < oldest));
    isAll ||= page.gap !== null;
    [after, live] = [offsetOf(page.cursor), page.live];
  }
  const said = older.filter(({ event }) => event === "message");
  messages.addOlder(said.map(({ id, time, data }) => ({ id, time, ...data })));
  here.oldest = first + 1;
  at("older").hidden = isAll;
});

// --- who is there, and who types

function showPresent(presence) {
  const members = [...presence.values()].sort((one, other) => one.member.localeCompare(other.member));
  at("here").replaceChildren(
    ...members.map(({ member, info }) => {
      const item = document.createElement("li");
      const name = document.createElement("bdi");
      name.textContent = member;
      item.append(name);
      if (info?.moderator) item.append(label("looks after it"));
      if (moderator !== undefined && member !== you)
        item.append(
          button("Mute", `Mute ${member}`, () => live.send(`${room.url}/muted`, member)),
          button("Ban", `Ban ${member}`, () => ban(member)),
        );
      return item;
    }),
  );
}

function label(text) {
  const small = document.createElement("small");
  small.textContent = text;
  return small;
}

function button(text, title, press) {
  const made = document.createElement("button");
  made.textContent = text;
  made.ariaLabel = title;
  made.addEventListener("click", press);
  return made;
}

const typing = new Map();

function startTyping(who) {
  clearTimeout(typing.get(who));
  typing.set(who, setTimeout(() => stopTyping(who), 2 * TYPING_MS));
  showTyping();
}

function stopTyping(who) {
  for (const name of who === undefined ? [...typing.keys()] : [who]) {
    clearTimeout(typing.get(name));
    typing.delete(name);
  }
  showTyping();
}

function showTyping() {
  const names = [...typing.keys()];
  const verb = names.length === 1 ? "is" : "are";
  at("typing").textContent = names.length ? `${new Intl.ListFormat("en").format(names)} ${verb} typing …` : "";
}

// --- what you do

let told = -Infinity;

at("text").addEventListener("input", ({ target }) => {
  if (!target.value.trim() || performance.now() - told < TYPING_MS) return;
  told = performance.now();
  fetch(`${room.url}/typing`, { method: "POST" }).catch(() => {}); // who is not told misses nothing
});

at("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("say").requestSubmit();
});

at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text) return;
  outbox.put(room.name, text);
  at("text").value = "";
  told = -Infinity;
});

function remove(id) {
  live.send(`${room.url}/removed`, id);
}

function ban(name) {
  if (confirm(`Ban ${name}? All that they have open ends.`)) live.send(`${room.url}/banned`, name);
}

const enterHash = () => {
  const names = [...at("rooms").querySelectorAll("a")].map((link) => link.hash.slice(1));
  enter(names.includes(location.hash.slice(1)) ? location.hash.slice(1) : names[0]);
};
addEventListener("hashchange", enterHash);
enterHash();
