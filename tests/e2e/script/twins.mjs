/**
 * Plays all scenes on one server: `node twins.mjs fake`, or `node twins.mjs URL REDIS_URL`, the second one with a log that
 * can lose its newest events. What was heard is printed as a line of JSON; a line with an `ask` before is for who has started
 * this, and answered by a line.
 */

import { createInterface } from "node:readline";
import { ENDING, ENDING_WIRE } from "./ending_scenes.mjs";
import { RESTARTS, RUNNING_OUT, SCENES, Stage, WAYS, waysOf } from "./scenes.mjs";
import { WIRE, Words } from "./wire_scenes.mjs";
import { Fake, Real } from "./worlds.mjs";

const [where, losing] = process.argv.slice(2);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
console.error = console.warn = () => {};

const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function ask(question) {
  print(question);
  return JSON.parse((await answers.next()).value);
}

function makeWorld(name, url) {
  return where === "fake" ? new Fake(name) : new Real(name, url);
}

const slug = (text) => text.replace(/\W+/g, "-");

async function play(name, way, call, url = where) {
  const world = makeWorld(slug(`${name} ${way}`), url);
  await world.open();
  const stage = new Stage(world, way);
  try {
    await call(stage);
  } catch (error) {
    stage.notes.error = String(error?.stack ?? error);
  }
  stage.close();
  world.close();
  return way.endsWith("poll") ? withoutAWink(stage.notes) : stage.notes;
}

/** Between two polls nobody is connected: whether a page notices that nobody could be is chance. */
function withoutAWink(notes) {
  const entries = Object.entries(notes).map(([where, all]) => {
    return [where, where.startsWith("states") ? [...new Set(all)].filter((state) => state !== "connecting") : all];
  });
  return Object.fromEntries(entries);
}

/** What the pages of all ways do together: each of them waits there for the others. */
class Together {
  #count;
  #waiting = [];
  #lose = 0;

  constructor(count) {
    this.#count = count;
  }

  async restart({ world }, lose) {
    if (where === "fake") return lose === "backup" || world.restart(lose);
    this.#lose = lose;
    await new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#look();
    });
    world.page.dispatchEvent(new Event("online"));
  }

  /** One has come to its end, be it that it failed: the others go on without it. */
  leave() {
    this.#count -= 1;
    this.#look();
  }

  async #look() {
    if (this.#waiting.length < this.#count || this.#count === 0) return;
    const all = this.#waiting.splice(0);
    await ask({ ask: this.#lose });
    for (const resolve of all) resolve();
  }
}

const heard = {};
const playing = [];

/** On the real server all scenes are played together: what takes time there is waited for once. */
async function begin(name, way, call) {
  const notes = play(name, way, call).then((noted) => (heard[`${name} (${way})`] = noted));
  playing.push(notes);
  if (where === "fake") await notes;
}

async function beginAll(scenes) {
  for (const [name, scene] of scenes) {
    for (const way of waysOf(name)) {
      await begin(name, way, scene);
    }
  }
}

// A token's time runs while its page waits for its turn: so those that have one do not wait for all the others.
const scenes = Object.entries({ ...SCENES, ...ENDING });
await beginAll(scenes.filter(([name]) => RUNNING_OUT.includes(name)));
await Promise.all(playing);
await beginAll(scenes.filter(([name]) => !RUNNING_OUT.includes(name)));
for (const [name, scene] of Object.entries({ ...WIRE, ...ENDING_WIRE })) {
  const words = new Words();
  await begin(name, "wire", async (stage) => {
    stage.notes.said = words.said;
    await scene(stage.world, words);
  });
}
await Promise.all(playing);
for (const [name, scene] of Object.entries(RESTARTS)) {
  const together = new Together(Object.keys(WAYS).length);
  const url = name.includes("newest") ? losing : where;
  const all = Object.keys(WAYS).map(async (way) => {
    heard[`${name} (${way})`] = await play(name, way, (stage) => scene(stage, (lose) => together.restart(stage, lose)), url);
    together.leave();
  });
  await Promise.all(all);
}
process.stdout.write(`${JSON.stringify({ heard })}\n`, () => process.exit(0));
