"use client";

/**
 * Triolet in React, 18 or newer: `<Live>` gives a part of a page its client, hooks say what is true now.
 *
 *     import { Live, useChannel } from "triolet-client/react";
 *
 *     function Order({ id }) {
 *       const { value, state } = useChannel(`/orders/${id}/events`, { after: "0" });
 *       return <p>{value?.data.state} ({state})</p>;
 *     }
 *
 *     createRoot(page).render(<Live socket="/warehouse"><Order id="A123" /></Live>);
 *
 * Nothing is connected while React renders, on a server never; all that a component has begun ends with it. What hooks
 * return never changes: there is another one, and the component is drawn again, at most once in 16 ms.
 *
 * @typedef {import("./api.js").Client} Client
 * @typedef {import("./api.js").ClientState} ClientState
 * @typedef {import("./api.js").End} End
 * @typedef {import("./api.js").Gap} Gap
 * @typedef {import("./api.js").LiveEvent} LiveEvent
 * @typedef {import("./api.js").Snapshot} Snapshot
 * @typedef {import("./api.js").Why} Why
 *
 * @typedef {string | URL | null | undefined | false} Url  as the client takes it, seen from the base of `<Live>`; null,
 *     undefined or false: nothing, for now
 */

import {
  createContext,
  createElement,
  useContext,
  useEffect,
  useInsertionEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { connect } from "./client.js";
import { Channel, Members, NO_VALUES, Provided, Sending, checkChannel, folded } from "./views.js";

// --- the client --------------------------------------------------------------------------------------------

/**
 * @typedef {Object} LiveOwnProps
 * @property {string | URL} [base]  from where the URLs of channels and commands are seen; default: the page's own
 * @property {string | number | null} [user]  who the page is: for another user there is another client, and nothing is
 *     left of what was shown to the one before
 * @property {Client} [client]  one that you have made with `connect` and close yourself, in place of all this
 * @property {import("react").ReactNode} [children]
 *
 * @typedef {LiveOwnProps & import("./api.js").ConnectOptions} LiveProps  of `<Live>`: the options of `connect`, and these
 *
 * @typedef {Object} LiveView
 * @property {?Client} client  null before the page is mounted, and on a server
 * @property {ClientState} state  the worst of all that is followed; "idle": nothing is
 * @property {Why} why  why its state is what it is: while it connects, why the last try has failed
 * @property {?import("./api.js").Transport} transport  the one in use, or tried now
 * @property {number} unanswered  commands that wait for their answer
 */

/** @type {import("react").Context<?Provided>} */
const LiveContext = createContext(/** @type {?Provided} */ (null));
LiveContext.displayName = "Live";

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
export function Live({ children, client, base, user, ...options }) {
  const newest = useNewest(options);
  const given = client ?? null;
  const provided = useKept([given ?? identityOf(base, user, options)], () => {
    const make = () => /** @type {Client} */ (connect(base, optionsOf(user, newest)));
    return new Provided(make, given, options.clock);
  });
  useEffect(provided.hold, [provided]);
  return createElement(LiveContext.Provider, { value: provided }, children);
}

/** What of the options proves who the page is. */
const PROOFS = /** @type {const} */ (["token", "headers"]);

/**
 * Whose client it is: for another one there is another client.
 *
 * @param {LiveOwnProps["base"]} base
 * @param {LiveOwnProps["user"]} user
 * @param {import("./api.js").ConnectOptions} options
 */
function identityOf(base, user, options) {
  const { token, headers } = options;
  const said = user === undefined ? options : { ...options, token: token != null, headers: headers != null };
  return JSON.stringify([base, user, said], plain);
}

/** What JSON can say; of the rest, only that it is there. @param {string} _ @param {any} value */
function plain(_, value) {
  if (typeof value === "function") return "function";
  const isPlain = Object(value) !== value || Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  return isPlain ? value : "object";
}

/**
 * The options of a client, which asks for the newest proofs, and shares its connection with tabs of its user alone.
 *
 * @param {LiveOwnProps["user"]} user
 * @param {{current: import("./api.js").ConnectOptions}} newest
 */
function optionsOf(user, newest) {
  /** @type {any} */
  const options = { ...newest.current };
  for (const name of PROOFS) {
    const ask = () => {
      const now = newest.current[name];
      return typeof now === "function" ? now() : now;
    };
    if (typeof options[name] === "function" || (user !== undefined && options[name] != null)) options[name] = ask;
  }
  if (options.share && user !== undefined) options.share = JSON.stringify([options.share, user]);
  return options;
}

/**
 * The client around this component, and its state.
 *
 * @returns {Readonly<LiveView>}
 */
export function useLive() {
  return useShown(useProvided("useLive"));
}

// --- a channel ---------------------------------------------------------------------------------------------

/**
 * What a reducer gets: an event, or a gap, which says what will never come; with the option `snapshot` a state too, in place
 * of all that was there before.
 *
 * @template {Record<string, any>} [Events=Record<string, any>]
 * @typedef {import("./api.js").EventOf<Events> | Gap | Snapshot} ChannelItem
 */

/**
 * What is true now of what was true before and one item more: another value, or the same where nothing has changed. It is
 * called once for each item, in order, and not while React renders.
 *
 * @template {Record<string, any>} Events
 * @template Value
 * @typedef {(value: Value, item: ChannelItem<Events>) => Value} Reducer
 */

/**
 * `url`, `after` and `key` say what is followed: where one of them changes, the hook begins anew. The others are taken
 * when it begins. Without `store` there is none, whatever the client has: what is shown does not survive a reload, so its
 * place must not either.
 *
 * @typedef {import("./api.js").FollowOptions} FollowOptions
 */

/**
 * With a reducer, of which the newest counts, from the next item on.
 *
 * @template {Record<string, any>} Events
 * @template Value
 * @typedef {FollowOptions & {reduce: Reducer<Events, Value>, initial: Value, keep?: undefined}} ReduceOptions
 */

/**
 * Without a reducer the newest events are the value, `keep` of them at most, the oldest first.
 *
 * @template {Record<string, any>} Events
 * @typedef {FollowOptions & {keep: number, initial?: readonly import("./api.js").EventOf<Events>[], reduce?: undefined}}
 *     KeepOptions
 */

/**
 * With neither, the value is the newest event.
 *
 * @template {Record<string, any>} Events
 * @typedef {FollowOptions & {initial?: import("./api.js").EventOf<Events>, reduce?: undefined, keep?: undefined}}
 *     NewestOptions
 */

/**
 * Of `useChannel`, whichever of the three shapes they have.
 *
 * @typedef {FollowOptions & {reduce?: Reducer<any, any>, initial?: any, keep?: number}} AnyChannelOptions
 */

/**
 * What `useChannel` returns.
 *
 * @template Value
 * @typedef {Object} ChannelView
 * @property {Value} value  what `reduce(value, item)` has made of the events, beginning with `initial`; an item is an event, a
 *     state or a gap. Without `reduce` it is the newest event; with `keep: 50` an array of the newest fifty
 * @property {ClientState} state  of the follow; "idle" where there is no URL
 * @property {Why} why  why its state is what it is, at "gone" above all
 * @property {Gap | null} gap  the last one there was: what the value does not know, and never will
 * @property {End | null} end  once the channel has ended: what the app has said with it
 * @property {string | null} cursor  the value knows what came up to here, at least
 */

/**
 * Follows a channel while the component is there, and shows what comes of its events. Each use follows for itself, from
 * its own place; that they share a connection is up to the client (`socket`, `share`).
 *
 * @template {Record<string, any>} [Events=Record<string, any>]
 * @template [Value=unknown]
 * @overload
 * @param {Url} url
 * @param {ReduceOptions<Events, Value>} options
 * @returns {Readonly<ChannelView<Value>>}
 */
/**
 * @template {Record<string, any>} [Events=Record<string, any>]
 * @overload
 * @param {Url} url
 * @param {KeepOptions<Events>} options
 * @returns {Readonly<ChannelView<readonly import("./api.js").EventOf<Events>[]>>}
 */
/**
 * @template {Record<string, any>} [Events=Record<string, any>]
 * @overload
 * @param {Url} url
 * @param {NewestOptions<Events>} [options]
 * @returns {Readonly<ChannelView<import("./api.js").EventOf<Events> | undefined>>}
 */
/**
 * @param {Url} url
 * @param {AnyChannelOptions} [options]
 * @returns {Readonly<ChannelView<any>>}
 * @throws {TypeError} where an option is none @throws what `reduce` has thrown, in the render, for an error boundary
 */
export function useChannel(url, options = {}) {
  checkChannel(options);
  const provided = useProvided("useChannel");
  const place = placeOf(url);
  const channel = useKept([provided, place, options.after, options.key], () => new Channel(provided, place, options));
  useInsertionEffect(() => void (channel.options = options));
  return useShown(channel);
}

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
export function useFolded(url, options = {}) {
  const after = options.snapshot ? undefined : "0";
  return useChannel(url, { after, ...options, fold: true, reduce: folded, initial: NO_VALUES });
}

// --- who is there, and commands ----------------------------------------------------------------------------

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
export function usePresence(url, options = {}) {
  const provided = useProvided("usePresence");
  const place = placeOf(url);
  const members = useKept([provided, place], () => new Members(provided, place, options));
  useInsertionEffect(() => void (members.options = options));
  return useShown(members);
}

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
export function useCommand(url) {
  const provided = useProvided("useCommand");
  const place = placeOf(url);
  const sending = useKept([provided, place], () => new Sending(provided, place));
  return [sending.send, useShown(sending)];
}

// --- beneath -----------------------------------------------------------------------------------------------

/** @param {Url} url */
function placeOf(url) {
  return url ? String(url) : null;
}

/** @param {string} hook */
function useProvided(hook) {
  const provided = useContext(LiveContext);
  if (provided === null) throw new Error(`${hook}: there is no <Live> around this component`);
  return provided;
}

/**
 * @template {object} Picture
 * @param {import("./shown.js").Shown<Picture>} shown
 */
function useShown({ subscribe, now, first }) {
  return useSyncExternalStore(subscribe, now, first);
}

/**
 * What was made for these keys; made anew, while React renders, where one of them is another one.
 *
 * @template Thing
 * @param {any[]} keys
 * @param {() => Thing} make  has no effects
 * @returns {Thing}
 */
function useKept(keys, make) {
  const [kept, keep] = useState(() => ({ keys, thing: make() }));
  if (keys.every((key, place) => Object.is(key, kept.keys[place]))) return kept.thing;
  const next = { keys, thing: make() };
  keep(next);
  return next.thing;
}

/**
 * What was last rendered and shown, for what runs later. It is written before any other effect runs.
 *
 * @template Value
 * @param {Value} value
 */
function useNewest(value) {
  const newest = useRef(value);
  useInsertionEffect(() => void (newest.current = value));
  return newest;
}
