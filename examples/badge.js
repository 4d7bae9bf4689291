/**
 * Shows how the page's client is connected, in `<p class="badge" id="badge" role="status"></p>`: its state and its
 * transport, to eyes and to screen readers. Without it a page looks live while its network is gone.
 */

const SAID = { sse: "SSE", "long-poll": "long poll", poll: "poll", websocket: "WebSocket" };

/** @param live a client, as `connect()` returns it. */
export function showState(live, badge = document.getElementById("badge")) {
  const show = (state) => {
    badge.dataset.state = state;
    badge.textContent = state;
    badge.title = live.transport ? `over ${SAID[live.transport] ?? live.transport}` : "no connection";
  };
  show(live.state);
  live.on("state", show);
}
