/** What the page takes from npm, as one module: Yjs, and CodeMirror with Markdown. */

import { Language, defineLanguageFacet } from "@codemirror/language";
import { parser } from "@lezer/markdown";

export { defaultKeymap } from "@codemirror/commands";
export { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
export { EditorState, StateEffect, StateField } from "@codemirror/state";
export { Decoration, EditorView, WidgetType, keymap, placeholder } from "@codemirror/view";
export { tags } from "@lezer/highlight";
export { yCollab, yUndoManagerKeymap } from "y-codemirror.next";
export * as Y from "yjs";

export const markdown = new Language(defineLanguageFacet(), parser, [], "markdown");
