/** The list of messages. Names and texts are strangers': names become text, and texts what `render` lets through. */

import { render } from "./vendor/markdown.js";

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export class Messages {
  #list;
  #scroll;
  #you;
  #remove;
  #isAtEnd = true;

  /** `remove(id)` is what a moderator does; null for anybody else. */
  constructor(list, scroll, { you, remove }) {
    this.#list = list;
    this.#scroll = scroll;
    this.#you = you;
    this.#remove = remove;
    scroll.addEventListener("scroll", () => {
      this.#isAtEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
    });
    new ResizeObserver(() => this.#stay()).observe(scroll); // a telephone's keyboard, say
  }

  clear() {
    this.#list.replaceChildren();
    this.#list.ariaBusy = "true"; // what was said before is not read out
    this.#isAtEnd = true;
  }

  /** All that was said before is there. */
  arrived() {
    this.#list.ariaBusy = "false";
    if (!this.#list.querySelector(".message, .none")) this.#list.append(make("li", "none", "Nobody has said anything yet."));
  }

  add(message) {
    if (message.who === this.#you) this.#list.querySelector(`[data-waiting="${CSS.escape(message.sent)}"]`)?.remove();
    this.#list.querySelector(".none")?.remove();
    this.#list.insertBefore(this.#drawn(message), this.#list.querySelector("[data-waiting]"));
    this.#group();
    this.#stay();
  }

  addOlder(messages) {
    const { scrollHeight, scrollTop } = this.#scroll;
    this.#list.prepend(...messages.map((message) => this.#drawn(message)));
    this.#group();
    this.#scroll.scrollTop = scrollTop + this.#scroll.scrollHeight - scrollHeight;
  }

  /** A message of yours that the server has not answered. */
  addWaiting({ id, text }) {
    if (this.#list.querySelector(`[data-waiting="${id}"]`)) return;
    this.#list.querySelector(".none")?.remove();
    const item = this.#drawn({ who: this.#you, text, time: Date.now() });
    item.dataset.waiting = id;
    item.querySelector(".by").append(make("span", "state", "sending …"));
    this.#list.append(item);
    this.#group();
    this.#isAtEnd = true;
    this.#stay();
  }

  fail(id, problem) {
    const item = this.#list.querySelector(`[data-waiting="${id}"]`);
    item?.classList.add("failed");
    item?.querySelector(".state").replaceChildren(problem);
  }

  /** What a moderator has removed. */
  take(id) {
    this.#list.querySelector(`[data-id="${CSS.escape(id)}"]`)?.remove();
    this.#group();
  }

  note(text) {
    this.#list.append(make("li", "note", text));
    this.#stay();
  }

  #drawn({ id, who, text, time }) {
    const when = make("time", "", CLOCK.format(time));
    when.dateTime = new Date(time).toISOString();
    const item = make(
      "li",
      who === this.#you ? "message mine" : "message",
      make("span", "avatar", [...who][0].toLocaleUpperCase()),
      make("div", "bubble", make("p", "by", make("bdi", "", who), when), make("div", "text", render(text))),
    );
    item.firstChild.ariaHidden = "true";
    item.querySelector(".text").dir = "auto";
    item.dataset.who = who;
    item.dataset.day = DAY.format(time);
    if (id !== undefined) item.dataset.id = id;
    if (id !== undefined && this.#remove) {
      const button = make("button", "remove", "×");
      button.ariaLabel = `Remove this message of ${who}`;
      button.addEventListener("click", () => this.#remove(id));
      item.append(button);
    }
    return item;
  }

  /** Of several by one person the first has the name; and each day has its own line. */
  #group() {
    let before = null;
    for (const day of this.#list.querySelectorAll(".day")) day.remove();
    for (const item of this.#list.querySelectorAll(".message")) {
      const isNewDay = item.dataset.day !== before?.dataset.day;
      if (isNewDay) item.before(make("li", "day", item.dataset.day));
      item.classList.toggle("more", !isNewDay && item.previousElementSibling === before && item.dataset.who === before.dataset.who);
      before = item;
    }
  }

  /** Who reads the end goes on reading it, and who has scrolled up is left where they are. */
  #stay() {
    if (this.#isAtEnd) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}
