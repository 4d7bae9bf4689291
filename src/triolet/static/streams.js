/** Channels that are followed each by a connection of its own, or together by one (see Bundle), over the transport that works. */

import { Choice, lumpy } from "./choice.js";
import { Line } from "./line.js";
import { askWhy } from "./requests.js";
import { stream } from "./transports.js";

/**
 * @import { State, Transport, Why } from "./api.js"
 * @import { Bundles } from "./bundle.js"
 * @import { Commands } from "./commands.js"
 * @import { Ended } from "./line.js"
 * @import { Place } from "./requests.js"
 * @import { Settings } from "./settings.js"
 * @import { Track } from "./track.js"
 * @import { Asker, OverSocket } from "./transports.js"
 *
 * @typedef {Object} Mine  what belongs to one connection
 * @property {Line} line
 * @property {Transport} transport  of its present connection
 * @property {WebSocket | null} socket
 * @property {OverSocket} commands
 */

/** Where the transport is given, none is chosen. @param {Transport} transport @param {Settings} settings */
export function fixed(transport, settings) {
  return new Choice([transport], "", { ...settings, winners: new Map() });
}

/** So many connections browsers have to one server over HTTP/1.1: one more waits until another one ends. */
const MOST = 6;

export class Streams {
  #settings;
  #choice;
  #commands;
  /** @type {Map<Asker, Mine>} */
  #lines = new Map();
  #isCrowded = false;
  #socket;
  /** @type {Promise<Bundles | null> | null} */
  #bundles = null;
  /** @type {Map<Track, any>} those that wait for it, or for a timer of theirs */
  #early = new Map();

  /**
   * `commands` go over a channel's own WebSocket, where there is one: over the newest.
   *
   * @param {Settings} settings
   * @param {Choice} choice
   * @param {Commands} commands
   * @param {Place} [socket]  where they may share what they go over
   */
  constructor(settings, choice, commands, socket) {
    this.#socket = socket;
    this.#settings = settings;
    this.#choice = choice;
    this.#commands = commands;
  }

  get tracks() {
    const all = [...this.#lines.keys()].flatMap((one) => one.tracks ?? /** @type {Track} */ (one));
    return [...this.#early.keys(), ...all];
  }

  /** What only some pages need is loaded by them alone. @param {Track} track */
  add(track) {
    const url = this.#socket;
    if (url == null) return this.open(track);
    this.#early.set(track, null);
    this.#bundles ??= import("./bundle.js").then(
      ({ Bundles }) => new Bundles(this, String(url), this.#settings),
      () => (this.#bundles = null),
    );
    this.#bundles.then((bundles) => this.#early.delete(track) && (bundles ? bundles.add(track) : this.open(track)));
  }

  /** Asks for it after a pause. @param {Track} track @param {number} ms */
  later(track, ms) {
    const add = () => this.#early.delete(track) && this.add(track);
    this.#early.set(track, this.#settings.clock.setTimeout(add, ms));
  }

  /** On a connection of its own. @param {Asker} track */
  open(track) {
    const mine = /** @type {Mine} */ ({ socket: null });
    const options = {
      ...this.#settings,
      ...(this.#choice.isOpen && { patience: () => this.#choice.patience, lumpy }),
      won: () => this.#choice.won(mine.transport),
    };
    mine.commands = {
      use: (socket) => this.#commands.use((mine.socket = socket)),
      hear: (reply) => this.#commands.hear(reply),
    };
    mine.line = new Line(
      (signal) => this.#connect(track, mine, options, signal),
      (why) => this.#ended(track, mine, why),
      (state, why) => this.#changed(track, mine, state, why),
      options,
    );
    this.#lines.set(track, mine);
  }

  /**
   * Takes a track off its connection: it is not over, but goes on elsewhere, or is told by who takes it.
   *
   * @param {Asker} track
   */
  remove(track) {
    const mine = this.#lines.get(track);
    this.#settings.clock.clearTimeout(this.#early.get(/** @type {Track} */ (track)));
    this.#early.delete(/** @type {Track} */ (track));
    this.#lines.delete(track);
    if (!mine) return [...this.#lines.keys()].forEach((one) => one.drop?.(track));
    mine.line.close();
    this.#lose(mine);
  }

  /** @param {Mine} mine */
  #lose(mine) {
    this.#commands.lose(mine.socket);
    mine.socket = null;
  }

  /** @param {Asker} track @param {Mine} mine @param {State | undefined} state @param {Why} why */
  #changed(track, mine, state, why) {
    if (this.#lines.get(track) !== mine) return;
    if (state !== undefined) this.#lose(mine);
    if (state === "gone") this.#lines.delete(track);
    track.become(state, why);
  }

  /** @param {Asker} track @param {Mine} mine @param {Settings} options @param {AbortSignal} signal */
  #connect(track, mine, options, signal) {
    mine.transport = this.#choice.current;
    return stream(mine.transport, track, mine.line, options, signal, mine.commands);
  }

  /** @param {Asker} track @param {Mine} mine @param {Ended} why */
  #ended(track, { line, transport }, why) {
    if (why.reason === "silent" && !line.isHeardOf) this.#crowd(track);
    if (this.#choice.leave(transport, why, line.isHeardOf)) why.retry = 0;
    else askWhy(why, track.url, this.#settings, line);
  }

  /** Nothing comes of one: if others have all connections that there are, it is told of once. @param {Asker} track */
  #crowd(track) {
    const held = [...this.#lines.values()].filter(({ line, transport }) => line.isHeardOf && /sse|long/.test(transport));
    if (this.#isCrowded || held.length < MOST) return;
    this.#isCrowded = true;
    const error = new Error(`${MOST} connections at once over HTTP/1.1: serve HTTP/2, or give connect a socket`);
    track.tell("fault", { kind: "crowded", error });
  }

  /** @param {Asker} track */
  retry(track) {
    this.#lines.get(track)?.line.retry();
  }

  /** What is asked for has changed. @param {Asker} track */
  again(track) {
    this.#lines.get(track)?.line.again();
  }

  /** Looks after all of them. */
  wake() {
    for (const { line } of this.#lines.values()) line.wake();
  }

  /** Another transport is to be tried: those that use it already stay. */
  change() {
    for (const { transport, line } of this.#lines.values()) {
      if (transport !== this.#choice.current) line.again();
    }
  }

  /** Ends all of them. Their tracks stay as they are. */
  clear() {
    for (const track of [...this.#early.keys(), ...this.#lines.keys()]) this.remove(track);
  }
}
