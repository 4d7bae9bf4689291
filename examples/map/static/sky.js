/**
 * The planes that a page knows, each once, whichever tiles tell of it. Where two tiles speak of one plane, as when it goes
 * from one into the other, the newer word counts: `at` is the moment that it is about.
 */

const TRAIL = 14;
export const GLIDE_MS = 1_000;
export const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export class Sky {
  #planes = new Map();
  #isFollowed;

  /** @param {(tile: string, plane: string) => boolean} isFollowed */
  constructor(isFollowed) {
    this.#isFollowed = isFollowed;
  }

  /** @returns {Iterable<{name: string, tile: string, at: number, lat: number, lon: number}>} */
  [Symbol.iterator]() {
    return this.#planes.values();
  }

  get(name) {
    return this.#planes.get(name);
  }

  /** All planes over a tile: those that are not among them have left it, and their new tiles have a second to say so. */
  whole(tile, { at, planes }) {
    for (const [name, state] of Object.entries(planes)) this.moved(tile, name, state);
    for (const plane of this) {
      if (plane.tile !== tile || plane.at >= at || plane.name in planes) continue;
      setTimeout(() => this.get(plane.name) === plane && this.#planes.delete(plane.name), GLIDE_MS);
    }
  }

  /** A plane is over a tile. */
  moved(tile, name, state) {
    const plane = this.#planes.get(name);
    if (plane?.at === state.at) plane.tile = tile; // both tiles tell of its going from one to the other
    if (plane?.at >= state.at) return;
    const now = performance.now();
    const before = plane ? shown(plane, now) : state;
    const trail = plane ? [...plane.trail, { lat: plane.lat, lon: plane.lon }].slice(-TRAIL) : [];
    this.#planes.set(name, { ...state, name, tile, before, since: now, trail });
  }

  /** A plane has left a tile. Where its new one is followed, it is there at once; else nobody would tell of it. */
  left(tile, name, { tile: next, ...state }) {
    const plane = this.#planes.get(name);
    if (plane && plane.at > state.at) return;
    if (this.#isFollowed(next, name)) this.moved(next, name, state);
    else if (plane?.tile === tile) this.#planes.delete(name);
  }

  /** A tile is followed no more. */
  drop(tile) {
    for (const plane of this) if (plane.tile === tile) this.#planes.delete(plane.name);
  }
}

/** Where a plane is shown: it glides from where it was to where it is, in the time until the next word of it. */
export function shown(plane, now) {
  const part = STILL.matches ? 1 : Math.min(1, (now - plane.since) / GLIDE_MS);
  const { before, lat, lon } = plane;
  return { lat: before.lat + (lat - before.lat) * part, lon: before.lon + (lon - before.lon) * part };
}
