"""Who answers: a model, where ``OPENAI_API_KEY`` is set; else a parrot that has read the manual inside each Python."""

import json
import os
import random
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import markovify
import trio

from triolet import Draft

HAS_KEY = bool(os.environ.get("OPENAI_API_KEY"))
NAME = os.environ.get("OPENAI_MODEL", "gpt-4o-mini") if HAS_KEY else "a parrot"
PACE = float(os.environ.get("ASSISTANT_PACE") or 12)  # the parrot's words in a second
TOOLS = json.loads(Path(__file__).with_name("look_up.json").read_text())

manual = "\n".join(" ".join(part.split()) for text in topics.values() for part in re.split(r"\n\s*\n", text))
manual = re.sub(r'[`"]{1,2}([^\s"`]+)[`"]{1,2}', r"`\1`", manual)
sentences = re.findall(r"(?m)(?:^|(?<=\. ))[A-Z][\w ,;’'`-]{30,240}\.(?= [A-Z]|$)", manual)
parrot = markovify.NewlineText("\n".join(sorted(set(sentences))), well_formed=False)


async def answer(talk: list[Any]) -> AsyncGenerator[Draft, None]:
    """Words, which go behind one another, and between them what was looked up: a part each, under a key of its own."""
    for part in range(5):
        words, calls = "", []
        async with aclosing((ask_model if HAS_KEY else ask_parrot)(talk)) as said:
            async for piece in said:
                if isinstance(piece, dict):
                    calls.append({"type": "function", **piece})
                else:
                    words += piece
                    yield Draft.of(piece, name="words", key=f"{part}", fold="concat")
        if not calls:
            return
        talk.append({"role": "assistant", "content": words, "tool_calls": calls})
        for at, call in enumerate(calls):
            topic = json.loads(call["function"]["arguments"])["topic"]
            found = str(topics.get(topic, "The manual has nothing on that."))[:2_000]
            yield Draft.of({"topic": topic, "found": found}, name="tool", key=f"{part}.{at}", fold="latest")
            talk.append({"role": "tool", "tool_call_id": call["id"], "content": found})


async def ask_model(talk: list[Any]) -> AsyncGenerator[str | dict[str, Any], None]:
    """What a model says, and then what it wants looked up, which comes in pieces as well."""
    from openai import AsyncOpenAI  # it takes a second, and the parrot needs none

    calls: dict[int, dict[str, Any]] = {}
    async with (
        AsyncOpenAI() as client,
        await client.chat.completions.create(model=NAME, messages=talk, tools=TOOLS, stream=True) as chunks,
    ):
        async for chunk in chunks:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield choice.delta.content
                for piece in choice.delta.tool_calls or ():
                    call = calls.setdefault(piece.index, {"function": {"name": "look_up", "arguments": ""}})
                    call["id"] = piece.id or call["id"]
                    call["function"]["arguments"] += (piece.function and piece.function.arguments) or ""
    for call in calls.values():
        yield call


async def ask_parrot(talk: list[Any]) -> AsyncGenerator[str | dict[str, Any], None]:
    """What a parrot says: it has looked up what the question names, and then talks as the manual does."""
    known = [word for word in re.findall(r"[a-z]+", talk[-1]["content"].lower()) if word in topics]
    if known and talk[-1]["role"] == "user":
        yield {"id": "1", "function": {"name": "look_up", "arguments": json.dumps({"topic": max(known, key=len)})}}
        return
    for _ in range(random.randint(6, 9)):
        for word in (parrot.make_sentence(tries=100) or "Polly wants a cracker.").split():
            await trio.sleep(random.uniform(0.4, 1.6) / PACE)
            yield f"{word} "
