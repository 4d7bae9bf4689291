// node read_plain.mjs READER URL   reads a plain event stream to its end with one of other people's readers, and prints
// the data of its events as JSON. The server ends the first connection, and wants its client back.
const STREAM = { Accept: "text/event-stream" };

/** A stream, and when it ends another one, which goes on behind its last event: for readers that ask only once. */
function resuming(url) {
  return async () => {
    const encoder = new TextEncoder();
    async function* body() {
      let last = {};
      for (let connections = 0; connections < 2; connections += 1) {
        const response = await fetch(url, { headers: { ...STREAM, ...last } });
        let text = "";
        for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
          text += piece;
          yield encoder.encode(piece);
        }
        last = { "Last-Event-ID": [...text.matchAll(/^id: (.*)$/gm)].at(-1)[1] };
      }
    }
    return new Response(ReadableStream.from(body()), { headers: { "Content-Type": "text/event-stream" } });
  };
}

async function all(chunks) {
  const found = [];
  for await (const chunk of chunks) found.push(chunk);
  return found;
}

const READERS = {
  /** TanStack AI's connection adapter, which comes back by itself. */
  async tanstack(url) {
    const { fetchServerSentEvents } = await import("@tanstack/ai-client");
    return all(fetchServerSentEvents(url, { headers: STREAM }).joinRun("r1"));
  },

  /** AG-UI's agent: what its subscribers hear, and the message that comes of it. */
  async "ag-ui"(url) {
    const { HttpAgent } = await import("@ag-ui/client");
    const agent = new HttpAgent({ url, fetch: resuming(url), threadId: "t1" });
    const heard = [];
    await agent.runAgent({ runId: "r1" }, { onEvent: ({ event }) => void heard.push(event) });
    return [...heard, agent.messages.at(-1).content];
  },

  /** The AI SDK's chat transport, and the message that comes of it. */
  async "ai-sdk"(url) {
    const { DefaultChatTransport, readUIMessageStream } = await import("ai");
    const transport = new DefaultChatTransport({
      fetch: resuming(url),
      prepareReconnectToStreamRequest: () => ({ api: url, headers: STREAM }),
    });
    const stream = await transport.reconnectToStream({ chatId: "c1" });
    const [chunks, copy] = stream.tee();
    const messages = await all(readUIMessageStream({ stream: copy }));
    return [...(await all(chunks)), messages.at(-1).parts.map(({ text }) => text).join("")];
  },

  /** OpenAI's client, whose chunks end with [DONE]. */
  async openai(url) {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ apiKey: "none", baseURL: "http://openai.example", fetch: resuming(url), maxRetries: 0 });
    return all(await client.chat.completions.create({ model: "m", messages: [], stream: true }));
  },

  async "eventsource-parser"(url) {
    const { createParser } = await import("eventsource-parser");
    const heard = [];
    let id;
    const parser = createParser({
      onEvent(event) {
        id = event.id ?? id;
        heard.push([id, event.event ?? "message", event.data]);
      },
    });
    for (let connections = 0; connections < 2; connections += 1) {
      const response = await fetch(url, { headers: { ...STREAM, ...(id && { "Last-Event-ID": id }) } });
      parser.reset();
      for await (const piece of response.body.pipeThrough(new TextDecoderStream())) parser.feed(piece);
    }
    return heard;
  },

  /** It comes back by itself, also behind [DONE], unless it is closed. */
  async eventsource(url) {
    const { EventSource } = await import("eventsource");
    return new Promise((resolve, reject) => {
      const heard = [];
      const source = new EventSource(url);
      for (const name of ["message", "state"]) {
        source.addEventListener(name, ({ lastEventId, type, data }) => {
          heard.push([lastEventId, type, data]);
          if (data === "[DONE]") resolve(heard, source.close());
        });
      }
      source.addEventListener("error", () => source.readyState === 2 && reject(new Error("it gave up")));
    });
  },
};

const [reader, url] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await READERS[reader](url)));
