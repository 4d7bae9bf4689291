/** Event streams, as text. */
import type { Parsed } from "./api.js";
/**
 * The parser of `text/event-stream`, by the HTML standard (section 9.2.6), and Triolet's own fields besides.
 * `retry` is left to EventSource: the server's word about coming back is in its bye.
 */
export declare class EventStreamParser {
    #private;
    /**
     * Takes decoded text, cut anywhere.
     *
     * @param {string} text
     * @returns {Parsed[]}
     */
    push(text: string): Parsed[];
}
