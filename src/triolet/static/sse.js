/** Event streams, as text. */

/** @import { Parsed } from "./api.js" */

/**
 * The parser of `text/event-stream`, by the HTML standard (section 9.2.6), and Triolet's own fields besides.
 * `retry` is left to EventSource: the server's word about coming back is in its bye.
 */
export class EventStreamParser {
  #rest = "";
  #endedInCr = false;
  #id = "";
  /** @type {{event: string, data: string[], time: number | null, [field: string]: any}} */
  #block = { event: "", data: [], time: null };

  /**
   * Takes decoded text, cut anywhere.
   *
   * @param {string} text
   * @returns {Parsed[]}
   */
  push(text) {
    /** @type {Parsed[]} */
    const parsed = [];
    if (!text) return parsed;
    const news = this.#endedInCr && text[0] === "\n" ? text.slice(1) : text; // the other half of a CRLF
    this.#endedInCr = text.endsWith("\r");
    const lines = news.split(/\r\n|\n|\r/);
    lines[0] = this.#rest + lines[0]; // what has come before is not looked through again
    this.#rest = /** @type {string} */ (lines.pop());
    for (const line of lines) {
      if (line) this.#field(line);
      else this.#dispatch(parsed);
    }
    return parsed;
  }

  /** @param {string} line */
  #field(line) {
    const [, name, value] = /** @type {RegExpExecArray} */ (/^([^:]*):? ?([^]*)$/.exec(line));
    if (name === "data") this.#block.data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (/^(event|key|fold)$/.test(name)) this.#block[name] = value;
    else if (/^(time|folded)$/.test(name) && /^\d+$/.test(value)) this.#block[name] = Number(value);
  }

  /** @param {Parsed[]} parsed */
  #dispatch(parsed) {
    const { event, data, ...more } = this.#block;
    if (data.length) parsed.push({ ...more, event: event || "message", data: data.join("\n"), id: this.#id });
    this.#block = { event: "", data: [], time: null };
  }
}
