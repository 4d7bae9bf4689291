/** What an app in TypeScript writes with the hooks: what compiles, and what does not. */

import { Live, useChannel, useCommand, useFolded, useLive, usePresence } from "triolet-client/react";
import type { ChannelItem } from "triolet-client/react";

type OrderEvents = { "order-status": { state: string }; note: { text: string } };

/** Whether two types are one, and not only alike. */
type Same<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false;
const same = <One, Other>(isSo: Same<One, Other>) => isSo;

function Order({ id }: { id: string | null }) {
  const newest = useChannel<OrderEvents>(id && `/orders/${id}/events`);
  const event = newest.value;
  if (event?.event === "note") same<typeof event.data, { text: string }>(true);

  const kept = useChannel<OrderEvents>(new URL("http://shop.example/"), { keep: 5, after: "0" });
  const texts: string[] = kept.value.map((one) => (one.event === "note" ? one.data.text : one.data.state));
  // @ts-expect-error nobody changes what is shown
  kept.value.push(kept.value[0]);

  const reduced = useChannel<OrderEvents, string[]>("/x", {
    initial: [],
    reduce: (list, item) => (item.type === "event" && item.event === "order-status" ? [...list, item.data.state] : list),
  });
  same<typeof reduced.value, string[]>(true);
  // @ts-expect-error nor what is beside it
  reduced.state = "live";

  const count = (before: number, item: ChannelItem<OrderEvents>) => (item.type === "gap" ? NaN : before + 1);
  const counted = useChannel("/x", { initial: 0, reduce: count });
  same<typeof counted.value, number>(true);
  // @ts-expect-error it would have to begin with something
  useChannel("/x", { reduce: count });
  // @ts-expect-error one or the other
  useChannel("/x", { keep: 4, initial: 0, reduce: count });
  // @ts-expect-error a gap has no data
  useChannel<OrderEvents, string>("/x", { initial: "", reduce: (_, item) => item.data.state });

  const { value, end } = useFolded("/answers/42", { snapshot: true });
  const answer: string | undefined = value.get("text") ?? end?.data;
  // @ts-expect-error a picture is only looked at
  value.set("text", "");

  const { members, state } = usePresence(false, { roster: async () => ({ sessions: [], cursor: "e.1" }) });
  const names: string[] = members.map(({ member }) => member);
  const [pick, { pending, error, reply }] = useCommand<{ shelf: number }, { picked: string }>("/pick");
  void pick({ shelf: 3 }, { timeout: 5 }).then(({ data }) => data.picked.length);
  // @ts-expect-error no shelf
  void pick({ shelf: "3" });
  // @ts-expect-error null until the page is mounted
  useLive().client.probe();
  return (
    <button disabled={pending}>
      {names} {texts} {answer} {error?.message} {reply?.data.picked} {state} {reduced.gap?.missed} {reduced.why.reason}
    </button>
  );
}

export const page = (
  <Live base="/" socket="/warehouse" user={7} token={async () => "t"} transports={["sse"]}>
    <Order id="A123" />
  </Live>
);
// @ts-expect-error no transport
export const wrong = <Live transports={["pigeon"]} />;
