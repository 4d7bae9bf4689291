"""Publishes from outside of any app's code: many events at once, all or none."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import trio

from ..admin.bodies import Published, Stored
from ..admin.contract import Answer, Question
from ..admin.gather import encoded
from ..admin.requests import BadBody, Entry, read
from ..bounds import ADMIN_EVENTS_IN_A_ROW, ADMIN_KEPT_SECONDS
from ..errors import ChannelNameError, ConfigError, DataError, LogUncertain
from ..event import Draft, Event
from ..log import Kept
from ..log.checked import claim_checked
from .publishing import check_drafts, publishable
from .service import Service

__all__ = ["publish"]


async def publish(service: Service, question: Question) -> Answer:
    """Publish what a question brings, all or none.

    Raises:
        BadBody: an event cannot be published; it says which.
        ChannelEnded, LogError, NotServingError: as of ``live.publish``.
        ConfigError: events of several channels are sent, and this log cannot store them in one step.

    Cancellation: all were stored, or none; which of the two is not known.
    """
    service.check_home("the operator's listener")
    entries: list[Entry] = []
    for entry in read(question.headers, question.body, question.values.get("channel")):
        _check(service, entry)
        entries.append(entry)
        if not len(entries) % ADMIN_EVENTS_IN_A_ROW:
            await trio.lowlevel.checkpoint()
    channels: dict[str, list[Draft]] = {}
    for entry in entries:
        channels.setdefault(entry.channel, []).append(entry.draft)
    stored = {channel: iter(events) for channel, events in (await _store(service, channels)).items()}
    told = [next(stored[entry.channel]) for entry in entries]
    return encoded(Published([Stored(event.channel, str(event.cursor)) for event in told]))


def _check(service: Service, entry: Entry) -> None:
    try:
        publishable(entry.channel)
        check_drafts([entry.draft], service.limits)
    except (ChannelNameError, DataError) as error:
        raise BadBody(str(error), entry.line) from None


async def _store(service: Service, channels: Mapping[str, Sequence[Draft]]) -> Mapping[str, Sequence[Event]]:
    """Store events; those of several channels in one transaction, as a command does."""
    hub, log = service.hub, service.log
    if len(channels) == 1:
        [(channel, drafts)] = channels.items()
        return {channel: await hub.publish(channel, drafts)}
    if not log.can_commit:
        raise ConfigError(
            f"{type(log).__name__} cannot store events of several channels in one step: publish to each by itself"
        )
    key, holder = secrets.token_bytes(32), secrets.token_bytes(16)
    await claim_checked(log, key, key, holder, ADMIN_KEPT_SECONDS)
    outcome = await hub.commit(key, holder, b"", ADMIN_KEPT_SECONDS, list(channels.items()))
    if isinstance(outcome, Kept):  # only where this process stood still for as long
        raise LogUncertain("this process stood still for too long while it published")
    return dict(zip(channels, outcome, strict=True))
