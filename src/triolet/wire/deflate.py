"""permessage-deflate (RFC 7692), off unless it is asked for: each message by itself, and bounded while it inflates.

No context is taken over from message to message in either direction. So an event is deflated once for all its
clients, an idle connection holds no window of zlib's, and a zip bomb costs at most one message's bound.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Any, Final

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

__all__ = ["Inflate", "accept_offer", "deflate"]

LEVEL: Final = 6
WINDOW_BITS: Final = 15

_TAIL: Final = b"\x00\x00\xff\xff"
# Both are in every answer, also where the client did not offer them: a server may bind itself, and may demand the same
# of the client (RFC 7692 section 7.1.1). So no state is left between two messages.
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_BITS: Final = re.compile(r'"?([89]|1[0-5])"?')


def accept_offer(values: Iterable[bytes]) -> bytes | None:
    """Return the answer to a client's ``Sec-WebSocket-Extensions``; None to do without (RFC 7692 section 7.1).

    The first offer that can be kept is taken. An offer that asks the server for a smaller window is not: an event is
    deflated once, with one window for all clients.

    Args:
        values: the values of all such headers of the request.
    """
    for value in values:
        for offer in value.decode("latin-1").split(","):
            name, *params = (part.strip() for part in offer.split(";"))
            if name == "permessage-deflate" and (extra := _accept_params(params)) is not None:
                return "; ".join(["permessage-deflate", *_FLAGS, *extra]).encode()
    return None


def _accept_params(params: list[str]) -> list[str] | None:
    answer = []
    names = [param.partition("=")[0].strip() for param in params]
    if len(set(names)) < len(names):  # to be declined (RFC 7692 section 7.1)
        return None
    for name, param in zip(names, params, strict=True):
        _, equals, value = (part.strip() for part in param.partition("="))
        bits = _BITS.fullmatch(value)
        if name in _FLAGS and not equals:
            continue
        if name == "client_max_window_bits" and (bits or not equals):
            continue
        if name == "server_max_window_bits" and bits and int(bits[1]) == WINDOW_BITS:
            answer.append(f"{name}={WINDOW_BITS}")
            continue
        return None
    return answer


def deflate(data: bytes) -> bytes:
    """Deflate a message's data, to stand in a frame with RSV1 (RFC 7692 section 7.2.1)."""
    deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS)
    # A new compressor for each message, so that the next one can be read without this one. A payload that is empty
    # after the tail is cut off is written as one zero byte (section 7.2.3.6).
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL) or b"\x00"


class Inflate(Extension):
    """Inflates one message for wsproto.

    Bounds: stops at ``max_bytes`` of output, whatever the input would become, and says that it is too big.
    """

    name = "permessage-deflate"

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._inflater = zlib.decompressobj(-WINDOW_BITS)
        self._deflated: bool | None = None  # said by the message's first frame
        self._in_data = False

    def enabled(self) -> bool:
        """Tell wsproto that the extension is agreed on: else this object would not have been made."""
        return True

    def offer(self) -> bool:
        """Offer nothing: that is the client's part."""
        return False

    def frame_inbound_header(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Take note of what payload comes next. RSV1 is legal in a message's first frame alone (section 6)."""
        self._in_data = not opcode.iscontrol()
        if self._in_data and self._deflated is None:
            self._deflated = rsv.rsv1
            return RsvBits(True, False, False)
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes | CloseReason:
        """Inflate a piece of a message, or return it as it is if the message is not deflated."""
        if not (self._in_data and self._deflated):  # a control frame is never deflated (section 6)
            return data
        if self._inflater.eof:  # the client's last block; whatever stands behind it is nothing (section 7.2.3.4)
            return b""
        try:
            # One byte more than is allowed is enough to know. So a bomb is never inflated any further than that.
            inflated = self._inflater.decompress(data, self._left + 1)
        except zlib.error:
            return CloseReason.PROTOCOL_ERROR
        self._left -= len(inflated)
        return inflated if self._left >= 0 else CloseReason.MESSAGE_TOO_BIG

    def frame_inbound_complete(self, proto: Any, fin: bool) -> bytes | CloseReason | None:
        """Put back the four bytes that every sender leaves out, at the message's end (section 7.2.2)."""
        return self.frame_inbound_payload_data(proto, _TAIL) if fin and self._in_data and self._deflated else None
