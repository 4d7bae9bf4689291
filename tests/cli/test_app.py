"""``triolet serve``: what it understands, and what it says about what cannot work."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from quart_trio import QuartTrio

from triolet import ConfigError, Limits, Triolet
from triolet.cli import add_arguments, load_app, main, settings_for
from triolet.cli.app import AppError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """A folder with an app in it; the interpreter's paths and modules are put back afterwards."""
    (tmp_path / "shopfront.py").write_text(
        "from quart_trio import QuartTrio\napp = QuartTrio('shop')\ndef make(): return app\nimport_me = None\n"
    )
    (tmp_path / "halfway.py").write_text("import no_such_library\n")
    paths = sys.path[:]
    yield str(tmp_path)
    sys.path[:] = paths
    sys.modules.pop("shopfront", None)


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("name", ["shopfront:app", "shopfront", "shopfront:make()"])
def test_an_app_is_found_by_module_and_name(folder: str, name: str) -> None:
    assert isinstance(load_app(name, folder), QuartTrio)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere:app", "no module 'nowhere'"),
        ("shopfront:other", "no 'other'"),
        (":app", "names no app"),
        ("shopfront:import_me", "no 'import_me'"),
    ],
)
def test_an_app_that_is_not_there_is_named_in_the_error(folder: str, name: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_app(name, folder)


def test_a_library_that_an_app_misses_is_not_called_a_missing_app(folder: str) -> None:
    with pytest.raises(AppError) as raised:
        load_app("halfway:app", folder)
    assert raised.value.traceback.count("Traceback") == 1
    assert "import no_such_library" in raised.value.traceback.splitlines()[2]
    assert raised.value.traceback.endswith("No module named 'no_such_library'\n")


def test_the_limits_are_those_of_the_apps_triolet() -> None:
    app = QuartTrio("shop")
    Triolet(app, limits=Limits(connections=7))
    assert settings_for(app, options("a:app", "--grace", "3")).limits.connections == 7


class Standing:
    """Middleware as Starlette's and Hypercorn's, and many others' by another name."""

    def __init__(self, beneath: Any) -> None:
        self.beneath = beneath

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.beneath(scope, receive, send)


def wrapped(beneath: Any) -> Any:
    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await beneath(scope, receive, send)

    return middleware


@pytest.mark.parametrize(
    "before",
    [
        Standing,
        wrapped,
        partial(partial, wrapped),
        lambda app: Standing(wrapped(Standing(app))),
        lambda app: Standing(app).__call__,
    ],
    ids=["an object", "a function", "a partial", "three", "a method"],
)
def test_an_app_is_found_behind_middleware_for_its_limits_and_its_log(before: Callable[[Any], Any]) -> None:
    app = QuartTrio("shop")
    Triolet(app, limits=Limits(connections=7))
    assert settings_for(before(app), options("a:app")).limits.connections == 7
    with pytest.raises(ConfigError, match=r"memory:.* is known to one process only"):
        settings_for(before(app), options("a:app", "--workers", "2"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--certfile", "x.pem"], "both --certfile and --keyfile"),
        (["--http2"], "needs TLS"),
        *((["--root-path", path], "is no path below which") for path in ("//x", "/x y", "/a?b", "x")),
        (["--certfile", "/no/such.pem", "--keyfile", "/no/such.key"], "--certfile '/no/such.pem' cannot be read"),
    ],
)
def test_options_that_cannot_work_are_refused(arguments: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        settings_for(QuartTrio("shop"), options("a:app", *arguments))


def test_the_command_says_what_is_wrong_and_fails(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "nowhere:app", "--app-dir", folder]) == 1
    assert "there is no module 'nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize("grace", ["0", "-1", "never", "100000"])
def test_a_grace_that_makes_no_sense_is_a_usage_error(grace: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "a:app", "--grace", grace])
    assert "--grace: must be more than 0 seconds, and less than a day" in capsys.readouterr().err


def test_there_is_no_operators_listener_unless_asked_for_by_its_name_or_its_old_one() -> None:
    assert options("a:app").admin is None
    for name in ("--admin", "--metrics"):
        assert options("a:app", name, "9100").admin == "9100"
