/** What the page reckons on the globe: degrees in, degrees out. */

const RADIANS = Math.PI / 180;

/** The direction from one place to another, in degrees from north. */
export function bearing(here, there) {
  const [from, to, turn] = [here.lat * RADIANS, there.lat * RADIANS, (there.lon - here.lon) * RADIANS];
  const east = Math.sin(turn) * Math.cos(to);
  const north = Math.cos(from) * Math.sin(to) - Math.sin(from) * Math.cos(to) * Math.cos(turn);
  return Math.atan2(east, north) / RADIANS;
}

/** The way between two places, as points. */
export function route(start, goal, steps = 48) {
  const [a, b] = [vector(start), vector(goal)];
  const angle = Math.acos(a[0] * b[0] + a[1] * b[1] + a[2] * b[2]);
  return Array.from({ length: steps + 1 }, (_, step) => {
    const [near, far] = [Math.sin((1 - step / steps) * angle), Math.sin((step / steps) * angle)];
    const [x, y, z] = a.map((value, at) => value * near + b[at] * far);
    return { lat: Math.atan2(z, Math.hypot(x, y)) / RADIANS, lon: Math.atan2(y, x) / RADIANS };
  });
}

/** Kilometres between two places. */
export function distance(start, goal) {
  const [a, b] = [vector(start), vector(goal)];
  return 6371 * Math.acos(Math.min(1, a[0] * b[0] + a[1] * b[1] + a[2] * b[2]));
}

function vector({ lat, lon }) {
  const [north, east] = [lat * RADIANS, lon * RADIANS];
  return [Math.cos(north) * Math.cos(east), Math.cos(north) * Math.sin(east), Math.sin(north)];
}
