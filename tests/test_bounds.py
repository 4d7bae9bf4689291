"""Every bound stands where it is looked for: in ``limits.py`` or in a room's ``bounds.py``, once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from io import StringIO
from tokenize import COMMENT, NAME, STRING, generate_tokens

from .house import MODULES, tree, unit

FORMATS = {
    "triolet.cli.certificate": {"_FIRST_OF_1900", "_LONG_FORM", "_SHORT_YEAR", "_VERSION"},
    "triolet.counters": {"AGE_BUCKETS", "DURATION_BUCKETS"},
    "triolet.errors": {"MESSAGE_CHARACTERS"},  # a bound, but of what limits.py itself stands on
    "triolet.http.http2_frames": {
        "HEAD_BYTES",
        "PREFACE_BYTES",
        "_ACK",
        "_CONTINUATION",
        "_END_HEADERS",
        "_GOAWAY",
        "_HEADERS",
        "_PUSH_PROMISE",
        "_SETTINGS",
    },
    "triolet.redis.batch": {"REFUSED"},
    "triolet.redis.connect": {"SLOTS"},
    "triolet.redis.log": {"GOOD", "UNKNOWN"},
    "triolet.server.access_log": {"NOT_ANSWERED"},
    "triolet.server.proxy_protocol": {"FIRST_BYTES", "HEAD_BYTES", "LINE_BYTES"},
    "triolet.sockets.platform": {"TCP_RXT_CONNDROPTIME"},
    "triolet.sqlite.batch": {"BURIED", "ENDED"},
    "triolet.sqlite.file": {"APPLICATION_ID", "FORMS"},
    "triolet.sqlite.life": {"AT_FDCWD", "MARK_DIGITS", "STATX_BTIME_AT", "STATX_INO_AND_BTIME"},
    "triolet.sqlite.watch": {"IN_ATTRIB", "IN_MODIFY"},
    "triolet.transports.origins": {"HOST_LETTERS"},
    "triolet.value": {"MAX_DEPTH"},  # as above
    "triolet.wire.client_address": {"_OWNED_BITS"},
    "triolet.wire.deflate": {"LEVEL", "WINDOW_BITS"},
    "triolet.wire.frames": {"_BINARY", "_CLOSE", "_DEFLATED", "_PING", "_PONG", "_TEXT"},
    "triolet.wire.session": {"NO_CLOSE", "NO_CODE"},
    "triolet.workers.addresses": {"FIRST_PASSED", "MOST_PATH_BYTES", "MOST_PORT"},
    "triolet.workers.systemd": {"MOST_DIGITS"},
}
"""Numbers with names that are no bounds: a protocol, a file, a system or a histogram has them."""

CONSTANT = re.compile(r"\b_?[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
OTHERS = {"BODY_TIMEOUT", "MAX_CONTENT_LENGTH", "SQLITE_BUSY_SNAPSHOT"} | {
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "TOKEN_SECRET",
}
"""Names in capitals that are no constant of ours: Quart's, SQLite's and the environment's."""

BOUNDS = [name for name in MODULES if name.rpartition(".")[2] == "bounds"]


def test_each_bound_stands_once() -> None:
    names = [name for module in BOUNDS for name in _numbers(tree(MODULES[module]))]
    assert len(names) == len(set(names)) > 200


def test_every_bound_stands_in_limits_or_bounds() -> None:
    """A number with a name in capitals is a bound or a time, unless a standard or a format says it."""
    modules = [name for name in MODULES if name not in BOUNDS and unit(name) not in ("limits", "testing")]
    found = {module: set(_numbers(tree(MODULES[module]))) for module in modules}
    assert {module: names for module, names in found.items() if names - FORMATS.get(module, set())} == {}


def test_a_constant_that_a_comment_names_exists() -> None:
    said: dict[str, set[str]] = {}
    known = set(OTHERS)
    for module, path in MODULES.items():
        for token in generate_tokens(StringIO(path.read_text()).readline):
            if token.type in (NAME, STRING):
                known.add(token.string.strip('"'))
            if token.type == COMMENT or (token.type == STRING and token.string.startswith('"""')):
                said.setdefault(module, set()).update(CONSTANT.findall(token.string))
    assert {module: gone for module, names in said.items() if (gone := names - known)} == {}


def _numbers(said: ast.Module) -> Iterator[str]:
    for node in said.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id.lstrip("_").isupper() and value is not None and _is_number(value):
            yield target.id


def _is_number(node: ast.AST) -> bool:
    match node:
        case ast.Constant():
            return isinstance(node.value, int | float) and not isinstance(node.value, bool)
        case ast.BinOp():
            return _is_number(node.left) and _is_number(node.right)
        case ast.UnaryOp():
            return _is_number(node.operand)
        case ast.Tuple():
            return bool(node.elts) and all(map(_is_number, node.elts))
    return False
