"""What the operator's listener is asked, as one table: requests are routed by it, and described by it."""

from __future__ import annotations

from typing import Any, Final

from ..bounds import ADMIN_LISTED
from .assets import ask_client, ask_file, ask_page
from .bodies import Connections, Explanations, History, Members, Published, Revoked
from .contract import EVENT_STREAM, JSON, TEXT, Answer, Question, Staff
from .gather import ask_connections, ask_explain, ask_metrics, ask_one, ask_revoke
from .merge_metrics import CONTENT_TYPE
from .openapi import describe
from .requests import BATCH, CLOUD, NDJSON, CloudEvent, Publish, Revoke
from .routes import Parameter, Route

__all__ = ["ROUTES"]


async def _live(staff: Staff, question: Question) -> Answer:
    return Answer(200, b"live\n", TEXT)


async def _ready(staff: Staff, question: Question) -> Answer:
    return Answer(200, b"ready\n", TEXT) if staff.ready else Answer(503, b"not ready\n", TEXT)


async def _described(staff: Staff, question: Question) -> Answer:
    return Answer(200, describe(ROUTES), JSON)


_CHANNEL: Final = Parameter("channel", "The channel's name.", needed=True)
_AWAY: Final = "The log is away, or no worker answers. Ask again after Retry-After."

_FILE: Final = Parameter("file", "The name of a file.", needed=True)

ROUTES: Final = (
    Route("GET", "/", "page", "The page.", ask_page, "text/html; charset=utf-8", is_open=True, is_page=True),
    Route("GET", "/page/{file}", "file", "A file of the page.", ask_file, "*/*", parameters=(_FILE,), is_open=True),
    Route(
        "GET",
        "/triolet/{file}",
        "client",
        "A module of the client that the page is.",
        ask_client,
        "text/javascript; charset=utf-8",
        parameters=(_FILE,),
        is_open=True,
    ),
    Route(
        "GET",
        "/figures",
        "figures",
        "A stream of what the page shows: the last hour, and then the figures of each second.",
        None,
        EVENT_STREAM,
        parameters=(
            Parameter("snapshot", "As clients of Triolet's say it; the hour comes in any case."),
            Parameter("format", "The same."),
            Parameter("after", "The same."),
        ),
        may_say={503: "As many are shown them as may be."},
    ),
    Route("GET", "/health/live", "live", "200 while the process serves.", _live, TEXT, is_open=True),
    Route(
        "GET",
        "/health/ready",
        "ready",
        "200 while new clients should be sent here.",
        _ready,
        TEXT,
        may_say={503: "It has not started, or drains."},
        is_open=True,
    ),
    Route("GET", "/metrics", "metrics", "The metrics of all workers, for Prometheus.", ask_metrics, CONTENT_TYPE),
    Route("GET", "/openapi.json", "openapi", "This description.", _described, gives=dict[str, Any]),
    Route(
        "POST",
        "/publish",
        "publish",
        "Publish one event or many, all or none. When it is answered they are in the log.",
        ask_one,
        gives=Published,
        parameters=(Parameter("channel", "The channel of events that name none."),),
        takes={JSON: Publish, NDJSON: Publish, CLOUD: CloudEvent, BATCH: list[CloudEvent]},
        may_say={
            400: "An event cannot be published. `line` says which; none was published.",
            408: "The body was too slow; none was published.",
            409: "A channel has ended; none was published.",
            413: "Too many bytes or events.",
            415: "A kind of body that is not taken.",
            503: "The log is away. Nothing was stored, or `message` says that it may be: repeat it with `dedupe`.",
        },
    ),
    Route(
        "GET",
        "/history",
        "history",
        "What is kept of a channel. One that nothing was ever published to is empty.",
        ask_one,
        gives=History,
        parameters=(
            _CHANNEL,
            Parameter(
                "after", "The cursor to go on from; 0 is the oldest kept, -50 the newest 50. The newest `limit`."
            ),
            Parameter("limit", f"Most events ({ADMIN_LISTED // 10}).", ADMIN_LISTED),
        ),
        may_say={503: _AWAY},
    ),
    Route(
        "GET",
        "/presence",
        "presence",
        "Who is present in a channel, in all processes of the log.",
        ask_one,
        gives=Members,
        parameters=(_CHANNEL,),
        may_say={503: _AWAY},
    ),
    Route(
        "GET",
        "/connections",
        "connections",
        "Connections that are open in all workers, those that are furthest behind first.",
        ask_connections,
        gives=Connections,
        parameters=(
            Parameter("channel", "Only those that follow it."),
            Parameter("subject", "Only those of an identity's."),
            Parameter("limit", f"Most connections ({ADMIN_LISTED // 10}).", ADMIN_LISTED),
        ),
        may_say={503: _AWAY},
    ),
    Route(
        "GET",
        "/explain/{id}",
        "explain",
        "Why a connection is slow, gapped or closed, in sentences.",
        ask_explain,
        gives=Explanations,
        parameters=(Parameter("id", "The connection's number.", most=10**18, needed=True),),
        may_say={404: "No worker has such a connection, or remembers one.", 503: _AWAY},
    ),
    Route(
        "POST",
        "/revoke",
        "revoke",
        "End what is open of a subject, a session, a channel or a URL, in all processes of the log.",
        ask_revoke,
        gives=Revoked,
        takes={JSON: Revoke},
        may_say={
            400: "Nothing is named, or what nobody can have.",
            408: "The body was too slow; nothing was revoked.",
            415: "It is no JSON.",
            503: _AWAY,
        },
    ),
)
"""All that may be asked. Another page or stream is another row."""
