/** Who is there: the joins and leaves of a channel, as a live map. */
import type { Present, PresenceHandlers, State } from "./api.js";
/**
 * Who is there, as a Map of members: each once, however many sessions it has. A map that is only coming to be shows
 * nobody, and one that has lost its place goes on showing who was there, until it knows anew.
 *
 * @template [Info=any]
 * @extends {Map<string, Present<Info>>}
 */
export declare class Presence<Info = any> extends Map<string, Present<Info>> {
    #private;
    /** @type {State} whether it is known who is there */
    state: State;
    /**
     * Calls on what happens: see `PresenceHandlers`.
     *
     * @template {keyof PresenceHandlers} Name
     * @param {Name} name
     * @param {PresenceHandlers<Info>[Name]} call
     * @returns {() => void} takes it off again
     */
    on<Name extends keyof PresenceHandlers>(name: Name, call: PresenceHandlers<Info>[Name]): () => void;
    /**
     * Once it is known who is there.
     *
     * @param {{signal?: AbortSignal}} [options]
     * @returns {Promise<void>}
     */
    ready({ signal }?: {
        signal?: AbortSignal;
    }): Promise<void>;
    /** Ends it. */
    close(): void;
}
