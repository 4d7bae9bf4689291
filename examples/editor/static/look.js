/** How the text looks: Markdown a little like what it means. The colours are the page's. */

import { EditorView, HighlightStyle, markdown, syntaxHighlighting, tags } from "./vendor/editor.js";

const marks = HighlightStyle.define([
  { tag: tags.heading1, fontSize: "1.5em", fontWeight: "700", letterSpacing: "-.02em" },
  { tag: tags.heading2, fontSize: "1.2em", fontWeight: "650" },
  { tag: tags.strong, fontWeight: "700" },
  { tag: tags.emphasis, fontStyle: "italic" },
  { tag: tags.quote, color: "var(--soft)", fontStyle: "italic" },
  { tag: [tags.link, tags.url], color: "var(--accent)" },
  { tag: tags.monospace, fontFamily: "var(--mono)", fontSize: ".92em" },
  { tag: [tags.processingInstruction, tags.contentSeparator], color: "var(--faint)", fontWeight: "400" },
]);

const theme = EditorView.theme({
  "&": { height: "100%", color: "var(--ink)", font: "16px/1.65 var(--serif)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { font: "inherit", overflow: "auto" },
  ".cm-content": { padding: "22px 26px 40px", caretColor: "var(--accent)" },
  ".cm-line": { padding: "0" },
  ".cm-placeholder": { color: "var(--faint)" },
  ".caret": { position: "relative", borderLeft: "2px solid var(--hue)", marginLeft: "-1px", marginRight: "-1px" },
  ".flag": { position: "absolute", bottom: "1.35em", left: "-2px", padding: "1px 6px", borderRadius: "5px 5px 5px 0", background: "var(--hue)", color: "var(--panel)", font: "600 11px/1.4 var(--sans)", whiteSpace: "nowrap", pointerEvents: "none", zIndex: "1" },
  ".selected": { background: "color-mix(in srgb, var(--hue) 22%, transparent)" },
  ...Object.fromEntries(Array.from({ length: 6 }, (_, hue) => [`.hue-${hue}`, { "--hue": `var(--hue-${hue})` }])),
});

export const look = [markdown, syntaxHighlighting(marks), theme];
