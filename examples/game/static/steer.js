/** Where the player wants to go: by the arrow keys or WASD, or by where a pointer is held. */

const KEYS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  KeyA: [-1, 0],
  KeyD: [1, 0],
  KeyW: [0, -1],
  KeyS: [0, 1],
};

/**
 * Calls `steer(x, y)`, of a length of 1 at most, when that changes. `from()` is where the player's drop is on the canvas:
 * the further a pointer is from there, up to `reach` pixels, the faster it goes.
 */
export function listen(canvas, from, steer, reach = 90) {
  const held = new Set();
  const said = [0, 0];

  function want(x, y) {
    const length = Math.max(1, Math.hypot(x, y));
    const [now, then] = [[x / length, y / length], [...said]];
    if (Math.hypot(now[0] - then[0], now[1] - then[1]) < 0.02) return;
    [said[0], said[1]] = now;
    steer(...now);
  }

  function byKeys() {
    const wanted = [...held].map((code) => KEYS[code]);
    want(Math.sign(wanted.reduce((sum, [x]) => sum + x, 0)), Math.sign(wanted.reduce((sum, [, y]) => sum + y, 0)));
  }

  function byPointer({ offsetX, offsetY }) {
    const at = from();
    want((offsetX - at.x) / reach, (offsetY - at.y) / reach);
  }

  addEventListener("keydown", (event) => {
    if (!(event.code in KEYS) || event.target.closest("input")) return;
    event.preventDefault(); // a page that scrolls under a game is no help
    if (!held.has(event.code)) {
      held.add(event.code);
      byKeys();
    }
  });
  addEventListener("keyup", ({ code }) => held.delete(code) && byKeys());
  addEventListener("blur", () => held.size && (held.clear(), byKeys()));
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    byPointer(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" || event.buttons) byPointer(event);
  });
  canvas.addEventListener("pointerup", ({ pointerType }) => pointerType !== "mouse" && want(0, 0));
}
