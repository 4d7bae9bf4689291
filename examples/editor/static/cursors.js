/** Where the others are: a line at each one's cursor with the name, and what is selected marked. */

import { Decoration, EditorView, StateEffect, StateField, WidgetType } from "./vendor/editor.js";

/** Of all others: `{name, hue, anchor, head}`, in the editor's own positions. */
export const setOthers = StateEffect.define();

export const cursors = StateField.define({
  create: () => Decoration.none,
  update(marks, transaction) {
    const said = transaction.effects.find((effect) => effect.is(setOthers));
    return said ? marksOf(said.value) : marks.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

function marksOf(others) {
  const marks = others.flatMap(({ name, hue, anchor, head }) => {
    const caret = Decoration.widget({ widget: new Caret(name, hue), side: 1 }).range(head);
    const [from, to] = [Math.min(anchor, head), Math.max(anchor, head)];
    return from < to ? [Decoration.mark({ class: `selected hue-${hue}` }).range(from, to), caret] : [caret];
  });
  return Decoration.set(marks, true);
}

class Caret extends WidgetType {
  constructor(name, hue) {
    super();
    this.name = name;
    this.hue = hue;
  }

  eq(other) {
    return other.name === this.name && other.hue === this.hue;
  }

  toDOM() {
    const [caret, flag] = [document.createElement("span"), document.createElement("span")];
    caret.className = `caret hue-${this.hue}`;
    caret.setAttribute("aria-hidden", "true");
    flag.className = "flag";
    flag.textContent = this.name;
    caret.append(flag);
    return caret;
  }

  get estimatedHeight() {
    return -1;
  }

  ignoreEvent() {
    return true;
  }
}
