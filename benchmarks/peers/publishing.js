/* Publishing in Node: at a rate or saturated, until told to stop, over /bench/start, /bench/stop and /bench/state. */
"use strict";

const CURSOR = "0123abcd.000001";

/** The data that everybody publishes: the clock's nanoseconds, and a pad up to `room` bytes less than `bare`. */
function data(room, bare) {
  return { t: process.hrtime.bigint().toString(), pad: "x".repeat(room - bare) };
}

/** One event as Triolet would write it, so that it fills `size` bytes on the wire, four of them the frame's head. */
function text(size) {
  const write = ({ t, pad }) =>
    `{"type":"event","channel":"bench","id":"${CURSOR}","event":"message",` +
    `"data":{"t":${t},"pad":"${pad}"},"time":${Date.now()}}`;
  return write(data(size - 4, write(data(0, 0)).length));
}

/** What an app publishes so that `text` would be of this size. */
function value(size) {
  const whole = text(size);
  const { t, pad } = JSON.parse(whole.replace(/"t":(\d+)/, '"t":"$1"')).data;
  return { t: Number(t), pad };
}

class Publisher {
  constructor(publish) {
    this.publish = publish;
    this.published = 0;
    this.wanted = this.running = false;
  }

  /** Answer a request of the benchmark's; false where it is none. */
  serve(request, response) {
    const url = new URL(request.url, "http://localhost");
    if (!url.pathname.startsWith("/bench/")) return false;
    const what = url.pathname.slice("/bench/".length);
    if (what === "start") this.start(url.searchParams);
    if (what === "stop") this.wanted = false;
    response.end(JSON.stringify({ published: this.published, running: this.running }));
    return true;
  }

  start(options) {
    const [rate, burst, size] = ["rate", "burst", "size"].map((name) => Number(options.get(name)));
    this.wanted = this.running = true;
    let due = performance.now();
    const turn = () => {
      if (!this.wanted) {
        this.running = false;
        return;
      }
      for (let i = 0; i < burst; i++) {
        this.publish(size);
        this.published++;
      }
      if (!rate) {
        setImmediate(turn);
        return;
      }
      due += 1000 / rate;
      setTimeout(turn, Math.max(0, due - performance.now()));
    };
    turn();
  }
}

module.exports = { Publisher, text, value };
