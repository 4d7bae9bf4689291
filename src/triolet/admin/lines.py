"""A question over a line between two processes: a stream of its own for each, which ends with its answer."""

from __future__ import annotations

import msgspec
import trio

from ..bounds import ADMIN_ANSWER_BYTES, ADMIN_BODY_BYTES, ADMIN_HEAD_BYTES
from .alone import at_desk
from .contract import Answer, Desk, Question

__all__ = ["ask_over", "serve_line"]


async def ask_over(line: trio.abc.HalfCloseableStream, question: Question) -> Answer | None:
    """Ask the process at the other end, and close. None where it ends without an answer.

    Bounds: ``ADMIN_ANSWER_BYTES``; the caller bounds the time.

    Cancellation: as :meth:`Desk.answer`.
    """
    async with line:
        try:
            await line.send_all(msgspec.msgpack.encode(question))
            await line.send_eof()
            said = await _read(line, ADMIN_ANSWER_BYTES)
        except trio.BrokenResourceError:
            return None
    return msgspec.msgpack.decode(said, type=Answer) if said else None


async def serve_line(line: trio.abc.HalfCloseableStream, desk: Desk | None) -> None:
    """Answer the one question of a line, and close."""
    async with line:
        try:
            said = await _read(line, 2 * (ADMIN_BODY_BYTES + ADMIN_HEAD_BYTES))
            if said:
                answer = await at_desk(desk, msgspec.msgpack.decode(said, type=Question))
                await line.send_all(msgspec.msgpack.encode(answer))
        except trio.BrokenResourceError:
            pass  # nobody waits for it any more


async def _read(line: trio.abc.ReceiveStream, most: int) -> bytes:
    """Read to the end; nothing where that is further than may be."""
    parts, size = [], 0
    async for part in line:
        parts.append(bytes(part))
        size += len(part)
        if size > most:
            return b""
    return b"".join(parts)
