/** The network of one client, with two switches: cut it, and make the client read slowly. Both are real. */

/** A slow reader takes so many bytes at a time: somewhat more than one event. */
const SLOW_BYTES = 220;
const SLOW_MS = 450;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Link {
  #requests = new Set();
  #sockets = new Set();
  #timer = null;

  constructor() {
    this.slow = false;
    this.cutUntil = 0;
    /** Called when the network is back, as a browser's "online" event would be. */
    this.onBack = () => {};
    const [link, sockets] = [this, this.#sockets];
    /** What `connect` uses in place of the browser's own. */
    this.network = {
      fetch: (url, init) => link.#fetch(url, init),
      WebSocket: class extends CuttableSocket {
        constructor(url, protocols) {
          super(url, protocols, link, sockets);
        }
      },
    };
  }

  get isCut() {
    return this.cutUntil > 0;
  }

  /** Ends whatever runs, without a goodbye, and lets nothing through for a while; without `ms`, until `mend`. */
  cut(ms = Infinity) {
    clearTimeout(this.#timer);
    this.cutUntil = Date.now() + ms;
    for (const request of this.#requests) request.abort(new TypeError("the network is cut"));
    for (const socket of this.#sockets) socket.lose();
    this.#requests.clear();
    if (ms < Infinity) this.#timer = setTimeout(() => this.mend(), ms);
  }

  mend() {
    this.cutUntil = 0;
    for (const socket of this.#sockets) socket.bury();
    this.#sockets.clear();
    this.onBack();
  }

  async #fetch(url, init = {}) {
    if (this.isCut) throw new TypeError("the network is cut");
    const request = new AbortController();
    init.signal?.addEventListener("abort", () => request.abort(init.signal.reason));
    this.#requests.add(request);
    try {
      const response = await fetch(url, { ...init, signal: request.signal });
      if (!response.body || response.status === 304) return response;
      const { status, statusText, headers } = response;
      return new Response(this.#paced(response.body.getReader(), request), { status, statusText, headers });
    } catch (error) {
      this.#requests.delete(request);
      throw error;
    }
  }

  /** Hands a body over. While slow, it does not pull from the stream: TCP tells the server so. */
  #paced(reader, request) {
    let held = new Uint8Array();
    const pull = async (controller) => {
      if (!held.length) {
        const { value, done } = await reader.read();
        if (done) {
          this.#requests.delete(request);
          return controller.close();
        }
        held = value;
      }
      if (this.slow) await sleep(SLOW_MS);
      request.signal.throwIfAborted();
      const piece = held.subarray(0, this.slow ? SLOW_BYTES : held.length);
      held = held.subarray(piece.length);
      controller.enqueue(piece);
    };
    const cancel = (reason) => {
      this.#requests.delete(request);
      return reader.cancel(reason);
    };
    return new ReadableStream({ pull, cancel }, { highWaterMark: 0 });
  }
}

/**
 * A WebSocket whose network can be lost. Lost, it hears nothing more, and what the server goes on sending falls into
 * the void, as behind a dead router. The browser would say goodbye to the server when it closes: so it is closed only
 * when the network is back.
 */
class CuttableSocket {
  #socket = null;
  #link;
  #sockets;
  #lost = false;
  #waiting = [];
  #handing = false;

  constructor(url, protocols, link, sockets) {
    this.url = String(url);
    this.onopen = this.onmessage = this.onclose = null;
    this.#link = link;
    this.#sockets = sockets;
    if (link.isCut) {
      setTimeout(() => this.#closed(1006));
      return;
    }
    sockets.add(this);
    this.#socket = new WebSocket(url, protocols);
    this.#socket.onopen = (event) => this.onopen?.(event);
    this.#socket.onmessage = ({ data }) => this.#take(data);
    this.#socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  get readyState() {
    return this.#lost || !this.#socket ? WebSocket.CLOSED : this.#socket.readyState;
  }

  send(text) {
    this.#socket.send(text);
  }

  close() {
    if (this.#lost) return;
    this.#socket?.close();
    this.#sockets.delete(this);
  }

  lose() {
    this.#lost = true;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#closed(1006);
  }

  bury() {
    this.#socket.close();
  }

  #closed(code, reason = "") {
    this.#waiting.length = 0;
    this.onclose?.({ code, reason });
  }

  /** A page cannot stop reading a WebSocket. So its messages wait here, in the page, while the client is slow. */
  async #take(data) {
    this.#waiting.push(data);
    if (this.#handing) return;
    this.#handing = true;
    while (this.#waiting.length) {
      if (this.#link.slow) await sleep(SLOW_MS);
      if (this.#waiting.length) this.onmessage?.({ data: this.#waiting.shift() });
    }
    this.#handing = false;
  }
}
