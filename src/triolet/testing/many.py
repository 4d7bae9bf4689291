"""Clients that follow many channels by one request: where such a client stands, and what answers to its polls say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from ..event import Cursor
from ..wire.places import place_key, write_places
from .strict import PLACES, MalformedError, is_cursor, read_json
from .transcript import Message

__all__ = ["Placed", "following", "placed", "places_in", "read_many", "unfold_many"]

ANSWER: Final[dict[str, type | tuple[type, ...]]] = {
    "follows": list,
    "events": list,
    "gaps": list,
    "refused": list,
    "cursor": str,
    "live": bool,
    "retry": (int, type(None)),
}
"""What the answer to a poll of many channels has, and what each of it is."""


class Placed(dict[str, Any]):
    """A message, and where its client stands in all channels once it has taken it: ``place``; None is where it was."""

    place: str | None = None


def places_in(message: Message) -> dict[str, str]:
    """Where a message brings its client, by channel."""
    if message["type"] == "beat":
        return dict(message["cursors"])
    place = PLACES.get(message["type"])
    if place is None or message.get("reason") == "conflated" or message[place] is None:
        return {}
    return {message["channel"]: message[place]}


def following(path: str, urls: Sequence[str]) -> str:
    """A path that asks for many channels."""
    return f"{path}{'&' if '?' in path else '?'}{urlencode([('follow', url) for url in urls])}" if urls else path


def placed(message: Message, place: str | None) -> Placed:
    """A message with its place."""
    made = Placed(message)
    made.place = place
    return made


def read_many(body: bytes) -> dict[str, Any]:
    """The body of the answer to a poll of many channels. Raises MalformedError."""
    answer = read_json(body)
    if not isinstance(answer, dict) or any(not isinstance(answer.get(name), kind) for name, kind in ANSWER.items()):
        raise MalformedError(f"no answer to a poll of many channels: {body[:200]!r}")
    channels = [one["channel"] for one in answer["follows"] if is_cursor(one.get("cursor"))]
    told = [*answer["events"], *answer["gaps"]]
    if len(channels) < len(answer["follows"]) or not {one["channel"] for one in told} <= set(channels):
        raise MalformedError(f"an answer of channels that are not followed: {body[:200]!r}")
    return answer


def unfold_many(body: dict[str, Any], opened: set[str], said: set[str], *, becomes_live: bool) -> list[Placed]:
    """An answer as the messages that a stream would have carried, each with the place of who has taken it and those
    before it.

    Args:
        body: the answer.
        opened: the channels that had their ``open``; those that have it now are added.
        said: the URLs whose refusal was told, and the channels whose end was; likewise.
        becomes_live: whether the client was behind until now.
    """
    told: list[Message] = []
    places: dict[str, str | None] = {one["channel"]: _began(body, one) for one in body["follows"]}
    for one in body["follows"]:
        if one["channel"] not in opened:
            opened.add(one["channel"])
            filtered = {"filtered": True} if one.get("filtered") is True else {}
            named = {"channel": one["channel"], "cursor": places[one["channel"]], "url": one["url"]}
            told.append({"type": "open", **named, **filtered})
    for one in body["refused"]:
        if one["url"] not in said:
            said.add(one["url"])
            told.append(one)
    told += [*body.get("snapshots", ()), *body["gaps"], *body["events"]]
    ended = {one["channel"] for one in body.get("ends", ())}
    told += [one for one in body.get("ends", ()) if one["channel"] not in said]
    said |= ended
    if body["live"] and becomes_live:
        lives = [one for one in body["follows"] if one["channel"] not in ended]
        told += [{"type": "live", "channel": one["channel"], "cursor": one["cursor"]} for one in lives]
    elif not told and any(one.get("filtered") is True for one in body["follows"]):
        cursors = {one["channel"]: one["cursor"] for one in body["follows"]}
        told.append({"type": "beat", "time": body["time"], "cursors": cursors})
    return [placed(message, body["cursor"] if message is told[-1] else _place(places, message)) for message in told]


def _place(places: dict[str, str | None], message: Message) -> str:
    """The place in all channels behind a message, which moves one of them."""
    places.update(places_in(message))
    known = [(place_key(channel), Cursor.parse(at)) for channel, at in places.items() if at is not None]
    return write_places(known)


def _began(body: dict[str, Any], one: dict[str, Any]) -> str | None:
    """Where the channel of an answer began: its first event or gap tells it; None where its state does."""
    if any(state["channel"] == one["channel"] for state in body.get("snapshots", ())):
        return None
    for gap in body["gaps"]:
        if gap["channel"] == one["channel"]:
            return str(gap["from"])
    for event in body["events"]:
        if event["channel"] == one["channel"]:
            epoch, _, offset = event["id"].rpartition(".")
            return f"{epoch}.{int(offset) - event.get('folded', 1)}"
    return str(one["cursor"])
