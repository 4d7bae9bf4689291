"""Who may follow a channel, or publish to it: what the file says of that, and what of it can be said without asking."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from ..errors import ConfigError
from ..identity import Identity
from ..pattern import Pattern

__all__ = ["Rule", "Template", "values_of"]

_VALUE: Final = re.compile(r"<(?:[^<>]*:)?([^<>:]*)>")
_PLACE: Final = re.compile(r"\{([^{}]*)\}")


def values_of(url: str) -> list[str]:
    """Return the names of a URL rule's values, in their order: of ``/orders/<order_id>`` it is ``order_id``."""
    return _VALUE.findall(url)


class Template(msgspec.Struct, frozen=True):
    """A text with places for a URL's values: ``orders/{order_id}``.

    Attributes:
        text: as the file has it.
    """

    text: str

    @classmethod
    def of_url(cls, url: str) -> Template:
        """What a channel is called where the file does not say: as its URL, without the slash at the beginning."""
        return cls(_VALUE.sub(r"{\1}", url.lstrip("/")))

    @property
    def names(self) -> list[str]:
        """The values that it has places for."""
        return _PLACE.findall(self.text)

    @property
    def pattern(self) -> str:
        """The pattern of all texts that it can make."""
        return _PLACE.sub("*", self.text)

    def check(self, known: Iterable[str], of: str = "the URL") -> Template:
        """Return it. Raises ConfigError: it has a place for a value that there is not, or a brace that is none."""
        names = list(known)
        for name in self.names:
            if name not in names:
                there = ", ".join(f"{{{one}}}" for one in names) or "none"
                raise ConfigError(f"{{{name}}} is no value of {of}, and these are: {there}")
        if set("{}") & set(_PLACE.sub("", self.text)):
            raise ConfigError(f"{self.text!r:.80} has a brace that belongs to no value: values are written {{name}}")
        return self

    def check_names_one(self) -> Template:
        """Return it. Raises ConfigError: as a channel's name it could mean the same for different values, and who may
        follow what would be asked about others than are meant."""
        between = _PLACE.split(self.text)[2:-1:2]
        if any("/" not in text for text in between):
            raise ConfigError(f"{self.text!r:.80} has two values without a slash between them")
        if "*" in self.text:
            raise ConfigError(f"{self.text!r:.80} has a star, which stands for any characters where channels are meant")
        return self

    def fill(self, values: Mapping[str, Any]) -> str:
        """Return the text with a URL's values in their places."""
        return _PLACE.sub(lambda place: str(values[place[1]]), self.text)


class Rule(msgspec.Struct, frozen=True):
    """Who may.

    Attributes:
        kind: ``anyone``; ``token``, whoever has a good one; ``claim``, whoever has one that says so; ``callback``,
            whoever the app behind a URL says.
        claim: the names that lead to the claim: one, or more where it is in an object of another.
        equals: what the claim has to be, or to have in its list. None: it is a pattern of channels' names, or a list of
            them, of which one means the channel.
        url: of the callback.
    """

    kind: Literal["anyone", "token", "claim", "callback"]
    claim: tuple[str, ...] = ()
    equals: Template | None = None
    url: str = ""

    def allows(self, identity: Identity | None, channel: str, values: Mapping[str, Any]) -> bool:
        """Whether a client may, as far as its token says. Not for a callback's rule."""
        if self.kind == "anyone":
            return True
        if identity is None:
            return False
        if self.kind == "token":
            return True
        said: Any = identity.claims
        for name in self.claim:
            said = said.get(name) if isinstance(said, Mapping) else None
        texts = [one for one in (said if isinstance(said, list) else [said]) if isinstance(one, str) and one]
        if self.equals is not None:
            return self.equals.fill(values) in texts
        return any(Pattern(text).matches(channel) for text in texts)
