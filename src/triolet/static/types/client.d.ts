/** A page's client of one server: what `connect` returns. */
import { Follow } from "./follow.js";
import { Presence } from "./presence.js";
import type { ClientHandlers, ClientState, ConnectOptions, FollowOptions, PresenceOptions, Reply } from "./api.js";
import type { SendOptions, Transport, Why } from "./api.js";
/** A page's client of one server: what `connect` returns. */
export declare class Client {
    #private;
    /** @type {Why} why its state is what it is: while it connects, why the last try has failed */
    why: Why;
    /** @type {ClientState} of all that it follows */
    get state(): ClientState;
    /** @type {Transport | null} the one in use, or tried now; null in a tab that has not heard of it */
    get transport(): Transport | null;
    /** @type {boolean} whether the connection is this tab's; always so where tabs do not share */
    get isLeader(): boolean;
    /** @type {number} commands that wait for their answer */
    get unanswered(): number;
    /**
     * Calls on what happens to the client: see `ClientHandlers`.
     *
     * @template {keyof ClientHandlers} Name
     * @param {Name} name
     * @param {ClientHandlers[Name]} call
     * @returns {() => void} takes it off again
     */
    on<Name extends keyof ClientHandlers>(name: Name, call: ClientHandlers[Name]): () => void;
    /**
     * Follows a channel by its URL, as often as one likes. `Events` says what its events are.
     *
     * @template {Record<string, any>} [Events=Record<string, any>]
     * @param {string | URL} url
     * @param {FollowOptions} [options]
     * @returns {Follow<Events>}
     */
    follow<Events extends Record<string, any> = Record<string, any>>(url: string | URL, options?: FollowOptions): Follow<Events>;
    /**
     * Asks for something that is to happen once: a command, sent again under its id until it is answered. While there is no
     * network it is kept: 16 are asked at once, 1,000 more wait, and of others the page is told at once.
     *
     * @template [Data=any]
     * @param {string | URL} url
     * @param {any} [data]  what JSON can say
     * @param {SendOptions} [options]
     * @returns {Promise<Reply<Data>>}
     * @throws {Unanswered} when the time is over, or the signal aborted
     */
    send<Data = any>(url: string | URL, data?: any, options?: SendOptions): Promise<Reply<Data>>;
    /**
     * Sends a message to the app's handler, on its socket.
     *
     * @param {any} data  what JSON can say
     * @returns {boolean} false: there is none, it was not sent
     */
    tell(data: any): boolean;
    /**
     * Who is there, by the channel that tells joins and leaves.
     *
     * @template [Info=any]
     * @param {string | URL} url
     * @param {PresenceOptions<Info>} [options]
     * @returns {Presence<Info>}
     */
    presence<Info = any>(url: string | URL, options?: PresenceOptions<Info>): Presence<Info>;
    /**
     * Once all that is followed is live.
     *
     * @param {{timeout?: number, signal?: AbortSignal}} [options]
     * @returns {Promise<void>}
     * @throws {Ended} when the client is closed, or the time is over; or the signal's reason
     */
    ready({ timeout, signal }?: {
        timeout?: number;
        signal?: AbortSignal;
    }): Promise<void>;
    /**
     * Looks now whether what is connected still carries, tries what waits, and what stands first in `transports`.
     *
     * @param {{timeout?: number}} [options]
     * @returns {Promise<boolean>} whether all is live, within `timeout` ms
     */
    probe({ timeout }?: {
        timeout?: number;
    }): Promise<boolean>;
    /** Ends all that is followed. What was sent and is not answered goes on. */
    close(): void;
}
/**
 * Connects to a server: what the page follows comes over whichever transport its network lets through.
 *
 * @param {string | URL} [base]  from where the URLs of channels and commands are seen; default: the page's own
 * @param {ConnectOptions} [options]
 * @returns {Client}
 * @throws {TypeError} where an option is none
 */
export declare function connect(base?: string | URL, options?: ConnectOptions): Client;
