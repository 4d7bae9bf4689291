/**
 * What moves between two states. The others are drawn a little in the past, where they were for sure: between two states
 * that have come. The player's own drop is drawn now: where the page reckons it is, mended by each state that comes.
 */

const KEPT = 40; // states, and twice as many of the page's own steps
const LEAST = 2; // ticks in the past: one state may be late and nothing stands still
const SNAP = 250; // so far off it is somewhere else, and does not glide there

export class Motion {
  /** The server's clock, as far as is known: when tick 0 was, by this page's clock. */
  #zero = Infinity;
  #states = [];
  #steps = [];
  #delay = LEAST;
  #aim = [0, 0];
  #drawnAt = 0;

  constructor() {
    this.ms = 50;
    this.name = null;
    this.me = null;
  }

  get newest() {
    return this.#states.at(-1) ?? null;
  }

  aim(x, y) {
    this.#aim = [x, y];
  }

  /** A server that has been started anew counts from the beginning. */
  forget() {
    [this.#zero, this.#states, this.#steps, this.me] = [Infinity, [], [], null];
  }

  /** Takes a state. Returns how old it is, in ms, and how many ticks before it were left out. */
  take({ tick, drops, food }, now) {
    const before = this.newest;
    if (before && tick <= before.tick) this.forget();
    this.#zero = Math.min(this.#zero, now - tick * this.ms);
    const known = new Map(drops.map(([name, x, y, radius]) => [name, { name, x, y, radius }]));
    this.#states.push({ tick, drops: known, food });
    if (this.#states.length > KEPT) this.#states.shift();
    const missed = before ? this.#tickAt(now) - before.tick : LEAST;
    this.#delay += (Math.max(LEAST, missed) - this.#delay) * (missed > this.#delay ? 0.5 : 0.05);
    this.#mend(known.get(this.name), tick);
    return { age: now - this.#zero - tick * this.ms, leftOut: before && tick > before.tick ? tick - before.tick - 1 : 0 };
  }

  #tickAt(now) {
    return (now - this.#zero) / this.ms;
  }

  /** The page's own reckoning was so far off when that state was: half of it is put right at once. */
  #mend(told, tick) {
    if (!told || !this.me) return (this.me = told ? { ...told } : null);
    const then = this.#steps.findLast((step) => step.tick <= tick) ?? this.me;
    const [x, y] = [told.x - then.x, told.y - then.y];
    const part = Math.hypot(x, y) > SNAP ? 1 : 0.4;
    for (const step of [...this.#steps, this.me]) {
      step.x += x * part;
      step.y += y * part;
    }
    this.me.radius = told.radius;
  }

  /** All drops as they are to be drawn now. */
  draw(now, { width, height }) {
    const seconds = Math.min(0.1, Math.max(0, now - this.#drawnAt) / 1_000);
    this.#drawnAt = now;
    if (this.me) {
      const speed = (16 * ((this.me.radius / 4) ** 2) ** -0.2 * 1_000) / this.ms; // as in app.py
      this.me.x = Math.min(Math.max(this.me.x + this.#aim[0] * speed * seconds, 0), width);
      this.me.y = Math.min(Math.max(this.me.y + this.#aim[1] * speed * seconds, 0), height);
      this.#steps.push({ tick: this.#tickAt(now), x: this.me.x, y: this.me.y });
      if (this.#steps.length > KEPT * 2) this.#steps.shift();
    }
    return this.#between(this.#tickAt(now) - this.#delay).map((drop) => (drop.name === this.name ? this.me ?? drop : drop));
  }

  #between(at) {
    const next = this.#states.find(({ tick }) => tick >= at) ?? this.newest;
    const last = this.#states.findLast(({ tick }) => tick <= at) ?? next;
    if (!next) return [];
    const part = next.tick === last.tick ? 1 : (at - last.tick) / (next.tick - last.tick);
    return [...next.drops.values()].map((drop) => {
      const from = last.drops.get(drop.name);
      if (!from || Math.hypot(drop.x - from.x, drop.y - from.y) > SNAP) return drop;
      const mix = (key) => from[key] + (drop[key] - from[key]) * part;
      return { name: drop.name, x: mix("x"), y: mix("y"), radius: mix("radius") };
    });
  }
}
