"""A thread with an asyncio loop of its own, for libraries that run on nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

T = TypeVar("T")


class AsyncioThread:
    """Start it in a nursery, ``await nursery.start(aio.run)``, and call what needs asyncio through it."""

    _loop: asyncio.AbstractEventLoop

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the loop until this is cancelled."""
        self._loop = asyncio.new_event_loop()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, self._run, limiter=trio.CapacityLimiter(1)))
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # which cancels what is left, at its end
            runner.get_loop().run_forever()

    async def call(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Await ``function(*arguments)`` over there. What is cancelled here is cancelled there."""

        async def there() -> T:
            return await function(*arguments)

        done, trio_token = trio.Event(), trio.lowlevel.current_trio_token()
        future = asyncio.run_coroutine_threadsafe(there(), self._loop)
        future.add_done_callback(lambda _: trio_token.run_sync_soon(done.set))
        try:
            await done.wait()
        except trio.Cancelled:
            future.cancel()
            raise
        return future.result()
