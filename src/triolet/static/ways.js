/** How the follows of one client come to their channels: all on one WebSocket, or each by itself. */

import { Choice } from "./choice.js";
import { Multiplex } from "./multiplex.js";
import { locate } from "./requests.js";
import { Streams } from "./streams.js";

/**
 * One WebSocket for all, the app's `live.socket`, where there is one and WebSocket comes first; until it is there, and
 * where no network lets it through, each follow by itself over the transport that works. When the WebSocket comes, they
 * go over to it, on the same cursors.
 */
export class Ways {
  #settings;
  #commands;
  #hooks;
  #choice;
  #streams;
  #multiplex = null;
  /** Whether the one WebSocket is waited for: it has not failed, and nothing else has worked before. */
  #isPatient;
  #wasOpen = false;
  /** Something else works, and the one WebSocket is looked for again later. */
  #isSkipped = false;

  /** `hooks`: `changed(why)`, `fault(fault)`, and `tell` and `choose` of Multiplex. */
  constructor(base, settings, commands, hooks) {
    const { transports, socket } = settings;
    this.#settings = settings;
    this.#commands = commands;
    this.#hooks = hooks;
    const isShared = socket != null && transports[0] === "websocket";
    const skips = isShared && transports.length > 1;
    const changed = (isBetter) => this.#changed(isBetter);
    this.#choice = new Choice(transports, locate(base).origin, settings, changed, skips);
    this.#streams = new Streams(settings, this.#choice, commands);
    this.#isPatient = isShared && (!skips || (this.#choice.winner ?? "websocket") === "websocket");
    if (isShared) this.#open(skips);
  }

  get transport() {
    return this.#multiplex?.isOpen || this.#isPatient ? "websocket" : this.#choice.current;
  }

  /** The state of the one WebSocket; null where there is none that anybody waits for. */
  get socketState() {
    if (this.#multiplex?.isOpen) return "live";
    return this.#isPatient ? "connecting" : null;
  }

  begin(track) {
    const isShared = this.#multiplex && (this.#multiplex.isOpen || this.#isPatient);
    if (isShared && this.#multiplex.pathOf(track.url) !== null) this.#multiplex.add(track);
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
  }

  close() {
    this.#choice.end();
    this.#drop();
    this.#streams.clear();
  }

  #changed(isBetter) {
    if (isBetter) {
      this.#multiplex?.retry();
      if (this.#isSkipped) this.#open(true);
      this.#streams.change();
    }
    this.#hooks.changed({});
  }

  // --- the one WebSocket ----------------------------------------------------------------------------------

  #open(mayStream) {
    const patience = () => this.#choice.patience;
    const settings = mayStream ? { ...this.#settings, patience } : this.#settings;
    const mine = {};
    const isMine = () => this.#multiplex === mine.multiplex;
    this.#isSkipped = false;
    mine.multiplex = this.#multiplex = new Multiplex(this.#settings.socket, settings, this.#commands, {
      ...this.#hooks,
      become: (state, why) => isMine() && this.#became(state, why),
      hello: () => this.#hello(),
      lost: mayStream ? (why, wasHeardOf) => isMine() && this.#lost(why, wasHeardOf) : undefined,
    });
  }

  #became(state, why) {
    if (state === "gone") {
      this.#hooks.fault({ kind: "socket", error: why.error });
      this.#multiplex = null;
      this.#isPatient = false;
    }
    this.#hooks.changed(why);
  }

  #hello() {
    this.#wasOpen = this.#isPatient = true;
    this.#choice.remember("websocket");
    for (const track of this.#streams.tracks) {
      if (this.#multiplex.pathOf(track.url) === null) continue;
      this.#streams.remove(track);
      this.#multiplex.add(track);
    }
    this.#hooks.changed({});
  }

  /** It did not open, or stayed silent: the others are tried, and it is tried again beside them. */
  #lost(why, wasHeardOf) {
    if (wasHeardOf || why.reason === "paused") return;
    this.#isPatient = false;
    for (const track of this.#multiplex.tracks) {
      this.#multiplex.remove(track);
      track.become("connecting", { retry: 0, reason: why.reason });
      this.#streams.add(track);
    }
    this.#isSkipped = this.#choice.isWon && !this.#wasOpen;
    if (this.#isSkipped) this.#drop();
  }

  #drop() {
    const multiplex = this.#multiplex;
    this.#multiplex = null;
    multiplex?.close();
  }
}
