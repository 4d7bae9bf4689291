/** Where components are shown: a document of jsdom's, a network that the test holds in its hand, React as it is. */

import { JSDOM } from "jsdom";
import { Component, createElement as h } from "react";
import { Clock, Network, Page, makeSockets, settle } from "../script/fakes.mjs";

const { window } = new JSDOM("<!doctype html>", { url: "http://shop.example/" });
for (const [name, value] of Object.entries({ window, document: window.document, navigator: window.navigator })) {
  Object.defineProperty(globalThis, name, { value, configurable: true });
}

for (const late of ["tabs", "roster"]) await import(`../node_modules/triolet-client/${late}.js`); // from a disk: slow
const { createRoot, hydrateRoot } = await import("react-dom/client");

export { h };
export const opened = (cursor, more = {}) => ({ type: "open", channel: "c", cursor, ...more });
export const live = (cursor, more = {}) => ({ type: "live", channel: "c", cursor, ...more });

/** All that React, and whoever else, has to complain of since a test began. */
export const complaints = [];
console.error = (...said) => complaints.push(said.map(String).join(" "));

/** Lets React draw, and what it has begun come to rest. */
export async function rest() {
  await settle();
  await settle();
}

/** A network that is down until it is given answers, and what `<Live>` is to be told of it. */
export function world(...answers) {
  const [clock, network, page] = [new Clock(), new Network(...answers), new Page()];
  const { WebSocket, opened: sockets } = makeSockets();
  const fakes = { clock, fetch: network.fetch, WebSocket, page, random: () => 1, winners: new Map() };
  return { clock, network, page, sockets, props: { base: "http://shop.example/", transports: ["sse"], ...fakes } };
}

/** Shows an element. `markup`: what a server has sent of it before. */
export async function show(element, markup) {
  complaints.length = 0;
  const container = document.body.appendChild(document.createElement("div"));
  const recovered = [];
  const options = { onRecoverableError: (error) => recovered.push(error) };
  let root;
  if (markup === undefined) {
    root = createRoot(container, options);
    root.render(element);
  } else {
    container.append(document.createRange().createContextualFragment(markup));
    root = hydrateRoot(container, element, options);
  }
  await rest();
  return {
    root,
    container,
    recovered,
    get text() {
      return container.textContent;
    },
    async show(other) {
      root.render(other);
      await rest();
    },
    async leave() {
      root.unmount();
      await rest();
      container.remove();
    },
  };
}

/** Shows the error of what is in it. */
export class Boundary extends Component {
  state = { error: null };
  static getDerivedStateFromError = (error) => ({ error });

  render() {
    return this.state.error ? h("b", null, this.state.error.message) : this.props.children;
  }
}
