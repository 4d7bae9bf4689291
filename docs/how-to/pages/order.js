/** An order on its page: how it stands, whether that is fresh, and a button that cancels it. */
export function showOrder(live, id, { state, connection, note, cancel }) {
  const order = live.follow(`/orders/${id}/events`, { after: "0" });
  order.on("order-status", ({ data }) => (state.textContent = data.state));
  order.on("gap", () => (note.textContent = "Something is missing here: please reload."));
  order.on("state", (now) => (connection.textContent = now === "live" ? "" : "No connection, trying again …"));
  order.on("gone", ({ reason }) => {
    note.textContent = reason === "expired" ? "Please log in again." : "This order is not yours.";
  });
  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    const { status } = await live.send(`/orders/${id}/cancel`);
    note.textContent = status === 200 ? "Cancelled." : "Too late: it is on its way.";
  });
  return () => order.close();
}
