"""How a request of the operator's is found in the table (table.py), and what its URL says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from ..bounds import ADMIN_PARAMETERS
from .contract import JSON, Answer, Question, Staff, refusal

__all__ = ["Parameter", "Route", "find", "values_of"]

Ask = Callable[[Staff, Question], Awaitable[Answer]]


class Parameter(NamedTuple):
    """A value in a URL.

    Attributes:
        name: its name.
        about: what it means.
        most: of a number, the largest; None: it is a text.
        needed: whether it must be there.
    """

    name: str
    about: str
    most: int | None = None
    needed: bool = False


class Route(NamedTuple):
    """One thing that may be asked.

    Attributes:
        method: GET (then HEAD too) or POST.
        path: the path; ``{id}`` at its end stands for a value.
        operation: its name.
        about: what it does, in a sentence.
        ask: whom it asks, and what is made of the answers; None: it is the stream of figures.
        kind: the media type of the answer.
        gives: the type of an answer in JSON; None where it is none.
        parameters: what its URL may say.
        takes: the types of body that it takes, by media type.
        may_say: the refusals that are its own.
        is_open: whether anybody who reaches the listener may ask.
        is_page: whether it is for a browser to show, which may come from a link elsewhere.
    """

    method: str
    path: str
    operation: str
    about: str
    ask: Ask | None
    kind: str = JSON
    gives: Any = None
    parameters: tuple[Parameter, ...] = ()
    takes: Mapping[str, Any] = {}
    may_say: Mapping[int, str] = {}
    is_open: bool = False
    is_page: bool = False


def find(table: Sequence[Route], method: str, path: str) -> Route | Answer:
    """Return what is asked for; an answer where it is nothing, or by another method."""
    routes = [route for route in table if _matches(route.path, path)]
    asked = "GET" if method == "HEAD" else method
    for route in routes:
        if route.method == asked:
            return route
    if routes:
        allowed = "GET, HEAD" if routes[0].method == "GET" else routes[0].method
        return refusal(405, "method", f"{path:.80} takes {allowed}", headers={"Allow": allowed})
    there = ", ".join(f"{route.method} {route.path}" for route in table)
    return refusal(404, "path", f"there is nothing here; there are {there}")


def values_of(route: Route, path: str, query: str) -> dict[str, str] | Answer:
    """Read what a URL says, as its route has it; an answer where that cannot be."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=ADMIN_PARAMETERS, errors="strict")
        if "{" in route.path:
            pairs.append(
                (route.path[route.path.index("{") + 1 : -1], unquote(path.rpartition("/")[2], errors="strict"))
            )
    except ValueError:  # undecodable, or too many
        return refusal(400, "query", f"the URL's query has at most {ADMIN_PARAMETERS} values, in UTF-8")
    known = {parameter.name: parameter for parameter in route.parameters}
    values = dict(pairs)
    for name in values:
        if name not in known:
            there = ", ".join(known) or "none"
            return refusal(400, "query", f"{name!r:.80} is no parameter of {route.path}: there are {there}")
    if len(values) != len(pairs):
        return refusal(400, "query", "a parameter stands twice in the URL")
    for parameter in route.parameters:
        if (wrong := _wrong(parameter, values.get(parameter.name))) is not None:
            return refusal(400, "query", f"{parameter.name} {wrong}")
    return values


def _wrong(parameter: Parameter, value: str | None) -> str | None:
    if value is None:
        return "is missing from the URL" if parameter.needed else None
    digits = value.isascii() and value.isdigit() and len(value) <= len(str(parameter.most))
    if parameter.most is not None and not (digits and 1 <= int(value) <= parameter.most):
        return f"must be a number from 1 to {parameter.most}, not {value!r:.80}"
    return None


def _matches(pattern: str, path: str) -> bool:
    if "{" not in pattern:
        return pattern == path
    folder = pattern[: pattern.index("{")]
    return path.startswith(folder) and path != folder and "/" not in path[len(folder) :]
