"""What an app says to begin streams that outlive their readers, and to stop them."""

from __future__ import annotations

from collections.abc import AsyncIterable
from functools import partial
from typing import Any

from ..runs import Run
from ..runs.intake import Items
from ..runs.run import check_reason
from .channels import Channels, check_unwatched
from .publishing import publishable

__all__ = ["Runner"]


class Runner(Channels):
    """The part of :class:`Triolet` that has runs, in an app and in a script."""

    async def run(
        self,
        channel: str,
        source: AsyncIterable[Any],
        *,
        name: str = "message",
        key: str | None = None,
        fold: str | None = None,
        stop_when_unwatched: float | None = None,
    ) -> Run:
        """Have a stream go on by itself, whoever reads it: each item of ``source`` is an event of the channel, and its
        end is the channel's end.

        ::

            @app.post("/answers/<answer_id>")
            async def ask(answer_id: str):
                question = (await request.get_json())["question"]
                await live.run(f"answers/{answer_id}", tokens(question), key="text", fold="concat")
                return {"follow": f"/answers/{answer_id}/events"}

        It goes on in the app and not in the request: with the app's context, and without its clients. A disconnect is
        not a stop. The first item is stored at once; those that come while it is stored are stored together, and so
        on. The last event says how it ended: ``{"outcome": "done"}``, ``failed``, ``stopped`` (with a ``reason``) or
        ``lost``: its process has died, or could not reach the log for ``limits.run_lease_seconds``, and another one (or
        the next to start) has ended it. What an error says stands in the server's log, and is not told to clients.

        Where the log is away it waits for it, and its source waits as well, once a batch is full.

        Args:
            channel: as for :meth:`publish`. A channel has one run: begun again, it goes on a channel of its own.
            source: an async generator, a memory channel's receiving end, or any other async iterable. It is the run's
                from now on: iterated in one task, and closed there (``aclose``) however it ends. An item is a JSON
                value, or a :class:`Draft`.
            name, key, fold: of each event, where its item is no draft, as for :meth:`publish`.
            stop_when_unwatched: stop it when nobody has watched the channel for so many seconds, in any process: see
                :meth:`unwatched`. At least 1.

        Returns:
            The run: ``await run.wait()``, ``await run.stop()``.

        Raises:
            RunError: one goes on there already, or ``limits.runs`` in this process; or the server shuts down.
            ChannelEnded: the channel has ended.
            ConfigError: the source is no async iterable, no such time can be, or this log can have no runs (see
                :class:`EventLog`).
            DataError, ChannelNameError, LogError, NotServingError, WrongThreadError: as :meth:`publish`.

        Bounds: ``limits.run_batch_events`` and ``limits.run_batch_bytes`` are stored at once; as many wait meanwhile.

        Cancellation: it begins all the same, and goes on.
        """
        life, channel = self._at_home("Triolet.run").life, publishable(channel)
        unwatched = None
        if stop_when_unwatched is not None:
            check_unwatched(stop_when_unwatched)
            unwatched = partial(life.watching.unwatched, channel, stop_when_unwatched)
        return await life.runs.begin(channel, source, Items(name, key, fold), unwatched)

    def runs(self) -> tuple[Run, ...]:
        """The runs that go on in this process.

        Raises:
            NotServingError: the app is not being served.
        """
        return self.service.life.runs.running

    async def stop_run(self, channel: str, reason: str = "asked") -> bool:
        """Stop the run on a channel, in whichever process it goes on: see :meth:`Run.stop`. It has stopped when the
        channel's end says so. Where none goes on nothing happens.

        Args:
            channel: the run's.
            reason: what clients get with the end, beside the outcome ``stopped``.

        Returns:
            Whether all processes have been told. If not, the log is away: they are told when it is back.

        Raises:
            ChannelNameError, DataError, NotServingError, WrongThreadError: as :meth:`publish`.

        Cancellation: it is told all the same.
        """
        runs = self._at_home("Triolet.stop_run").life.runs
        check_reason(reason)
        return await runs.stop(publishable(channel), reason)
