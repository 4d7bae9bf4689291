/** The network between a page and the fake server, and what a page has of it: `fetch` and `WebSocket`. */

import { turn } from "./fake-clock.js";
import { blockOfMany } from "./fake-many.js";
import { Ended } from "./line.js";

/** @import { Call, Message, Wire } from "./fake-api.js" */

const EVENT_STREAM = { "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store, no-transform" };

/** A message in an event stream: a block, whose `id` is what a browser would come back with. @param {Message} message */
function block(message) {
  const { type, id, event, data, time, key, fold, folded } = message;
  const fields = Object.entries({ key, fold, folded }).filter(([, value]) => value !== undefined);
  const more = fields.map(([name, value]) => `${name}: ${value}\n`).join("");
  if (type === "event") return `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\ntime: ${time}\n${more}\n`;
  return `${placeOf(message)}event: triolet.${type}\ndata: ${JSON.stringify(message)}\n\n`;
}

/** @param {Message} message */
function placeOf({ type, cursor, to, cursors, retry }) {
  if (type === "bye") return retry === null ? "" : `retry: ${retry}\n`;
  if (type === "open") return `retry: 1000\n${cursor === null ? "" : `id: ${cursor}\n`}`;
  /** @type {Record<string, string[]>} */
  const known = { gap: [to], end: [cursor], snapshot: [cursor], beat: Object.values(cursors ?? {}) };
  const places = known[type] ?? [];
  return places.length === 1 ? `id: ${places[0]}\n` : "";
}

/** A request or a WebSocket: what is under way on it is lost when it breaks. */
export class Pipe {
  #network;
  #broken;
  isOver = false;
  /** Nothing arrives any more, on either side, and nobody is told. */
  isMuted = false;
  /** The client wants to hear nothing more. */
  isDeaf = false;
  /** What the server does when its client has gone. */
  left = () => {};
  /** What the client does at its end. */
  tidy = () => {};

  /** @param {Network} network @param {() => void} broken  tells the client */
  constructor(network, broken) {
    this.#network = network;
    this.#broken = broken;
  }

  /** Carries something to the server. @param {() => void} call */
  up(call) {
    this.#network.later(() => {
      if (!this.isOver && !this.isMuted) call();
    });
  }

  /** Carries something to the client. @param {() => void} call */
  down(call) {
    this.up(() => {
      if (!this.isDeaf) call();
    });
  }

  /** The server hears that its client has gone, behind what was under way. */
  hangUp() {
    this.isDeaf = true;
    this.up(() => this.end());
  }

  end() {
    if (this.isOver) return;
    this.isOver = true;
    this.#network.pipes.delete(this);
    this.tidy();
    this.left();
  }

  break() {
    if (this.isOver) return;
    this.end();
    if (!this.isDeaf) this.#broken();
  }

  mute() {
    this.isMuted = true;
    this.left();
  }
}

/** A request, as the server has it, and the ways to answer it. */
export class Exchange {
  #resolve;
  #reject;
  /** @type {?ReadableStreamDefaultController} */
  #body = null;
  /** @type {Pipe} */
  pipe;

  /**
   * @param {URL} url
   * @param {RequestInit} init
   * @param {(response: Response) => void} resolve
   * @param {(error: unknown) => void} reject
   * @param {(exchange: Exchange) => Pipe} open
   */
  constructor(url, { method = "GET", headers = {}, body = null }, resolve, reject, open) {
    this.url = url;
    this.method = method;
    this.headers = new Headers(headers);
    this.body = String(body ?? "");
    this.#resolve = resolve;
    this.#reject = reject;
    this.pipe = open(this);
  }

  /** @param {Response} response */
  answer(response) {
    this.pipe.down(() => {
      this.pipe.end();
      this.#resolve(response);
    });
  }

  /** Answers with an event stream. @param {boolean} [isMany] @returns {Wire} what writes it */
  stream(isMany = false) {
    const encoder = new TextEncoder();
    const body = new ReadableStream({ start: (controller) => (this.#body = controller) });
    /** @param {string} text */
    const put = (text) => this.pipe.down(() => this.#body?.enqueue(encoder.encode(text)));
    this.pipe.down(() => this.#resolve(new Response(body, { headers: EVENT_STREAM })));
    const close = () =>
      this.pipe.down(() => {
        this.pipe.end();
        this.#body?.close();
      });
    return { write: (message) => put(isMany ? blockOfMany(message) : block(message)), close };
  }

  /** For the client: it breaks, or was not wanted any more. @param {unknown} error */
  fail(error) {
    this.#reject(error);
    this.#body?.error(error);
  }
}

export class Network {
  #serve;
  #trouble;
  /** @type {(() => void)[]} */
  #queue = [];
  #runs = false;
  isOnline = true;
  isClosed = false;
  /** @type {Set<Pipe>} */
  pipes = new Set();
  /** Of how much it was told: whether anything stirs. */
  stirs = 0;

  /**
   * @param {{request: (exchange: Exchange) => void, socket: (call: Call) => void}} serve
   * @param {(error: unknown) => void} trouble  hears what fails in there
   */
  constructor(serve, trouble) {
    this.#serve = serve;
    this.#trouble = trouble;
  }

  /** Each in a turn of its own, as events of a page are. @param {() => void} call */
  later(call) {
    this.stirs += 1;
    this.#queue.push(call);
    if (!this.#runs) void this.#run();
  }

  async #run() {
    this.#runs = true;
    while (this.#queue.length > 0) {
      await turn();
      this.stirs += 1;
      try {
        this.#queue.shift()?.();
      } catch (error) {
        this.#trouble(error);
      }
    }
    this.#runs = false;
  }

  /** @param {() => void} broken @param {() => void} begin */
  #open(broken, begin) {
    const pipe = new Pipe(this, broken);
    this.pipes.add(pipe);
    pipe.up(() => (this.isOnline && !this.isClosed ? begin() : pipe.break()));
    return pipe;
  }

  #down() {
    if (!this.isClosed) return new TypeError("the network is down");
    return new Ended("the fake server is closed", { retry: null }); // nobody need ask again
  }

  /** All that is open breaks, and both sides are told. */
  drop() {
    for (const pipe of [...this.pipes]) pipe.break();
  }

  /** What is open goes dead, and neither side is told. */
  mute() {
    for (const pipe of [...this.pipes]) pipe.mute();
  }

  /** @param {any} url @param {RequestInit} [init] @returns {Promise<Response>} */
  fetch = (url, init = {}) =>
    new Promise((resolve, reject) => {
      const { signal } = init;
      signal?.throwIfAborted();
      const exchange = new Exchange(new URL(url), init, resolve, reject, (mine) =>
        this.#open(
          () => mine.fail(this.#down()),
          () => this.#serve.request(mine),
        ),
      );
      const { pipe } = exchange;
      const abort = () => {
        pipe.hangUp();
        exchange.fail(signal?.reason);
      };
      signal?.addEventListener("abort", abort);
      pipe.tidy = () => signal?.removeEventListener("abort", abort);
    });

  /** What `connect` is to be given, beside these. @param {Record<string, any>} own @returns {any} */
  optionsOf(own) {
    return {
      ...own,
      fetch: this.fetch,
      WebSocket: this.#makeWebSocket(),
      winners: new Map(),
      fetchesStreams: true,
      // Tabs are not played: each client has a connection of its own, whatever the machine has of these.
      locks: null,
      BroadcastChannel: null,
    };
  }

  /** A class of WebSockets that all go here. @returns {any} */
  #makeWebSocket() {
    /** @type {(broken: () => void, begin: () => void) => Pipe} */
    const open = (broken, begin) => this.#open(broken, begin);
    const serve = this.#serve;
    return class FakeWebSocket {
      #pipe;
      /** @type {(text: string) => void} */
      #hear = () => {};
      readyState = 0;
      protocol = "";
      /** @type {((event: any) => void) | null} */
      onopen = null;
      /** @type {((event: any) => void) | null} */
      onmessage = null;
      /** @type {((event: any) => void) | null} */
      onclose = null;
      /** @type {((event: any) => void) | null} */
      onerror = null;

      /** @param {string | URL} url @param {string | string[]} [protocols] */
      constructor(url, protocols = []) {
        this.url = String(url);
        this.#pipe = open(
          () => this.#closed(1006, ""),
          () =>
            serve.socket({
              url: new URL(url),
              protocols: [protocols].flat(),
              pipe: this.#pipe,
              accept: (hear) => this.#accept(hear),
              refuse: () => this.#pipe.down(() => this.#pipe.break()),
            }),
        );
      }

      /** @param {(text: string) => void} hear @returns {Wire} */
      #accept(hear) {
        const pipe = this.#pipe;
        this.#hear = hear;
        pipe.down(() => {
          this.readyState = 1;
          this.protocol = "triolet.1";
          this.onopen?.({ type: "open" });
        });
        /** @param {Message} message */
        const write = (message) => {
          const data = JSON.stringify(message);
          pipe.down(() => this.onmessage?.({ type: "message", data }));
        };
        /** @param {number} code @param {string} reason */
        const close = (code, reason) =>
          pipe.down(() => {
            pipe.end();
            this.#closed(code, reason);
          });
        return { write, close };
      }

      /** @param {number} code @param {string} reason */
      #closed(code, reason) {
        this.readyState = 3;
        this.onclose?.({ type: "close", code, reason, wasClean: code !== 1006 });
      }

      /** @param {string} text */
      send(text) {
        if (this.readyState === 0) throw new DOMException("the WebSocket is not open yet", "InvalidStateError");
        if (this.readyState === 1) this.#pipe.up(() => this.#hear(text));
      }

      close() {
        if (this.readyState === 3) return;
        this.readyState = 3;
        this.#pipe.hangUp();
      }
    };
  }
}
