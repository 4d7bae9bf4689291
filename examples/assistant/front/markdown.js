import DOMPurify from "dompurify";
import { marked } from "marked";

const HARMLESS = {
  RETURN_DOM_FRAGMENT: true,
  USE_PROFILES: { html: true },
  FORBID_TAGS: ["style", "form", "input", "button", "img", "audio", "video", "picture"],
  FORBID_ATTR: ["style", "class", "id"],
};

/** A text in Markdown, whoever wrote it, as a fragment of a document: nothing of it runs, asks for anything or looks like ours. */
export const markdown = (text) => DOMPurify.sanitize(marked.parse(text), HARMLESS);
