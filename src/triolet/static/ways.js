/** How the follows of one client come to their channels: all on one WebSocket, or each by itself. */

import { Choice, noteWinner, winnerOf } from "./choice.js";
import { Ended } from "./line.js";
import { Multiplex } from "./multiplex.js";
import { locate } from "./requests.js";
import { Streams } from "./streams.js";

const PATIENCE = 2_000;
const LONGEST_PATIENCE = 16_000;
const AGAIN_AFTER = 300_000;
const AGAIN_AFTER_MOST = 3_600_000;

/**
 * One WebSocket for all, the app's `live.socket`, where there is one and WebSocket comes first; until it is there, and
 * where no network lets it through, each follow by itself over the transport that works. When the WebSocket comes, they
 * go over to it, on the same cursors.
 */
export class Ways {
  #settings;
  #commands;
  #hooks;
  #origin;
  #choice;
  #streams;
  #multiplex = null;
  #failures = 0;
  #wasOpen = false;
  #again = AGAIN_AFTER;
  #timer = null;
  #isClosed = false;

  /** `hooks`: `changed(why)`, `message(data)`, `expiring`, `renewed`, `fault`. */
  constructor(base, settings, commands, hooks) {
    const { transports, socket } = settings;
    this.#settings = settings;
    this.#commands = commands;
    this.#hooks = hooks;
    this.#origin = locate(base).origin;
    const isShared = socket != null && transports[0] === "websocket";
    const order = isShared ? transports.slice(1) : transports;
    this.#choice = new Choice(order.length ? order : transports, this.#origin, settings, (isBetter) => {
      if (isBetter) this.#streams.change();
      hooks.changed({});
    });
    this.#streams = new Streams(settings, this.#choice);
    if (isShared) this.#open(order.length > 0);
  }

  get transport() {
    return this.#multiplex?.isOpen || this.#isPatient ? "websocket" : this.#choice.current;
  }

  /** Whether there is a WebSocket of its own that a client may wait for. */
  get socketState() {
    if (!this.#isPatient && !this.#multiplex?.isOpen) return null;
    return this.#multiplex.isOpen ? "live" : "connecting";
  }

  /** Whether the WebSocket is waited for: it has not failed, or nothing else may be tried. */
  get #isPatient() {
    return this.#multiplex !== null && (this.#failures === 0 || !this.#mayStream);
  }

  get #mayStream() {
    return this.#settings.transports.length > 1;
  }

  begin(track) {
    const mayShare = this.#multiplex !== null && this.#multiplex.pathOf(track.url) !== null;
    if (mayShare && (this.#multiplex.isOpen || this.#isPatient)) this.#multiplex.add(track);
    else this.#streams.add(track);
  }

  leave(track) {
    this.#multiplex?.remove(track);
    this.#streams.remove(track);
  }

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
    if (this.#timer !== null) this.#reopen();
    this.#multiplex?.retry();
  }

  close() {
    this.#isClosed = true;
    this.#choice.end();
    if (this.#timer !== null) this.#settings.clock.clearTimeout(this.#timer);
    this.#timer = null;
    this.#drop();
    this.#streams.clear();
  }

  // --- the one WebSocket ----------------------------------------------------------------------------------

  #open(mayStream = this.#mayStream) {
    const winner = winnerOf(this.#origin, this.#settings);
    // Where another one has worked, nobody waits for this one.
    if (mayStream && winner && winner !== "websocket") this.#failures = Math.max(1, this.#failures);
    const patience = () => Math.min(LONGEST_PATIENCE, PATIENCE * 2 ** this.#failures);
    const settings = mayStream ? { ...this.#settings, patience } : this.#settings;
    const mine = {};
    const isMine = () => this.#multiplex === mine.multiplex;
    mine.multiplex = this.#multiplex = new Multiplex(this.#settings.socket, settings, this.#commands, {
      become: (state, why) => isMine() && this.#became(state, why),
      hello: () => this.#hello(),
      lost: (why, wasHeardOf) => isMine() && this.#lost(why, wasHeardOf),
      message: (data) => this.#hooks.message(data),
      choose: () => this.#hooks.choose(),
      expiring: (message) => this.#hooks.expiring(message),
      renewed: (message) => this.#hooks.renewed(message),
    });
  }

  #became(state, why) {
    if (state === "gone") {
      this.#hooks.fault({ kind: "socket", error: why.error });
      this.#multiplex = null;
    }
    this.#hooks.changed(why);
  }

  #hello() {
    this.#failures = 0;
    this.#wasOpen = true;
    this.#again = AGAIN_AFTER;
    noteWinner("websocket", this.#origin, this.#settings);
    for (const track of this.#streams.tracks) {
      if (this.#multiplex.pathOf(track.url) === null) continue;
      this.#streams.remove(track);
      this.#multiplex.add(track);
    }
    this.#hooks.changed({});
  }

  #lost(why, wasHeardOf) {
    if (why.reason === "paused" || wasHeardOf) return;
    this.#failures += 1;
    if (!this.#mayStream) return;
    const { tracks } = this.#multiplex;
    for (const track of tracks) {
      this.#multiplex.remove(track);
      track.become("connecting", { retry: 0, reason: why.reason });
      this.#streams.add(track);
    }
    if (this.#choice.isWon && !this.#wasOpen) this.#rest();
  }

  /** Something else works: it is looked for later whether this does. */
  #rest() {
    this.#drop();
    this.#timer = this.#settings.clock.setTimeout(() => this.#reopen(), this.#again);
    this.#again = Math.min(AGAIN_AFTER_MOST, 2 * this.#again);
  }

  #reopen() {
    this.#settings.clock.clearTimeout(this.#timer);
    this.#timer = null;
    if (!this.#isClosed && this.#multiplex === null) this.#open();
  }

  #drop() {
    const multiplex = this.#multiplex;
    this.#multiplex = null;
    multiplex?.close(new Ended("closed", { retry: null }));
  }
}
