import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Live, useChannel, useCommand, useLive, usePresence } from "triolet-client/react";

const NOTHING = { states: [], isStale: false };

/** What is true of the order: of what was true before, and one item more. */
function reduce(order, item) {
  if (item.type === "gap") return { ...order, isStale: true };
  return { ...order, states: [...order.states, item.data.state] };
}

function Order({ id }) {
  const { value, state } = useChannel(`/orders/${id}/events`, { after: "0", initial: NOTHING, reduce });
  const { members } = usePresence(`/orders/${id}/presence`);
  const [pick, { pending, error, reply }] = useCommand(`/orders/${id}/pick`);
  return (
    <article>
      <h1>Order {id}</h1>
      <ol>
        {value.states.map((each, index) => <li key={index}>{each}</li>)}
      </ol>
      {value.isStale && <p>Some of it is missing: load the page again.</p>}
      <p id="members">{members.map(({ member }) => member).join(", ")}</p>
      <button disabled={pending} onClick={() => pick({ shelf: 3 })}>Pick</button>
      <p id="outcome">{error?.message ?? reply?.data.picked}</p>
      <p id="state">{state}</p>
    </article>
  );
}

function Network() {
  const { state } = useLive();
  return state === "connecting" && <p>There is no connection. What you do is sent later.</p>;
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <Live socket="/warehouse">
      <Network />
      <Order id="A123" />
    </Live>
  </StrictMode>,
);
