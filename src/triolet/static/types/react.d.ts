export type Client = import("./api.js").Client;
export type ClientState = import("./api.js").ClientState;
export type End = import("./api.js").End;
export type Gap = import("./api.js").Gap;
export type LiveEvent = import("./api.js").LiveEvent;
export type Snapshot = import("./api.js").Snapshot;
export type Why = import("./api.js").Why;
export type Url = string | URL | null | undefined | false;
export type LiveOwnProps = {
    /**
     * from where the URLs of channels and commands are seen; default: the page's own
     */
    base?: string | URL;
    /**
     * who the page is: for another user there is another client, and nothing is
     * left of what was shown to the one before
     */
    user?: string | number | null;
    /**
     * one that you have made with `connect` and close yourself, in place of all this
     */
    client?: Client;
    children?: import("react").ReactNode;
};
export type LiveProps = LiveOwnProps & import("./api.js").ConnectOptions;
export type LiveView = {
    /**
     * null before the page is mounted, and on a server
     */
    client: Client | null;
    /**
     * the worst of all that is followed; "idle": nothing is
     */
    state: ClientState;
    /**
     * why its state is what it is: while it connects, why the last try has failed
     */
    why: Why;
    /**
     * the one in use, or tried now
     */
    transport: import("./api.js").Transport | null;
    /**
     * commands that wait for their answer
     */
    unanswered: number;
};
/**
 * Gives what is in it a client, from when it is mounted until it is not, with the options of `connect` for props.
 *
 * For another `base` or `user`, and where an option is another one that JSON can say, there is another client, and all hooks
 * begin anew. Where there is a `user`, `token` and `headers` only prove who that is: the newest are sent from then on.
 * Functions may be others in each render: of these two the newest is asked. The rest is taken as it is at first.
 *
 * @param {LiveProps} props
 * @returns {import("react").ReactElement}
 * @throws {TypeError} where an option is none, when it is mounted
 */
export declare function Live({ children, client, base, user, ...options }: LiveProps): import("react").ReactElement;
/**
 * The client around this component, and its state.
 *
 * @returns {Readonly<LiveView>}
 */
export declare function useLive(): Readonly<LiveView>;
export type ChannelItem<Events extends Record<string, any> = Record<string, any>> = import("./api.js").EventOf<Events> | Gap | Snapshot;
export type Reducer<Events extends Record<string, any>, Value> = (value: Value, item: ChannelItem<Events>) => Value;
export type FollowOptions = import("./api.js").FollowOptions;
export type ReduceOptions<Events extends Record<string, any>, Value> = FollowOptions & {
    reduce: Reducer<Events, Value>;
    initial: Value;
    keep?: undefined;
};
export type KeepOptions<Events extends Record<string, any>> = FollowOptions & {
    keep: number;
    initial?: readonly import("./api.js").EventOf<Events>[];
    reduce?: undefined;
};
export type NewestOptions<Events extends Record<string, any>> = FollowOptions & {
    initial?: import("./api.js").EventOf<Events>;
    reduce?: undefined;
    keep?: undefined;
};
export type AnyChannelOptions = FollowOptions & {
    reduce?: Reducer<any, any>;
    initial?: any;
    keep?: number;
};
export type ChannelView<Value> = {
    /**
     * what `reduce(value, item)` has made of the events, beginning with `initial`; an item is an event, a
     * state or a gap. Without `reduce` it is the newest event; with `keep: 50` an array of the newest fifty
     */
    value: Value;
    /**
     * of the follow; "idle" where there is no URL
     */
    state: ClientState;
    /**
     * why its state is what it is, at "gone" above all
     */
    why: Why;
    /**
     * the last one there was: what the value does not know, and never will
     */
    gap: Gap | null;
    /**
     * once the channel has ended: what the app has said with it
     */
    end: End | null;
    /**
     * the value knows what came up to here, at least
     */
    cursor: string | null;
};
export declare function useChannel<Events extends Record<string, any> = Record<string, any>, Value = unknown>(url: Url, options: ReduceOptions<Events, Value>): Readonly<ChannelView<Value>>;
export declare function useChannel<Events extends Record<string, any> = Record<string, any>>(url: Url, options: KeepOptions<Events>): Readonly<ChannelView<readonly import("./api.js").EventOf<Events>[]>>;
export declare function useChannel<Events extends Record<string, any> = Record<string, any>>(url: Url, options?: NewestOptions<Events>): Readonly<ChannelView<import("./api.js").EventOf<Events> | undefined>>;
/**
 * Follows a channel whose events have folds, and shows their states by key: `value.get("text")` is the text of an answer. It
 * begins at the oldest event, or with `snapshot` at the channel's state, which is an object of such states.
 *
 *     const { value, end } = useFolded(`/answers/${id}`);
 *     return <p>{value.get("text")}{end ? "" : " …"}</p>;
 *
 * @param {Url} url
 * @param {FollowOptions} [options]
 * @returns {Readonly<ChannelView<ReadonlyMap<string, any>>>}
 */
export declare function useFolded(url: Url, options?: FollowOptions): Readonly<ChannelView<ReadonlyMap<string, any>>>;
export type PresenceOptions<Info = any> = Omit<import("./api.js").PresenceOptions<Info>, "signal">;
export type PresenceView<Info = any> = {
    /**
     * each once, in the order in which they came; one that has
     * not changed is the same object as before
     */
    members: readonly import("./api.js").Present<Info>[];
    /**
     * "live": this is who is there; "connecting" or "behind": who was, as far as is known
     */
    state: ClientState;
    /**
     * as of a channel; the error may be the roster's
     */
    why: import("./api.js").PresenceWhy;
};
/**
 * Of `usePresence`: it ends with its component.
 *
 * @template [Info=any]
 * @typedef {Omit<import("./api.js").PresenceOptions<Info>, "signal">} PresenceOptions
 */
/**
 * What `usePresence` returns.
 *
 * @template [Info=any]
 * @typedef {Object} PresenceView
 * @property {readonly import("./api.js").Present<Info>[]} members  each once, in the order in which they came; one that has
 *     not changed is the same object as before
 * @property {ClientState} state  "live": this is who is there; "connecting" or "behind": who was, as far as is known
 * @property {import("./api.js").PresenceWhy} why  as of a channel; the error may be the roster's
 */
/**
 * Who is there, by the channel that tells joins and leaves.
 *
 * @template [Info=any]
 * @param {Url} url
 * @param {PresenceOptions<Info>} [options]
 * @returns {Readonly<PresenceView<Info>>}
 */
export declare function usePresence<Info = any>(url: Url, options?: PresenceOptions<Info>): Readonly<PresenceView<Info>>;
export type CommandView<Answer> = {
    /**
     * whether one waits for its answer
     */
    pending: boolean;
    /**
     * of the newest: an `Unanswered`, say, whose `sent` says whether it may have happened
     */
    error: Error | null;
    /**
     * of the newest: what the app answered, its refusals too
     */
    reply: Answered<Answer> | null;
};
export type Answered<Answer> = import("./api.js").Reply<Answer>;
/**
 * What `useCommand` returns beside the function.
 *
 * @template Answer
 * @typedef {Object} CommandView
 * @property {boolean} pending  whether one waits for its answer
 * @property {?Error} error  of the newest: an `Unanswered`, say, whose `sent` says whether it may have happened
 * @property {?Answered<Answer>} reply  of the newest: what the app answered, its refusals too
 */
/**
 * Whatever the app answered, its refusals too.
 *
 * @template Answer
 * @typedef {import("./api.js").Reply<Answer>} Answered
 */
/**
 * A command: something that is to happen once, sent again under its id until it is answered, also when the component is
 * gone.
 *
 *     const [pick, { pending, error, reply }] = useCommand(`/orders/${id}/pick`);
 *
 * `pick(data)` is the same function as long as the URL is, and promises the reply. Its failure is in `error` besides, so
 * nobody has to catch it.
 *
 * @template [Data=any]
 * @template [Answer=any]
 * @param {Url} url  without one, what is sent fails
 * @returns {[
 *   (data?: Data, options?: import("./api.js").SendOptions) => Promise<Answered<Answer>>,
 *   Readonly<CommandView<Answer>>,
 * ]}
 */
export declare function useCommand<Data = any, Answer = any>(url: Url): [(data?: Data, options?: import("./api.js").SendOptions) => Promise<Answered<Answer>>, Readonly<CommandView<Answer>>];
