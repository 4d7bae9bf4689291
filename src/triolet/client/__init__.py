"""The Python client, on Trio (``pip install 'triolet[client]'``).

- ``open_client``: a client of a server; ``Client``: what it gives; ``Events``: a channel that is followed
- ``Event``, ``Gap``, ``Live``, ``Snapshot``, ``End``: what a channel gives; ``Fault``: a broken promise of the
  server's; ``Reply``: to a command; ``Tell``: what is only for now
- ``Messages``: what the app's handler says: ``Message``, and of channels that it follows ``Event``, ``ChannelGap`` and
  ``ChannelEnd``
- ``folds``: what events make that go together
- ``FileStore``, ``MemoryStore``, ``Store``: where cursors are kept
- ``ClientError``, ``Unanswered``: what it raises
- ``sync_client``: the same for programs without Trio
"""

from .client import Client, open_client
from .errors import ClientError, Unanswered
from .events import Events
from .items import ChannelEnd, ChannelGap, End, Event, Fault, Gap, Item, Live, Message, Reply, Said, Snapshot, Tell
from .messages import Messages
from .store import FileStore, MemoryStore, Store
from .sync import SyncClient, SyncEvents, SyncMessages, sync_client

__all__ = [
    "ChannelEnd",
    "ChannelGap",
    "Client",
    "ClientError",
    "End",
    "Event",
    "Events",
    "Fault",
    "FileStore",
    "Gap",
    "Item",
    "Live",
    "MemoryStore",
    "Message",
    "Messages",
    "Reply",
    "Said",
    "Snapshot",
    "Store",
    "SyncClient",
    "SyncEvents",
    "SyncMessages",
    "Tell",
    "Unanswered",
    "open_client",
    "sync_client",
]
