/** One writer: an editor on a replica of the document, the others' cursors in it, and a network that can be cut. */

import { connect } from "/triolet/triolet.js";
import { showState } from "./badge.js";
import { cursors, setOthers } from "./cursors.js";
import { look } from "./look.js";
import { Network } from "./network.js";
import { Replica } from "./replica.js";
import { EditorState, EditorView, Y, defaultKeymap, keymap, placeholder, yCollab, yUndoManagerKeymap } from "./vendor/editor.js";

const MOST_CHARACTERS = 20_000;
const HUES = 6;
const TELL_MS = 80;
const TELL_AGAIN_MS = 15_000;
const FORGET_MS = 40_000;
const LATE_MS = 600;

export class Pad {
  #name;
  #box;
  #live;
  #replica;
  #view;
  #undo;
  #network = new Network();
  #others = new Map();
  #timer = null;
  #wasHere = false;

  /** @param {HTMLElement} box  of the page's template  @param {string} document  @param {string} who */
  constructor(box, document, who) {
    this.#box = box;
    box.setAttribute("aria-label", `${who} writes`);
    this.#name = document;
    this.#live = connect("/", { socket: "/live", ...this.#network.options });
    this.#replica = new Replica(this.#live, document, () => this.#showFacts());
    this.#undo = new Y.UndoManager(this.#replica.text);
    this.#view = this.#makeEditor(this.#part("text"));
    this.#part("name").value = who;
    this.#part("name").addEventListener("input", () => this.#tell());
    this.#part("cut").addEventListener("click", () => this.#cut(!this.#network.isCut));
    this.#part("undo").addEventListener("click", () => this.#undo.undo());
    this.#part("redo").addEventListener("click", () => this.#undo.redo());
    for (const name of ["stack-item-added", "stack-item-popped"]) this.#undo.on(name, () => this.#showFacts());
    showState(this.#live, this.#part("badge"));
    this.#replica.follow.on("tell", ({ event, data }) => this.#hear(event, data));
    this.#replica.follow.on("state", (state) => this.#become(state));
    setInterval(() => this.#tell(), TELL_AGAIN_MS);
    this.#replica.adopt();
    this.#showFacts();
  }

  focus() {
    this.#view.focus();
  }

  #part(name) {
    return this.#box.querySelector(`[data-${name}]`);
  }

  #makeEditor(host) {
    // In a shadow tree CodeMirror's styles are style sheets of script's, which the page's security policy lets through.
    const root = host.attachShadow({ mode: "open" });
    const isTooLong = (change) => change.isUserEvent("input") && change.newDoc.length > MOST_CHARACTERS;
    const extensions = [
      look,
      cursors,
      EditorView.lineWrapping,
      EditorView.contentAttributes.of({ "aria-label": "The document", tabindex: "0" }),
      EditorState.changeFilter.of((change) => !isTooLong(change)),
      EditorView.updateListener.of((update) => this.#noticed(update)),
      placeholder("Nothing is written here yet."),
      keymap.of([...yUndoManagerKeymap, ...defaultKeymap]),
      yCollab(this.#replica.text, null, { undoManager: this.#undo }),
    ];
    const state = EditorState.create({ doc: this.#replica.text.toString(), extensions });
    return new EditorView({ state, root, parent: root });
  }

  #noticed({ selectionSet, focusChanged }) {
    if (selectionSet || focusChanged) this.#timer ??= setTimeout(() => this.#tell(), TELL_MS);
  }

  // --- who is here, and where: only for now, and stored nowhere

  #tell() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const { text, doc } = this.#replica;
    const place = (index) => Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(text, index));
    const { anchor, head } = this.#view.state.selection.main;
    this.#wasHere ||= this.#view.hasFocus;
    const cursor = this.#wasHere ? { anchor: place(anchor), head: place(head) } : null;
    const name = this.#part("name").value.trim().slice(0, 24) || "Somebody";
    this.#live.tell({ document: this.#name, client: doc.clientID, name, cursor });
  }

  #hear(event, { who, ...said }) {
    if (event === "gone") this.#others.delete(who);
    if (event === "here" && said.client !== this.#replica.doc.clientID) {
      if (!this.#others.has(who)) this.#tell(); // a newcomer knows nobody
      this.#others.set(who, { ...said, at: performance.now() });
    }
    this.#showOthers();
  }

  #become(state) {
    if (state === "live") this.#tell();
    else this.#others.clear(); // who they are is only known while one hears of them
    this.#showOthers();
  }

  #showOthers() {
    const here = [...this.#others.values()].filter(({ at }) => performance.now() - at < FORGET_MS);
    const shown = here.flatMap(({ name, client, cursor }) => {
      const [anchor, head] = [this.#index(cursor?.anchor), this.#index(cursor?.head)];
      return anchor === null || head === null ? [] : [{ name: String(name), hue: client % HUES, anchor, head }];
    });
    this.#view.dispatch({ effects: setOthers.of(shown) });
    this.#part("here").replaceChildren(...here.map(({ name, client }) => chip(String(name), client % HUES)));
  }

  /** Where a place of another's is in this text; null where it is none. */
  #index(place) {
    try {
      const found = Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(place), this.#replica.doc);
      return found && Math.min(found.index, this.#view.state.doc.length);
    } catch {
      return null;
    }
  }

  // --- what is shown of it

  #cut(isCut) {
    this.#network.cut(isCut);
    this.#part("cut").classList.toggle("on", isCut);
    this.#part("cut").textContent = isCut ? "Go online" : "Go offline";
    if (!isCut) this.#live.probe();
  }

  #showFacts() {
    const { unsent, late, refused, text } = this.#replica;
    this.#box.dataset.unsent = unsent;
    if (unsent && late < LATE_MS) setTimeout(() => this.#showFacts(), LATE_MS);
    const stored = refused ? "refused" : late < LATE_MS ? "yes" : "waits";
    const said = { refused: `Not taken: ${refused}`, yes: "All is stored", waits: "Waits for the network" }[stored];
    if (this.#part("stored").textContent !== said) this.#part("stored").textContent = said;
    this.#part("stored").dataset.stored = stored;
    this.#part("size").textContent = `${text.length.toLocaleString("en")} of ${MOST_CHARACTERS.toLocaleString("en")} characters`;
    this.#part("undo").disabled = this.#undo.undoStack.length === 0;
    this.#part("redo").disabled = this.#undo.redoStack.length === 0;
  }
}

function chip(name, hue) {
  const item = document.createElement("li");
  item.className = `chip hue-${hue}`;
  item.textContent = name;
  return item;
}
