/** The arena on a canvas, with a camera that follows the player's drop. */

const GRID = 100;
const SEEN = 1_000; // of the arena's width, at most, around a player's drop
const NARROW = 480; // on a telephone
const EDGE = 30; // of what is around the arena, at most

export class View {
  #canvas;
  #context;
  #colours = new Map();
  #camera = null;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.world = { width: 1_600, height: 1_000 };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#colours.clear());
    new ResizeObserver(() => this.#fit()).observe(canvas);
  }

  #fit() {
    const ratio = devicePixelRatio || 1;
    this.#canvas.width = this.#canvas.clientWidth * ratio;
    this.#canvas.height = this.#canvas.clientHeight * ratio;
  }

  /** Where something of the arena is on the canvas, in CSS pixels. */
  place({ x, y }) {
    const { clientWidth, clientHeight } = this.#canvas;
    const { scale, x: left, y: top } = this.#camera ?? { scale: 1, x: 0, y: 0 };
    return { x: (x - left) * scale + clientWidth / 2, y: (y - top) * scale + clientHeight / 2 };
  }

  draw(drops, food, me) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const context = this.#context;
    this.#look(me, width, height);
    context.setTransform(this.#canvas.width / width, 0, 0, this.#canvas.height / height, 0, 0);
    context.fillStyle = this.#colour("--outside");
    context.fillRect(0, 0, width, height);
    this.#drawGround();
    for (let at = 0; at < food.length; at += 1) this.#drawFood(food[at], at);
    for (const drop of [...drops].sort((a, b) => a.radius - b.radius)) this.#drawDrop(drop, drop.name === me?.name);
  }

  /** Who plays sees what is around; who only looks sees all that fills the canvas. The camera gets there in a moment. */
  #look(me, width, height) {
    const [whole, full] = [Math.min, Math.max].map((of) => of(width / this.world.width, height / this.world.height));
    const near = width / (width < 600 ? NARROW : SEEN);
    const scale = me ? Math.max(whole, near * (26 / (12 + me.radius)) ** 0.35) : full;
    const within = (at, seen, all) => {
      const half = seen / scale / 2 - EDGE;
      return half * 2 > all ? all / 2 : Math.min(Math.max(at, half), all - half);
    };
    const { x, y } = me ?? { x: this.world.width / 2, y: this.world.height / 2 };
    const wanted = { x: within(x, width, this.world.width), y: within(y, height, this.world.height), scale };
    const camera = (this.#camera ??= { ...wanted });
    const isFar = Math.hypot(wanted.x - camera.x, wanted.y - camera.y) > 400;
    for (const key of ["x", "y", "scale"]) camera[key] += (wanted[key] - camera[key]) * (isFar && key !== "scale" ? 1 : 0.12);
  }

  #drawGround() {
    const context = this.#context;
    const [from, to] = [this.place({ x: 0, y: 0 }), this.place({ x: this.world.width, y: this.world.height })];
    context.fillStyle = this.#colour("--ground");
    context.beginPath();
    context.roundRect(from.x, from.y, to.x - from.x, to.y - from.y, 14);
    context.fill();
    context.strokeStyle = this.#colour("--grid");
    context.lineWidth = 1;
    context.beginPath();
    for (let x = GRID; x < this.world.width; x += GRID) {
      const at = this.place({ x, y: 0 });
      context.moveTo(at.x, from.y);
      context.lineTo(at.x, to.y);
    }
    for (let y = GRID; y < this.world.height; y += GRID) {
      const at = this.place({ x: 0, y });
      context.moveTo(from.x, at.y);
      context.lineTo(to.x, at.y);
    }
    context.stroke();
  }

  #drawFood([x, y], number) {
    const at = this.place({ x, y });
    this.#context.fillStyle = `hsl(${(number * 47) % 360} 70% ${this.#colour("--food-light")})`;
    this.#context.beginPath();
    this.#context.arc(at.x, at.y, 4.5 * Math.max(0.6, this.#camera.scale), 0, 7);
    this.#context.fill();
  }

  #drawDrop({ name, x, y, radius }, isMe) {
    const context = this.#context;
    const at = this.place({ x, y });
    const size = radius * this.#camera.scale;
    const hue = hueOf(name);
    const glow = context.createRadialGradient(at.x - size * 0.35, at.y - size * 0.4, size * 0.1, at.x, at.y, size);
    glow.addColorStop(0, `hsl(${hue} 85% 76%)`);
    glow.addColorStop(0.65, `hsl(${hue} 70% 56%)`);
    glow.addColorStop(1, `hsl(${hue} 66% 42%)`);
    context.fillStyle = glow;
    context.beginPath();
    context.arc(at.x, at.y, size, 0, 7);
    context.fill();
    if (isMe) {
      context.strokeStyle = this.#colour("--ink");
      context.lineWidth = 3;
      context.stroke();
    }
    context.fillStyle = `hsl(${hue} 90% 97% / 75%)`; // the light on it
    context.beginPath();
    context.ellipse(at.x - size * 0.38, at.y - size * 0.45, size * 0.2, size * 0.13, -0.7, 0, 7);
    context.fill();
    context.font = `600 ${Math.max(11, Math.min(17, size * 0.5))}px sans-serif`;
    context.textAlign = "center";
    context.fillStyle = this.#colour("--ink");
    context.fillText(name, at.x, at.y + size + 15);
  }

  #colour(name) {
    if (!this.#colours.has(name)) {
      this.#colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
    }
    return this.#colours.get(name);
  }
}

/** Each name has a colour of its own, the same on all screens. */
export function hueOf(name) {
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 3_600;
  return hash / 10;
}
