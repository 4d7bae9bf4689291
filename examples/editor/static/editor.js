/** The page: a writer of the document that its URL names, and a second one beside it, if one likes. */

import { Pad } from "./pad.js";

const WRITERS = ["Ada", "Basho", "Clara", "Dante", "Emily", "Firdausi", "Goethe", "Hafiz", "Inger", "Johann", "Kalidasa", "Li Bai"];
const element = (id) => document.getElementById(id);

const name = location.pathname.split("/")[2] ?? "welcome";
const names = WRITERS.sort(() => Math.random() - 0.5);

function addPad() {
  const box = element("pad").content.cloneNode(true).firstElementChild;
  element("pads").append(box);
  return new Pad(box, name, names.pop());
}

document.querySelector(`[data-document="${name}"]`).setAttribute("aria-current", "page");
document.title = `${name} · Triolet`;
addPad();
element("second").addEventListener("click", () => {
  element("pads").classList.add("two");
  element("second").remove();
  addPad().focus();
});
