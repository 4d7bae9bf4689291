/** Follows the tiles that a page shows, all on one connection, and lets go of the others. */

export class Viewport {
  #live;
  #sky;
  #changed;
  #follows = new Map();

  /** Events that came, and those that were left out since a newer one of the same plane follows. */
  counts = { came: 0, leftOut: 0 };

  /** @param live a client, as `connect` returns it  @param {() => void} changed */
  constructor(live, sky, changed) {
    this.#live = live;
    this.#sky = sky;
    this.#changed = changed;
  }

  get size() {
    return this.#follows.size;
  }

  has(tile) {
    return this.#follows.has(tile);
  }

  /** Tiles, each with the state of its follow. */
  *[Symbol.iterator]() {
    for (const [tile, { state }] of this.#follows) yield [tile, state];
  }

  /** These tiles are shown from now on. @param {Set<string>} tiles */
  show(tiles) {
    for (const [tile, follow] of this.#follows) {
      if (tiles.has(tile)) continue;
      this.#follows.delete(tile);
      follow.close();
      this.#sky.drop(tile);
    }
    for (const tile of tiles) if (!this.#follows.has(tile)) this.#follows.set(tile, this.#follow(tile));
    this.#changed();
  }

  #follow(tile) {
    const sky = this.#sky;
    const follow = this.#live.follow(`/tiles/${tile}/events`, { snapshot: true });
    follow.on("snapshot", ({ data }) => sky.whole(tile, data));
    follow.on("whole", ({ data }) => sky.whole(tile, data));
    follow.on("plane", ({ key, data }) => sky.moved(tile, key, data));
    follow.on("left", ({ key, data }) => sky.left(tile, key, data));
    follow.on("event", () => (this.counts.came += 1));
    follow.on("gap", ({ missed }) => (this.counts.leftOut += missed ?? 0));
    follow.on("state", () => this.#changed());
    return follow;
  }
}
