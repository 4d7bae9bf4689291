import pytest

from triolet.log import MemoryLog as MyLog
from triolet.testing import LOG_CHECKS, TRANSPORT_CHECKS, LogCheck, TransportCheck
from triolet.testing import SseClient as MyClient


@pytest.mark.parametrize("check", LOG_CHECKS)
async def test_my_log(check: LogCheck) -> None:
    await check(lambda limits, clock: MyLog(limits, clock))


@pytest.mark.parametrize("check", TRANSPORT_CHECKS)
async def test_my_transport(check: TransportCheck, autojump_clock: object) -> None:
    await check(lambda server, path, after: MyClient(server, path, after=after), None)
