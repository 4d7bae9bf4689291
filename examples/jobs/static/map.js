/** Places on a flat map, each in the colour of its nearest hub, on a canvas. */

const MARGIN = 12;

/** The colour of a hub: each beside the others as different as may be. */
export function colour(at) {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  return `hsl(${(at * 137.5 + 250) % 360} ${isDark ? "70% 66%" : "58% 46%"})`;
}

/** @param {HTMLCanvasElement} canvas  @param {[number, number][]} places  @param {[number, number][]} hubs */
export function draw(canvas, places, hubs) {
  const ratio = devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = canvas;
  Object.assign(canvas, { width: width * ratio, height: height * ratio });
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const xs = places.map(([x]) => x);
  const ys = places.map(([, y]) => y);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = Math.min((width - 2 * MARGIN) / (right - left || 1), (height - 2 * MARGIN) / (high - low || 1));
  const across = (x) => width / 2 + (x - (left + right) / 2) * scale;
  const down = (y) => height / 2 - (y - (low + high) / 2) * scale;
  const size = places.length > 1_000 ? 2 : 4;
  for (const [x, y] of places) {
    pen.fillStyle = hubs.length ? colour(nearest(x, y, hubs)) : style.getPropertyValue("--faint");
    pen.fillRect(Math.round(across(x) - size / 2), Math.round(down(y) - size / 2), size, size);
  }
  hubs.forEach(([x, y], at) => {
    pen.beginPath();
    pen.arc(across(x), down(y), 6, 0, 7);
    pen.fillStyle = style.getPropertyValue("--panel");
    pen.fill();
    pen.lineWidth = 3;
    pen.strokeStyle = colour(at);
    pen.stroke();
  });
}

function nearest(x, y, hubs) {
  let [found, least] = [0, Infinity];
  hubs.forEach(([across, up], at) => {
    const square = (x - across) ** 2 + (y - up) ** 2;
    if (square < least) [found, least] = [at, square];
  });
  return found;
}
