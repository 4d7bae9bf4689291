"""Tests of a live app without sleeps, subprocesses or hanging clients, on Trio's virtual clock.

- ``serve``: the whole server in memory, and clients of it: ``server.client(transport, path)``, or ``server.websocket``,
  ``sse``, ``long_poll``, ``short_poll``, ``follow``; each has ``expect(...)``, ``nothing_for(seconds)`` and
  ``command(url, data)``; ``server.user()`` has the same, and cookies of its own
- ``Network``, ``Line``: latency, bandwidth, kernels' buffers; ``proxy``: what may stand before a server
- ``stalled``, ``cut``, ``half_open``, ``slow_reader``, ``reordered_accepts``: faults, as context managers
- ``ScriptedLog``: a log with faults: ``slow``, ``full``, ``away``, ``failing``, ``unreadable``
- ``Tokens``: a source of a run, whose items come when a test says so
- ``seeded``, ``play``, ``current``: one seed decides a run; pytest's plugin gives every Trio test one
- ``check_log``, ``check_transport``: conformance suites, for a log and a transport of one's own
"""

from .client_poll import LongPollClient, ShortPollClient
from .client_sse import PlainSseClient, SseClient
from .client_websocket import FollowClient, WebSocketClient
from .clients import POLLS, STREAMS, TRANSPORTS, Client, ClientOptions, Message
from .faults import cut, half_open, reordered_accepts, slow_reader, stalled
from .http import Answer, EventStream, RefusedError
from .logs import LOG_CHECKS, LogCheck, LogFactory, check_log
from .network import ClientEnd, Line, Network
from .reach import Reach, User
from .reverse_proxy import Proxy, proxy
from .scripted import LogFault, ScriptedLog, away, failing, full, slow, unreadable
from .seed import Played, Seed, Trace, current, play, seeded
from .server import MemoryServer, serve
from .strict import MalformedError
from .tokens import Tokens
from .transports import TRANSPORT_CHECKS, Prepare, TransportCheck, TransportFactory, check_transport

__all__ = [
    "LOG_CHECKS",
    "POLLS",
    "STREAMS",
    "TRANSPORTS",
    "TRANSPORT_CHECKS",
    "Answer",
    "Client",
    "ClientEnd",
    "ClientOptions",
    "EventStream",
    "FollowClient",
    "Line",
    "LogCheck",
    "LogFactory",
    "LogFault",
    "LongPollClient",
    "MalformedError",
    "MemoryServer",
    "Message",
    "Network",
    "PlainSseClient",
    "Played",
    "Prepare",
    "Proxy",
    "Reach",
    "RefusedError",
    "ScriptedLog",
    "Seed",
    "ShortPollClient",
    "SseClient",
    "Tokens",
    "Trace",
    "TransportCheck",
    "TransportFactory",
    "User",
    "WebSocketClient",
    "away",
    "check_log",
    "check_transport",
    "current",
    "cut",
    "failing",
    "full",
    "half_open",
    "play",
    "proxy",
    "reordered_accepts",
    "seeded",
    "serve",
    "slow",
    "slow_reader",
    "stalled",
    "unreadable",
]
