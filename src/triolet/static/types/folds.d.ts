/**
 * What events that have a `fold` make together: the text of an answer, a document, a sum.
 *
 *     import { Values } from "triolet-client/folds";
 *     const values = new Values();
 *     const answer = live.follow("/answers/42", { after: "0", fold: true });
 *     answer.on("event", (item) => (page.textContent = values.take(item).get("text")));
 *
 * It is the same whether the events came each for itself or many in one.
 */
import type { End, Gap, Live, LiveEvent, Snapshot } from "./api.js";
/**
 * What the state of a key becomes by an event of it. Where both do not go together, the data is the state: it begins anew.
 * No argument is changed.
 *
 * @param {string} fold  the event's: "concat", "latest", "merge" or "sum"
 * @param {any} state  what it was; undefined or null where this is the first
 * @param {any} data  the event's
 * @returns {any}
 * @throws {TypeError} where there is no such fold
 */
export declare function apply(fold: string, state: any, data: any): any;
/**
 * The states of a channel's keys, as its events have made them: a Map by key.
 *
 * A gap leaves out events, so that the states are no longer whole: ask for the channel's state besides, `snapshot: true`.
 *
 * @extends {Map<string, any>}
 */
export declare class Values extends Map<string, any> {
    /**
     * Takes an item of a follow. Of an event that has a key that key's state changes: as its `fold` says, or, where it says
     * none that is known here, into its data. A snapshot takes the place of all states where its data is an object, the
     * states by key; of another one they begin anew. Every other item changes nothing.
     *
     * @param {LiveEvent | End | Snapshot | Gap | Live} item
     * @returns {this} so that a state can be asked for at once
     */
    take(item: LiveEvent | End | Snapshot | Gap | Live): this;
}
