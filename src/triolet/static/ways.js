/** How the follows of one client come to their channels: all on one WebSocket or one stream, or each by itself. */

import { Choice } from "./choice.js";
import { Multiplex } from "./multiplex.js";
import { locate } from "./requests.js";
import { Streams } from "./streams.js";

/**
 * @import { ClientState, State, Transport, Why } from "./api.js"
 * @import { Commands } from "./commands.js"
 * @import { Ended } from "./line.js"
 * @import { Settings } from "./settings.js"
 * @import { Track } from "./track.js"
 *
 * @typedef {Object} WaysHooks
 * @property {(why: Why, of?: State) => void} changed  the state, or the transport; and why, of a WebSocket that is so
 * @property {(name: string, said: any) => void} tell  see Multiplex; and of a "fault"
 * @property {() => Track} [choose]  see Multiplex
 */

/** Closings by which the server means to end the one WebSocket, and nothing went wrong: done, expired, revoked. */
const MEANT = /1000|440[13]/;

/**
 * One WebSocket for all, the app's `live.socket`, where there is one and WebSocket comes first; until it is there, and
 * where no network lets it through, one stream or poll (see Bundle). When the WebSocket comes, all go over to it, on the same
 * cursors.
 */
export class Ways {
  #settings;
  #commands;
  #hooks;
  #choice;
  #streams;
  /** @type {Multiplex | null} */
  #multiplex = null;
  /** Whether the one WebSocket is waited for: it has not failed, and nothing else has worked before. */
  #isPatient;
  #wasOpen = false;
  /** Something else works, and the one WebSocket is looked for again later. */
  #isSkipped = false;

  /**
   * @param {string} base
   * @param {Settings & {transports: Transport[]}} settings
   * @param {Commands} commands
   * @param {WaysHooks} hooks
   */
  constructor(base, settings, commands, hooks) {
    const { transports, socket } = settings;
    this.#settings = settings;
    this.#commands = commands;
    this.#hooks = hooks;
    const isShared = socket != null && transports[0] === "websocket";
    const skips = isShared && transports.length > 1;
    /** @param {boolean} isBetter */
    const changed = (isBetter) => this.#changed(isBetter);
    this.#choice = new Choice(transports, locate(base).origin, settings, changed, skips);
    // Where each may come to have a WebSocket, nothing else is shared.
    const shares = skips || !transports.includes("websocket");
    this.#streams = new Streams(settings, this.#choice, commands, shares ? socket : null);
    this.#isPatient = isShared && (!skips || (this.#choice.winner ?? "websocket") === "websocket");
    if (isShared) this.#open(skips);
  }

  get transport() {
    return this.#isShared ? "websocket" : this.#choice.current;
  }

  /** Whether the one WebSocket is there or waited for. One that is just telling that it has ended is not. */
  get #isShared() {
    return this.#multiplex?.isOpen || (this.#isPatient && !this.#multiplex?.isClosed);
  }

  /** The state of the one WebSocket; null where there is none that anybody waits for. @returns {State | null} */
  get socketState() {
    if (this.#multiplex?.isOpen) return "live";
    return this.#isShared ? "connecting" : null;
  }

  /** @param {Track} track */
  begin(track) {
    const multiplex = this.#multiplex;
    if (this.#isShared && multiplex?.pathOf(track.url) != null) multiplex.add(track);
    else this.#streams.add(track);
  }

  /** @param {Track} track */
  leave(track) {
    this.#multiplex?.remove(track);
    this.#streams.remove(track);
  }

  /** @param {any} data */
  tell(data) {
    return this.#multiplex?.send(data) ?? false;
  }

  wake() {
    this.#multiplex?.wake();
    this.#streams.wake();
  }

  /** Looks whether what stands first works by now. */
  first() {
    this.#choice.first();
  }

  close() {
    this.#choice.end();
    this.#drop();
    this.#streams.clear();
  }

  /** @param {boolean} isBetter */
  #changed(isBetter) {
    if (isBetter) {
      this.#multiplex?.retry();
      if (this.#isSkipped) this.#open(true);
      this.#streams.change();
    }
    this.#hooks.changed({});
  }

  // --- the one WebSocket ----------------------------------------------------------------------------------

  /** @param {boolean} mayStream */
  #open(mayStream) {
    const settings = { ...this.#settings, patience: mayStream ? () => this.#choice.patience : undefined };
    const isMine = () => this.#multiplex === multiplex;
    this.#isSkipped = false;
    /** @type {Multiplex} */
    const multiplex = new Multiplex(this.#settings.socket, settings, this.#commands, {
      ...this.#hooks,
      become: (state, why) => isMine() && this.#became(state, why),
      hello: () => this.#hello(),
      full: (track) => (multiplex.remove(track), this.#streams.add(track), true),
      lost: mayStream ? (why, wasHeardOf) => isMine() && this.#lost(why, wasHeardOf) : undefined,
    });
    this.#multiplex = multiplex;
  }

  /** @param {State} state @param {Why} why */
  #became(state, why) {
    const { error } = why;
    if (state === "gone" && !MEANT.test(`${error?.code}`)) this.#hooks.tell("fault", { kind: "socket", error });
    this.#hooks.changed(why, state);
  }

  #hello() {
    this.#wasOpen = this.#isPatient = true;
    this.#choice.remember("websocket");
    const multiplex = /** @type {Multiplex} */ (this.#multiplex);
    for (const track of this.#streams.tracks) {
      if (multiplex.pathOf(track.url) === null) continue;
      this.#streams.remove(track);
      multiplex.add(track);
    }
    this.#hooks.changed({});
  }

  /**
   * It did not open, or stayed silent: the others are tried, and it is tried again beside them.
   *
   * @param {Ended} why
   * @param {boolean} wasHeardOf
   */
  #lost(why, wasHeardOf) {
    if (wasHeardOf || why.reason === "paused") return;
    if (this.#isPatient) this.#choice.hurry(why);
    this.#isPatient = false;
    const multiplex = /** @type {Multiplex} */ (this.#multiplex);
    const { tracks } = multiplex;
    for (const track of tracks) {
      multiplex.remove(track);
      this.#streams.add(track);
    }
    // Once all are where `leave` finds them: the page may close them, or the client, as soon as it hears of this.
    for (const track of tracks) track.become("connecting", { retry: 0, reason: why.reason });
    this.#isSkipped = this.#choice.isWon && !this.#wasOpen;
    if (this.#isSkipped) this.#drop();
  }

  #drop() {
    const multiplex = this.#multiplex;
    this.#multiplex = null;
    multiplex?.close();
  }
}
